"""Questions to the user's hooks: sync or async, bounded in time, answered once.

Theory of operation. The engine has stopped and waits for an answer. `ask` calls the hook; a plain
result is passed on within the same call, an awaitable becomes a `Question` that passes its result
on later. Every failure is passed on as an error, so that each question ends, and fails closed: an
exception of any kind, a timeout (even if the hook swallows its cancellation), a hook that cancels
itself. KeyboardInterrupt and SystemExit are raised again after that. When the connection ends, its
question is cancelled and passes nothing on.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, cast

from tlsio.model.codes import alert_name, alert_number
from tlsio.model.errors import CertificateError, HandshakeError, PeerError, TLSError, UsageTypeError, UsageValueError

__all__ = [
    "INTERNAL_ERROR",
    "Answer",
    "AwaitAll",
    "Question",
    "alert_of",
    "as_tls_error",
    "ask",
    "failure_of",
    "is_hook_failure",
    "no_answer",
    "no_loop",
    "reraise_later",
    "wrong_answer",
]

Answer = Callable[[Any, BaseException | None], None]

# RFC 8446 §6.2: "An internal error unrelated to the peer or the correctness of the protocol".
INTERNAL_ERROR = "internal_error"

_BROKEN, _CANCELLED, _LATE = "ERR_TLS_HOOK_FAILED", "ERR_TLS_HOOK_CANCELLED", "ERR_TLS_HOOK_TIMEOUT"
_FAILED = (_CANCELLED, _LATE)
# Alerts that report no error (RFC 8446 §6.1; RFC 5246 §7.2.2): to a client that is refused with one
# of them, the connection has ended in order.
_NO_ERRORS = ("close_notify", "user_canceled", "no_renegotiation")
_CHECKS = {"check_client", "check_server_identity"}


def ask(
    loop: asyncio.AbstractEventLoop | None, name: str, timeout: float | None, answer: Answer, hook: Callable[..., Any], *args: object
) -> "Question | None":
    """Call `hook(*args)` and pass the outcome to `answer(result, error)`.

    Without a loop an async hook is an error.

    Returns:
        The question of an async hook, to be cancelled when the connection ends; None if the hook
        has answered.
    """
    try:
        result = hook(*args)
    except BaseException as error:  # noqa: BLE001  (user code; the handshake fails closed)
        answer(None, failure_of(name, error))
        reraise_later(None if loop is None else loop.call_soon, error)
        return None
    if not inspect.isawaitable(result):
        answer(result, None)
        return None
    if loop is None:
        _discard(result)
        answer(None, no_loop(name))
        return None
    return Question(loop, name, timeout, answer, result)


class Question:
    """A running async hook: answered once, by the hook or its timeout; never if cancelled."""

    __slots__ = ("_answer", "_loop", "_name", "_task", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str, timeout: float | None, answer: Answer, result: Awaitable[Any]) -> None:
        self._answer: Answer | None = answer
        self._loop = loop
        self._name = name
        self._task = loop.create_task(_wait(result), name=f"tlsio {name}")
        self._task.add_done_callback(self._done)
        self._task.add_done_callback(lambda _task: _discard(result))  # it may be cancelled before its first step
        self._timer = None if timeout is None else loop.call_later(timeout, self._expire)

    def cancel(self) -> None:
        """Cancel the hook, and drop its answer."""
        self._answer = None
        self._stop_timer()
        self._task.cancel()

    def is_run_by(self, task: "asyncio.Task[Any] | None") -> bool:
        """Whether the hook runs in this task."""
        return task is self._task

    def _expire(self) -> None:
        self._timer = None
        self._task.cancel()
        self._answer_once(None, _late(self._name))

    def _done(self, task: "asyncio.Task[tuple[Any, BaseException | None]]") -> None:
        self._stop_timer()
        value, error = (None, asyncio.CancelledError()) if task.cancelled() else task.result()
        self._answer_once(value, None if error is None else failure_of(self._name, error))
        if error is not None:
            reraise_later(self._loop.call_soon, error)

    def _answer_once(self, value: object, error: Exception | None) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(value, error)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class AwaitAll:
    """Several awaitables as one, which raises the first failure when all are done.

    It is not a coroutine: if it is cancelled before its first step, the coroutines within must be
    closed too.
    """

    __slots__ = ("_failures", "_waiting")

    def __init__(self, waiting: Sequence[Awaitable[object]], failures: Sequence[Exception]) -> None:
        """Await `waiting`; `failures` are raised as if they were among its results."""
        self._waiting = waiting
        self._failures = failures

    def __await__(self) -> Generator[Any, Any, None]:
        return self._finish().__await__()

    async def _finish(self) -> None:
        results = await asyncio.gather(*self._waiting, return_exceptions=True)
        for failure in (*self._failures, *results):
            if isinstance(failure, BaseException):
                raise failure

    def close(self) -> None:
        """Close the coroutines."""
        for one in self._waiting:
            _discard(one)


def _discard(result: Awaitable[object]) -> None:
    """Close what will not be awaited: a coroutine that never started would warn."""
    if isinstance(result, AwaitAll) or inspect.iscoroutine(result):
        result.close()


async def _wait(result: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Return the hook's answer, or its exception.

    A task that raises KeyboardInterrupt would end the loop before the engine gets the error.
    """
    try:
        return await result, None
    except BaseException as error:  # noqa: BLE001
        return None, error


def failure_of(name: str, error: BaseException) -> Exception:
    """Return a hook's exception as an error that a connection can fail with."""
    kind = type(error)  # `isinstance` may run code of the exception
    if (
        issubclass(kind, Exception) and not issubclass(kind, StopIteration) and _has_attributes(error)
    ):  # a coroutine cannot raise StopIteration
        return cast("Exception", error)
    what = "was cancelled" if issubclass(kind, asyncio.CancelledError) else f"was ended by {kind.__name__}"
    failure = HandshakeError(f"{name} {what}", code=_CANCELLED, alert=INTERNAL_ERROR)
    failure.__cause__ = error
    return failure


def _has_attributes(error: BaseException) -> bool:
    try:
        _ = error.__class__
    except BaseException:  # noqa: BLE001  (user code)
        return False
    return True


def as_tls_error(name: str, error: Exception) -> TLSError:
    """Return a hook's exception as one of ours, with the original as `__cause__`.

    An exception of `check_client` or `check_server_identity` is a judgement on the certificate. The
    code is that of the original, if it has one. An exception whose own text or attributes fail has
    the same effect as any other: a handshake that waits for this function must not go on without.
    """
    if isinstance(error, TLSError) and _is_sound(error):
        return error
    code, words = _code_of(error), _text_of(error)
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    if name in _CHECKS:
        made: TLSError = CertificateError(f"{name} refused the certificate: {text}", code=code)
    else:
        made = HandshakeError(f"{name} failed: {text}", code=code or _BROKEN)
    made.__cause__ = error
    return made


def _is_sound(error: TLSError) -> bool:
    """Tell whether an error can be printed, and its attributes read and set."""
    try:
        str(error)
        error.alert = error.alert
    except Exception:  # noqa: BLE001  (user code)
        return False
    return _code_of(error) is not None


def _code_of(error: BaseException) -> str | None:
    try:
        code = getattr(error, "code", None)
    except Exception:  # noqa: BLE001  (user code)
        return None
    return code if isinstance(code, str) and code else None


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  (user code)
        return ""


def is_hook_failure(failure: BaseException) -> bool:
    """Tell whether a hook failed, rather than refused the peer by raising a PeerError."""
    if issubclass(type(failure.__cause__), KeyboardInterrupt | SystemExit):
        return False
    return not isinstance(failure, PeerError) or _code_of(failure) in _FAILED


def reraise_later(later: Callable[..., object] | None, error: BaseException) -> None:
    """Raise KeyboardInterrupt and SystemExit again, by `later`, after the turn.

    The turn must be completed first: it has notifications for other connections.
    """
    if not issubclass(type(error), KeyboardInterrupt | SystemExit):
        return
    if later is None:
        raise error
    later(_raise, error)


def _raise(error: BaseException) -> None:
    raise error


def no_answer(name: str, cause: BaseException) -> TLSError:
    """Return the error for an outcome of a hook that could not be processed."""
    failure = HandshakeError(f"{name} failed: its outcome could not be processed", code=_BROKEN, alert=INTERNAL_ERROR)
    failure.__cause__ = cause
    return failure


def _late(name: str) -> Exception:
    return HandshakeError(
        f"{name} did not return within hook_timeout", code=_LATE, alert=INTERNAL_ERROR, hint="Raise hook_timeout=, or make the hook faster."
    )


def alert_of(error: BaseException, default: str) -> int:
    """Return the number of the alert in a hook's `HandshakeError(alert=...)`, or of `default`.

    A TLSError gets the name of the alert that is sent.
    """
    wanted = error.alert if isinstance(error, HandshakeError) else None
    if wanted in _NO_ERRORS:
        error.add_note(f"The TLS alert {wanted!r} reports no error, so {INTERNAL_ERROR!r} was sent")
        wanted = INTERNAL_ERROR
    try:
        number = alert_number(wanted or default)
    except UsageValueError as unknown:
        error.add_note(unknown.message)
        number = alert_number(INTERNAL_ERROR)
    if isinstance(error, TLSError):
        error.alert = alert_name(number)
    return number


def no_loop(name: str) -> TLSError:
    """Return the error for an async function where there is no loop to run it."""
    return UsageTypeError(
        f"{name} must not be async: a SecurePair has no event loop", hint="Use a plain function, or a TLSSocket over a stream."
    )


def wrong_answer(name: str, expected: str, value: object) -> TLSError:
    """Return the error for a hook's answer of a wrong type."""
    return UsageTypeError(f"{name} must return {expected}, got {type(value).__name__}")
