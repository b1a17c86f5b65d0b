"""For test suites: an authority, certificates, an echo server, connected sockets.

`plugin.py` offers them as fixtures to pytest, which imports it at the start of every run: so this
package imports its parts when they are first used.
"""

from typing import TYPE_CHECKING

from tlsio.model.exported import lazy_names

if TYPE_CHECKING:
    from tlsio.testing.dated import DatedCertificates, certificates_at
    from tlsio.testing.echo_server import EchoServer
    from tlsio.testing.pair import connected_pair

__all__ = ["DatedCertificates", "EchoServer", "certificates_at", "connected_pair"]

# The imports above, which only type checkers see, as `pkgutil.resolve_name` reads them.
_HOMES = {
    "DatedCertificates": "tlsio.testing.dated:DatedCertificates",
    "EchoServer": "tlsio.testing.echo_server:EchoServer",
    "certificates_at": "tlsio.testing.dated:certificates_at",
    "connected_pair": "tlsio.testing.pair:connected_pair",
}

if not TYPE_CHECKING:  # otherwise a type checker would accept every misspelt name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
