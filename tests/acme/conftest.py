"""An ACME authority for the tests of this folder."""

from authorities import certbot, make_pebble, pebble

__all__ = ["certbot", "make_pebble", "pebble"]
