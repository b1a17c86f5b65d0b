"""The other end: a server for trying out clients, which echoes or passes bytes through."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tlsio.connection.server.server import serve
from tlsio.model.errors import TLSError
from tlsio.probe.connect import describe
from tlsio.probe.plain import as_fields
from tlsio.probe.pump import pump

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Unpack

    from tlsio.connection.server.server import Server
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.model.options.server import ServerOptionsDict
    from tlsio.probe.connect import Certificate

    Pipe = tuple[Callable[[], Awaitable[bytes]], Callable[[bytes], Awaitable[None]]]

__all__ = ["Arrival", "listen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A client: accepted, or refused with `error`.

    Attributes:
        address: Its address; None if unknown.
        version: The protocol's version.
        suite: The cipher suite by OpenSSL's name.
        group: The group of the key exchange.
        alpn: The protocol that was agreed on.
        server_name: The name that it asked for.
        resumed: It resumed a session.
        authorized: Its certificate was verified.
        chain: Its certificates, its own first; () if it sent none, or in a resumed session.
        error: Why it was refused.
        code: The error's code.
        hint: What to do.
    """

    address: str | None
    version: str | None = None
    suite: str | None = None
    group: str | None = None
    alpn: str | None = None
    server_name: str | None = None
    resumed: bool = False
    authorized: bool = False
    chain: tuple[Certificate, ...] = field(default=())
    error: str | None = None
    code: str | None = None
    hint: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return as_fields(self)


def listen(
    port: int = 0,
    host: str | None = "localhost",
    *,
    pipe: Pipe | None = None,
    finish: bool = False,
    on_failure: Callable[[Exception], object] | None = None,
    on_arrival: Callable[[Arrival], object] | None = None,
    **options: Unpack[ServerOptionsDict],
) -> AbstractAsyncContextManager[Server]:
    """Serve until the end of the `async with` block.

    Args:
        port: 0 for a free one, which is `server.port`.
        host: The address to listen on; None: all of them.
        pipe: Functions (read, write) through which a client's bytes go, as in `pump`; others are
            turned away meanwhile. None: each client gets back what it sends.
        finish: As in `pump`.
        on_failure: Called if the connection, or `write`, fails in `pipe`. None: the server's logger
            reports it.
        on_arrival: Called for each client that is accepted or refused.
        options: Options of `tlsio.serve`; with `request_cert=True` and `ca`, clients need a
            certificate.

    Returns:
        An async context manager, which gives a `tlsio.Server`.

    Raises:
        UsageError: a wrong option; raised by the call itself.
        ConfigError: a certificate or key that cannot be used; raised by the call itself.
        OSError: the port cannot be had; raised on entry.
    """
    report = on_arrival or _ignore
    is_busy = False

    async def serve_one(socket: TLSSocket) -> None:
        nonlocal is_busy
        if pipe is not None and is_busy:
            socket.destroy()
            return
        report(_describe(socket))
        if pipe is None:
            await _echo(socket)
            return
        is_busy = True
        try:
            await pump(socket, *pipe, finish=finish)
        except (TLSError, OSError) as error:
            if on_failure is None:
                raise
            socket.destroy()
            on_failure(error)
        finally:
            is_busy = False

    given: dict[str, Any] = {"request_cert": False, **options}
    return _Listening(serve(serve_one, port, host, **given), report)


def _ignore(_: Arrival) -> None:
    pass


async def _echo(socket: TLSSocket) -> None:
    async for chunk in socket:
        await socket.send(chunk)


class _Listening(AbstractAsyncContextManager["Server"]):
    """The context manager of `serve`, and the report of clients that were refused."""

    def __init__(self, inner: Any, report: Callable[[Arrival], object]) -> None:
        self._inner = inner
        self._report = report

    async def __aenter__(self) -> Server:
        server: Server = await self._inner.__aenter__()
        server.on("tls_client_error", self._refused)
        return server

    async def __aexit__(self, *error: object) -> None:
        await self._inner.__aexit__(*error)

    def _refused(self, error: Exception, socket: TLSSocket) -> None:
        message = error.message if isinstance(error, TLSError) else str(error)
        code, hint = getattr(error, "code", None), getattr(error, "hint", None)
        self._report(Arrival(address=socket.remote_address, server_name=socket.servername, error=message, code=code, hint=hint))


def _describe(socket: TLSSocket) -> Arrival:
    leaf = socket.get_peer_certificate(detailed=True)
    info = socket.get_ephemeral_key_info() or {}
    name = info.get("name")
    return Arrival(
        address=socket.remote_address,
        version=socket.get_protocol(),
        suite=(socket.get_cipher() or {}).get("name"),
        group=str(name) if name is not None else None,
        alpn=socket.alpn_protocol,
        server_name=socket.servername,
        resumed=socket.is_session_reused(),
        authorized=socket.authorized,
        chain=tuple(describe(one, is_sent=True) for one in leaf.chain()) if leaf is not None else (),
    )
