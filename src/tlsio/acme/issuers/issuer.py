"""The contract of what issues certificates, for the manager."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tlsio.acme.storage.keys import check_key
from tlsio.model.checks import wrong_type, wrong_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlsio.acme.client.renewal_info import RenewalInfo

__all__ = ["Issued", "Issuer", "Limits", "check_issuers"]


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate.

    Attributes:
        chain: The certificate and those above it, PEM, leaf first.
        key: Its private key, PKCS#8 in PEM, unencrypted.
        order_url: Where the authority keeps the order; None: it has no such thing.
    """

    chain: bytes
    key: bytes = field(repr=False)
    order_url: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the manager asks of an authority. The defaults stay below those of Let's Encrypt.

    Attributes:
        burst: Orders in any ten seconds.
        orders: Orders in any three hours. Let's Encrypt: 300 for an account; renewals that name the
            certificate they replace do not count.
        failures: Failed orders of one name in any hour. Let's Encrypt: 5.
        duplicates: Certificates for exactly the same names in any seven days, without renewals that
            name the certificate they replace; None: any number. Let's Encrypt: 5, which
            `ACMEIssuer` sets for it.
    """

    burst: int = 10
    orders: int = 300
    failures: int = 5
    duplicates: int | None = None


class Issuer(Protocol):
    """An authority as the manager uses it.

    Calls overlap, also of one method. All of them MUST end by themselves within bounded time, and
    MUST leave nothing behind when they are cancelled. The manager decides when to try again: an
    issuer MUST NOT repeat an order that the authority has refused, unless `may_repeat` permits it.

    These attributes are optional. `limits`: a `Limits`; None: the authority has none. `is_local`:
    True if it is one of this machine or network, which certifies any name, and which clients trust
    only if they were told to; the manager then prefers it for names that no public authority
    certifies, and uses no local one for other names as long as there is another. `repeats_orders`:
    True if `issue` can order several times, such as once for each type of challenge. It is then
    also given `may_repeat=`, an async function: before each further order the issuer MUST await
    `may_repeat(error)` with the failure of the last one, and MUST raise that error if it returns
    False.
    """

    name: str
    """Identifies the authority in storage, in events and in metrics: `[A-Za-z0-9._@-]`."""

    async def issue(self, names: Sequence[str], *, replaces: bytes | None = None, profile: str | None = None) -> Issued:
        """Obtain a certificate with a new key for exactly these names.

        Args:
            names: A-labels in lower case, wildcards, or IP addresses.
            replaces: The certificate in DER that is being renewed (RFC 9773 §5). An issuer SHOULD
                leave it out if the authority does not accept it.
            profile: The profile to ask for; None: the issuer's own.

        Raises:
            TLSError: none was issued. `ACMEError.retry_after` says for how many seconds the
                authority wants to be left alone.
        """

    async def renewal_info(self, certificate: bytes) -> RenewalInfo | None:
        """Return when the authority suggests to renew a certificate (DER); None: it has no opinion.

        Raises:
            TLSError: the authority could not be asked.
        """

    async def revoke(self, certificate: bytes, reason: str | None = None) -> None:
        """Revoke a certificate (DER), for a reason of RFC 5280 §5.3.1, such as `"keyCompromise"`.

        Raises:
            TLSError: it was not revoked.
        """


def check_issuers(issuers: Any, staging: Any) -> tuple[Issuer, ...]:
    """Return the issuers of a manager, if they and `staging` can be used.

    Raises:
        UsageError: they cannot.
    """
    if not isinstance(issuers, list | tuple) or not issuers:
        raise wrong_type("issuers", "a list of issuers", issuers)
    every = (*issuers, *([] if staging is None else [staging]))
    for one in every:
        if not callable(getattr(one, "issue", None)) or not isinstance(getattr(one, "name", None), str):
            raise wrong_type("issuers", "issuers, such as ACMEIssuer or AuthorityIssuer", one)
        if "/" in check_key(one.name, "issuer.name"):
            raise wrong_value(
                "issuer.name", f"is {one.name!r:.80}", hint="It is one segment of keys in the storage: letters, digits and . _ @ -"
            )
    if len({one.name for one in every}) < len(every):
        raise wrong_value("issuers", "has two issuers of one name", hint="Their certificates would have the same place in the storage.")
    return tuple(issuers)
