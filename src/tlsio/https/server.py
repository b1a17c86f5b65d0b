"""The HTTPS server: an application, a TLS server, and their start and end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import uvicorn

from tlsio.connection.server.server import Server as TLSServer
from tlsio.https.application import load
from tlsio.https.limits import Limits
from tlsio.https.service import Service
from tlsio.model.errors import ConfigError, UsageStateError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal, Self, Unpack

    from tlsio.https.asgi import App
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


class Server:
    """Serves an application over HTTPS, in the caller's loop.

    Attributes:
        tls_server: The TLS server: contexts, ticket keys, statistics and events.
    """

    def __init__(
        self,
        app: App | str,
        *,
        limits: Limits | None = None,
        lifespan: Literal["auto", "on", "off"] = "auto",
        interface: Literal["auto", "asgi3", "wsgi"] = "auto",
        root_path: str = "",
        graceful_timeout: float | None = 30.0,
        **options: Unpack[ServerOptionsDict],
    ) -> None:
        """Load the application, and check the options.

        Args:
            app: An ASGI or WSGI application, or "module:name".
            limits: What strangers may use.
            lifespan: Whether the application is told of start and end; "auto": if it wants to be.
            interface: What the application is; "auto" looks at it.
            root_path: The path below which a proxy has mounted the server.
            graceful_timeout: Seconds in which `stop` lets requests finish; None: no limit.
            options: Those of `tlsio.create_server`: certificates, client certificates and so on.

        Raises:
            UsageError: a wrong option.
            ConfigError: the application cannot be imported, or a certificate cannot be used.
        """
        self._limits = limits or Limits()
        self._graceful_timeout = graceful_timeout
        self._config = uvicorn.Config(
            load(app), ws="websockets-sansio", lifespan=lifespan, interface=interface, root_path=root_path, log_config=None,
            proxy_headers=False, server_header=False, timeout_keep_alive=self._limits.keep_alive_timeout or _NEVER,  # type: ignore[arg-type]
        )  # fmt: skip
        given: dict[str, Any] = {"plain_http_answer": _PLAIN_ANSWER, **options, "allow_half_open": True}
        if given.get("secure_context") is None:
            given = {"alpn_protocols": PROTOCOLS, "ciphers": INTERMEDIATE_CIPHERS, **given}
        self._source = given.get("secure_context")
        self._service: Service | None = None
        self.tls_server = TLSServer(self._accept, **given)
        self._lifespan: Any = None

    def _accept(self, tls_socket: Any) -> None:
        assert self._service is not None
        self._service.accept(tls_socket)

    async def check(self) -> None:
        """Check what `start` would need, without listening: the application, the certificates.

        Raises:
            ConfigError: one cannot be used.
            OSError: a file cannot be read.
        """
        self._load()
        if (start := getattr(self._source, "start", None)) is not None:
            await start()

    def _load(self) -> None:
        if not self._config.loaded:
            self._config.load()

    async def start(self, host: str | None = "localhost", port: int | None = 8443, **listening: Any) -> Self:
        """Start the application and accept connections.

        Args:
            host: A name or address of this machine; None: all.
            port: 0 chooses a free one.
            listening: The other arguments of `tlsio.Server.listen`.

        Raises:
            ConfigError: the application refused to start, or raised.
            OSError: the address cannot be used.
        """
        if self._service is not None:
            raise UsageStateError("This server has been started", code="ERR_SERVER_ALREADY_LISTEN")
        self._load()
        self._service = service = Service(self._config, self._limits)
        self._lifespan = lifespan = self._config.lifespan_class(self._config)
        await lifespan.startup()
        if lifespan.should_exit:
            self._service = None
            raise ConfigError("The application failed to start", code="ERR_HTTPS_APP", hint="Its log has the reason.")
        service.lifespan_state = lifespan.state
        place = () if listening.get("sock") is not None or listening.get("path") is not None else (port, host)
        try:
            await self.tls_server.listen(*place, **listening)
        except BaseException:
            self._service = None
            await lifespan.shutdown()
            raise
        service.start()
        return self

    @property
    def port(self) -> int | None:
        """The port that is listened on."""
        return self.tls_server.port

    async def reload(self) -> None:
        """Read certificates in files again, if `secure_context=` is a source that can do so.

        Raises:
            Exception: as the source's `reload`; then the old ones stay in use.
        """
        if (reload := getattr(self._source, "reload", None)) is not None:
            await reload()

    def abort(self) -> None:
        """End all connections and requests at once; a `stop` that waits goes on."""
        if (service := self._service) is not None:
            for task in tuple(service.state.tasks):
                task.cancel()
            for connection in tuple(service.state.connections):
                connection.transport.abort()

    async def stop(self) -> None:
        """Accept no more, let requests finish for `graceful_timeout`, and stop the application."""
        service, self._service = self._service, self._service
        if service is None:
            return
        self.tls_server.close()
        for connection in tuple(service.state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self._graceful_timeout):
                await self.tls_server.wait_closed()
                if service.state.tasks:
                    await asyncio.wait(service.state.tasks)
        except TimeoutError:
            _log.warning("%d requests were cancelled: graceful_timeout has passed", len(service.state.tasks))
            self.abort()
        service.stop()
        self._service = None
        await self._lifespan.shutdown()

    async def __aenter__(self) -> Self:
        if self._service is None:
            await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.stop()


_NEVER = 10**9  # seconds
