"""Pins: SHA-256 digests of public keys, one of which must be in the peer's chain.

(RFC 7469 §2.4, without its HTTP header.) `model.options.context` parses pins. A server's chain is
compared here, and a mismatch of either side is explained here. The engine (`callbacks.c`) compares
a client's chain itself, because a server's handshake cannot be paused while Python decides about a
certificate (`SSL_set_retry_verify` works only on clients).
"""

import base64
import hmac
from collections.abc import Iterable, Sequence


def matches(pins: Sequence[bytes], digests: Iterable[bytes]) -> bool:
    """Tell whether any digest is pinned. Compares every pair, in constant time."""
    # With a generator instead of a list, any() would stop at the first match.
    return any([hmac.compare_digest(pin, digest) for digest in digests for pin in pins])  # noqa: C419


def print_pin(digest: bytes) -> str:
    """Return a digest in the form of a pin: `sha256/BASE64`."""
    return f"sha256/{base64.b64encode(digest).decode('ascii')}"
