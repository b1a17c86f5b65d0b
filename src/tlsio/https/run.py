"""Runs a server from its settings: in this process, or with workers.

The order at the start matters: everything that can be wrong is checked, ports are bound and files
read while the process has the rights for it, then the rights are dropped, and what has to be read
again later is read once more to see that it can be.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

from tlsio.connection.server.listening import bind
from tlsio.https.application import load
from tlsio.https.rights import find_account, take
from tlsio.https.serve import development_identity, serve
from tlsio.https.server import Server
from tlsio.https.systemd import Notifier, passed_sockets, socket_of
from tlsio.https.workers import CONFIG_FAILURE, Link, Workers
from tlsio.model.errors import ConfigError, TLSError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection as Pipe

    from tlsio.https.settings import Settings
    from tlsio.https.workers import PeriodKeys

__all__ = ["check", "run"]

_log = logging.getLogger("tlsio.https")
_PRIVILEGED = 1024


async def check(settings: Settings) -> None:
    """Check everything that can be checked without listening: the application, files, options.

    Raises:
        TLSError: what is wrong.
        OSError: a file cannot be read.
    """
    options = settings.server_options()
    if not settings.sites:
        options |= development_identity()
    server = Server(settings.app, **options)
    await server.check()


def run(settings: Settings, on_start: Callable[[str, int | None], object]) -> int:
    """Serve until a signal comes; return the exit code.

    Args:
        settings: The server.
        on_start: Called with the host and the port when connections are accepted.

    Raises:
        TLSError: a setting, a certificate or the application cannot be used.
        OSError: a file cannot be read, or the address cannot be used.
    """
    notifier = Notifier()
    with asyncio.Runner(loop_factory=_loop_factory(settings)) as runner:
        if settings.workers > 1:
            return runner.run(_run_workers(settings, notifier, on_start))
        return runner.run(_run_alone(settings, notifier, on_start))


async def _run_alone(settings: Settings, notifier: Notifier, on_start: Callable[[str, int | None], object]) -> int:
    sockets = await _open(settings)
    options = settings.server_options()
    if not settings.sites:
        options |= development_identity()
    await _drop_rights(settings, options)

    def started(server: Server) -> None:
        notifier.ready("Serving")
        on_start(settings.host or "*", server.port)

    await serve(settings.app, sock=sockets, on_start=started, **options)
    notifier.stopping()
    return 0


async def _run_workers(settings: Settings, notifier: Notifier, on_start: Callable[[str, int | None], object]) -> int:
    sockets = await _open(settings)
    identity = None if settings.sites else development_identity()  # one for all
    await _drop_rights(settings, settings.server_options())
    workers = Workers(_work, (settings, identity), sockets, settings.workers)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, workers.stop)
    loop.add_signal_handler(signal.SIGHUP, workers.reload)
    try:
        if await workers.start():
            notifier.ready(f"{settings.workers} workers")
            on_start(settings.host or "*", sockets[0].getsockname()[1] if sockets[0].family != socket.AF_UNIX else None)
        return await workers.wait()
    finally:
        notifier.stopping()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
        for one in sockets:
            one.close()


def _work(argument: Any, sockets: Sequence[socket.socket], pipe: Pipe, period: PeriodKeys) -> None:
    """Be a worker."""
    settings, identity = argument
    link = Link(pipe, period)
    logging.basicConfig(level=logging.INFO)

    async def main() -> None:
        options = settings.server_options(link.keys) | (identity or {})
        server = Server(settings.app, **options)
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        await server.start(sock=list(sockets))
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
        link.start(stop=stopped.set, reload=lambda: loop.create_task(server.reload()), collect=lambda: server.tls_server.stats())
        await stopped.wait()
        await server.stop()
        link.end()

    try:
        with asyncio.Runner(loop_factory=_loop_factory(settings)) as runner:
            runner.run(main())
    except (TLSError, OSError) as error:
        _log.error("%s", error)
        raise SystemExit(CONFIG_FAILURE) from None


def _loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if settings.loop == "asyncio":
        return None
    try:
        import uvloop  # noqa: PLC0415 - only where it is installed
    except ModuleNotFoundError:
        if settings.loop == "uvloop":
            raise ConfigError("uvloop is not installed", code="ERR_HTTPS_SETTINGS", hint="pip install uvloop") from None
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _open(settings: Settings) -> list[socket.socket]:
    """Return the sockets to listen on: passed by systemd or by number, or bound here.

    Raises:
        OSError: the address cannot be used.
        ConfigError: what was passed cannot be used.
    """
    sockets = [socket_of(number) for number in settings.fds] or passed_sockets()
    if sockets:
        return sockets
    try:
        return await bind(settings.host, settings.port, reuse_port=False)
    except PermissionError as error:
        if settings.port >= _PRIVILEGED:
            raise
        raise ConfigError(
            f"Port {settings.port} needs rights that this user does not have",
            code="ERR_HTTPS_PORT",
            hint=f"Give them to this Python: sudo setcap cap_net_bind_service=+ep {os.path.realpath('/proc/self/exe')}; "
            "or start as root with --user, or let systemd open the port (a .socket unit).",
        ) from error


async def _drop_rights(settings: Settings, options: dict[str, Any]) -> None:
    """Become `user` and `group`, and see that the files of the certificates can be read again.

    Raises:
        ConfigError: that is not so, or they do not exist.
        OSError: a file cannot be read.
    """
    account = find_account(settings.user, settings.group)
    if account is None:
        return
    load(settings.app)
    source = options.get("secure_context")
    if source is not None:
        await source.start()
    take(account)
    if source is not None:
        await source.reload()
