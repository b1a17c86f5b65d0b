"""Several processes that serve one port: started, told of changes, replaced when they die.

Theory of operation. The parent binds the sockets, makes the session ticket keys, and serves no
client. Each worker is a fresh interpreter (`spawn`) with the same listening sockets, and a pipe to
the parent. Messages are tuples. No side waits for the other: a worker may be blocked, and the
parent must go on. The end of a pipe means that the other side is gone, so a worker never outlives
its parent.

The listening sockets stay open in the parent: while a worker is replaced, connections wait in the
kernel's queue or go to another worker, and none is refused.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import multiprocessing
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

from tlsio.https.process.ending import FORCED
from tlsio.https.process.pipe import Pipe
from tlsio.https.process.ticket_periods import PassedKeys
from tlsio.model.errors import ConfigError, TLSError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.context import SpawnProcess

    from tlsio.https.process.ticket_periods import KeySchedule, PeriodKeys

__all__ = ["BACKLOG", "Link", "Workers"]

_log = logging.getLogger("tlsio.https")

BACKLOG = 4096  # connections in the kernel's queue, as of `tlsio.Server.listen`
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds before a worker that died is replaced, doubled each time
_MOST_DOUBLED = 16  # by then it is the longest pause; a float cannot be doubled without an end
_LIVED = 10.0  # seconds after which a worker counts as healthy
_ANSWER = 5.0  # seconds that a worker has for an answer
_MOST_OWED = 16  # answers that a worker may owe; above, it is not asked: its questions would pile up
_LINGER = 5.0  # seconds beyond the graceful timeout until a worker that does not end is killed
# Signals of the terminal reach every process of the group; the parent decides what they mean. They
# are blocked while a worker starts, until it can ignore them.
_FOR_PARENT = frozenset({signal.SIGINT, signal.SIGHUP, signal.SIGUSR2})


class Link:
    """A worker's end of its pipe.

    Attributes:
        keys: The source for `ticket_keys=`.
    """

    def __init__(self, end: socket.socket, period: PeriodKeys) -> None:
        """Take the pipe's socket, before a loop runs."""
        self.keys = PassedKeys(period)
        self._pipe = Pipe(end)
        self._stop: Callable[[], object] = lambda: None
        self._answers: Mapping[str, Callable[[], Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, *, stop: Callable[[], object], answers: Mapping[str, Callable[[], Any]]) -> None:
        """Report that this worker accepts connections, and follow the parent's messages.

        Args:
            stop: Called when the worker has to stop, or the parent is gone.
            answers: By question, a function for the answer, which can be pickled; may be async.
        """
        self._stop, self._answers = stop, answers
        self._pipe.start(received=self._receive, ended=stop)
        self._pipe.send(("ready", None))

    def end(self) -> None:
        """Follow them no more."""
        self._pipe.stop()

    def fail(self, error: TLSError | OSError) -> None:
        """Report why this worker cannot start."""
        if isinstance(error, TLSError):
            self._pipe.send_last(("failed", (error.message, error.code, error.hint)))
        else:
            self._pipe.send_last(("failed", (str(error), None, None)))

    def note(self, logger: str, text: str) -> None:
        """Let the parent log a message: for each logger, only the first one of all workers."""
        self._pipe.send(("note", (logger, text)))

    def _receive(self, message: tuple[str, Any]) -> None:
        kind, value = message
        if kind == "keys":
            self.keys.period = value
        elif kind == "stop":
            self._stop()
        else:
            task = asyncio.get_running_loop().create_task(self._answer(kind, value))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, question: str, number: int) -> None:
        answer = self._answers[question]()
        self._pipe.send(("answer", (number, await answer if inspect.isawaitable(answer) else answer)))


class _Worker:
    """One worker, as the parent sees it."""

    def __init__(self, number: int, process: SpawnProcess, pipe: Pipe) -> None:
        self.number = number
        self.process = process
        self.pipe = pipe
        self.started_at = time.monotonic()
        self.is_ready = False
        self.owed = 0  # answers, also those that came too late
        self.questions: dict[int, asyncio.Future[Any]] = {}

    def send(self, kind: str, value: Any = None) -> None:
        self.pipe.send((kind, value))


class Workers:
    """The parent's view: keeps `count` workers alive."""

    def __init__(
        self,
        entry: Callable[[Any, Sequence[socket.socket], Link], None],
        argument: Any,
        sockets: Sequence[socket.socket],
        count: int,
        *,
        keys: KeySchedule,
        graceful_timeout: float | None = None,
    ) -> None:
        """Prepare; `start` starts the workers.

        Args:
            entry: Run in each worker; a function that can be imported.
            argument: The first argument of `entry`; can be pickled.
            sockets: Bound, and listening or not; closed by `stop`.
            count: The number of workers.
            keys: Makes the session ticket keys.
            graceful_timeout: Seconds that a worker may take to stop; None: no limit.
        """
        self._entry = entry
        self._argument = argument
        self._sockets = sockets
        self._count = count
        self._keys = keys
        self._graceful_timeout = graceful_timeout
        self._context = multiprocessing.get_context("spawn")
        self._workers: set[_Worker] = set()
        self._numbers = itertools.count()
        self._failures = 0  # one after the other
        self._failure: ConfigError | None = None
        self._code = 0
        self._noted: set[str] = set()  # the loggers whose message was logged
        self._stopping = False
        self._rotation: asyncio.TimerHandle | None = None
        self._killer: asyncio.TimerHandle | None = None

    @property
    def is_accepting(self) -> bool:
        """Whether new connections are welcome."""
        return not self._stopping and any(worker.is_ready for worker in self._workers)

    @property
    def numbers(self) -> set[int]:
        """The numbers of the workers that have not ended. No number is used twice."""
        return {worker.number for worker in self._workers}

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that accept connections."""
        return [worker.process.pid for worker in self._workers if worker.is_ready and worker.process.pid is not None]

    async def start(self) -> bool:
        """Start the workers; return whether they accept connections: not if `stop` was called.

        Raises:
            ConfigError: a worker could not start. All have ended.
            OSError: there are not enough descriptors or processes. All have ended.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._all_ready: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        for one in self._sockets:
            one.listen(BACKLOG)  # clients wait in the queue, and are not refused, while the first worker starts
        try:
            for _ in range(self._count):
                self._start_one()
        except BaseException:  # without descriptors or processes: those that have started must not stay
            self._stopping = True
            self._kill()
            self._check_ended()
            await self._ended
            raise
        self._rotate()
        await asyncio.wait((self._all_ready, self._ended), return_when=asyncio.FIRST_COMPLETED)
        if (failure := self._failure) is not None:
            await self._ended
            raise failure
        return not self._stopping

    async def wait(self) -> int:
        """Wait until all workers have ended after `stop`; return an exit code."""
        await asyncio.shield(self._ended)
        return self._code

    def stop(self) -> None:
        """Let the workers stop, each in order; again: at once."""
        if self._stopping:
            self._kill()
        elif self._graceful_timeout is not None:
            self._killer = self._loop.call_later(self._graceful_timeout + _LINGER, self._kill)
        self._stopping = True
        for one in self._sockets:
            one.close()  # otherwise connections would go on to the queue, where nothing accepts them
        for worker in self._workers:
            if worker.is_ready:
                worker.send("stop")
            else:  # it serves nothing, and its application may never be ready
                worker.process.terminate()
        self._check_ended()

    def _kill(self) -> None:
        self._code = FORCED
        for worker in self._workers:
            worker.process.kill()

    async def reload(self) -> Sequence[str]:
        """Let the workers read their files again; return what went wrong, each failure once."""
        asked = [worker for worker in self._workers if worker.is_ready]
        answers = await self.ask("reload")
        # One that has died is not silent: its replacement reads the files.
        silent = [
            f"worker {one.process.pid} has not answered in {_ANSWER:g} s"
            for one in asked
            if one in self._workers and one.number not in answers
        ]
        return tuple(dict.fromkeys(itertools.chain(*answers.values(), silent)))

    async def ask(self, question: str) -> dict[int, Any]:
        """Return the workers' answers by number; one that does not answer in time is left out."""
        asked: dict[int, asyncio.Future[Any]] = {}
        number = next(self._numbers)
        for worker in self._workers:
            if worker.is_ready and worker.owed < _MOST_OWED:
                worker.owed += 1
                worker.questions[number] = answer = self._loop.create_future()
                asked[worker.number] = answer
                worker.send(question, number)
        if asked:
            await asyncio.wait(asked.values(), timeout=_ANSWER)
        for worker in self._workers:
            worker.questions.pop(number, None)
        return {worker: one.result() for worker, one in asked.items() if one.done() and not one.cancelled()}

    # ---- processes

    def _start_one(self) -> None:
        ours, theirs = socket.socketpair()
        arguments = (self._entry, self._argument, self._sockets, theirs, self._keys.period)
        process = self._context.Process(target=_begin, args=arguments, name="tlsio worker")
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_PARENT)
        try:
            process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
        worker = _Worker(next(self._numbers), process, Pipe(ours))
        self._workers.add(worker)
        worker.pipe.start(received=lambda message: self._receive(worker, *message), ended=lambda: None)  # its sentinel follows
        self._loop.add_reader(process.sentinel, self._died, worker)

    def _receive(self, worker: _Worker, kind: str, value: Any) -> None:
        if kind == "ready":
            worker.is_ready = True
            worker.send("keys", self._keys.period)  # they may have changed since its start
            if not self._all_ready.done() and len(self.pids) == self._count:
                self._all_ready.set_result(None)
        elif kind == "failed":
            message, code, hint = value
            if not self._all_ready.done():
                self._fail(ConfigError(message, code=code, hint=hint))
            else:
                _log.error("A worker cannot start: %s", message)
        elif kind == "note":
            logger, text = value
            if logger not in self._noted:
                self._noted.add(logger)
                logging.getLogger(logger).info("%s", text)
        else:
            number, answer = value
            worker.owed -= 1
            if (waiting := worker.questions.pop(number, None)) is not None and not waiting.done():
                waiting.set_result(answer)

    def _died(self, worker: _Worker) -> None:
        worker.pipe.read()  # its last words
        self._loop.remove_reader(worker.process.sentinel)
        self._workers.discard(worker)
        for answer in worker.questions.values():
            answer.cancel()
        worker.process.join()
        code, pid = worker.process.exitcode, worker.process.pid
        worker.pipe.close()
        worker.process.close()
        if not self._stopping and not self._all_ready.done():
            self._fail(ConfigError(f"A worker ended before it could serve ({_describe(code)})", code="ERR_HTTPS_WORKER"))
        elif not self._stopping:
            self._plan_replacement(worker, f"Worker {pid} ended ({_describe(code)})")
        self._check_ended()

    def _plan_replacement(self, worker: _Worker, what: str) -> None:
        self._failures = 0 if time.monotonic() - worker.started_at > _LIVED else self._failures + 1
        _log.error("%s; it is replaced", what)
        self._replace_later()

    def _replace_later(self) -> None:
        self._loop.call_later(_pause_after(self._failures), self._replace)

    def _replace(self) -> None:
        if self._stopping:
            return
        try:
            self._start_one()
        except OSError as error:  # no descriptors or processes, for now
            _log.error("A worker cannot be started, and it is tried again: %s", error.strerror)
            self._failures += 1
            self._replace_later()

    def _fail(self, failure: ConfigError) -> None:
        if self._failure is None:
            self._failure = failure
            self._stopping = True
            self._kill()
            self._check_ended()

    def _check_ended(self) -> None:
        if self._stopping and not self._workers and not self._ended.done():
            for timer in (self._rotation, self._killer):
                if timer is not None:
                    timer.cancel()
            self._ended.set_result(None)

    # ---- ticket keys

    def _rotate(self) -> None:
        now = self._keys.clock()
        if self._keys.advance(now):
            for worker in self._workers:
                worker.send("keys", self._keys.period)
        self._rotation = self._loop.call_later(max(0.0, self._keys.period.until - now), self._rotate)


def _begin(
    entry: Callable[[Any, Sequence[socket.socket], Link], None],
    argument: Any,
    sockets: Sequence[socket.socket],
    end: socket.socket,
    period: PeriodKeys,
) -> None:
    """Run in a worker."""
    for number in _FOR_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_PARENT)
    entry(argument, sockets, Link(end, period))


def _pause_after(failures: int) -> float:
    """Return the seconds before the next attempt, after so many failures in a row."""
    return min(_FIRST_PAUSE * 2 ** min(failures, _MOST_DOUBLED), _LONGEST_PAUSE) if failures else 0.0


def _describe(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"by {signal.Signals(-code).name}"
        except ValueError:  # Python has no name for most of the real-time signals
            return f"by signal {-code}"
    return f"exit code {code}"
