"""TLS in front of any TCP server: what clients send is forwarded, and what the server answers."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tlsio.connection.server.server import Server as TLSServer
from tlsio.https.address import client_text, endpoint
from tlsio.https.proxy.connection_log import ConnectionLog, Traffic
from tlsio.https.proxy.listener import ProxyListener
from tlsio.https.proxy.protocol import Facts, write_header
from tlsio.model.errors import TLSError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.https.tls.acme import ACME
    from tlsio.https.tls.automatic import Automatic

__all__ = ["TCPProxy", "TCPTarget"]

_log = logging.getLogger("tlsio.https")

_CHUNK = 65536
_CLOSE_TIMEOUT = 10.0  # seconds in which the kernel of a backend must take our last bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TCPTarget:
    """Where connections go.

    Attributes:
        host: The backend's name or address.
        port: Its port.
        send_proxy: Whether it gets a PROXY protocol header of version 2, with the client's address
            and what is known of its TLS connection.
        alpn: Protocols that clients may negotiate, the preferred first.
        connect_timeout: Seconds for connecting to the backend.
        idle_timeout: Seconds without a byte in either direction; None: no limit.
    """

    host: str
    port: int
    send_proxy: bool = False
    alpn: tuple[str, ...] = ()
    connect_timeout: float = 10.0
    idle_timeout: float | None = None


class TCPProxy:
    """A server that forwards to one backend; it starts, stops and reloads as `tlsio.https.Server`.

    Attributes:
        tls_server: The TLS server.
        automatic: The certificates of `acme=`; None without it.
    """

    def __init__(
        self,
        target: TCPTarget,
        *,
        graceful_timeout: float | None = 30.0,
        proxy_protocol: Sequence[str] = (),
        access_log: Literal["text", "json"] | None = None,
        acme: ACME | None = None,
        **options: Any,
    ) -> None:
        """Check the options.

        Args:
            target: Where connections go.
            graceful_timeout: Seconds in which `stop` lets connections end; None: no limit.
            proxy_protocol: As of `tlsio.https.Server`.
            access_log: Log each connection when it is over, in this form.
            acme: Obtain the certificates from an authority, and renew them. It looks at this port
                (tls-alpn-01), or on port 80, where `automatic.http01` has to answer (http-01).
            options: Those of `tlsio.create_server`.

        Raises:
            UsageError: a wrong option.
            ConfigError: a certificate cannot be used.
            OSError: a file that `acme` names cannot be read.
        """
        self._target = target
        self._graceful_timeout = graceful_timeout
        self._access_log = None if access_log is None else ConnectionLog(access_log, f"{target.host}:{target.port}")
        self.automatic: Automatic | None = None
        if acme is not None:
            from tlsio.https.tls.automatic import Automatic  # noqa: PLC0415 - many servers have certificates

            self.automatic = Automatic(acme)
            options["secure_context"] = self.automatic.take_options(options)
        self._source = options.get("secure_context")
        self.tls_server = TLSServer(self._forward, **{**options, "allow_half_open": True})
        self._proxied = ProxyListener.of(self.tls_server, proxy_protocol, options)

    async def check(self) -> None:
        """Check the certificates, without listening. Raises as `start`."""
        if self.automatic is not None:
            await self.automatic.check()
        elif (start := getattr(self._source, "start", None)) is not None:
            await start()

    async def start(self, host: str | None = "localhost", port: int | None = 8443, **listening: Any) -> TCPProxy:
        """Accept connections. The arguments are those of `tlsio.https.Server.start`.

        Raises:
            ConfigError: a certificate cannot be used.
            OSError: the address cannot be used.
        """
        place = () if listening.get("sock") is not None else (port, host)
        try:
            await (self._proxied or self.tls_server).listen(*place, **listening)
        except BaseException:
            if self.automatic is not None:
                await self.automatic.stop()
            raise
        return self

    @property
    def port(self) -> int | None:
        """The port that is listened on."""
        return (self._proxied or self.tls_server).port

    async def reload(self) -> None:
        """Read certificates in files again. Raises as the source's `reload`."""
        if (reload := getattr(self._source, "reload", None)) is not None:
            await reload()

    def abort(self) -> None:
        """End all connections at once; a `stop` that waits goes on."""
        if self._proxied is not None:
            self._proxied.abort()
        self.tls_server.close(0)

    async def stop(self) -> None:
        """Accept no more, and wait for the connections for `graceful_timeout`."""
        loop = asyncio.get_running_loop()
        seconds, began = self._graceful_timeout, loop.time()
        if self._proxied is not None:
            self._proxied.close()
            with suppress(TimeoutError):  # then it has closed what has no TLS connection yet
                async with asyncio.timeout(seconds):
                    await self._proxied.wait_closed()
        self.tls_server.close(None if seconds is None else max(0.0, seconds - (loop.time() - began)))
        await self.tls_server.wait_closed()
        if self.automatic is not None:
            await self.automatic.stop()

    # ---- one connection

    async def _forward(self, client: TLSSocket) -> None:
        traffic = Traffic()
        write_line = None if self._access_log is None else self._access_log.begin(client, traffic)
        try:
            await self._forward_both(client, traffic)
        finally:
            if write_line is not None:
                write_line()

    async def _forward_both(self, client: TLSSocket, traffic: Traffic) -> None:
        """Forward both directions until both have ended, or one has failed."""
        target = self._target
        try:
            async with asyncio.timeout(target.connect_timeout):
                reader, writer = await asyncio.open_connection(target.host, target.port, limit=_CHUNK)
        except (OSError, TimeoutError) as error:
            reason = "connect_timeout has passed" if isinstance(error, TimeoutError) else str(error)
            _log.error("%s: the backend %s:%d cannot be reached: %s", client_text(client), target.host, target.port, reason)
            traffic.result = "unreachable"
            client.destroy()
            return
        idle = _Idle(target.idle_timeout)
        try:
            if target.send_proxy:
                writer.write(describe(client))
            async with asyncio.timeout(None) as idle.timeout, asyncio.TaskGroup() as both:
                idle.move()
                both.create_task(_to_backend(client, writer, idle, traffic))
                both.create_task(_to_client(reader, client, idle, traffic))
        except ExceptionGroup as failures:
            _log_failure(client, failures.exceptions[0])
            _abort(client, writer)
        except TimeoutError:
            _log.info("%s: the connection was closed: idle_timeout has passed", client_text(client))
            traffic.result = "idle"
            _abort(client, writer)
        except BaseException:
            _abort(client, writer)
            raise
        else:
            traffic.result = "closed"
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await writer.wait_closed()


class _Idle:
    """Moves the end of a connection with each byte."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self.timeout: asyncio.Timeout | None = None

    def move(self) -> None:
        if self._seconds is not None and self.timeout is not None and not self.timeout.expired():
            self.timeout.reschedule(self._loop.time() + self._seconds)


async def _to_backend(client: TLSSocket, writer: asyncio.StreamWriter, idle: _Idle, traffic: Traffic) -> None:
    async for chunk in client:
        traffic.received += len(chunk)
        writer.write(chunk)
        await writer.drain()
        idle.move()
    if writer.can_write_eof():
        writer.write_eof()


async def _to_client(reader: asyncio.StreamReader, client: TLSSocket, idle: _Idle, traffic: Traffic) -> None:
    while chunk := await reader.read(_CHUNK):
        await client.send(chunk)
        traffic.sent += len(chunk)
        idle.move()
    client.end()


def describe(client: TLSSocket) -> bytes:
    """Return the PROXY protocol header of a client."""
    certificate = client.get_peer_certificate()
    common_names = () if certificate is None else certificate.subject_name.values("CN")
    cipher = client.get_cipher()
    facts = Facts(
        version=client.get_protocol() or "",
        cipher=cipher["name"] if cipher else "",
        alpn=client.alpn_protocol,
        server_name=client.servername,
        has_certificate=certificate is not None,
        is_verified=client.authorized,
        common_name=common_names[0] if common_names else None,
    )
    source = endpoint(client.remote_address, client.remote_port)
    return write_header(source, endpoint(client.local_address, client.local_port), facts)


def _log_failure(client: TLSSocket, error: Exception) -> None:
    """Write one line; a side that has just gone is ordinary."""
    level = logging.INFO if isinstance(error, TLSError | OSError) else logging.ERROR
    _log.log(level, "%s: the connection was cut: %s", client_text(client), error)


def _abort(client: TLSSocket, writer: asyncio.StreamWriter) -> None:
    """End both sides so that neither takes what it has for the whole."""
    client.destroy()
    writer.transport.abort()
