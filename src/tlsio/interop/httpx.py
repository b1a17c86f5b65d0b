"""httpx over tlsio: `httpx.AsyncClient(transport=Transport(...))`.

httpx's own transport gives httpcore an `ssl.SSLContext` and nothing else (httpx 0.28.1,
_transports/default.py:297). But `httpx.AsyncClient` takes a whole transport, and httpcore, which
makes the connections, takes a network backend (httpcore 1.0.9, _async/connection_pool.py:60), whose
streams do TLS in `start_tls`. So HTTP is httpcore's and TLS is ours, also through proxies. httpcore
passes an `ssl_context` to `start_tls` and calls only `set_alpn_protocols` of it
(_async/connection.py:147, _async/http_proxy.py:308, _async/socks_proxy.py:257); `_TLSContext` is
passed there.
"""

from __future__ import annotations

import asyncio
import select
import socket as _socket
import warnings
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import httpcore
import httpx

from tlsio.connection.asyncio_face.extra_info import find_extra_info
from tlsio.connection.client.dial import connect_path, connect_tcp
from tlsio.connection.tasks import running_loop
from tlsio.interop.client_tls import ClientTLS
from tlsio.model.errors import TLSError, UsageTypeError, UsageValueError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self, Unpack

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.model.options.connect import ConnectOptions, ConnectOptionsDict

__all__ = ["Transport"]

_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0)  # as httpx's own transport
_DECIDED = {
    "alpn_protocols": "http1= and http2= decide which protocols are offered.",
    "host": "The URL of each request names the host.",
    "timeout": "timeout= of httpx.AsyncClient bounds connecting, reading and writing.",
}


class Transport(httpx.AsyncBaseTransport):
    """A transport for `httpx.AsyncClient` whose TLS is tlsio's.

    Errors are httpx's; the cause of one (`__cause__`) is the error of tlsio. The TLSSocket of a
    response is `response.extensions["network_stream"].get_extra_info("tls_socket")`.
    """

    def __init__(  # noqa: PLR0913 - those of httpx.AsyncHTTPTransport
        self,
        *,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits = _LIMITS,
        proxy: httpx.Proxy | httpx.URL | str | None = None,
        proxy_options: ConnectOptionsDict | None = None,
        uds: str | None = None,
        retries: int = 0,
        **options: Unpack[ConnectOptionsDict],
    ) -> None:
        """Check the options, and load their certificates.

        Args:
            http1: Whether HTTP/1.1 is offered.
            http2: Whether HTTP/2 is offered, by ALPN; it needs the package h2.
            limits: As in httpx.
            proxy: The URL of a proxy (http, https, socks5), or an `httpx.Proxy` with credentials
                or headers.
            proxy_options: The options of the TLS to a proxy of https.
            uds: The path of a Unix socket to connect to, whatever the URL's host.
            retries: How often a failed connection is tried again.
            options: The options of `tlsio.connect`.

        Raises:
            UsageError: a wrong option.
            ConfigError: a certificate or key that cannot be used.
        """
        context = _TLSContext(options, ["h2"] * http2 + ["http/1.1"] * http1)
        backend = _Backend(context.tls.options)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context.as_ssl(),
            proxy=None if proxy is None else _describe_proxy(proxy, proxy_options),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            uds=uds,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, as httpx's own transport does.

        Raises:
            UsageStateError: asyncio does not run, but trio, for example.
        """
        running_loop()
        url = request.url
        with _httpx_errors():
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions)

    async def aclose(self) -> None:
        """Close all connections."""
        with _httpx_errors():
            await self._pool.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None = None, error: BaseException | None = None, trace: TracebackType | None = None
    ) -> None:
        await self.aclose()


def _describe_proxy(given: httpx.Proxy | httpx.URL | str, options: ConnectOptionsDict | None) -> httpcore.Proxy:
    try:
        proxy = given if isinstance(given, httpx.Proxy) else httpx.Proxy(given)
    except (ValueError, httpx.InvalidURL):  # its text may have parts of a password
        raise _wrong_proxy() from None
    if proxy.url.path not in {"", "/"} or proxy.url.query or proxy.url.fragment:
        raise _wrong_proxy()
    is_https = proxy.url.scheme == "https"
    if proxy.ssl_context is not None or (options is not None and not is_https):
        raise UsageTypeError(
            "proxy_options= is for a proxy of https alone" if proxy.ssl_context is None else "An SSLContext cannot be used here",
            hint="proxy_options= takes the options of the TLS to a proxy whose URL begins with https.",
        )
    return httpcore.Proxy(
        httpcore.URL(scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=proxy.url.raw_path),
        auth=proxy.raw_auth,
        headers=proxy.headers.raw,
        ssl_context=_TLSContext(options or {}, ["http/1.1"]).as_ssl() if is_https else None,
    )


def _wrong_proxy() -> UsageValueError:
    return UsageValueError(
        "proxy= must be a URL of http, https or socks5 with a host and without a path, such as http://user:password@host:3128",
        hint="Percent-encode special characters of the user and the password: urllib.parse.quote(password, safe='').",
    )


class _Body(httpx.AsyncByteStream):
    """The body of a response."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors():
            async for part in self._response.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """Raise httpcore's errors as httpx's, which have the same names, caused by the error of tlsio.

    httpcore removes the cause of its errors, `raise exc from None` (_async/connection_pool.py:256);
    the context stays.
    """
    try:
        yield
    except Exception as error:
        for kind in type(error).__mro__:
            made: Any = getattr(httpx, kind.__name__, None)
            if kind.__module__ == "httpcore" and made is not None:
                raise made(str(error)) from error.__cause__ or error.__context__ or error
        raise


# --- what httpcore takes for its network and for an SSLContext ---


class _TLSContext:
    """Our TLS, in the place of an `ssl.SSLContext`: that of the pool, or that of its proxy."""

    def __init__(self, options: Mapping[str, Any], protocols: Sequence[str]) -> None:
        self.tls = ClientTLS(options, decided=_DECIDED, protocols=protocols)

    def set_alpn_protocols(self, _protocols: Sequence[str]) -> None:
        """Ignore httpcore's list, which names http/1.1 first, and also if http1=False."""

    def as_ssl(self) -> ssl.SSLContext:
        return cast("ssl.SSLContext", self)


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects by TCP or to a Unix socket, with the options of `tlsio.connect` about that."""

    def __init__(self, options: ConnectOptions) -> None:
        self._options = options

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None, socket_options: Any = None
    ) -> httpcore.AsyncNetworkStream:
        async with _bounded(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            return _PlainStream(await connect_tcp(asyncio.get_running_loop(), host.strip("[]"), port, self._options))

    async def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Any = None) -> httpcore.AsyncNetworkStream:
        async with _bounded(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            return _PlainStream(await connect_path(asyncio.get_running_loop(), path))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _PlainStream(httpcore.AsyncNetworkStream):
    """A connection before TLS: for a proxy's CONNECT, and for URLs of http."""

    def __init__(self, sock: _socket.socket) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        async with _bounded(timeout, httpcore.ReadTimeout, httpcore.ReadError):
            return await self._loop.sock_recv(self._socket, max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        async with _bounded(timeout, httpcore.WriteTimeout, httpcore.WriteError):
            await self._loop.sock_sendall(self._socket, buffer)

    async def aclose(self) -> None:
        self._socket.close()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return await _start_tls(self._socket, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        find = _PLAIN_FACTS.get(info)
        return None if find is None else find(self._socket)


def _is_readable(sock: _socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


_PLAIN_FACTS: Mapping[str, Callable[[_socket.socket], Any]] = {
    "client_addr": lambda sock: sock.getsockname(),
    "server_addr": lambda sock: sock.getpeername(),
    "socket": lambda sock: sock,
    "is_readable": _is_readable,
}


class _TLSStream(httpcore.AsyncNetworkStream):
    """A connection with TLS."""

    def __init__(self, sock: TLSSocket) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._is_owner = True  # until another TLS runs in this one
        self._ahead = b""  # what `_is_readable` has read

    def __del__(self) -> None:
        # httpcore forgets streams: that of a connection in which a request was cancelled or timed
        # out during a handshake, or in HTTP/2 (httpcore 1.0.9). The reactor keeps an open socket,
        # so the garbage collector, which may run in any thread, must end it.
        if not self._is_owner or self._socket.closed or self._loop.is_closed():
            return
        warnings.warn(f"unclosed {self._socket!r}", ResourceWarning, stacklevel=1, source=self)
        with suppress(RuntimeError):  # the loop was closed meanwhile, which closes the descriptor
            self._loop.call_soon_threadsafe(_end_forgotten, self._socket)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:max_bytes], self._ahead[max_bytes:]
            return data
        async with _bounded(timeout, httpcore.ReadTimeout, httpcore.ReadError):
            return await self._socket.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            async with _bounded(timeout, httpcore.WriteTimeout, httpcore.WriteError):
                await self._socket.send(buffer)

    async def aclose(self) -> None:
        """Send close_notify, and close without waiting for the peer.

        httpcore calls this for idle connections, and for those of cancelled requests, whose peers
        may still be sending.
        """
        self._socket.end()
        try:
            await asyncio.sleep(0)  # close_notify is sent in this pass of the loop
        finally:
            self._socket.destroy()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        self._is_owner = False
        return await _start_tls(self._socket, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._is_readable()
        return find_extra_info(self._socket, _NAMES.get(info, info), None)

    def _is_readable(self) -> bool:
        """Tell whether a read would return at once: httpcore then drops an idle connection."""
        reading = self._socket.read()
        try:
            cast("Any", reading).send(None)
        except StopIteration as end:
            self._ahead += end.value
            return True
        except TLSError:
            return True
        reading.close()  # it would wait; a read that ends early loses nothing
        return False


def _end_forgotten(sock: TLSSocket) -> None:
    sock.end()
    asyncio.get_running_loop().call_soon(sock.destroy)  # after close_notify was sent


_NAMES = {"client_addr": "sockname", "server_addr": "peername"}


async def _start_tls(
    stream: _socket.socket | TLSSocket, ssl_context: ssl.SSLContext, server_hostname: str | None, timeout: float | None
) -> _TLSStream:
    context = cast("_TLSContext", ssl_context)
    try:
        async with _bounded(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            return _TLSStream(await context.tls.secure(stream, (server_hostname or "").strip("[]"), _port_of(stream)))
    except BaseException:  # httpcore closes the stream after some errors only
        if isinstance(stream, _socket.socket):
            stream.close()
        else:
            stream.destroy()
        raise


def _port_of(stream: _socket.socket | TLSSocket) -> int | None:
    if not isinstance(stream, _socket.socket):
        return stream.remote_port
    with suppress(OSError):  # it was reset
        name = stream.getpeername()
        return name[1] if isinstance(name, tuple) else None
    return None


@asynccontextmanager
async def _bounded(
    seconds: float | None, timed_out: type[httpcore.TimeoutException], failed: type[httpcore.NetworkError]
) -> AsyncIterator[None]:
    """Raise `timed_out` after `seconds`, and a failure of the connection as `failed`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise timed_out(str(error)) from error
    except (TLSError, OSError, UnicodeError) as error:  # the last: the URL's host is not a host name
        raise failed(str(error)) from error
