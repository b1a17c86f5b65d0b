"""aiohttp's client over tlsio: `aiohttp.ClientSession(connector=Connector(...))`.

aiohttp has no public place for another TLS: its `ssl=` takes an `ssl.SSLContext`, a Fingerprint or
a bool (aiohttp 3.14.5, connector.py:987), and the connector passes it to `create_connection` of the
loop (connector.py:1337) and, in a proxy's tunnel, to `start_tls` (connector.py:1492). So
`Connector` overrides the three methods of `aiohttp.TCPConnector` around these calls. They are
private: tests/interop/test_http_clients.py fails if aiohttp calls them differently.
"""

from __future__ import annotations

import asyncio
import errno
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs
import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import ceil_timeout

from tlsio.connection.asyncio_face.transport import TLSTransport
from tlsio.connection.client.dial import FAMILIES, set_options
from tlsio.interop.client_tls import ClientTLS
from tlsio.model.errors import CertificateError, TLSError, UsageTypeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from aiohttp import ClientRequest, ClientTimeout
    from aiohttp.abc import AbstractResolver

    from tlsio.model.options.connect import ConnectOptionsDict

__all__ = ["Connector"]

_DECIDED = {
    "alpn_protocols": "aiohttp's client speaks HTTP/1.1 alone, and http/1.1 is offered.",
    "host": "The URL of each request names the host.",
    "timeout": "timeout= of aiohttp.ClientSession bounds connecting, reading and writing.",
}


class Connector(aiohttp.TCPConnector):
    """A connector for `aiohttp.ClientSession` whose TLS is tlsio's.

    Errors are aiohttp's; the cause of one (`__cause__`) is the error of tlsio. The TLSSocket of a
    response is `response.connection.transport.get_extra_info("tls_socket")`, as long as its body is
    not complete: that of a small body already is when aiohttp returns the response.
    """

    def __init__(  # noqa: PLR0913 - those of aiohttp.TCPConnector
        self,
        *,
        limit: int = 100,
        limit_per_host: int = 0,
        keepalive_timeout: float | None = 15.0,
        force_close: bool = False,
        resolver: AbstractResolver | None = None,
        use_dns_cache: bool = True,
        ttl_dns_cache: int | None = 10,
        proxy_options: ConnectOptionsDict | None = None,
        **options: Unpack[ConnectOptionsDict],
    ) -> None:
        """Check the options, and load their certificates.

        Args:
            limit: As in aiohttp, like the next six.
            limit_per_host: As in aiohttp.
            keepalive_timeout: As in aiohttp; None if `force_close` is set.
            force_close: As in aiohttp.
            resolver: As in aiohttp.
            use_dns_cache: As in aiohttp.
            ttl_dns_cache: As in aiohttp.
            proxy_options: The options of the TLS to proxies of https.
            options: The options of `tlsio.connect`.

        Raises:
            UsageError: a wrong option.
            ConfigError: a certificate or key that cannot be used.
        """
        self._tls = ClientTLS(options, decided=_DECIDED, protocols=["http/1.1"])
        self._proxy_tls = None if proxy_options is None else _for_proxy(proxy_options)
        own = self._tls.options
        any_address = "::" if own.family == 6 else "0.0.0.0"  # noqa: PLR2004, S104
        is_bound = own.local_address is not None or own.local_port is not None
        super().__init__(
            limit=limit,
            limit_per_host=limit_per_host,
            force_close=force_close,
            resolver=resolver,
            use_dns_cache=use_dns_cache,
            ttl_dns_cache=ttl_dns_cache,
            family=FAMILIES[own.family],
            local_addr=(own.local_address or any_address, own.local_port or 0) if is_bound else None,
            keepalive_timeout=None if force_close else keepalive_timeout,
        )
        self._factory = partial(_Protocol, loop=self._loop)  # type: ignore[assignment]  # a subclass of aiohttp's
        # With 0, aiohttp's default, closing a session aborts connections, without close_notify.
        self._ssl_shutdown_timeout = None

    # ---- what aiohttp calls

    def _get_ssl_context(self, req: ClientRequest) -> Any:
        """Return anything but None for TLS; what aiohttp would make is not needed."""
        if not req.is_ssl():
            return None
        if req.ssl is not True:
            raise UsageTypeError(
                "ssl= of a request cannot be used with this connector",
                hint="Give the connector the options of tlsio.connect instead: ca=, pins=, cert= and key=, reject_unauthorized=False.",
            )
        if req.server_hostname is not None and self._tls.options.servername is not None:
            raise UsageTypeError(
                "server_hostname= of a request cannot be used with servername= of the connector",
                code="ERR_INCOMPATIBLE_OPTION_PAIR",
                hint="Both name the server to expect. Leave one out.",
            )
        return self._tls

    async def _create_connection(self, req: ClientRequest, *args: Any, **kwargs: Any) -> ResponseHandler:
        """Refuse options of the request before anything is connected, a proxy too."""
        self._get_ssl_context(req)
        return await super()._create_connection(req, *args, **kwargs)

    async def _wrap_create_connection(
        self,
        *args: Any,
        addr_infos: Any,
        req: ClientRequest,
        timeout: ClientTimeout,
        client_error: type[Exception] = aiohttp.ClientConnectorError,
        **kwargs: Any,
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        """Connect to one of the addresses, and do the handshake if the URL is of https."""
        with _aiohttp_errors(req, client_error):
            async with ceil_timeout(timeout.sock_connect, ceil_threshold=timeout.ceil_threshold):
                sock = await aiohappyeyeballs.start_connection(
                    addr_infos=addr_infos,
                    local_addr_infos=self._local_addr_infos,
                    happy_eyeballs_delay=self._happy_eyeballs_delay,
                    interleave=self._interleave,
                    loop=self._loop,
                )
                set_options(sock, self._tls.options)
                if kwargs["ssl"] is None:
                    return await self._loop.create_connection(self._factory, sock=sock)
                # aiohttp passes this class for the connection to a proxy.
                tls = self._find_proxy_tls() if client_error is aiohttp.ClientProxyConnectionError else self._tls
                return await _secure(tls, sock, kwargs["server_hostname"], req, self._factory)

    def _find_proxy_tls(self) -> ClientTLS:
        """Return the TLS to proxies, which is made on first use: most clients need none."""
        if self._proxy_tls is None:
            self._proxy_tls = _for_proxy({})
        return self._proxy_tls

    async def _start_tls_connection(
        self,
        underlying_transport: asyncio.Transport,
        req: ClientRequest,
        timeout: ClientTimeout,
        client_error: type[Exception] = aiohttp.ClientConnectorError,
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        """Do the handshake within a proxy's tunnel."""
        self._get_ssl_context(req)
        reader = asyncio.StreamReader(loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        underlying_transport.set_protocol(protocol)
        protocol.connection_made(underlying_transport)
        underlying_transport.resume_reading()
        stream = (reader, asyncio.StreamWriter(underlying_transport, protocol, reader, self._loop))
        with _aiohttp_errors(req, client_error):
            async with ceil_timeout(timeout.sock_connect, ceil_threshold=timeout.ceil_threshold):
                return await _secure(self._tls, stream, req.server_hostname or req.host, req, self._factory)


def _for_proxy(options: ConnectOptionsDict) -> ClientTLS:
    return ClientTLS(options, decided=_DECIDED, protocols=["http/1.1"])


class _Protocol(ResponseHandler):
    """aiohttp's protocol, to which the errors of TLS are errors of the connection.

    For aiohttp only an OSError is one: it would raise others as they are. It would also not report
    a truncation of a body that the end of the connection ends (client_proto.py:148).
    """

    def connection_lost(self, exc: BaseException | None) -> None:
        payload = self._payload
        fails = isinstance(exc, TLSError) and payload is not None and not payload.is_eof()
        if fails:
            _fail(payload, exc)  # wakes a read before aiohttp ends the body
        super().connection_lost(exc)
        if fails:
            _fail(payload, exc)  # aiohttp has replaced the exception by one without our cause

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        if isinstance(exc, TLSError):
            super().set_exception(aiohttp.ClientOSError(errno.EPROTO, str(exc)), exc)
        else:
            super().set_exception(exc, *cause)


def _fail(payload: Any, error: BaseException | None) -> None:
    payload.set_exception(aiohttp.ClientPayloadError(f"Response payload is not completed: {error}"), error)


async def _secure(tls: ClientTLS, stream: Any, host: str | None, req: ClientRequest, factory: Any) -> tuple[TLSTransport, ResponseHandler]:
    made = await tls.secure(stream, host or "", req.port)
    protocol = factory()
    return TLSTransport(made, protocol), protocol


@contextmanager
def _aiohttp_errors(req: ClientRequest, client_error: type[Exception]) -> Iterator[None]:
    """Raise an error as aiohttp's connector does, caused by the error of tlsio."""
    key = req.connection_key
    try:
        yield
    except TimeoutError as error:
        if isinstance(error, TLSError) or error.errno is None:  # the session raises its own error from it
            raise
        raise client_error(key, error) from error
    except CertificateError as error:
        raise aiohttp.ClientConnectorCertificateError(key, error) from error
    except TLSError as error:
        raise aiohttp.ClientConnectorSSLError(key, OSError(errno.EPROTO, str(error))) from error
    except OSError as error:
        raise client_error(key, error) from error
