"""The HTTPS server: an application, a TLS server, and their start and end."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from tlsio.connection.server.server import Server as TLSServer
from tlsio.connection.server.server import entries_of
from tlsio.https.applications.application import Config, load
from tlsio.https.applications.lifespan import Lifespan
from tlsio.https.applications.wsgi import DEFAULT_THREADS, MOST_THREADS
from tlsio.https.layers.access_log import AccessLog
from tlsio.https.layers.audit import Audit
from tlsio.https.layers.host_check import HostCheck
from tlsio.https.layers.hsts import HSTS, hsts_layer
from tlsio.https.layers.metrics import Metrics
from tlsio.https.limits import Limits
from tlsio.https.plain_http.redirect import RedirectServer, check_status
from tlsio.https.protocols.service import Service
from tlsio.https.proxy.listener import ProxyListener, check_forwarded
from tlsio.https.tls.context import complete
from tlsio.model.checks import (
    check_bool,
    check_choice,
    check_host,
    check_int,
    check_port,
    check_seconds,
    check_text,
    wrong_type,
    wrong_value,
)
from tlsio.model.errors import ConfigError, UsageStateError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Literal, Self, Unpack

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.https.applications.application import Interface
    from tlsio.https.asgi import App
    from tlsio.https.protocols.connection import Layer
    from tlsio.https.tls.acme import ACME
    from tlsio.https.tls.automatic import Automatic
    from tlsio.model.options.server import ServerOptionsDict

__all__ = ["INTERMEDIATE_CIPHERS", "PROTOCOLS", "Server"]

_log = logging.getLogger("tlsio.https")

# Mozilla's intermediate set, version 5.7 (2023): suites of TLS 1.2 with forward secrecy and AEAD.
INTERMEDIATE_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:"
    "DHE-RSA-CHACHA20-POLY1305"
)
_PLAIN_TEXT = b"This port speaks HTTPS: the address has to begin with https://.\n"
_PLAIN_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
    % (len(_PLAIN_TEXT), _PLAIN_TEXT)
)
PROTOCOLS = ("h2", "http/1.1")
_HOST, _PORT = "localhost", 8443
_CONTEXT_DEFAULTS: dict[str, Any] = {"alpn_protocols": PROTOCOLS, "ciphers": INTERMEDIATE_CIPHERS}


class Server:
    """Serves an application over HTTPS, in the caller's loop.

    Attributes:
        tls_server: The TLS server: contexts, ticket keys, statistics and events.
        metrics: Its metrics; None without `metrics=`.
        redirect_server: That of plain HTTP; None without `redirect_port`.
        automatic: The certificates of `acme=`, whose `manager` tells about them; None without it.
    """

    def __init__(  # noqa: PLR0913  (all but one are keyword-only)
        self,
        app: App | str | os.PathLike[str],
        *,
        limits: Limits | None = None,
        lifespan: Literal["auto", "on", "off"] = "auto",
        interface: Interface = "auto",
        wsgi_threads: int = DEFAULT_THREADS,
        root_path: str = "",
        graceful_timeout: float | None = 30.0,
        hsts: HSTS | bool | None = None,
        redirect_port: int | None = None,
        redirect_host: str | None = None,
        redirect_status: Literal[301, 308] = 308,
        strict_host: bool = False,
        access_log: Literal["text", "json"] | None = None,
        metrics: tuple[str, int] | Literal[True] | None = None,
        proxy_protocol: Sequence[str] = (),
        forwarded_allow_ips: Sequence[str] = (),
        acme: ACME | None = None,
        **options: Unpack[ServerOptionsDict],
    ) -> None:
        """Load the application, and check the options.

        Args:
            app: An ASGI or WSGI application, a function that makes one, "module:name" of either, or
                a folder.
            limits: What strangers may use.
            lifespan: Whether the application is told of start and end; "auto": if it wants to be.
            interface: What the application is; "auto" looks at it.
            wsgi_threads: The number of requests at a time that a WSGI application handles.
            root_path: The path below which a proxy has mounted the server.
            graceful_timeout: Seconds in which `stop` lets requests finish, and then again the
                application; None: no limit.
            hsts: Send Strict-Transport-Security; True: for a year, without subdomains.
            redirect_port: Redirect plain HTTP from this port, such as 80; 0 chooses a free one.
            redirect_host: The address of that port. Default: that of HTTPS.
            redirect_status: 308, or 301, which old clients know.
            strict_host: Answer 421 to each request whose host is not the server name (SNI) of its
                connection, nor an address. Without it, 421 is for hosts whose entry asks for other
                client certificates than that of the connection.
            access_log: Log each request: as uvicorn does, or in JSON with facts about TLS.
            metrics: The address and port of an HTTP server of its own for Prometheus (`/metrics`)
                and health checks (`/health`). Anyone who reaches it can read it. True: count, for
                a program that serves `server.metrics.registry` itself.
            proxy_protocol: Addresses and networks of TCP proxies in front of this server, whose
                connections begin with a PROXY protocol header (version 1 or 2). All others are
                refused then.
            forwarded_allow_ips: Addresses and networks of HTTP proxies whose `X-Forwarded-For` and
                `X-Forwarded-Proto` are believed; ("*",): of everyone. Other clients can send these
                headers too, so by default nothing is believed.
            acme: Obtain the certificates from an authority, and renew them. It looks at this server
                from port 443, or from port 80 if there is a `redirect_port`.
            options: Those of `tlsio.create_server`: certificates, client certificates and so on.

        Raises:
            UsageError: a wrong option.
            OSError: a file that `acme` names cannot be read.
            ConfigError: the application cannot be imported, or a certificate cannot be used.
        """
        self._limits = Limits() if limits is None else limits
        if not isinstance(self._limits, Limits):
            raise wrong_type("limits", "a Limits", limits, hint="Write Limits(max_body_bytes=...).")
        self._graceful_timeout = check_seconds("graceful_timeout", graceful_timeout)
        check_choice("lifespan", lifespan, ("auto", "on", "off"))
        check_int("wsgi_threads", wsgi_threads, 1, MOST_THREADS)
        check_status(redirect_status)
        if redirect_port is not None:
            check_port("redirect_port", redirect_port)
        if redirect_host is not None:
            check_host("redirect_host", redirect_host)
        self._config = Config(
            load(app, interface, wsgi_threads=wsgi_threads), ws="websockets-sansio", lifespan=lifespan, root_path=_check_root_path(root_path), log_config=None,
            proxy_headers=bool(forwarded_allow_ips), forwarded_allow_ips=check_forwarded(forwarded_allow_ips), server_header=False, timeout_keep_alive=self._limits.keep_alive_timeout or _NEVER,
        )  # fmt: skip
        given: dict[str, Any] = {"plain_http_answer": _PLAIN_ANSWER, **options, "allow_half_open": True}
        self.automatic = None if acme is None else _automatic(acme, given, has_http=redirect_port is not None)
        if given.get("secure_context") is None:
            given = {**_CONTEXT_DEFAULTS, **given}
        else:
            given["secure_context"] = complete(given["secure_context"], _CONTEXT_DEFAULTS)
        self._source = given.get("secure_context")
        self.tls_server = TLSServer(self._accept, **given)
        self._proxied = ProxyListener.of(self.tls_server, proxy_protocol, given)
        self.metrics = None if metrics is None else Metrics(self.tls_server, metrics, self.automatic)
        watchers = [one for one in (None if access_log is None else AccessLog(access_log), self.metrics) if one is not None]
        self._refusal_watchers = [one.refused for one in watchers]
        self._layers: list[Layer] = [one.layer for one in watchers]  # the outermost first
        if (wanted := HSTS.parse(hsts)) is not None:
            self._layers.append(hsts_layer(wanted))
        self._layers.append(HostCheck(entries_of(self.tls_server), strict=check_bool("strict_host", strict_host)))
        answer = None if self.automatic is None else self.automatic.http01.answer
        self.redirect_server = None if redirect_port is None else RedirectServer(status=redirect_status, answer=answer)
        self._redirect_at = redirect_host, redirect_port or 0
        self._audit = Audit(self.tls_server)
        self._service: Service | None = None
        self._starting: Lifespan | None = None  # while `start` runs
        self._stop_wanted = False
        self._cleanup: AsyncExitStack | None = None  # what a running server has to undo
        self._stopping: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._stopped.set()

    def _accept(self, tls_socket: TLSSocket) -> None:
        if self._service is None:  # a handshake that outlived a failed start
            tls_socket.destroy()
            return
        self._audit.opened(tls_socket)
        self._service.accept(tls_socket)

    async def check(self) -> None:
        """Check what `start` would need, without listening: the application, the certificates.

        Raises:
            ConfigError: one cannot be used.
            OSError: a file cannot be read.
        """
        self._load()
        if self.automatic is not None:
            await self.automatic.check()
        elif (start := getattr(self._source, "start", None)) is not None:
            await start()

    def _load(self) -> None:
        if not self._config.loaded:
            self._config.load()

    async def start(self, host: str | None = _HOST, port: int | None = _PORT, **listening: Any) -> Self:
        """Start the application and accept connections.

        If it raises or is cancelled, the application is stopped and nothing is left open.

        Args:
            host: A name or address of this machine; None: all.
            port: 0 chooses a free one.
            listening: The other arguments of `tlsio.Server.listen`; `path` and `sock` replace host
                and port.

        Raises:
            UsageStateError: the server runs, or `stop` was called during this call.
            ConfigError: the application refused to start, or raised.
            OSError: the address cannot be used.
        """
        if (listening.get("path") or listening.get("sock")) is not None and (host, port) == (_HOST, _PORT):
            host = port = None
        if not self._stopped.is_set():
            raise UsageStateError("This server has been started", code="ERR_SERVER_ALREADY_LISTEN")
        self._stopped = asyncio.Event()  # a new one: the last may belong to a loop that has ended
        self._stop_wanted = False
        try:
            async with AsyncExitStack() as stack:
                await self._start_parts(stack, host, port, listening)
                self._cleanup = stack.pop_all()
        except BaseException:
            self._service = None
            self._stopped.set()
            raise
        finally:
            self._starting = None
        return self

    async def _start_parts(self, stack: AsyncExitStack, host: str | None, port: int | None, listening: dict[str, Any]) -> None:
        self._load()
        self._starting = lifespan = Lifespan(self._config)
        try:
            await lifespan.start()
        except ConfigError:
            self._check_wanted()  # `stop` has ended the application
            raise
        stack.push_async_callback(lifespan.stop, self._graceful_timeout)
        self._check_wanted()
        service = self._service = Service(self._config, self._limits, self._layers, self._refusal_watchers)
        service.lifespan_state = lifespan.state
        service.start()
        stack.callback(service.stop)
        if self.metrics is not None:
            await self.metrics.start(service)
            stack.push_async_callback(self.metrics.stop)
            self._check_wanted()
        self._audit.start()
        stack.callback(self._audit.stop)
        if self.automatic is not None:
            stack.push_async_callback(self.automatic.stop)
        await (self._proxied or self.tls_server).listen(port, host, **listening)
        stack.push_async_callback(self._stop_serving, service)
        self._check_wanted()
        if self.redirect_server is not None:
            redirect_host, redirect_port = self._redirect_at
            await self.redirect_server.start(self.port or 443, redirect_host or host, redirect_port)
            stack.push_async_callback(self.redirect_server.stop)
            self._check_wanted()

    def _check_wanted(self) -> None:
        if self._stop_wanted:
            raise UsageStateError("stop() was called before the server had started", code="ERR_SERVER_NOT_RUNNING")

    @property
    def port(self) -> int | None:
        """The port that is listened on."""
        return (self._proxied or self.tls_server).port

    async def reload(self) -> None:
        """Read certificates in files again, if `secure_context=` is a source that can do so.

        Raises:
            Exception: as the source's `reload`; then the old ones stay in use.
        """
        if (reload := getattr(self._source, "reload", None)) is not None:
            await reload()

    def abort(self) -> None:
        """End all connections and requests at once; a `stop` that waits goes on."""
        if self._service is not None:
            self._service.abort()
        if self._stopping is not None:
            if self._proxied is not None:
                self._proxied.abort()
            self.tls_server.close(0)

    async def stop(self) -> None:
        """Accept no more, let requests finish for `graceful_timeout`, and stop the application.

        Idle connections are closed, WebSockets are told to reconnect (1012). During `start` it
        stops that. Several calls wait for the same end. A cancellation ends all requests at once.

        Raises:
            UsageStateError: a request called it, which would wait for itself.
        """
        if self._service is not None and asyncio.current_task() in self._service.state.tasks:
            raise UsageStateError(
                "A request cannot wait for the stop of its own server: the server waits for the request",
                code="ERR_TLS_SELF_WAIT",
                hint="Start the stop as a task, and let the request end: asyncio.create_task(server.stop()).",
            )
        cleanup, self._cleanup = self._cleanup, None
        if cleanup is not None:
            self._close_port()  # at once, not when the task first runs
            self._stopping = asyncio.get_running_loop().create_task(self._clean_up(cleanup), name="tlsio.https stop")
        elif self._starting is not None:
            self._stop_wanted = True
            self._starting.cancel()
            self.tls_server.close()
        stopping = self._stopping
        if stopping is None:
            await self._stopped.wait()
            return
        try:
            await asyncio.wait([stopping])
        except asyncio.CancelledError:
            stopping.cancel()
            await asyncio.wait([stopping])
            raise
        if not stopping.cancelled():
            stopping.result()

    def _close_port(self) -> None:
        if self._proxied is not None:
            self._proxied.close()
        self.tls_server.close()

    async def _clean_up(self, cleanup: AsyncExitStack) -> None:
        try:
            await cleanup.aclose()
        finally:
            self._service = self._stopping = None
            self._stopped.set()

    async def _stop_serving(self, service: Service) -> None:
        """Close the TLS server and its connections in order; a cancellation does it at once."""
        self._close_port()
        service.retire()
        try:
            async with asyncio.timeout(self._graceful_timeout):
                if self._proxied is not None:
                    await self._proxied.wait_closed()
                await service.wait()
                await self._end_handshakes(service)
        except TimeoutError:
            if service.state.tasks:
                _log.warning("%d requests were cancelled: graceful_timeout has passed", len(service.state.tasks))
            else:  # clients that read nothing, not even the end
                _log.warning("%d connections were closed: graceful_timeout has passed", self.tls_server.connections)
        finally:
            if not self._is_idle(service):
                await service.cancel()
                self.tls_server.close(0)
                await self.tls_server.wait_closed()

    async def _end_handshakes(self, service: Service) -> None:
        """Serve the clients whose handshake was in progress; drop those that do not continue it."""
        try:
            async with asyncio.timeout(_HANDSHAKE_TIME):
                await self.tls_server.wait_closed()
        except TimeoutError:
            await service.wait()
            self.tls_server.close(0)
            await self.tls_server.wait_closed()

    def _is_idle(self, service: Service) -> bool:
        return not service.state.tasks and not self.tls_server.connections

    async def __aenter__(self) -> Self:
        if self._stopped.is_set():
            await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.stop()


def _automatic(acme: ACME, given: dict[str, Any], *, has_http: bool) -> Automatic:
    """Return what obtains the certificates, and put it into the options."""
    from tlsio.https.tls.acme import ACME  # noqa: PLC0415 - many servers have certificates
    from tlsio.https.tls.automatic import Automatic  # noqa: PLC0415

    if not isinstance(acme, ACME):
        raise wrong_type("acme", "an ACME", acme, hint='Write ACME(domains=["example.com"], agree_tos=True).')
    automatic = Automatic(acme.choose_challenges(has_http=has_http))
    given["secure_context"] = automatic.take_options(given)
    return automatic


def _check_root_path(value: object) -> str:
    """Return `root_path`, which is a part of `raw_path` too.

    Raises:
        UsageError: it cannot be the begin of a path in a request.
    """
    root_path = check_text("root_path", value)
    if _ROOT_PATH.fullmatch(root_path) is None:
        raise wrong_value(
            "root_path", f"must begin with / and have printable ASCII characters alone, got {root_path!r}", hint='Such as "/app".'
        )
    return root_path


# Without what ends a path, and %: `path` is decoded, and this is put before it as it is.
_ROOT_PATH = re.compile(r"(?:/[!\"$&->@-~]*)?")
_NEVER = 10**9  # seconds
# Seconds that a handshake gets while nothing else keeps the server from stopping: two round trips
# through a satellite, as TLS 1.2 needs, and one segment that is lost (RFC 6298: a second).
_HANDSHAKE_TIME = 3.0
