"""Pins: SHA-256 digests of public keys, one of which has to be in the peer's chain (RFC 7469 §2.4, without its header).

`model.options.context` parses them. This is the one place that judges a server's chain, and that explains a mismatch on either side.
A client's chain is compared in the engine too (`callbacks.c`): only a client's handshake can be paused while Python decides about a
certificate (`SSL_set_retry_verify`).
"""

import base64
import hmac
from collections.abc import Iterable, Sequence


def matches(pins: Sequence[bytes], digests: Iterable[bytes]) -> bool:
    """Tell whether any digest is pinned. Every pair is compared, and every comparison takes the same time."""
    # A list, not a generator: any() would stop at the first hit.
    return any([hmac.compare_digest(pin, digest) for digest in digests for pin in pins])  # noqa: C419


def print_pin(digest: bytes) -> str:
    """Return a digest as it may be given as a pin: `sha256/BASE64`."""
    return f"sha256/{base64.b64encode(digest).decode('ascii')}"
