"""What an authority wants to see, for one identifier and in one way (RFC 8555 §8)."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

__all__ = ["Challenge"]


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge as a solver gets it.

    Attributes:
        type: `"http-01"`, `"dns-01"` (RFC 8555 §8.3, §8.4) or `"tls-alpn-01"` (RFC 8737).
        token: Characters of base64url alone; it is part of a path of http-01.
        identifier: A DNS name as A-label in lower case, without `*.`; or an IP address as text.
        is_ip: The identifier is an IP address (RFC 8738).
        is_wildcard: The order is for `*.` and the identifier.
        key_authorization: The token, a dot, and the thumbprint of the account's key (§8.1): the
            body of http-01.
    """

    type: str
    token: str
    identifier: str
    is_ip: bool
    is_wildcard: bool
    key_authorization: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the key authorization: the content of tls-alpn-01's acmeIdentifier."""
        return hashlib.sha256(self.key_authorization.encode("ascii")).digest()

    @property
    def dns_value(self) -> str:
        """The TXT record of dns-01: the digest in base64url."""
        return urlsafe_b64encode(self.digest).rstrip(b"=").decode("ascii")
