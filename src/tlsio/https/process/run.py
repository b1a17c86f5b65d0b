"""Runs a server from its settings until a signal ends it: alone, with workers, or reloading.

Theory of operation. The order at the start matters: sockets are bound while the process has the
rights for it, then the rights are dropped, and only then is the application imported and are keys
read. So what cannot be read again later is found out at the start.

What serves is an `_Alone` or a `Workers`; both start, reload, stop and end in the same way.
`_Process` connects them with signals, the service manager, and the process that takes over. It
also serves what stands beside them by plain HTTP: redirects and metrics.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any, NamedTuple

from tlsio.connection.server.listening import bind
from tlsio.https.plain_http.metrics_server import MetricsServer
from tlsio.https.plain_http.redirect import RedirectServer
from tlsio.https.process.ending import FORCED, run_to_end
from tlsio.https.process.logs import configure, drop_warnings, pass_on
from tlsio.https.process.metrics_sum import MetricsSum, take_snapshot
from tlsio.https.process.restart import Successor, find_inherited
from tlsio.https.process.rights import check_readable, find_account, take
from tlsio.https.process.systemd import Notifier, passed_sockets, socket_of
from tlsio.https.process.ticket_periods import KeySchedule
from tlsio.https.process.workers import BACKLOG, Workers
from tlsio.https.proxy.tcp import TCPProxy, TCPTarget
from tlsio.https.serve import development_identity, handled, warn_of_development
from tlsio.https.server import Server
from tlsio.model.errors import ConfigError, TLSError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from tlsio.https.process.metrics_sum import Snapshot
    from tlsio.https.process.restart import Inherited
    from tlsio.https.process.settings import Settings
    from tlsio.https.process.workers import Link
    from tlsio.https.tls.automatic import Automatic

__all__ = ["check", "run"]

_log = logging.getLogger("tlsio.https")
_HSTS = "tlsio.https.hsts"  # the logger, which speaks once for all processes
_PRIVILEGED = 1024
_HTTPS = 443
_EVERY = "::"  # every address, of IPv4 too
_CONFIG_FAILURE = 2
_DEVELOPMENT_GRACE = 1.0  # seconds for requests when the code has changed


async def check(settings: Settings) -> None:
    """Check everything that can be checked without listening: the application, files, options.

    As `run`, it becomes the user and the group of the settings, for good.

    Raises:
        TLSError: what is wrong.
        OSError: a file cannot be read.
    """
    _loop_factory(settings)
    _drop_rights(settings)
    await _make_server(settings).check()  # without a development certificate, which would be made


def run(settings: Settings, on_start: Callable[[str, int | None], object]) -> int:
    """Serve until a signal comes; return the exit code.

    Args:
        settings: The server.
        on_start: Called with the host and the port when connections are accepted.

    Raises:
        TLSError: a setting, a certificate or the application cannot be used.
        OSError: a file cannot be read, or the address cannot be used.
    """
    configure(settings.log_level)
    if settings.reload:
        return _run_reloading(settings, on_start)
    return run_to_end(_run(settings, on_start), _loop_factory(settings), settings.graceful_timeout)


async def _run(settings: Settings, on_start: Callable[[str, int | None], object]) -> int:
    notifier = Notifier()
    inherited = find_inherited()
    sockets = await _open(settings, {} if inherited is None else inherited.sockets)
    try:
        identity = _find_identity(settings)
        _drop_rights(settings)
        keys = KeySchedule(period=None if inherited is None else inherited.period)
        served = await _make_served(settings, sockets.serving, keys, identity)
        process = _Process(served, sockets, keys, notifier, _Beside(served, sockets, settings))
        announce = partial(_announce, bool(identity), on_start, settings.host or "*", _port_of(sockets.serving))
        return await process.run(inherited, announce)
    finally:
        sockets.close()


def _announce(is_for_development: bool, on_start: Callable[[str, int | None], object], host: str, port: int | None) -> None:  # noqa: FBT001
    if is_for_development:
        warn_of_development()
    on_start(host, port)


async def _make_served(
    settings: Settings, sockets: Sequence[socket.socket], keys: KeySchedule, identity: dict[str, Any]
) -> _Alone | _WorkersWithMetrics:
    if settings.workers > 1:
        _warn_of_hsts(settings)
        return _WorkersWithMetrics(
            _work, (settings, identity), sockets, settings.workers, keys=keys, graceful_timeout=settings.graceful_timeout
        )
    server = _make_server(settings, keys, identity)
    await server.check()  # before the application starts
    return _Alone(server, sockets)


class _Sockets(NamedTuple):
    """Listening sockets by what they are for."""

    serving: Sequence[socket.socket]
    redirect: Sequence[socket.socket]
    metrics: Sequence[socket.socket]

    def close(self) -> None:
        for group in self:
            for one in group:
                one.close()


class _Alone:
    """This process as the only one that serves."""

    def __init__(self, server: Server | TCPProxy, sockets: Sequence[socket.socket]) -> None:
        self.server = server
        self._sockets = sockets
        self._starting: asyncio.Task[Any] | None = None
        self._stopped = asyncio.Event()
        self._code = 0

    async def start(self) -> bool:
        """Start; return whether connections are accepted: not if `stop` was called.

        Raises:
            TLSError: the application, or a certificate, cannot be used.
        """
        self._starting = asyncio.create_task(self.server.start(sock=list(self._sockets)))
        await asyncio.wait((self._starting,))
        if self._starting.cancelled():
            return False
        self._starting.result()
        return True

    def stop(self) -> None:
        """Stop, in order; again: at once."""
        if self._starting is not None:
            self._starting.cancel()
        if self._stopped.is_set():
            self._code = FORCED
            self.server.abort()
        self._stopped.set()

    async def reload(self) -> Sequence[str]:
        """Read files again; return what went wrong."""
        return await _reload(self.server)

    @property
    def is_accepting(self) -> bool:
        """Whether new connections are welcome."""
        return not self._stopped.is_set()

    async def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        metrics = getattr(self.server, "metrics", None)
        return () if metrics is None else metrics.registry.collect()

    async def wait(self) -> int:
        """Wait for `stop` and the last request; return an exit code."""
        await self._stopped.wait()
        if self._starting is not None and not self._starting.cancelled():  # otherwise nothing was started
            await self.server.stop()
        return self._code


class _WorkersWithMetrics(Workers):
    """Workers, and the sum of their metrics."""

    _sum: MetricsSum | None = None

    async def collect(self) -> Iterable[Metric]:
        """Return the metrics of all workers and of this process."""
        from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415  (optional)

        self._sum = self._sum or MetricsSum()
        question = self._sum.ask()
        answers = await self.ask("metrics")
        self._sum.update(question, answers, self.numbers)
        return self._sum.collect(take_snapshot(ProcessCollector(registry=CollectorRegistry()).collect()))


class _Beside:
    """What is served by plain HTTP next to a server: redirects and metrics."""

    def __init__(self, served: _Alone | _WorkersWithMetrics, sockets: _Sockets, settings: Settings) -> None:
        self._sockets = sockets
        automatic = self._automatic = _automatic_of(served, settings)
        answer = None if automatic is None else automatic.http01.answer
        is_http = not isinstance(settings.app, TCPTarget)
        self._redirects = RedirectServer(status=settings.redirect_status if is_http else None, answer=answer)
        self._metrics = MetricsServer(served.collect, lambda: served.is_accepting, None if automatic is None else automatic.status)

    async def start(self) -> None:
        """Serve. The sockets listen already, so no address can be in use."""
        if self._sockets.redirect:
            await self._redirects.start(_port_of(self._sockets.serving) or _HTTPS, sockets=self._sockets.redirect)
        if self._sockets.metrics:
            await self._metrics.start(sockets=self._sockets.metrics)

    async def stop_redirects(self) -> None:
        """Redirect no more; the health answer goes on, and tells that the server stops."""
        await self._redirects.stop()

    async def stop(self) -> None:
        """Serve no more."""
        await self._redirects.stop()
        await self._metrics.stop()
        if self._automatic is not None and self._automatic.manager is None:  # otherwise the server stops it
            await self._automatic.stop()


def _automatic_of(served: _Alone | _WorkersWithMetrics, settings: Settings) -> Automatic | None:
    """Return what obtains certificates; next to workers it has no manager and only answers."""
    if isinstance(served, _Alone) or settings.acme is None:
        return getattr(served.server, "automatic", None) if isinstance(served, _Alone) else None
    from tlsio.https.tls.automatic import Automatic  # noqa: PLC0415 - many servers have certificates

    return Automatic(settings.acme)


class _Process:
    """What signals, the service manager and a successor want of what is served."""

    def __init__(
        self, served: _Alone | _WorkersWithMetrics, sockets: _Sockets, keys: KeySchedule, notifier: Notifier, beside: _Beside
    ) -> None:
        self._served = served
        self._sockets = sockets
        self._keys = keys
        self._notifier = notifier
        self._beside = beside
        self._successor: Successor | None = None
        self._is_replaced = False
        self._is_ready = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, inherited: Inherited | None, on_start: Callable[[], object]) -> int:
        """Serve until the end; return an exit code."""
        with self._signals():
            if await self._served.start():
                if inherited is not None:
                    await inherited.confirm()
                await self._beside.start()
                self._notifier.ready("Serving")
                self._is_ready = True
                self._watch()
                on_start()
            code = await self._served.wait()
            await self._beside.stop()
            if self._successor is not None and not self._is_replaced:
                await self._successor.wait_ended()
            return code

    @contextmanager
    def _signals(self) -> Iterator[None]:
        reload, restart = partial(self._begin, self._reload), partial(self._begin, self._restart)
        with handled({signal.SIGINT: self._stop, signal.SIGTERM: self._stop, signal.SIGHUP: reload, signal.SIGUSR2: restart}):
            try:
                yield
            finally:
                for task in self._tasks:
                    task.cancel()

    def _begin(self, function: Callable[[], Any]) -> None:
        if self._is_ready:
            self._create_task(function)

    def _create_task(self, function: Callable[[], Any]) -> None:
        task = asyncio.get_running_loop().create_task(function())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _watch(self) -> None:
        """Tell the watchdog that the loop runs."""
        if self._notifier.watchdog_interval is not None and not self._is_replaced:
            self._notifier.alive()
            asyncio.get_running_loop().call_later(self._notifier.watchdog_interval, self._watch)

    def _stop(self) -> None:
        if not self._is_replaced:
            self._notifier.stopping()
        if self._successor is not None and not self._is_replaced:
            self._successor.end()
        self._is_ready = False
        self._served.stop()
        self._create_task(self._beside.stop_redirects)

    async def _reload(self) -> None:
        self._notifier.reloading()
        failures = await self._served.reload()
        for failure in failures:
            _log.error("A certificate could not be read again, and the old one stays in use: %s", failure)
        if not failures:
            _log.info("The certificates were read again")
        self._notifier.ready("Serving" if not failures else "Serving; the last reload failed")

    async def _restart(self) -> None:
        if self._successor is not None:
            _log.warning("A restart is under way already")
            return
        try:
            self._successor = successor = Successor(self._sockets._asdict(), self._keys.period, self._notifier.variables)
        except OSError as error:
            _log.error("The new process could not be started, and this one goes on: %s", error)
            return
        _log.info("Process %d starts, to take over from this one", successor.pid)
        self._notifier.reloading()
        has_started = await successor.wait()
        if not self._is_ready:  # a signal has stopped both processes
            return
        if not has_started:
            _log.error("The new process has ended (exit code %s), and this one goes on; the reason is above", successor.exit_code)
            self._successor = None
            self._notifier.ready("Serving; the last restart failed")
            return
        self._notifier.replaced(successor.pid)
        self._is_replaced = True
        # Two processes would answer with two sets of counters, which rise and fall then.
        await self._beside.stop()
        successor.release()
        _log.info("Process %d has taken over; this one serves its requests to the end", successor.pid)
        self._served.stop()


def _work(argument: Any, sockets: Sequence[socket.socket], link: Link) -> None:
    """Be a worker."""
    settings, identity = argument
    configure(settings.log_level)
    drop_warnings(_HSTS)
    pass_on(_HSTS, link.note)
    try:
        run_to_end(_work_until_stopped(settings, identity, sockets, link), _loop_factory(settings), settings.graceful_timeout)
    except (TLSError, OSError) as error:
        link.fail(error)
        raise SystemExit(_CONFIG_FAILURE) from None


async def _work_until_stopped(settings: Settings, identity: dict[str, Any], sockets: Sequence[socket.socket], link: Link) -> int:
    server = _make_server(settings, link.keys, identity)
    # Beyond this worker's part of max_connections, a connection waits for another worker.
    server.tls_server.drop_max_connection = False
    await server.check()  # before the application starts
    stopped = asyncio.Event()
    await server.start(sock=list(sockets))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    link.start(stop=stopped.set, answers={"reload": partial(_reload, server), "metrics": partial(_snapshot, server)})
    await stopped.wait()
    await server.stop()
    link.end()
    return 0


def _warn_of_hsts(settings: Settings) -> None:
    """Log what each worker would log."""
    if settings.hsts is not None:
        settings.hsts.warn()


def _snapshot(server: Server | TCPProxy) -> Snapshot:
    metrics = getattr(server, "metrics", None)
    return [] if metrics is None else take_snapshot(metrics.registry.collect())


def _make_server(settings: Settings, ticket_keys: object = None, identity: dict[str, Any] | None = None) -> Server | TCPProxy:
    """Make what serves.

    Args:
        settings: The server.
        ticket_keys: As for `Settings.server_options`.
        identity: The options of a development certificate, if there are no sites.
    """
    if isinstance(settings.app, TCPTarget):
        options = settings.tls_options(settings.app.alpn, ticket_keys) | (identity or {})
        return TCPProxy(settings.app, acme=settings.chosen_acme, **settings.connection_options(), **options)
    return Server(settings.app, **(settings.server_options(ticket_keys) | (identity or {})))


async def _reload(server: Server | TCPProxy) -> list[str]:
    """Read files again; return what went wrong."""
    try:
        await server.reload()
    except ExceptionGroup as failures:  # of several certificates
        return [str(one) for one in failures.exceptions]
    except Exception as error:  # noqa: BLE001 - a source may raise anything; it is logged
        return [str(error)]
    return []


# ---- reloading, for development


def _run_reloading(settings: Settings, on_start: Callable[[str, int | None], object]) -> int:
    """Serve in a child process, which is replaced when files of the application change."""
    from uvicorn import Config  # noqa: PLC0415 - its supervisors are loaded only for development
    from uvicorn.supervisors import ChangeReload  # noqa: PLC0415

    if settings.workers > 1:
        raise ConfigError("--reload and --workers cannot be combined", code="ERR_HTTPS_SETTINGS", hint="Use one process for development.")
    sockets = asyncio.run(_open(settings, {}))
    for one in sockets.serving:
        one.listen(BACKLOG)  # while the child is replaced, clients wait in the queue
    config = Config("reloaded", log_config=None, reload=True, reload_dirs=[str(one) for one in settings.reload_dirs] or None)
    identity = _find_identity(settings)
    target = partial(_work_reloaded, replace(settings, graceful_timeout=_DEVELOPMENT_GRACE), identity, sockets._replace(serving=()))
    _drop_rights(settings)
    _warn_of_hsts(settings)
    _announce(bool(identity), on_start, settings.host or "*", _port_of(sockets.serving))
    reloader = ChangeReload(config, target, list(sockets.serving))
    # uvicorn handles the other two. By default these would end this process, and not its child.
    signal.signal(signal.SIGHUP, reloader.signal_handler)  # the terminal was closed
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # new code is taken without it
    reloader.run()
    return 0


def _work_reloaded(settings: Settings, identity: dict[str, Any], others: _Sockets, sockets: list[socket.socket]) -> None:
    """Be the child process. A failure is printed in full; the next change starts another one."""
    configure(settings.log_level)
    drop_warnings(_HSTS)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the terminal's reach both, and the parent ends this one

    async def serve() -> int:
        server = _Alone(_make_server(settings, None, identity), sockets)
        beside = _Beside(server, others._replace(serving=sockets), settings)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
        _call_when_orphaned(server.stop)
        if await server.start():
            await beside.start()
            await server.wait()
            await beside.stop()
        return 0

    try:
        run_to_end(serve(), _loop_factory(settings), settings.graceful_timeout)
    except Exception as error:  # noqa: BLE001 - of the application that is being written: its author wants the traceback
        _log.error("%s. It is tried again after the next change", error, exc_info=error.__cause__ or error)


def _call_when_orphaned(call: Callable[[], object]) -> None:
    """Call it when the parent has ended: one that is killed sends no signal."""
    loop, parent = asyncio.get_running_loop(), parent_process()
    assert parent is not None  # noqa: S101 - for the type checker

    def ended() -> None:
        loop.remove_reader(parent.sentinel)
        call()

    loop.add_reader(parent.sentinel, ended)


# ---- the start


def _find_identity(settings: Settings) -> dict[str, Any]:
    """Return the options of a development certificate if there is no other; one for all workers."""
    return {} if settings.sites or settings.acme is not None else development_identity()


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


async def _open(settings: Settings, inherited: Mapping[str, list[socket.socket]]) -> _Sockets:
    """Return the sockets to listen on: inherited, passed by systemd or by number, or bound here.

    Raises:
        OSError: an address cannot be used.
        ConfigError: what was passed cannot be used, or a port needs other rights.
    """
    redirect: list[socket.socket] = []
    metrics: list[socket.socket] = []
    serving = inherited.get("serving") or [socket_of(number) for number in settings.fds] or passed_sockets()
    opened = _Sockets(serving or await _bind(settings.host, settings.port), redirect, metrics)
    try:
        if settings.redirect is not None:
            name = serving[0].getsockname() if serving else None  # `host` says nothing about sockets that were passed
            host = name[0] if isinstance(name, tuple) else settings.host
            redirect += _take(inherited, "redirect", settings.redirect) or await _bind(host, settings.redirect)
        if settings.metrics is not None:
            metrics += _take(inherited, "metrics", settings.metrics.port) or await _bind(*settings.metrics)
        _close_rest(inherited, opened)
        for one in (*redirect, *metrics):
            one.listen(BACKLOG)  # clients wait in the queue, and are not refused, while the application starts
    except BaseException:
        opened.close()
        raise
    return opened


def _take(inherited: Mapping[str, list[socket.socket]], purpose: str, port: int) -> list[socket.socket]:
    """Return the inherited sockets for a purpose, if the settings still have their port."""
    return [one for one in inherited.get(purpose, ()) if port in (0, _port_of([one]))]


def _close_rest(inherited: Mapping[str, list[socket.socket]], opened: _Sockets) -> None:
    """Close inherited sockets that the settings have no more: clients would wait there."""
    used = {id(one) for group in opened for one in group}
    for one in (one for group in inherited.values() for one in group):
        if id(one) not in used:
            one.close()


async def _bind(host: str | None, port: int) -> list[socket.socket]:
    try:
        return await bind(None if host == _EVERY else host, port, reuse_port=False)
    except PermissionError as error:
        if port >= _PRIVILEGED:
            raise
        python = os.path.realpath("/proc/self/exe")  # noqa: ASYNC240 - of procfs, which does not block
        raise ConfigError(
            f"Port {port} needs rights that this user does not have",
            code="ERR_HTTPS_PORT",
            hint="Start as root with --user, or let systemd open the port by a .socket unit. "
            f"Or give this right to all programs of this Python: sudo setcap cap_net_bind_service+ep {python}",
        ) from error


def _drop_rights(settings: Settings) -> None:
    """Become `user` and `group`, and check that the files can be read then.

    Raises:
        ConfigError: a file cannot be read, or the account does not exist.
        OSError: a file is missing.
    """
    account = find_account(settings.user, settings.group)
    if account is not None:
        take(account)
        check_readable(settings.files)


def _port_of(sockets: Sequence[socket.socket]) -> int | None:
    name = sockets[0].getsockname()
    return name[1] if isinstance(name, tuple) else None
