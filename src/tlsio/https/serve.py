"""`serve`: an HTTPS server that runs until a signal, for programs that do nothing else."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tlsio.certs import dev
from tlsio.https.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tlsio.https.asgi import App

__all__ = ["development_identity", "handled", "has_identity", "serve", "warn_of_development"]

_log = logging.getLogger("tlsio.https")

_IDENTITIES = frozenset({"cert", "pfx", "secure_context", "context", "psk_callback", "sni_callback", "acme"})


async def serve(
    app: App | str,
    host: str | None = "localhost",
    port: int = 8443,
    *,
    on_start: Callable[[Server], object] | None = None,
    handle_signals: bool = True,
    **options: Any,
) -> None:
    """Serve an application until SIGINT or SIGTERM comes, or the call is cancelled.

    The first signal lets requests finish for `graceful_timeout`; a second one ends them. SIGHUP
    reads certificates in files again. Without a certificate, one of the development authority is
    used, which is made if there is none.

    Args:
        app: As for `Server`.
        host: A name or address of this machine; None: all.
        port: 0 chooses a free one.
        on_start: Called with the server when it accepts connections.
        handle_signals: Whether signals end the server; only in the main thread.
        options: Those of `Server`, and `sock`, `backlog` and `reuse_port` of `Server.start`.

    Raises:
        UsageError: a wrong option.
        ConfigError: a certificate or the application cannot be used.
        OSError: the address cannot be used.
    """
    listening = {name: options.pop(name) for name in ("sock", "backlog", "reuse_port", "path") if name in options}
    is_for_development = not has_identity(options)
    if is_for_development:
        options |= development_identity()
    server = Server(app, **options)
    stopped = asyncio.Event()
    await server.start(host, port, **listening)
    if is_for_development:
        warn_of_development()
    try:
        with _signals(server, stopped) if handle_signals and threading.current_thread() is threading.main_thread() else _nothing():
            _log.info("Serving https://%s:%s", host or "localhost", server.port)
            if on_start is not None:
                on_start(server)
            await stopped.wait()
            await server.stop()
    except BaseException:
        server.abort()
        raise
    finally:
        await server.stop()


def has_identity(options: dict[str, Any]) -> bool:
    """Whether options say who the server is."""
    return any(options.get(name) is not None for name in _IDENTITIES)


def development_identity() -> dict[str, Any]:
    """Return `cert=` and `key=` for this machine's own names, issued in memory."""
    try:
        authority = dev.load()
    except FileNotFoundError:
        authority = dev.init()
    leaf = authority.server("localhost", "127.0.0.1", "::1")
    return {"cert": leaf.chain_pem, "key": leaf.key_pem}


def warn_of_development() -> None:
    """Log which certificate is used. Not before the server has started: errors come first."""
    _log.warning(
        "No certificate is given: this server uses one of the development authority in %s, for localhost. "
        "Browsers of this machine accept it after `tlsio dev trust`.",
        dev.where(),
    )


@contextmanager
def _signals(server: Server, stopped: asyncio.Event) -> Iterator[None]:
    """Handle the signals of a service while the block runs."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stopped.is_set():
            server.abort()
        stopped.set()

    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(_reload(server))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    with handled({signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: reload}):
        try:
            yield
        finally:
            for task in reloads:
                task.cancel()


@contextmanager
def handled(handlers: Mapping[int, Callable[[], object]]) -> Iterator[None]:
    """Handle signals in the running loop while the block runs; then as before."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in handlers}
    for number, function in handlers.items():
        loop.add_signal_handler(number, function)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            if handler is not None:  # the loop would leave the default, and asyncio.run() its own for SIGINT
                signal.signal(number, handler)


async def _reload(server: Server) -> None:
    try:
        await server.reload()
    except Exception as error:  # noqa: BLE001 - a source may raise anything; it is logged
        _log.error("The certificates could not be read again, and the old ones stay in use: %s", error)
    else:
        _log.info("The certificates were read again")


@contextmanager
def _nothing() -> Iterator[None]:
    yield
