"""FileSource: the context source of certificates, keys, roots and CRLs in files that change.

Theory of operation. Nothing runs between uses. `context_for` looks at the files at most once a
second: one `stat` each, by path, so that each symlink on the way is followed anew (Kubernetes swaps
one above the files). If they have changed, a thread of its own reads and parses them, and the
connections that ask meanwhile wait for it, but not longer than `_PATIENCE`; after that, the delay
is reported, and later connections do not wait for this load. The look itself is not given to a
thread, since `stat` takes microseconds: where it hangs, the event loop hangs.

Files may be caught in the middle of a change. So a set is taken only if

- each changed file was left alone for a second (`_SETTLED`), or looks as it did a second ago: a
  file that is being written, and a certificate whose key comes next, are not read at all;
- all files look the same before and after they were read: a set that was swapped meanwhile would be
  a mixture;
- it makes a context: everything can be parsed, the key fits the certificate, a CRL fits the roots;
- its certificate is valid now, unless that of the old set is not either.

Otherwise the old set stays, and one warning says why.

Invariants: `_lock` is held for what several threads change, and while files are looked at, but
never while they are read. A load runs at most once at a time. A context that was returned is never
changed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import stat
import threading
import time
from concurrent.futures import Future
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, SupportsIndex

from tlsio.connection.context.secure_context import SecureContext
from tlsio.connection.emitter import Emitter, Once
from tlsio.connection.tasks import current_loop, drop_awaitable, failure_of_task, find_awaitable
from tlsio.model.errors import ConfigError, TLSError, UsageTypeError
from tlsio.model.exported import exported
from tlsio.model.instants import print_instant
from tlsio.model.material import Material
from tlsio.model.options.parse import parse_context_options
from tlsio.model.statistics import FileSourceStats
from tlsio.trust.certificate import read_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from typing import TypeAlias, Unpack

    from tlsio.model.options.context import ContextOptions, ContextOptionsDict

    # Of each file: what distinguishes its content, or the errno of a failed `stat`.
    _Look: TypeAlias = tuple[int, int, int, int, int] | int

__all__ = ["FileSource"]

_log = logging.getLogger("tlsio")

_INTERVAL = 1.0  # seconds between two looks at the files
# Seconds without a change until a file counts as complete. Two changes within a tick of the
# kernel's clock (4 ms) may look the same, and whoever renews a certificate writes its key soon.
_SETTLED = 1.0
# Seconds for which a connection waits for a load before it uses the old set: a file whose reading
# hangs must not stop connections.
_PATIENCE = 1.0
_ATTEMPTS = 3  # to read the files unchanged


@exported
class FileSource(Emitter):
    """A context source of files that may be replaced at any time; for servers and clients.

    It takes the options of `create_secure_context`, and watches each file that is given as a path.
    A change is used if the new files are complete and fit together; otherwise the old ones stay in
    use. May be used in several event loops and threads, and in threads without a loop.

    Events:
        changed(context): a new set of files is in use.
        error(error): the new files cannot be used.

    A listener is called in the event loop in which it was added; added without one, in the thread
    that reads the files.
    """

    _EVENTS: ClassVar[frozenset[str]] = frozenset({"changed", "error"})

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time, **options: Unpack[ContextOptionsDict]
    ) -> None:
        """Check the options. The files are read by `start`, or on first use.

        Args:
            clock: Monotonic seconds, for tests.
            now: Another clock than the system's, in POSIX seconds, for tests.
            options: Those of `create_secure_context`; files as paths.

        Raises:
            UsageError: a wrong option, or no file.
        """
        super().__init__()
        self._options = parse_context_options(options)
        self._paths = tuple(dict.fromkeys(_find_paths(self._options)))
        if not self._paths:
            raise UsageTypeError(
                "FileSource has no file to watch",
                code="ERR_MISSING_ARGS",
                hint="Give files as pathlib.Path: FileSource(cert=Path(...), key=Path(...)). What does not change is a create_secure_context().",
            )
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._tasks: set[asyncio.Task[Any]] = set()  # of async listeners
        self._context: SecureContext | None = None
        self._failure: Exception | None = None  # of the last load
        self._loading: Future[None] | None = None
        self._late: Future[None] | None = None  # the load that connections no longer wait for
        self._next_check = float("-inf")
        self._taken: tuple[_Look, ...] | None = None  # how the files looked when they were taken; None: read them again
        self._refused: tuple[_Look, ...] | None = None  # how they looked when they could not be used
        self._again_at = float("inf")  # when refused files may be used: the start of a certificate's validity
        self._seen: tuple[_Look, ...] | None = None  # how they look since `_seen_at`
        self._seen_at = 0.0
        self._warned: tuple[type[Exception], str] | None = None  # the last failure that was reported
        self._checks = self._loads = self._failures = 0
        self._loaded_at: datetime | None = None
        self._next_expiry: datetime | None = None

    # ---- the contract of a context source

    async def start(self) -> None:
        """Read the files, unless that was done.

        Raises:
            ConfigError: they cannot be used.
            OSError: a file cannot be read, or no thread can be started.
        """
        if self._context is None and (awaitable := find_awaitable(self.context_for())) is not None:
            await awaitable

    def context_for(self, server_name: str | None = None, /) -> SecureContext | Awaitable[SecureContext]:  # noqa: ARG002 - one for all names
        """Return the context of the present files; where a loop runs, an awaitable if they changed.

        Raises:
            ConfigError: there is no usable set yet.
            OSError: there is none yet, and a file cannot be read, or no thread can be started.
        """
        loading = self._look()
        if loading is None:
            return self._find_current()
        return self._wait(loading) if current_loop() is not None else self._wait_here(loading)

    def context_now(self, server_name: str | None = None, /) -> SecureContext:  # noqa: ARG002 - one for all names
        """As `context_for`, but wait in this thread if the files have changed."""
        loading = self._look()
        return self._find_current() if loading is None else self._wait_here(loading)

    @property
    def published_for(self) -> float:
        """Seconds until the next look at the files; 0: this source does not measure real ones."""
        return _INTERVAL if self._clock is time.monotonic else 0.0

    @property
    def published(self) -> Mapping[str, SecureContext] | None:
        """The context of the present files, for every name; None: they are being read."""
        return {"*": self._find_current()} if self._look() is None else None

    # ---- for applications

    async def reload(self) -> SecureContext:
        """Read the files now, also if they seem unchanged or are just being written.

        Returns:
            The context in use from now on.

        Raises:
            ConfigError: they cannot be used; the old ones stay.
            OSError: a file cannot be read, or no thread can be started; the old ones stay.
            Cancelled: the files are read nevertheless.
        """
        self._forget_parent()
        while (running := self._loading) is not None:  # it may have read the files before they changed
            await asyncio.wait((asyncio.wrap_future(running),))
        with self._lock:
            loading = self._loading or self._start_load(None, is_forced=True)
        await asyncio.wait((asyncio.wrap_future(loading),))
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return self._find_current()

    def stats(self) -> FileSourceStats:
        """Return counters, and the next expiry. May be called from any thread."""
        self._forget_parent()
        with self._lock:
            return FileSourceStats(
                checks=self._checks,
                loads=self._loads,
                failures=self._failures,
                loaded_at=self._loaded_at,
                next_expiry=self._next_expiry,
            )

    # ---- looking

    def _look(self) -> Future[None] | None:
        """Look at the files, if that is due; return the load that a caller should wait for."""
        self._forget_parent()
        with self._lock:
            if self._loading is not None:
                return None if self._loading is self._late else self._loading
            now = self._clock()
            # Without context and failure, a first load ended with its process, or had no thread.
            if now < self._next_check and (self._context is not None or self._failure is not None):
                return None
            self._next_check = now + _INTERVAL
            self._checks += 1
            looks = self._look_at_all()
            if looks == self._taken or (looks == self._refused and self._now() < self._again_at):
                return None
            if looks != self._seen:
                self._seen, self._seen_at = looks, now
            settled = now - self._seen_at >= _SETTLED or self._is_old(looks)
            if self._context is not None and not settled:
                return None
            try:
                return self._start_load(looks if settled else None)
            except OSError:
                if self._context is None:
                    raise
                return None

    def _forget_parent(self) -> None:
        """After a fork, drop what another thread of the parent would have finished."""
        if self._pid != os.getpid():
            self._lock, self._loading = threading.Lock(), None
            self._pid = os.getpid()  # last: a thread that reads the new number must find the new lock

    def _look_at_all(self) -> tuple[_Look, ...]:
        return tuple(map(_look_at, self._paths))

    def _is_old(self, looks: tuple[_Look, ...]) -> bool:
        """Whether no file that differs from the set in use was changed within the last second."""
        before = self._taken or (None,) * len(looks)
        changed = [new for new, old in zip(looks, before, strict=True) if new != old]
        latest = self._now() - _SETTLED
        return all(not isinstance(look, int) and max(look[3:]) <= latest * 1e9 for look in changed)

    # ---- loading

    def _start_load(self, settled: tuple[_Look, ...] | None, *, is_forced: bool = False) -> Future[None]:
        """Read the files in a thread of its own: those of an executor may all be busy.

        Args:
            settled: How they look, if nothing is being written.
            is_forced: Take them even if something is.

        Raises:
            OSError: the process can have no more threads.
        """
        loading: Future[None] = Future()
        loading.set_running_or_notify_cancel()  # a caller that is cancelled does not cancel it for the others
        thread = threading.Thread(target=self._load, args=(loading, settled, is_forced), name="tlsio FileSource", daemon=True)
        self._loading = loading
        try:
            thread.start()
        except RuntimeError as error:
            self._loading = None
            raise OSError(errno.EAGAIN, "No thread could be started to read the files of a FileSource") from error
        return loading

    def _load(self, loading: Future[None], settled: tuple[_Look, ...] | None, is_forced: bool) -> None:  # noqa: FBT001 - a thread's
        try:
            try:
                report = self._read_and_judge(settled, is_forced=is_forced)
            except Exception as error:  # noqa: BLE001  (at the top of a thread: it is reported)
                report = self._refuse(None, error)
            self._loading = None  # so that a listener which asks does not wait for itself
            if report is not None:
                self._emit(*report)
        finally:
            if self._loading is loading:
                self._loading = None
            loading.set_result(None)

    def _read_and_judge(self, settled: tuple[_Look, ...] | None, *, is_forced: bool) -> tuple[str, object] | None:
        """Read the files, and take or refuse them; return the event to emit."""
        looks, made, failure = self._read()
        is_settled = looks == settled or self._is_old(looks)
        if self._context is not None and not (is_settled or is_forced):
            return None  # a writer has begun meanwhile: the next look comes soon
        if made is not None:
            return self._take(looks if is_settled else None, made)
        assert failure is not None  # noqa: S101 - for the type checker
        return self._refuse(looks if is_settled else None, failure)

    def _read(self) -> tuple[tuple[_Look, ...], SecureContext | None, Exception | None]:
        """Return how the files looked, and the context made of them or the failure."""
        made: SecureContext | None
        failure: Exception | None
        looks = self._look_at_all()
        for _ in range(_ATTEMPTS):
            try:
                made, failure = self._make(), None
            except Exception as error:  # noqa: BLE001  (at the top of a thread: it is reported)
                made, failure = None, error
            before, looks = looks, self._look_at_all()
            if looks == before:
                return looks, made, failure
        return looks, None, ConfigError("The files of a FileSource changed each time they were read", code="ERR_TLS_FILES_CHANGING")

    def _make(self) -> SecureContext:
        """Return a context of the present files that may replace the one in use."""
        for path in self._paths:
            _check_kind(path)
        made = SecureContext(self._options)
        for material in _materials(made.options):
            if material.path is not None and _is_cut_off(material.data):
                raise ConfigError(
                    f"The file {material.path!r} ends within a PEM block",
                    code="ERR_TLS_INCOMPLETE_FILE",
                    hint="It was written partly: write it anew, to another name, and rename it.",
                )
        now = self._find_time()
        self._again_at = float("inf")
        if self._context is not None and _find_fault(self._context, now) is None and (fault := _find_fault(made, now)) is not None:
            code, text, start = fault
            if start is not None:
                self._again_at = start.timestamp()
            raise ConfigError(text, code=code, hint="Check the clock of this machine, or renew the certificate.")
        return made

    def _find_time(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)

    def _take(self, looks: tuple[_Look, ...] | None, made: SecureContext) -> tuple[str, object] | None:
        """Use a new context; return the event to emit.

        `looks` is None if the files are not settled: then they are read again.
        """
        now = self._find_time()
        next_expiry = _find_next_expiry(made, now)
        with self._lock:
            self._taken, self._refused, self._failure, self._warned = looks, None, None, None
            is_first = self._context is None
            if self._context is not None and made.options == self._context.options:
                return None
            self._context, self._loaded_at, self._next_expiry = made, now, next_expiry
            self._loads += 1
        return None if is_first else ("changed", made)

    def _refuse(self, looks: tuple[_Look, ...] | None, failure: Exception) -> tuple[str, object] | None:
        """Keep the context in use; return the event to emit. `looks` as for `_take`."""
        with self._lock:
            # After an OSError, such as too many open files, the same files may be read next time.
            self._refused = looks if isinstance(failure, TLSError) else None
            self._failure = failure
        return self._warn(failure)

    def _warn(self, failure: Exception) -> tuple[str, object] | None:
        """Log why the old files stay, unless that was said last; return the event to emit."""
        reason = type(failure), str(failure)
        with self._lock:
            if reason == self._warned:
                return None
            self._warned = reason
            self._failures += 1
        if self._context is None:  # raised where it is asked for
            return None
        text, hint = str(failure) or type(failure).__name__, getattr(failure, "hint", None)
        _log.warning(
            "The changed files of a FileSource cannot be used, and the old ones stay in use: %s%s", text, f". {hint}" if hint else ""
        )
        return "error", failure

    # ---- waiting

    def _find_current(self) -> SecureContext:
        with self._lock:  # another thread's load may end in between
            context, failure = self._context, self._failure
        if context is not None:
            return context
        assert failure is not None  # noqa: S101 - for the type checker: `_look` loads while there is neither
        raise failure.with_traceback(None)

    async def _wait(self, loading: Future[None]) -> SecureContext:
        done, _ = await asyncio.wait((asyncio.wrap_future(loading),), timeout=None if self._context is None else _PATIENCE)
        if not done:
            self._stop_waiting(loading)
        return self._find_current()

    def _wait_here(self, loading: Future[None]) -> SecureContext:
        try:
            loading.result(None if self._context is None else _PATIENCE)
        except TimeoutError:
            self._stop_waiting(loading)
        return self._find_current()

    def _stop_waiting(self, loading: Future[None]) -> None:
        """Let later connections use the old files until this load ends, and report it."""
        with self._lock:
            if self._loading is not loading or self._late is loading:
                return
            self._late = loading
        failure = ConfigError(
            "The files of a FileSource were not read within a second",
            code="ERR_TLS_FILES_HANGING",
            hint=f"Their file system may hang: {', '.join(self._paths)}.",
        )
        if (report := self._warn(failure)) is not None:
            self._emit(*report)

    # ---- listeners

    def _add(self, event: str, fn: Any, entry: Any) -> Any:
        home = _Home(fn, current_loop())
        return super()._add(event, fn, Once(home) if isinstance(entry, Once) else home)  # type: ignore[arg-type]

    def _call(self, fn: Any, args: tuple[object, ...]) -> None:
        """Call a listener in its loop."""
        loop: asyncio.AbstractEventLoop | None = fn.loop
        if loop is None or loop is current_loop():
            super()._call(fn.function, args)
            return
        try:
            loop.call_soon_threadsafe(self._call, fn, args)
        except RuntimeError:  # it is closed
            return

    def _spawn(self, awaitable: Awaitable[Any]) -> None:
        if current_loop() is None:
            drop_awaitable(awaitable)
            self._listener_failed(UsageTypeError("An async listener of a FileSource must be added where an event loop runs"))
            return
        task = asyncio.ensure_future(awaitable)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if (error := failure_of_task(task)) is not None:
            self._listener_failed(error)

    def _listener_failed(self, error: BaseException) -> None:
        if (loop := current_loop()) is not None:
            loop.call_exception_handler({"message": "tlsio: a listener of a FileSource failed", "exception": error})
        else:
            _log.error("A listener of a FileSource failed", exc_info=error)

    def __repr__(self) -> str:
        return f"<FileSource of {', '.join(self._paths)}>"

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise UsageTypeError("A FileSource cannot be pickled or copied: it holds private keys")


class _Home:
    """A listener with the loop in which it was added; equal to its function, for `off`."""

    __slots__ = ("function", "loop")

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, function: Any, loop: asyncio.AbstractEventLoop | None) -> None:
        self.function = function
        self.loop = loop

    def __eq__(self, other: object) -> bool:
        return self is other or self.function == other


def _materials(options: ContextOptions) -> Iterator[Material]:
    """Yield each certificate, key, CRL ... of the options."""
    for item in fields(options):
        value = getattr(options, item.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Material):
                yield one


def _find_paths(options: ContextOptions) -> Iterator[str]:
    return (material.path for material in _materials(options) if material.path is not None)


def _look_at(path: str) -> _Look:
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path for each look would cost more than the look
    except OSError as error:
        return error.errno or -1
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _check_kind(path: str) -> None:
    """Refuse what a thread might wait for without end, such as a pipe."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - as in `_look_at`
    except OSError:
        return  # whoever reads it raises the same, with a hint
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ConfigError(
            f"{path!r} is not a regular file",
            code="ERR_TLS_NOT_A_FILE",
            hint="A FileSource reads files again and again: give the path of a file, not of a pipe or a device.",
        )


_END_LINE = re.compile(rb"-----END [^-]+-----")


def _is_cut_off(data: bytes) -> bool:
    """Tell whether the last line is a part of a PEM label; OpenSSL sees other cuts itself."""
    if data.startswith(b"\x30") and b"-----BEGIN " not in data:
        return False  # DER, in which a byte like a newline begins no line
    last = data.rstrip().rpartition(b"\n")[2].strip()
    return last.startswith(b"-") and _END_LINE.fullmatch(last) is None


def _find_fault(context: SecureContext, now: datetime) -> tuple[str, str, datetime | None] | None:
    """Return why a certificate of ours is not valid: code, text, and when it will be."""
    for certificate in read_all([leaf for leaf, _ in context.native.identities]):
        name = certificate.title
        if certificate.not_after is not None and certificate.not_after < now:
            return "CERT_HAS_EXPIRED", f'The certificate "{name}" expired on {print_instant(certificate.not_after)}', None
        if certificate.not_before is not None and certificate.not_before > now:
            return (
                "CERT_NOT_YET_VALID",
                f'The certificate "{name}" is not valid before {print_instant(certificate.not_before)}',
                certificate.not_before,
            )
    return None


def _find_next_expiry(context: SecureContext, now: datetime) -> datetime | None:
    """Return when the first of these ends: our certificates, their issuers, CRLs, roots of `ca=`.

    Roots that have ended are left out: a bundle may keep them.
    """
    own = [one for pair in context.native.identities for one in pair if one is not None]
    ends = [end for certificate in read_all(own) if (end := certificate.not_after) is not None]
    ends += [end for root in read_all(context.given_roots) if (end := root.not_after) is not None and end > now]
    if context.lists_end:
        ends.append(datetime.fromtimestamp(context.lists_end, UTC))
    return min(ends, default=None)
