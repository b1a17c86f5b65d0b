"""Several processes that serve one port: started, told of changes, replaced when they die.

Theory of operation. The parent binds the sockets, makes the session ticket keys, and serves nobody.
Each worker is a fresh interpreter (`spawn`) with the same listening sockets, and a pipe to the
parent. Messages are small tuples; a pipe that ends means that the other side is gone, so a worker
never outlives its parent.

Tickets: a client may come to any worker with a ticket of any other. So each key reaches all workers
one period before the first of them encrypts with it.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlsio.session.ticket_keys import Snapshot

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection as Pipe
    from multiprocessing.context import SpawnProcess

__all__ = ["CONFIG_FAILURE", "KeySchedule", "Link", "PassedKeys", "PeriodKeys", "Workers"]

_log = logging.getLogger("tlsio.https")

CONFIG_FAILURE = 2  # the exit code of a worker that cannot start: it is not started again
_KEY_BYTES = 48
_KEY_INTERVAL = 3600.0  # seconds, as TicketKeyRing's
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds before a worker that died is replaced, doubled each time
_LIVED = 10.0  # seconds after which a worker counts as healthy
_ANSWER = 2.0  # seconds that a worker has for an answer


@dataclass(frozen=True, slots=True)
class PeriodKeys:
    """The ticket keys of one period, and the one that follows.

    Attributes:
        keys: 48 bytes each; the first encrypts, all decrypt.
        following: Encrypts from `until` on.
        until: When the period ends, by the machine's monotonic clock.
    """

    keys: tuple[bytes, ...]
    following: bytes
    until: float

    def __repr__(self) -> str:
        return f"<PeriodKeys until={self.until:.0f}>"


class KeySchedule:
    """Makes the ticket keys, in the parent."""

    def __init__(self, interval: float = _KEY_INTERVAL, *, now: float | None = None) -> None:
        """Begin a period of `interval` seconds."""
        self._interval = interval
        self.period = PeriodKeys((os.urandom(_KEY_BYTES),), os.urandom(_KEY_BYTES), (time.monotonic() if now is None else now) + interval)

    def advance(self, now: float) -> bool:
        """Begin the next period if it is time; whether that was so."""
        period = self.period
        if now < period.until:
            return False
        # Tickets of the last period are accepted for one more.
        self.period = PeriodKeys((period.following, period.keys[0]), os.urandom(_KEY_BYTES), now + self._interval)
        return True


class PassedKeys:
    """A worker's source of ticket keys: what the parent sent last."""

    clock = staticmethod(time.monotonic)

    def __init__(self, period: PeriodKeys) -> None:
        """Start with a period."""
        self.period = period

    def snapshot(self, now: float) -> Snapshot:
        """Return the keys in use."""
        period = self.period
        if now < period.until:
            return Snapshot((*period.keys, period.following), period.until)
        return Snapshot((period.following, *period.keys), now + 1.0)  # the parent's message is on its way

    async def refresh(self) -> None:
        """Do nothing: the parent sends keys when there are new ones."""


class Link:
    """A worker's end of its pipe.

    Attributes:
        keys: The source for `ticket_keys=`.
    """

    def __init__(self, pipe: Pipe, period: PeriodKeys) -> None:
        """Take the pipe, before a loop runs."""
        self.keys = PassedKeys(period)
        self._pipe = pipe
        self._handlers: dict[str, Callable[[], Any]] = {}

    def start(self, *, stop: Callable[[], object], reload: Callable[[], object], collect: Callable[[], Any]) -> None:
        """Follow the parent's messages, in the running loop.

        Args:
            stop: Called when the worker has to stop, or the parent is gone.
            reload: Called when files have to be read again.
            collect: Returns what the parent asks for, which can be pickled.
        """
        self._handlers = {"stop": stop, "reload": reload, "collect": lambda: self._send("collected", collect())}
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._read)
        self._send("ready", os.getpid())

    def end(self) -> None:
        """Follow them no more."""
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())

    def _read(self) -> None:
        try:
            while self._pipe.poll():
                kind, value = self._pipe.recv()
                if kind == "keys":
                    self.keys.period = value
                else:
                    self._handlers[kind]()
        except (EOFError, OSError):
            self.end()
            self._handlers["stop"]()

    def _send(self, kind: str, value: Any) -> None:
        try:
            self._pipe.send((kind, value))
        except OSError:
            pass  # the parent is gone; the pipe's end is read next


class _Worker:
    """One worker, as the parent sees it."""

    def __init__(self, process: SpawnProcess, pipe: Pipe) -> None:
        self.process = process
        self.pipe = pipe
        self.started_at = time.monotonic()
        self.is_ready = False
        self.answer: asyncio.Future[Any] | None = None

    def send(self, kind: str, value: Any = None) -> None:
        try:
            self.pipe.send((kind, value))
        except OSError:
            pass  # it has just died; its sentinel is read next


class Workers:
    """The parent's view: keeps `count` workers alive."""

    def __init__(
        self,
        entry: Callable[[Any, Sequence[socket.socket], Pipe, PeriodKeys], None],
        argument: Any,
        sockets: Sequence[socket.socket],
        count: int,
    ) -> None:
        """Prepare; `run` starts the workers.

        Args:
            entry: Run in each worker; a function that can be imported, with an argument, the
                sockets, the pipe and the ticket keys, for `Link`.
            argument: Can be pickled.
            sockets: Bound, and listening or not.
            count: The number of workers.
        """
        self._entry = entry
        self._argument = argument
        self._sockets = sockets
        self._count = count
        self._context = multiprocessing.get_context("spawn")
        self._keys = KeySchedule()
        self._workers: set[_Worker] = set()
        self._failures = 0  # one after the other
        self._stopping = False
        self._all_ready: asyncio.Future[None]
        self._ended: asyncio.Future[int]
        self._timer: asyncio.TimerHandle | None = None

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that are ready."""
        return [worker.process.pid for worker in self._workers if worker.is_ready and worker.process.pid is not None]

    async def start(self) -> bool:
        """Start the workers; whether all of them accept connections now."""
        self._loop = asyncio.get_running_loop()
        self._all_ready, self._ended = self._loop.create_future(), self._loop.create_future()
        for _ in range(self._count):
            self._start_one()
        self._rotate()
        await asyncio.wait((self._all_ready, self._ended), return_when=asyncio.FIRST_COMPLETED)
        return self._all_ready.done()

    async def wait(self) -> int:
        """Wait until all workers have ended after `stop`, or cannot start; return an exit code."""
        return await asyncio.shield(self._ended)

    def stop(self) -> None:
        """Let the workers stop, each in order; again: at once."""
        if self._stopping:
            for worker in self._workers:
                worker.process.kill()
        self._stopping = True
        for worker in self._workers:
            worker.send("stop")
        self._check_ended()

    def reload(self) -> None:
        """Let the workers read their files again."""
        for worker in self._workers:
            worker.send("reload")

    async def collect(self) -> list[Any]:
        """Return each worker's answer; one that does not answer in time is left out."""
        asked = []
        for worker in self._workers:
            if worker.is_ready:
                if worker.answer is None:
                    worker.answer = self._loop.create_future()
                    worker.send("collect")
                asked.append(worker.answer)
        if asked:
            await asyncio.wait(asked, timeout=_ANSWER)
        return [one.result() for one in asked if one.done() and not one.cancelled()]

    # ---- processes

    def _start_one(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_begin, args=(self._entry, self._argument, self._sockets, theirs, self._keys.period))
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.add(worker)
        self._loop.add_reader(ours.fileno(), self._read, worker)
        self._loop.add_reader(process.sentinel, self._died, worker)

    def _read(self, worker: _Worker) -> None:
        try:
            while worker.pipe.poll():
                kind, value = worker.pipe.recv()
                if kind == "ready":
                    worker.is_ready = True
                    worker.send("keys", self._keys.period)  # they may have changed since its start
                    if not self._all_ready.done() and sum(one.is_ready for one in self._workers) == self._count:
                        self._all_ready.set_result(None)
                elif worker.answer is not None:
                    if not worker.answer.done():
                        worker.answer.set_result(value)
                    worker.answer = None
        except (EOFError, OSError):
            self._loop.remove_reader(worker.pipe.fileno())

    def _died(self, worker: _Worker) -> None:
        self._loop.remove_reader(worker.process.sentinel)
        self._loop.remove_reader(worker.pipe.fileno())
        self._workers.discard(worker)
        if worker.answer is not None and not worker.answer.done():
            worker.answer.cancel()
        worker.process.join()
        code = worker.process.exitcode
        pid = worker.process.pid
        worker.pipe.close()
        worker.process.close()
        if code == CONFIG_FAILURE and not self._all_ready.done():
            self._end(CONFIG_FAILURE)
        elif not self._stopping:
            lived = time.monotonic() - worker.started_at
            self._failures = 0 if lived > _LIVED else self._failures + 1
            pause = min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE) if self._failures else 0.0
            _log.error("Worker %s ended (%s); it is replaced", pid, _describe(code))
            self._loop.call_later(pause, self._replace)
        self._check_ended()

    def _replace(self) -> None:
        if not self._stopping:
            self._start_one()

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)
        self.stop()

    def _check_ended(self) -> None:
        if self._stopping and not self._workers:
            if self._timer is not None:
                self._timer.cancel()
            if not self._ended.done():
                self._ended.set_result(0)

    # ---- ticket keys

    def _rotate(self) -> None:
        now = time.monotonic()
        if self._keys.advance(now):
            for worker in self._workers:
                worker.send("keys", self._keys.period)
        self._timer = self._loop.call_later(max(0.0, self._keys.period.until - now), self._rotate)


def _begin(entry: Callable[..., None], argument: Any, sockets: Sequence[socket.socket], pipe: Pipe, period: PeriodKeys) -> None:
    """Run in a worker. Ctrl-C reaches all processes of the terminal: the parent decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    entry(argument, sockets, pipe, period)


def _describe(code: int | None) -> str:
    if code is not None and code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"exit code {code}"
