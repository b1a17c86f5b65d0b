"""Pins: SHA-256 digests of public keys, one of which has to be in the peer's chain (RFC 7469 §2.4, without its header).

How the option is written is checked with all others, in `model.options`.
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
