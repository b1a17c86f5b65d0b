"""How fast a server is: handshakes and echoes per second, with percentiles."""

from __future__ import annotations

import asyncio
import errno
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlsio.connection.client.connect import connect
from tlsio.model.checks import check_duration, check_function, check_int
from tlsio.model.errors import TLSError
from tlsio.probe.plain import as_fields
from tlsio.probe.resumption import TICKET_PATIENCE, find_refusal
from tlsio.probe.starttls import check_protocol
from tlsio.probe.target import Target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Unpack

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.model.options.connect import ConnectOptionsDict

__all__ = ["Measurement", "Progress", "Rate", "measure"]

PERCENTILES = (50, 75, 90, 95, 99, 100)
_MAX_SAMPLES = 1_000_000  # durations kept: 8 MB
_MAX_FAILURES = 20  # in a row, after which a server is not asked any more
# Between two calls of `on_progress`; 1 is reported once, at the end.
_REPORT_EVERY, _ALMOST = 0.1, 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often something was done, and how long it took each time.

    Attributes:
        count: How often it succeeded.
        failures: How often it failed.
        seconds: How long the whole took.
        per_second: Successes per second.
        percentiles: Milliseconds by percentile: 50, 75, 90, 95, 99, 100.
    """

    count: int
    failures: int
    seconds: float
    per_second: float
    percentiles: dict[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured.

    Attributes:
        version: The protocol's version.
        suite: The cipher suite by OpenSSL's name.
        handshakes: Connections from TCP to the verdict, then closed.
        echoes: Messages there and back over open connections; None if the server does not echo.
        is_complete: False if it was cancelled before its end.
    """

    version: str
    suite: str
    handshakes: Rate
    echoes: Rate | None
    is_complete: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return as_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a measurement is.

    Attributes:
        phase: "handshakes" or "echoes".
        done: From 0 to 1.
        count: How often it succeeded until now.
    """

    phase: str
    done: float
    count: int


async def measure(  # noqa: PLR0913  (all by name)
    host: str,
    port: int,
    *,
    starttls: str | None = None,
    seconds: float = 3.0,
    concurrency: int = 1,
    size: int = 64,
    echo: bool = True,
    timeout: float = 10.0,  # noqa: ASYNC109  (of each connection, as in tlsio.connect)
    on_progress: Callable[[Progress], object] | None = None,
    on_cancel: Callable[[Measurement], object] | None = None,
    **options: Unpack[ConnectOptionsDict],
) -> Measurement:
    """Connect again and again, then send messages to a server that echoes.

    It loads the server as much as it can: measure servers of your own.

    Args:
        host: The server's name or address.
        port: Its port.
        starttls: The dialog before TLS: one of `PROTOCOLS`.
        seconds: For each of the two phases.
        concurrency: Connections at the same time.
        size: Bytes of a message.
        echo: Also measure echoes.
        timeout: Seconds for each connection, and for each message.
        on_progress: Called ten times a second.
        on_cancel: Called with what was measured until then if the task is cancelled during the
            measurement.
        options: Options of `tlsio.connect`; with `session_cache`, later handshakes resume.

    Raises:
        UsageError: a wrong option.
        OSError: the server cannot be reached.
        TLSError: the first handshake failed, or one of the sides refused the other.
        Cancelled: the connections are closed, and `on_cancel` was called.
    """
    check_duration("seconds", seconds)
    check_int("concurrency", concurrency, 1, 10_000)
    check_int("size", size, 1, 1 << 20)
    for name, function in (("on_progress", on_progress), ("on_cancel", on_cancel)):
        if function is not None:
            check_function(name, function)
    target = Target(host=host, port=port, starttls=check_protocol(starttls), timeout=timeout, options=dict(options))
    first = await _open(target)
    version, suite = first.get_protocol() or "", (first.get_cipher() or {}).get("name", "")
    try:
        if (refusal := await find_refusal(first, min(TICKET_PATIENCE, timeout))) is not None:
            raise refusal
        echoes_back = echo and await _does_echo(first, size, timeout)
    finally:
        first.destroy()
    report = on_progress or _ignore

    async def shake_hands(_: None) -> None:
        refusals: list[Exception] = []
        socket = await _open(target)
        socket.on("error", refusals.append)
        socket.destroy()
        await socket.wait_closed()
        if refusals:
            raise refusals[0]

    handshakes, echoes = _Phase("handshakes", seconds, report), _Phase("echoes", seconds, report)
    try:
        await handshakes.repeat([None] * concurrency, shake_hands)
        if echoes_back:
            await _measure_echoes(target, concurrency, size, echoes)
    except asyncio.CancelledError:
        if on_cancel:
            on_cancel(
                Measurement(version=version, suite=suite, handshakes=handshakes.rate(), echoes=echoes.rate_if_begun(), is_complete=False)
            )
        raise
    return Measurement(version=version, suite=suite, handshakes=handshakes.rate(), echoes=echoes.rate_if_begun())


def _ignore(_: Progress) -> None:
    pass


async def _open(target: Target) -> TLSSocket:
    """Connect, and verify the server."""
    try:
        async with asyncio.timeout(target.timeout):
            if target.starttls is None:
                return await connect(target.port, target.host, **target.options)
            below = await target.dial()
            return await connect(socket=below, **{"servername": target.host, **target.options})
    except TimeoutError as error:
        if error.errno or isinstance(error, TLSError):
            raise
        text = f"{target.host} port {target.port}: no connection with TLS was established within {target.timeout} seconds"
        raise TimeoutError(errno.ETIMEDOUT, text) from None


async def _does_echo(socket: TLSSocket, size: int, patience: float) -> bool:
    try:
        async with asyncio.timeout(patience):
            await _echo(socket, bytes(size))
    except (TLSError, OSError, ValueError, asyncio.IncompleteReadError):
        return False
    return True


async def _echo(socket: TLSSocket, message: bytes) -> None:
    await socket.send(message)
    if await socket.readexactly(len(message)) != message:
        raise ValueError("the server does not echo")


async def _measure_echoes(target: Target, concurrency: int, size: int, phase: _Phase) -> None:
    sockets: list[TLSSocket] = []
    try:
        try:
            while len(sockets) < concurrency:
                sockets.append(await _open(target))
        except (TLSError, OSError):
            phase.fail()
            return
        message = bytes(size)

        async def echo(socket: TLSSocket) -> None:
            async with asyncio.timeout(target.timeout):
                await _echo(socket, message)

        await phase.repeat(sockets, echo)
    finally:
        for socket in sockets:
            socket.destroy()


class _Phase:
    """Something that is done with all workers at once, by each over and over."""

    def __init__(self, name: str, seconds: float, report: Callable[[Progress], object]) -> None:
        self._name = name
        self._seconds = seconds
        self._report = report
        self._durations: list[float] = []
        self._failures = 0
        self._start: float | None = None
        self._end = self._reported = 0.0

    async def repeat(self, workers: list[Any], action: Callable[[Any], Awaitable[None]]) -> None:
        """Do it until the time is over."""
        self._start = self._reported = time.perf_counter()
        working = [asyncio.ensure_future(self._work(worker, action, self._start)) for worker in workers]
        try:
            await asyncio.gather(*working)
        finally:
            self._end = time.perf_counter()
            for one in working:  # `gather` leaves the others running if one raises, as `report` may
                one.cancel()
            await asyncio.wait(working)
        self._report(Progress(phase=self._name, done=1.0, count=len(self._durations)))

    def fail(self) -> None:
        """Count one failure before the first worker."""
        self._start = self._end = time.perf_counter()
        self._failures = 1

    async def _work(self, worker: Any, action: Callable[[Any], Awaitable[None]], start: float) -> None:
        in_a_row, end = 0, start + self._seconds
        while (begun := time.perf_counter()) < end and in_a_row < _MAX_FAILURES and len(self._durations) < _MAX_SAMPLES:
            try:
                await action(worker)
            except (TLSError, OSError, ValueError, asyncio.IncompleteReadError):
                self._failures += 1
                in_a_row += 1
                continue
            now = time.perf_counter()
            self._durations.append(now - begun)
            in_a_row = 0
            if now - self._reported >= _REPORT_EVERY:
                self._reported = now
                self._report(Progress(phase=self._name, done=min(_ALMOST, (now - start) / self._seconds), count=len(self._durations)))

    def rate(self) -> Rate:
        """Return how often it was done until now."""
        return _summarise(self._durations, self._failures, self._end - (self._start or 0.0))

    def rate_if_begun(self) -> Rate | None:
        """Return the rate; None if the phase was not reached."""
        return None if self._start is None else self.rate()


def _summarise(durations: list[float], failures: int, seconds: float) -> Rate:
    ordered = sorted(durations)
    last = len(ordered) - 1
    found = {percent: ordered[max(0, -(-len(ordered) * percent // 100) - 1)] * 1000 for percent in PERCENTILES} if last >= 0 else {}
    return Rate(
        count=len(ordered), failures=failures, seconds=seconds, per_second=len(ordered) / seconds if seconds else 0.0, percentiles=found
    )
