"""An HTTP client for what tlsio needs from the web itself: certificates of CAs, and ACME later.

HTTP/1.1 is h11's, TLS and connecting are tlsio's. A server may be hostile: the whole exchange is
bounded in time and in bytes, the framing included, and redirects are followed only if asked for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from tlsio.connection.client.dial import connect_tcp
from tlsio.connection.tasks import running_loop
from tlsio.interop.client_tls import ClientTLS
from tlsio.model.checks import check_int, check_seconds
from tlsio.model.errors import FetchError, FetchTimeoutError, TLSError, UsageTypeError, missing_extra

try:
    import h11
except ModuleNotFoundError:
    raise missing_extra("h11", "fetch") from None

from tlsio.interop.http_exchange import Exchange, PlainStream, Response, Step, TLSStream, open_tunnel
from tlsio.interop.http_request import Request, failure, make_request, parse_proxy, parse_url, refusal

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, Unpack

    from tlsio.interop.http_exchange import Stream
    from tlsio.interop.http_request import Headers, Method, Origin, Url
    from tlsio.model.checks import BytesLike
    from tlsio.model.options.connect import ConnectOptionsDict

__all__ = ["Fetcher", "Response", "fetch"]

_TIMEOUT = 30.0  # seconds; Let's Encrypt's client uses 45 for one request, pip 15 for each read
_MAX_BYTES = 1024 * 1024  # far more than any chain of certificates or answer of ACME
_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECT_KEEPS_METHOD = frozenset({307, 308})
# Of the caller's headers, those that another origin may see. All others may be credentials.
_PUBLIC_HEADERS = frozenset({b"accept", b"accept-language", b"user-agent"})
_CONTENT_HEADERS = frozenset({b"content-type", b"content-language", b"content-encoding"})
_DECIDED = {
    "alpn_protocols": "HTTP/1.1 alone is spoken, and http/1.1 is offered.",
    "host": "The URL names the host.",
}


async def fetch(  # noqa: PLR0913 - of the client and of its one request
    url: str,
    *,
    method: Method | None = None,
    headers: Headers = (),
    body: BytesLike | None = None,
    max_bytes: int = _MAX_BYTES,
    max_redirects: int = 0,
    proxy: str | None = None,
    timeout: float | None = _TIMEOUT,
    **options: Unpack[ConnectOptionsDict],
) -> Response:
    """Fetch a URL over a connection of its own. See `Fetcher` and `Fetcher.fetch`."""
    fetcher = Fetcher(proxy=proxy, timeout=timeout, **options)
    return await fetcher.fetch(url, method=method, headers=headers, body=body, max_bytes=max_bytes, max_redirects=max_redirects)


class Fetcher:
    """Fetches URLs of http and https. Requests may overlap.

    As `async with Fetcher(...) as fetcher`, it keeps idle connections for the next request;
    otherwise each request closes its connection.
    """

    def __init__(
        self,
        *,
        proxy: str | None = None,
        proxy_options: ConnectOptionsDict | None = None,
        timeout: float | None = _TIMEOUT,
        **options: Unpack[ConnectOptionsDict],
    ) -> None:
        """Check the options, and load their certificates.

        Args:
            proxy: The URL of a proxy (http or https), with user and password if it needs them. No
                environment variable is read.
            proxy_options: The options of the TLS to a proxy of https.
            timeout: Seconds for one call of `fetch` as a whole, redirects included.
            options: The options of `tlsio.connect`.

        Raises:
            UsageError: a wrong option.
            ConfigError: a certificate or key that cannot be used.
        """
        self._timeout = check_seconds("timeout", timeout)
        self._tls = ClientTLS(options, decided=_DECIDED, protocols=["http/1.1"])
        self._proxy = None if proxy is None else parse_proxy(proxy)
        if proxy_options is not None and (self._proxy is None or self._proxy.url.scheme != "https"):
            raise UsageTypeError("proxy_options= is for a proxy of https alone", code="ERR_INCOMPATIBLE_OPTION_PAIR")
        is_secure_proxy = self._proxy is not None and self._proxy.url.scheme == "https"
        self._proxy_tls = ClientTLS(proxy_options or {}, decided=_DECIDED, protocols=["http/1.1"]) if is_secure_proxy else None
        self._keeps = False
        self._idle: dict[Origin, list[Exchange]] = {}

    async def __aenter__(self) -> Self:
        self._keeps = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        await asyncio.sleep(0)  # close_notify is sent in this pass of the loop

    def close(self) -> None:
        """Close the idle connections, and keep none from now on."""
        self._keeps = False
        for kept in self._idle.values():
            for exchange in kept:
                exchange.close()
        self._idle.clear()

    async def fetch(
        self,
        url: str,
        *,
        method: Method | None = None,
        headers: Headers = (),
        body: BytesLike | None = None,
        max_bytes: int = _MAX_BYTES,
        max_redirects: int = 0,
    ) -> Response:
        """Send one request, and return its response, whatever the status.

        Args:
            url: Of http or https. User and password do not belong there: give a header.
            method: Default: POST if there is a `body`, else GET.
            headers: A mapping or pairs. Host, length and connection are decided here.
            body: The request's content, only for POST.
            max_bytes: A longer response is refused.
            max_redirects: 0: a redirect is a response like any other. Otherwise redirects are
                followed, never from https to http. Another origin gets none of the caller's
                headers except `Accept`, `Accept-Language` and `User-Agent`; a redirect there is
                refused if it would send a body, or this client has a certificate.

        Raises:
            UsageError: a wrong argument.
            FetchError: there is no complete response; the cause (`__cause__`) is an OSError or a
                TLSError if the connection failed.
            FetchTimeoutError: there was none within `timeout`.
            Cancelled: the connection is closed.
        """
        running_loop()
        request = make_request(url, method, headers, body)
        check_int("max_bytes", max_bytes, 0, 2**62)
        check_int("max_redirects", max_redirects, 0, 100)
        step = Step()
        scope = asyncio.timeout(self._timeout)
        try:
            async with scope:
                for _ in range(max_redirects):
                    response = await self._send(request, max_bytes, step)
                    if (following := await self._redirect(request, response)) is None:
                        return response
                    request = following
                response = await self._send(request, max_bytes, step)
        except TimeoutError:  # of this scope: `_send` raises no other
            raise FetchTimeoutError(
                f"No complete response of {request.url.text} within {self._timeout} seconds: {step.name} was not done",
                url=request.url.text,
                host=request.url.host,
                hint="Is the server overloaded, or does a firewall drop the packets? Raise timeout= if it is that slow.",
            ) from None
        if max_redirects and _find_target(request, response) is not None:
            raise refusal(request.url, f"more than {max_redirects} redirects", "ERR_FETCH_REDIRECT")
        return response

    async def get(self, url: str) -> bytes:
        """Return what a URL has: the body of a response with the status 200.

        For `fetch=` of a `CrlCache`, for example. Redirects are not followed.

        Raises:
            UsageError: not a URL of http or https.
            FetchError: as `fetch`; or another status (`ERR_FETCH_STATUS`).
        """
        response = await self.fetch(url)
        if response.status != _OK:
            host = urlsplit(response.url).hostname
            raise FetchError(f"{response.url:.300} has the status {response.status}", url=response.url, host=host, code="ERR_FETCH_STATUS")
        return response.body

    async def _send(self, request: Request, max_bytes: int, step: Step) -> Response:
        """Send a request over a kept connection, or over a new one."""
        try:
            exchange = self._take_idle(request.url.origin)
            if exchange is not None:
                try:
                    return await self._converse(exchange, request, max_bytes, step)
                except (OSError, TLSError, h11.RemoteProtocolError):
                    # The server may close an idle connection at any time. RFC 9110 §9.2.2: a POST
                    # must not be repeated automatically.
                    if exchange.has_received or request.method == "POST":
                        raise
            step.name = "connecting"
            exchange = await self._connect(request.url, step)
            return await self._converse(exchange, request, max_bytes, step)
        except FetchError:
            raise
        except (OSError, TLSError, h11.RemoteProtocolError) as error:
            raise failure(request.url, error) from error

    async def _converse(self, exchange: Exchange, request: Request, max_bytes: int, step: Step) -> Response:
        try:
            response = await exchange.converse(request, max_bytes, step)
        except BaseException:
            exchange.abort()
            raise
        if self._keeps and exchange.start_next():
            self._idle.setdefault(request.url.origin, []).append(exchange)
        else:
            exchange.close()
        return response

    def _take_idle(self, origin: Origin) -> Exchange | None:
        """Return the connection used last that still lives, and close those that do not."""
        for kept in self._idle.values():
            while kept and kept[0].is_old():
                kept.pop(0).close()
        kept = self._idle.get(origin, [])
        while kept:
            exchange = kept.pop()
            if not exchange.stream.has_ended():
                return exchange
            exchange.close()
        return None

    async def _connect(self, url: Url, step: Step) -> Exchange:
        via = self._proxy.url if self._proxy is not None else url
        sock = await connect_tcp(asyncio.get_running_loop(), via.host, via.port, self._tls.options)
        stream: Stream = PlainStream(sock)
        try:
            if self._proxy_tls is not None:
                step.name = "the TLS handshake with the proxy"
                stream = TLSStream(await self._proxy_tls.secure(stream.release(), via.host, via.port))
            if url.scheme == "https":
                if self._proxy is not None:
                    step.name = "the proxy's tunnel"
                    await open_tunnel(stream, url, self._proxy)
                step.name = "the TLS handshake"
                stream = TLSStream(await self._tls.secure(stream.release(), url.host, url.port))
        except BaseException:
            stream.abort()
            raise
        is_forwarded = self._proxy is not None and url.scheme == "http"
        return Exchange(stream, self._proxy if is_forwarded else None)

    async def _redirect(self, request: Request, response: Response) -> Request | None:
        """Return the request that a redirect asks for, None if the response is not one.

        (RFC 9110 §15.4. 301 and 302 change POST to GET, as browsers do.)
        """
        if (url := _find_target(request, response)) is None:
            return None
        keeps = response.status in _REDIRECT_KEEPS_METHOD or request.method == "HEAD"
        headers = request.headers if keeps else tuple(one for one in request.headers if one[0].lower() not in _CONTENT_HEADERS)
        following = Request(url, request.method if keeps else "GET", headers, request.body if keeps else None)
        if url.origin == request.url.origin:
            return following
        if following.body is not None:
            raise refusal(request.url, f"it redirects a body to another origin, {url.text}", "ERR_FETCH_REDIRECT")
        if await self._has_credentials(request.url) or await self._has_credentials(url):
            raise refusal(request.url, f"it redirects a client with a certificate to another origin, {url.text}", "ERR_FETCH_REDIRECT")
        return following._replace(headers=tuple(one for one in headers if one[0].lower() in _PUBLIC_HEADERS))

    async def _has_credentials(self, url: Url) -> bool:
        """Tell whether a server of this URL may learn who this client is from its TLS."""
        options = self._tls.options
        if options.psk_callback is not None:
            return True
        if self._tls.has_source and url.scheme == "http":
            return False
        try:
            context = (await self._tls.find_context(url.host)).options
        except (OSError, TLSError) as error:
            raise failure(url, error) from error
        return context.cert is not None or context.pfx is not None


def _find_target(request: Request, response: Response) -> Url | None:
    """Return where a redirect leads, None if the response is not one."""
    place = response.header("location")
    if response.status not in _REDIRECTS or place is None:
        return None
    try:
        url = parse_url("its target", urljoin(request.url.text, place))
    except ValueError as error:  # a UsageValueError, or urljoin's own
        raise refusal(request.url, f"its redirect cannot be followed: {error!s:.300}", "ERR_FETCH_REDIRECT") from None
    if request.url.scheme == "https" and url.scheme == "http":
        raise refusal(request.url, f"it redirects to {url.text}, which is not encrypted", "ERR_FETCH_REDIRECT")
    return url
