"""Requests to an authority: signed, with a nonce, and repeated where that is safe (RFC 8555 §6)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlsio import __version__
from tlsio.acme.client.fields import Fields
from tlsio.acme.client.nonces import Nonces
from tlsio.acme.client.problem import invalid_answer, read_problem
from tlsio.acme.client.retry_after import read_retry_after
from tlsio.model.codes import UNTRUSTED
from tlsio.model.errors import ACMEError, FetchError
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from tlsio.acme.client.account_key import AccountKey
    from tlsio.interop.fetch import Fetcher, Response

__all__ = ["JSON", "PEM_CHAIN", "Answer", "Transport"]

JSON = "application/json"
PEM_CHAIN = "application/pem-certificate-chain"  # RFC 8555 §9.1
_PROBLEM = "application/problem+json"  # RFC 7807 §6.1
_JOSE = "application/jose+json"  # RFC 8555 §6.2
_MAX_BYTES = 512 * 1024  # of an answer; an order of 100 names has 30 KB, a chain 10
_MAX_BAD_NONCES = 10  # in one call: Pebble refuses one of twenty at random, a busy authority whole series
_PATIENT_NONCES = 3  # refused without a pause
_MAX_FAILURES = 3  # of the network, or answers that the authority is busy, in one call
_FIRST_WAIT = 1.0  # seconds, longer each time
_LONGEST_WAIT = 30.0  # seconds before a request is repeated; after a longer wait the caller decides
_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_MAX_LINKS = 20
_UNTRUSTED = frozenset(one.name for one in UNTRUSTED)
_UNTRUSTED_HINT = (
    "If it is an authority of your own, give the root of its server as ca=, or `tlsio serve --acme-server-ca`. "
    "Otherwise another server may have answered."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer.

    Attributes:
        url: What was requested.
        fields: The JSON; empty unless that was expected.
        body: The bytes.
        location: Where the new resource is.
        links: URLs of the header Link by their relation, such as `("alternate", "https://…")`.
        retry_after: Seconds to wait; None if the authority does not say.
    """

    url: str
    status: int
    fields: Fields
    body: bytes
    location: str | None
    links: tuple[tuple[str, str], ...]
    retry_after: float | None


class Transport:
    """Sends requests to one authority. Calls may overlap."""

    def __init__(
        self, fetcher: Fetcher, *, allow_http: bool, clock: Callable[[], datetime], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        """Take the HTTP client; `allow_http` permits URLs of plain http."""
        self.allow_http = allow_http
        self._fetcher = fetcher
        self._clock = clock
        self._sleep = sleep
        self._nonces = Nonces()

    async def get(self, url: str) -> Answer:
        """Fetch JSON without a signature.

        Raises:
            ACMEError: the authority refused, or its answer cannot be used.
            FetchError: there was no answer.
        """
        patience = _Patience(is_repeatable=True)
        while True:
            try:
                response = await self._fetch(url, None)
                return self._read(response, JSON)
            except (ACMEError, FetchError) as error:
                await self._wait(patience, error)

    async def post(  # noqa: PLR0913 - what is signed, with which key, and what comes back
        self,
        url: str,
        payload: Mapping[str, Any] | None,
        key: AccountKey,
        *,
        kid: str | None = None,
        new_nonce: str,
        expect: str | None = JSON,
        is_repeatable: bool | None = None,
    ) -> Answer:
        """Send a signed request.

        Args:
            url: Where to.
            payload: None for a POST-as-GET.
            key: Signs.
            kid: The account's URL; None: the request has the public key itself.
            new_nonce: The URL that gives nonces.
            expect: The content type of success; None: there may be no content.
            is_repeatable: The request may be sent again if it is not known whether the first one
                arrived. Default: only a POST-as-GET.

        Raises:
            ACMEError: the authority refused, or its answer cannot be used.
            FetchError: there was no answer.
        """
        patience = _Patience(is_repeatable=payload is None if is_repeatable is None else is_repeatable)
        while True:
            nonce = self._nonces.take() or await self._fetch_nonce(new_nonce)
            try:
                body = json.dumps(key.sign(url, payload, kid=kid, nonce=nonce)).encode("ascii")
                response = await self._fetch(url, body)
                if response.status >= 300:  # noqa: PLR2004 - not a success
                    self._nonces.forget()  # those of before: a refusal for its nonce has a fresh one
                self._nonces.keep(response.header("replay-nonce"))
                return self._read(response, expect)
            except (ACMEError, FetchError) as error:
                await self._wait(patience, error)

    async def _fetch_nonce(self, url: str) -> str:
        patience = _Patience(is_repeatable=True)
        while True:
            try:
                response = await self._fetch(url, None, method="HEAD")
                self._read(response, None)
                if not self._nonces.keep(response.header("replay-nonce")):
                    raise invalid_answer(url, "it has no valid Replay-Nonce")
                nonce = self._nonces.take()
                assert nonce is not None  # noqa: S101 - kept above, without a pause of the loop
            except (ACMEError, FetchError) as error:
                await self._wait(patience, error)
            else:
                return nonce

    async def _fetch(self, url: str, body: bytes | None, *, method: Any = None) -> Response:
        headers = {"User-Agent": f"tlsio/{__version__}", "Accept-Language": "en"}
        if body is not None:
            headers["Content-Type"] = _JOSE
        try:
            return await self._fetcher.fetch(url, method=method, headers=headers, body=body, max_bytes=_MAX_BYTES)
        except FetchError as error:
            if error.code not in _UNTRUSTED:
                raise
            # The handshake's hint is about servers and clients of the user, not about authorities.
            raise FetchError(error.message, url=error.url, host=error.host, code=error.code, hint=_UNTRUSTED_HINT) from error.__cause__

    async def _wait(self, patience: _Patience, error: ACMEError | FetchError) -> None:
        """Wait before another try, or raise the error if there should be none."""
        wait = patience.wait_after(error)
        if wait is None:
            raise error
        await self._sleep(wait)

    def _read(self, response: Response, expect: str | None) -> Answer:
        """Return a success, and raise anything else."""
        retry_after = read_retry_after(response.header("retry-after"), response.header("date"), self._clock())
        kind = (response.header("content-type") or "").partition(";")[0].strip().lower()
        url = response.url
        if 300 <= response.status < 400:  # noqa: PLR2004
            where = printable(response.header("location") or "nowhere", 200)
            raise ACMEError(
                f"{url} redirects to {where}, which is not followed",
                code="ERR_ACME_REDIRECT",
                hint="Signed requests are for one address only: give the directory's own.",
                status=response.status,
                url=url,
            )
        if not 200 <= response.status < 300:  # noqa: PLR2004
            raise _refusal(response, kind, retry_after)
        if expect is not None and kind != expect:
            raise invalid_answer(url, f"its content type is {printable(kind, 80) or 'missing'}, not {expect}", status=response.status)
        fields = (
            Fields.parse(response.body, url, allow_http=self.allow_http) if expect == JSON else Fields({}, url, allow_http=self.allow_http)
        )
        links = tuple(_read_links(response))
        return Answer(url, response.status, fields, response.body, response.header("location"), links, retry_after)


@dataclass
class _Patience:
    """How often one call may fail before its error counts."""

    is_repeatable: bool
    bad_nonces: int = 0
    failures: int = 0

    def wait_after(self, error: ACMEError | FetchError) -> float | None:
        """Return the seconds until the next try; None if there should be none."""
        if isinstance(error, ACMEError) and error.problem == "badNonce":
            self.bad_nonces += 1
            if self.bad_nonces >= _MAX_BAD_NONCES:
                return None
            return 0.0 if self.bad_nonces <= _PATIENT_NONCES else _FIRST_WAIT
        is_transient = self.is_repeatable if isinstance(error, FetchError) else error.status in _TRANSIENT
        self.failures += 1
        if not is_transient or self.failures >= _MAX_FAILURES:
            return None
        own = self.failures * _FIRST_WAIT
        if not isinstance(error, ACMEError):
            return own
        if error.status == 429 and error.retry_after is None:  # noqa: PLR2004 - a limit that passes in seconds would say so
            return None
        wait = max(own, error.retry_after or 0.0)
        return wait if wait <= _LONGEST_WAIT else None


def _refusal(response: Response, kind: str, retry_after: float | None) -> ACMEError:
    what = f"{printable(response.url)} refused"
    if kind in {_PROBLEM, JSON}:
        try:
            document = json.loads(response.body)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict) and isinstance(document.get("type"), str):
            return read_problem(document, what, status=response.status, retry_after=retry_after, url=response.url)
    return ACMEError(
        f"{what} with the status {response.status}, and without a problem document",
        code="ERR_ACME_STATUS",
        hint="Another server may have answered, such as a proxy; or the address is wrong.",
        status=response.status,
        retry_after=retry_after,
        url=response.url,
    )


def _read_links(response: Response) -> list[tuple[str, str]]:
    """Return relation and URL of each Link (RFC 8288), in the form that authorities send."""
    found = []
    for value in [value for name, value in response.headers if name == "link"][:_MAX_LINKS]:
        for one in value.split(",")[:_MAX_LINKS]:
            target, _, parameters = one.strip().partition(">")
            relation = next((p.strip()[4:].strip('"') for p in parameters.split(";") if p.strip().lower().startswith("rel=")), None)
            if target.startswith("<") and relation is not None:
                found.append((relation.lower(), target[1:]))
    return found[:_MAX_LINKS]
