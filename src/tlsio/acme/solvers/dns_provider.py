"""The contract of what changes records in the DNS for dns-01."""

from __future__ import annotations

from typing import Protocol

from tlsio.model.errors import ACMEError

__all__ = ["DNSProvider", "dns_failure"]


class DNSProvider(Protocol):
    """Adds and removes TXT records. Calls overlap, also for one name with different values.

    Calls MUST end by themselves within bounded time, and MUST leave nothing running when they are
    cancelled.
    """

    async def add_txt(self, name: str, value: str) -> None:
        """Add one TXT record, and keep others of the same name: a wildcard needs two at a time.

        Adding a record that is there already is not an error.

        Args:
            name: Absolute, in lower case, without a final dot: `_acme-challenge.example.com`.
            value: 43 characters of base64url, for Let's Encrypt and all others.

        Raises:
            TLSError: it was not added.
        """

    async def remove_txt(self, name: str, value: str) -> None:
        """Remove this record of `add_txt`; other values of the name stay. None there: no error.

        Raises:
            TLSError: it was not removed.
        """


def dns_failure(problem: str, *, hint: str | None = None, code: str = "ERR_ACME_DNS") -> ACMEError:
    """Return the error of a solver of dns-01."""
    return ACMEError(problem, code=code, hint=hint)
