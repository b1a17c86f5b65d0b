"""A client of one ACME authority: one method for each thing that RFC 8555 lets a client do.

It keeps the directory and nonces, and nothing else: accounts, orders and authorizations are values
that the caller keeps. Every call is bounded in requests, in bytes and in time.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from tlsio.model.errors import ACMEError, ConfigError, FetchError, add_hint, missing_extra

try:
    import h11  # noqa: F401
except ModuleNotFoundError:
    raise missing_extra("h11", "acme") from None

from tlsio.acme.client.account import Account, read_account
from tlsio.acme.client.account_key import encode_base64url
from tlsio.acme.client.chain import read_chain
from tlsio.acme.client.challenge import Challenge
from tlsio.acme.client.directory import read_directory
from tlsio.acme.client.fields import check_url
from tlsio.acme.client.order import identify, read_authorization, read_offer, read_order
from tlsio.acme.client.polling import poll
from tlsio.acme.client.problem import invalid_answer
from tlsio.acme.client.renewal_info import certificate_id, read_renewal_info
from tlsio.acme.client.transport import JSON, PEM_CHAIN, Transport
from tlsio.acme.client.turns import Turns
from tlsio.interop.fetch import Fetcher
from tlsio.interop.http_request import parse_url
from tlsio.model.checks import check_bool, check_duration, check_function, wrong_value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Self, Unpack

    from tlsio.acme.client.account_key import AccountKey, ExternalAccount
    from tlsio.acme.client.chain import Chain
    from tlsio.acme.client.directory import Directory
    from tlsio.acme.client.order import Authorization, Offer, Order
    from tlsio.acme.client.renewal_info import RenewalInfo
    from tlsio.acme.client.transport import Answer
    from tlsio.model.options.connect import ConnectOptionsDict

    class ClientOptionsDict(ConnectOptionsDict, total=False):
        """The keyword arguments of a `Client`."""

        allow_http: bool
        proxy: str | None
        timeout: float
        poll_timeout: float
        clock: Callable[[], datetime] | None
        sleep: Callable[[float], Awaitable[None]] | None


__all__ = ["REASONS", "Client"]

_log = logging.getLogger("tlsio.acme")

# What authorities answer to a binding that they do not know, or with a wrong key.
_BINDING_PROBLEMS = frozenset({"unauthorized", "malformed", "externalAccountRequired"})

_TIMEOUT = 30.0  # seconds of one request; Let's Encrypt's own client uses 45
_POLL_TIMEOUT = 300.0  # seconds of waiting for one order or authorization; acmez waits as long
_SERVER_ERROR = 500
_DIRECTORY_LASTS = timedelta(hours=1)
_MAX_ALTERNATES = 5  # other chains that are looked at; Let's Encrypt has had two
# RFC 5280 §5.3.1; a number is what the request has.
REASONS = {
    "unspecified": 0,
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "certificateHold": 6,
    "removeFromCRL": 8,
    "privilegeWithdrawn": 9,
    "aACompromise": 10,
}


class Client:
    """Speaks with one authority. Calls may overlap.

    Inside `async with client:`, which may be entered more than once, connections are kept;
    otherwise each request has a connection of its own.

    All methods raise:
        ACMEError: the authority refused, or its answer cannot be used.
        FetchError: there was no answer.
        UsageError: a wrong argument.
    """

    def __init__(  # noqa: PLR0913 - of the client, of its connections, and of its world
        self,
        directory_url: str,
        *,
        allow_http: bool = False,
        proxy: str | None = None,
        timeout: float = _TIMEOUT,
        poll_timeout: float = _POLL_TIMEOUT,
        clock: Callable[[], datetime] | None = None,
        sleep: Callable[[float], Awaitable[None]] | None = None,
        **options: Unpack[ConnectOptionsDict],
    ) -> None:
        """Check the arguments; nothing is requested yet.

        Args:
            directory_url: Where the authority begins, such as
                `https://acme-v02.api.letsencrypt.org/directory`.
            allow_http: Accept plain http, for tests on one machine: a machine in between could read
                and change everything.
            proxy: The URL of a proxy of HTTP.
            timeout: Seconds for one request.
            poll_timeout: Seconds to wait in all until an order or authorization is decided.
            clock: Another clock, for tests: returns an aware datetime.
            sleep: Another `asyncio.sleep`, for tests.
            options: The options of `tlsio.connect`, such as `ca=` of a private authority.
        """
        check_bool("allow_http", allow_http)
        url = parse_url("directory_url", directory_url)
        if url.scheme != "https" and not allow_http:
            raise wrong_value("directory_url", f"must be https, got {url.text!r:.200}", hint="allow_http=True is for tests on one machine.")
        self.directory_url = url.text
        self._poll_timeout = check_duration("poll_timeout", poll_timeout)
        self.now: Callable[[], datetime] = check_function("clock", clock) if clock else partial(datetime.now, UTC)
        self._sleep: Callable[[float], Awaitable[None]] = check_function("sleep", sleep) if sleep else asyncio.sleep
        self._fetcher = Fetcher(proxy=proxy, timeout=check_duration("timeout", timeout), **options)
        self._transport = Transport(self._fetcher, allow_http=url.scheme == "http", clock=self.now, sleep=self._sleep)
        self._users = 0
        self._directory: Directory | None = None
        self._directory_from = datetime.min.replace(tzinfo=UTC)
        self._turns = Turns()

    async def __aenter__(self) -> Self:
        self._users += 1
        if self._users == 1:
            await self._fetcher.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._users -= 1
        if not self._users:
            await self._fetcher.__aexit__(None, None, None)

    # --- the authority ---

    async def directory(self) -> Directory:
        """Return the authority's directory, fetched at most once an hour."""
        found = self._fresh_directory()
        return await self._turns.take(self._fetch_directory) if found is None else found

    def _fresh_directory(self) -> Directory | None:
        is_old = abs(self.now() - self._directory_from) >= _DIRECTORY_LASTS  # also after a clock was put right
        return None if is_old else self._directory

    async def _fetch_directory(self) -> Directory:
        if (found := self._fresh_directory()) is None:
            answer = await self._transport.get(self.directory_url)
            found = self._directory = read_directory(answer.fields)
            self._directory_from = self.now()
        return found

    # --- accounts (RFC 8555 §7.3) ---

    async def new_account(
        self,
        key: AccountKey,
        *,
        contact: Sequence[str] = (),
        terms_agreed: bool = False,
        external_account: ExternalAccount | None = None,
    ) -> Account:
        """Make an account, or return the one that this key has.

        Args:
            key: Its new key.
            contact: Such as `mailto:ada@example.com`; optional.
            terms_agreed: You agree to the authority's terms of service.
            external_account: What the authority gave you for it, if it wants that.

        Raises:
            ConfigError: the terms are not agreed to (`ERR_ACME_TERMS_NOT_AGREED`), or
                `external_account` is missing (`ERR_ACME_EXTERNAL_ACCOUNT_REQUIRED`).
        """
        directory = await self.directory()
        if directory.terms_of_service is not None and not terms_agreed:
            raise ConfigError(
                f"The terms of service of {self.directory_url} must be agreed to: {directory.terms_of_service}",
                code="ERR_ACME_TERMS_NOT_AGREED",
                hint="Read them, and give terms_agreed=True.",
            )
        if directory.external_account_required and external_account is None:
            raise ConfigError(
                f"{self.directory_url} makes accounts only for its customers",
                code="ERR_ACME_EXTERNAL_ACCOUNT_REQUIRED",
                hint="Get a key identifier and an HMAC key from it: external_account=ExternalAccount(kid, hmac_key).",
            )
        payload: dict[str, Any] = {"termsOfServiceAgreed": True} if terms_agreed else {}
        payload |= {"contact": list(contact)} if contact else {}
        if external_account is not None:
            payload["externalAccountBinding"] = external_account.bind(key, directory.new_account)
        try:
            return await self._account(directory, key, payload)
        except ACMEError as error:
            if external_account is not None and error.problem in _BINDING_PROBLEMS:
                del error.__notes__[:]  # the usual hint is about orders
                error.code = "ERR_ACME_EXTERNAL_ACCOUNT"
                add_hint(error, "Compare external_account=ExternalAccount(kid, hmac_key) with what the authority has given you.")
            raise

    async def find_account(self, key: AccountKey) -> Account:
        """Return the account of a key; `problem` is `"accountDoesNotExist"` if it has none."""
        return await self._account(await self.directory(), key, {"onlyReturnExisting": True})

    async def _account(self, directory: Directory, key: AccountKey, payload: dict[str, Any]) -> Account:
        # The same request again returns the account that the first one made (§7.3).
        answer = await self._transport.post(directory.new_account, payload, key, new_nonce=directory.new_nonce, is_repeatable=True)
        return read_account(answer.fields, self._place(answer), key)

    async def update_account(self, account: Account, contact: Sequence[str]) -> Account:
        """Change the contact of an account (§7.3.2); none at all is allowed."""
        answer = await self._post(account, account.url, {"contact": list(contact)}, is_repeatable=True)
        return read_account(answer.fields, account.url, account.key)

    async def change_key(self, account: Account, new_key: AccountKey) -> Account:
        """Give an account another key (§7.3.5). The old one is of no use afterwards."""
        directory = await self.directory()
        inner = new_key.sign(directory.key_change, {"account": account.url, "oldKey": account.key.jwk})
        await self._post(account, directory.key_change, inner, expect=None)
        return Account(account.url, new_key, account.status, account.contact)

    async def deactivate_account(self, account: Account) -> Account:
        """Give up an account for ever (§7.3.6)."""
        answer = await self._post(account, account.url, {"status": "deactivated"})
        return read_account(answer.fields, account.url, account.key)

    # --- orders (§7.4) ---

    async def new_order(
        self, account: Account, names: Sequence[str], *, profile: str | None = None, replaces: bytes | None = None
    ) -> Order:
        """Order a certificate.

        Args:
            account: The account that orders.
            names: DNS names as A-labels, wildcards, or IP addresses.
            profile: One of `Directory.profiles`.
            replaces: The certificate in DER that will be replaced (RFC 9773 §5); only sent to an
                authority that has renewal information.

        Raises:
            ConfigError: the authority does not have the profile (`ERR_ACME_INVALID_PROFILE`), or
                `replaces` cannot be named (`ERR_ACME_CERTIFICATE_ID`).
        """
        directory = await self.directory()
        identifiers = [identify(name) for name in names]
        payload: dict[str, Any] = {"identifiers": [{"type": one.type, "value": one.value} for one in identifiers]}
        if profile is not None:
            # draft-ietf-acme-profiles §4: a client must not ask for another one.
            if profile not in directory.profiles:
                known = ", ".join(sorted(directory.profiles)) or "none"
                raise ConfigError(
                    f"{self.directory_url} has no profile {profile!r:.80}",
                    code="ERR_ACME_INVALID_PROFILE",
                    hint=f"It has: {known}.",
                )
            payload["profile"] = profile
        if replaces is not None and directory.renewal_info is not None:
            payload["replaces"] = certificate_id(replaces)
        answer = await self._post(account, directory.new_order, payload)
        order = read_order(answer.fields, self._place(answer), retry_after=answer.retry_after)
        if set(order.identifiers) != set(identifiers):
            raise invalid_answer(answer.url, "the order is for other names than those that were asked for")
        return order

    async def order(self, account: Account, url: str) -> Order:
        """Return an order as it is now."""
        answer = await self._post(account, url, None)
        return read_order(answer.fields, url, retry_after=answer.retry_after)

    async def authorization(self, account: Account, url: str) -> Authorization:
        """Return an authorization as it is now (§7.5)."""
        answer = await self._post(account, url, None)
        return read_authorization(answer.fields, url, retry_after=answer.retry_after)

    def challenge(self, account: Account, authorization: Authorization, offer: Offer) -> Challenge:
        """Return what a solver has to present for one of an authorization's offers."""
        return Challenge(
            type=offer.type,
            token=offer.token,
            identifier=authorization.identifier.value,
            is_ip=authorization.identifier.type == "ip",
            is_wildcard=authorization.is_wildcard,
            key_authorization=account.key.authorize(offer.token),
        )

    async def respond(self, account: Account, offer: Offer) -> Offer:
        """Notify the authority that it may look now (§7.5.1)."""
        answer = await self._post(account, offer.url, {}, is_repeatable=True)
        return read_offer(answer.fields)

    async def wait_for_authorization(self, account: Account, url: str) -> Authorization:
        """Ask for an authorization until it is decided, as often as the authority wants.

        Raises:
            ACMEError: it is not valid (`ERR_ACME_CHALLENGE_FAILED`, with `problem` and
                `subproblems` as the authority reports them), or not decided within `poll_timeout`
                (`ERR_ACME_TIMEOUT`).
        """
        ask = partial(self.authorization, account, url)
        found = await poll(url, ask, lambda one: one.status != "pending", sleep=self._sleep, longest=self._poll_timeout)
        if found.status == "valid":
            return found
        raise found.failure()

    async def deactivate_authorization(self, account: Account, url: str) -> None:
        """Give up an authorization (§7.5.2); pending ones count against an account's limits."""
        await self._post(account, url, {"status": "deactivated"}, is_repeatable=True)

    async def wait_for_order(self, account: Account, order: Order, *statuses: str) -> Order:
        """Ask for an order until it has one of these statuses.

        Raises:
            ACMEError: it is invalid (`ERR_ACME_ORDER_INVALID`, with the authority's `problem`), or
                not decided within `poll_timeout` (`ERR_ACME_TIMEOUT`).
        """
        wanted, found = {*statuses, "invalid"}, order
        if found.status not in wanted:
            ask, first = partial(self.order, account, order.url), order.retry_after
            found = await poll(order.url, ask, lambda one: one.status in wanted, sleep=self._sleep, longest=self._poll_timeout, first=first)
        if found.status != "invalid":
            return found
        raise found.failure()

    async def finalize(self, account: Account, order: Order, csr: bytes) -> Order:
        """Send the certificate request (DER), and wait until the certificate is there (§7.4).

        Raises:
            ACMEError: as `wait_for_order`.
        """
        try:
            answer = await self._post(account, order.finalize, {"csr": encode_base64url(csr)})
            processed = read_order(answer.fields, order.url, retry_after=answer.retry_after)
        except (ACMEError, FetchError) as error:
            if not _may_have_arrived(error):
                raise
            # A new order would be the second one of this name.
            processed = await self.order(account, order.url)
            if processed.status not in {"processing", "valid"}:
                raise
        found = await self.wait_for_order(account, processed, "valid")
        if found.certificate is None:
            raise invalid_answer(found.url, 'the order is valid, and "certificate" is missing')
        return found

    async def download(self, account: Account, url: str, *, preferred_chain: str | None = None) -> Chain:
        """Return the certificate of an order with its chain (§7.4.2).

        Args:
            account: The account that ordered it.
            url: `Order.certificate`.
            preferred_chain: The common name of a root: the first chain below it is returned if the
                authority has one that can be read, otherwise its own choice.
        """
        answer = await self._post(account, url, None, expect=PEM_CHAIN)
        chosen = read_chain(answer.body, url)
        if preferred_chain is None or chosen.root_name == preferred_chain:
            return chosen
        for place in [target for relation, target in answer.links if relation == "alternate"][:_MAX_ALTERNATES]:
            try:
                target = self._resolve(place, url)
                other = read_chain((await self._post(account, target, None, expect=PEM_CHAIN)).body, target)
            except (ACMEError, FetchError) as error:  # the certificate is there, and counts: no reason to lose it
                _log.warning("Another chain of %s cannot be used: %s", url, error)
                continue
            if other.root_name == preferred_chain:
                return other
        return chosen

    def _resolve(self, place: str, url: str) -> str:
        """Return the target of a header Link, which may be relative (RFC 8288 §3.1)."""
        with suppress(ValueError):  # `check_url` says why
            place = urljoin(url, place)
        return check_url(place, url, allow_http=self._transport.allow_http)

    # --- certificates ---

    async def revoke(
        self, certificate: bytes, *, account: Account | None = None, key: AccountKey | None = None, reason: str | None = None
    ) -> None:
        """Revoke a certificate (§7.6), as the account that may, or by the certificate's own key.

        Args:
            certificate: DER.
            account: The one that ordered it, or one with authorizations for all its names.
            key: The certificate's private key, if there is no account.
            reason: One of `REASONS`.
        """
        if (account is None) == (key is None):
            raise wrong_value("account", "or key must be given, one of them")
        if reason is not None and reason not in REASONS:
            raise wrong_value("reason", f"must be one of {', '.join(REASONS)}, got {reason!r:.40}")
        payload: dict[str, Any] = {"certificate": encode_base64url(certificate)}
        payload |= {} if reason is None else {"reason": REASONS[reason]}
        directory = await self.directory()
        signer = account.key if account is not None else key
        assert signer is not None  # noqa: S101 - checked above
        kid = None if account is None else account.url
        await self._transport.post(directory.revoke_cert, payload, signer, kid=kid, new_nonce=directory.new_nonce, expect=None)

    async def renewal_info(self, certificate: bytes) -> RenewalInfo | None:
        """Return when the authority wants a certificate (DER) renewed (RFC 9773).

        None if this authority has no such information.

        Raises:
            ConfigError: the certificate cannot be named (`ERR_ACME_CERTIFICATE_ID`).
        """
        name = certificate_id(certificate)
        directory = await self.directory()
        if directory.renewal_info is None:
            return None
        answer = await self._transport.get(f"{directory.renewal_info.rstrip('/')}/{name}")
        return read_renewal_info(answer.fields, answer.retry_after)

    # --- what they share ---

    async def _post(
        self,
        account: Account,
        url: str,
        payload: dict[str, Any] | None,
        *,
        expect: str | None = JSON,
        is_repeatable: bool | None = None,
    ) -> Answer:
        directory = await self.directory()
        return await self._transport.post(
            url, payload, account.key, kid=account.url, new_nonce=directory.new_nonce, expect=expect, is_repeatable=is_repeatable
        )

    def _place(self, answer: Answer) -> str:
        """Return the URL of a new resource."""
        if answer.location is None:
            raise invalid_answer(answer.url, "the header Location is missing")
        return check_url(answer.location, answer.url, allow_http=self._transport.allow_http)


def _may_have_arrived(error: ACMEError | FetchError) -> bool:
    """Tell whether a request may have been carried out although its answer was an error.

    A gateway may lose the answer, or replace it. Then it is sent again, and the second one is
    refused: the order is not ready any more (RFC 8555 §7.4).
    """
    return isinstance(error, FetchError) or error.problem == "orderNotReady" or (error.status or 0) >= _SERVER_ERROR
