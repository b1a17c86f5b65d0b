"""Certificates of an ACME authority, such as Let's Encrypt: an issuer for the manager."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tlsio.acme.client.client import Client
from tlsio.acme.client.order import identify
from tlsio.acme.issuers.issuer import Issued, Limits
from tlsio.acme.issuers.stored_account import StoredAccount
from tlsio.acme.issuers.validation import Validation
from tlsio.certs.keys import check_kind, generate_key, key_pem
from tlsio.certs.names import describe_name, parse_names
from tlsio.certs.private_key import spki_of
from tlsio.certs.request import create_request
from tlsio.interop.http_request import parse_url
from tlsio.model.checks import check_bool, check_filled_text, wrong_value
from tlsio.model.errors import ACMEError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeAlias, Unpack

    from tlsio.acme.client.account import Account
    from tlsio.acme.client.account_key import ExternalAccount
    from tlsio.acme.client.client import ClientOptionsDict
    from tlsio.acme.client.order import Order
    from tlsio.acme.client.renewal_info import RenewalInfo
    from tlsio.acme.solvers.solver import Solver
    from tlsio.acme.storage.storage import Storage

    _MayRepeat: TypeAlias = Callable[[ACMEError], Awaitable[bool]]

__all__ = ["ACMEIssuer", "issuer_name"]

_log = logging.getLogger("tlsio")
_MAX_NAMES = 100  # of a certificate, as of Let's Encrypt's and most other authorities
_MAX_ORDERS = 4  # for one certificate: one of each type of challenges, and one that expired
_MAX_SEGMENT = 160
_EMAIL = re.compile(r"mailto:[^\s,]+@[^@\s,]+")  # one address: RFC 8555 §7.3
# Of all authorities, only this one publishes that it counts certificates for the same names.
_COUNTS_DUPLICATES, _DUPLICATES = "acme-v02.api.letsencrypt.org", 5
# Refusals of `replaces` (RFC 9773 §5; Boulder's for a certificate that it does not know or that is
# another account's). The order itself may be good.
_OF_REPLACES = frozenset({"alreadyReplaced", "malformed", "unauthorized"})


class ACMEIssuer:
    """Issues by ACME. See `Issuer`.

    The account is made once, under a lock of the storage, and kept there; each certificate has a
    new key. Calls may overlap, in several processes too.
    """

    repeats_orders = True

    def __init__(  # noqa: PLR0913 - of the account, of the certificates, and of the connections
        self,
        directory_url: str,
        storage: Storage,
        solvers: Sequence[Solver],
        *,
        contact: str | Sequence[str] = (),
        terms_agreed: bool = False,
        external_account: ExternalAccount | None = None,
        profile: str | None = None,
        key_type: str = "p256",
        preferred_chain: str | None = None,
        **client: Unpack[ClientOptionsDict],
    ) -> None:
        """Check the arguments; nothing is requested and nothing is stored yet.

        Args:
            directory_url: Where the authority begins, such as
                `https://acme-v02.api.letsencrypt.org/directory`.
            storage: Keeps the account.
            solvers: Answer challenges; they are tried in this order.
            contact: E-mail addresses for the authority, which may be empty.
            terms_agreed: You agree to the authority's terms of service.
            external_account: For authorities that make accounts for customers only.
            profile: The profile of the certificates; default: the authority's choice.
            key_type: Of the certificates' keys, as `tlsio.certs.generate_key` reads it.
            preferred_chain: The common name of the root that the chain should lead to.
            client: Further arguments of `Client`, such as `ca=`, `proxy=` and `clock=`.

        Raises:
            UsageError: a wrong argument.
        """
        self.client = Client(directory_url, **client)
        self.name = issuer_name(self.client.directory_url)
        is_counting = urlsplit(self.client.directory_url).hostname == _COUNTS_DUPLICATES
        self.limits = Limits(duplicates=_DUPLICATES if is_counting else None)
        self._solvers = tuple(solvers)
        self._profile = None if profile is None else check_filled_text("profile", profile)
        self._key_type = check_kind("key_type", key_type)
        if not self._is_rsa:
            generate_key(self._key_type)  # which this OpenSSL may not have
        self._preferred_chain = preferred_chain
        self._account = StoredAccount(
            self.client,
            storage,
            self.name,
            contact=[_as_contact(one) for one in ([contact] if isinstance(contact, str) else contact) if one],
            terms_agreed=check_bool("terms_agreed", terms_agreed),
            external_account=external_account,
        )

    async def issue(
        self,
        names: Sequence[str],
        *,
        replaces: bytes | None = None,
        profile: str | None = None,
        may_repeat: _MayRepeat | None = None,
    ) -> Issued:
        """Obtain a certificate with a new key for these names.

        If the authority refuses one type of challenge, it is ordered again with another; otherwise
        nothing that was refused is repeated.

        Args:
            names: DNS names, wildcards, or IP addresses.
            replaces: The certificate in DER that is renewed; left out if the authority minds.
            profile: Instead of the issuer's own.
            may_repeat: Awaited with the error of an order before another one is made; False: the
                error is raised. Default: another one may always be made.

        Raises:
            ConfigError: the account cannot be made as configured, or the profile does not exist.
            StoreError: the storage failed.
            ACMEError: the authority refused, or its answer cannot be used.
            FetchError: it did not answer.
            Cancelled: challenges are cleaned up; the order is left to expire.
        """
        wanted = _check_names(names)
        async with self.client:
            account, order = await self._validated_order(wanted, replaces, profile or self._profile, may_repeat)
            return await self._finish(account, order, wanted)

    async def renewal_info(self, certificate: bytes) -> RenewalInfo | None:
        """Return when the authority wants a certificate (DER) renewed; None: it does not say.

        Raises:
            ACMEError: the authority refused, or its answer cannot be used.
            FetchError: it did not answer.
        """
        try:
            async with self.client:
                return await self.client.renewal_info(certificate)
        except ConfigError:  # no authority that knows ARI has issued it
            return None

    async def revoke(self, certificate: bytes, reason: str | None = None) -> None:
        """Revoke a certificate (DER); one that is already revoked is not an error.

        Args:
            certificate: Of this account, or for names that it has authorizations for.
            reason: Such as `"keyCompromise"` (RFC 5280 §5.3.1).

        Raises:
            StoreError: the storage failed.
            ACMEError: the authority refused.
            FetchError: it did not answer.
        """
        async with self.client:
            try:
                await self.client.revoke(certificate, account=await self._account.get(), reason=reason)
            except ACMEError as error:
                if error.problem != "alreadyRevoked":
                    raise

    async def account(self) -> Account:
        """Return the account, and make it if there is none."""
        async with self.client:
            return await self._account.get()

    async def change_account_key(self) -> Account:
        """Give the account a new key, for all processes that use the storage."""
        async with self.client:
            return await self._account.change_key()

    async def deactivate_account(self) -> Account:
        """Give up the account for ever, and remove it from the storage."""
        async with self.client:
            return await self._account.deactivate()

    # --- the steps ---

    @property
    def _is_rsa(self) -> bool:
        """Whether it takes long to make a key."""
        return self._key_type.startswith("RSA")

    async def _validated_order(
        self, names: Sequence[str], replaces: bytes | None, profile: str | None, may_repeat: _MayRepeat | None
    ) -> tuple[Account, Order]:
        """Return an order that is ready for the request, with its account."""
        account = await self._account.get()
        validation = Validation(self.client, self._solvers)
        attempt = 0
        while True:
            account, order = await self._order(account, names, None if attempt else replaces, profile)
            try:
                await validation.validate(account, order)
                order = await self.client.order(account, order.url)
                return account, await self.client.wait_for_order(account, order, "ready", "valid")
            except ACMEError as error:
                attempt += 1
                if attempt == _MAX_ORDERS or not _is_worth_another(error, validation, is_first=attempt == 1):
                    raise
                if may_repeat is not None and not await may_repeat(error):
                    raise
                _log.info("%s: ordering %s again after: %s", self.name, ", ".join(names), error)

    async def _order(self, account: Account, names: Sequence[str], replaces: bytes | None, profile: str | None) -> tuple[Account, Order]:
        """Order, and try again where the cause is the account or `replaces`, each once."""
        causes = 2
        while True:
            try:
                return account, await self.client.new_order(account, names, profile=profile, replaces=replaces)
            except ConfigError as error:
                if error.code != "ERR_ACME_CERTIFICATE_ID":
                    raise
                replaces = None
            except ACMEError as error:
                if not causes or error.status not in range(400, 500):
                    raise
                causes -= 1
                fresh = await self._account.after_refusal(account, error)
                if fresh is not None:
                    account = fresh
                elif replaces is not None and error.problem in _OF_REPLACES:
                    replaces = None
                else:
                    raise

    async def _finish(self, account: Account, order: Order, names: Sequence[str]) -> Issued:
        """Request the certificate for a new key, and check it."""
        key = await asyncio.to_thread(generate_key, self._key_type) if self._is_rsa else generate_key(self._key_type)
        # Without a common name: longer names than 64 characters do not fit, and clients ignore it.
        request = create_request(names, key=key)
        order = await self.client.finalize(account, order, request.public_bytes(Encoding.DER))
        assert order.certificate is not None  # noqa: S101 - `finalize` waits for it
        chain = await self.client.download(account, order.certificate, preferred_chain=self._preferred_chain)
        chain.check(spki_of(key), names, self.client.now())
        if self._preferred_chain not in {None, chain.root_name}:
            _log.warning("%s has no chain to %r: the one to %r is used", self.name, self._preferred_chain, chain.root_name)
        return Issued(chain.pem, key_pem(key), order.url)


def issuer_name(directory_url: str) -> str:
    """Return what a directory's URL is called in storage: host and path, joined by hyphens.

    Raises:
        UsageError: it is not a URL.
    """
    parts = urlsplit(parse_url("server", directory_url).text)  # one name for all ways to write it
    name = re.sub(r"[^A-Za-z0-9._@-]", "-", f"{parts.netloc}{parts.path}{parts.query}".strip("/"))
    if len(name) <= _MAX_SEGMENT:
        return name
    return f"{name[:_MAX_SEGMENT]}_{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _is_worth_another(error: ACMEError, validation: Validation, *, is_first: bool) -> bool:
    """Tell whether a new order may succeed where this one failed.

    So it is if other types of challenges are left; and once, if the order or an authorization ended
    by itself. (RFC 8555 §7.1.6: an order becomes invalid when one of its authorizations does.)
    """
    if error.code == "ERR_ACME_CHALLENGE_FAILED":
        return validation.may_order_again
    return is_first and error.problem is None and error.code in {"ERR_ACME_AUTHORIZATION", "ERR_ACME_ORDER_INVALID"}


def _check_names(names: Sequence[str]) -> list[str]:
    found = parse_names(names)
    if not 0 < len(found) <= _MAX_NAMES:
        raise wrong_value("names", f"must have 1 to {_MAX_NAMES} names, and has {len(found)}")
    if wrong := [one for one in found if not isinstance(one, x509.DNSName | x509.IPAddress)]:
        raise wrong_value("names", f"has {describe_name(wrong[0])!r:.80}, and ACME is for DNS names and IP addresses")
    return [identify(describe_name(one)).value for one in found]


def _as_contact(text: str) -> str:
    """Return the URL of an address (RFC 8555 §7.3); only `mailto` has a form to check."""
    check_filled_text("contact", text)
    url = text if ":" in text else f"mailto:{text}"
    if url.startswith("mailto:") and _EMAIL.fullmatch(url) is None:
        raise wrong_value("contact", f"must be an e-mail address such as ada@example.com, got {text.removeprefix('mailto:')!r:.80}")
    return url
