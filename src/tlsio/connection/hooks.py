"""Questions to the user's hooks: sync or async, bounded in time, answered once.

Theory of operation. The engine has stopped and waits for an answer. `ask` calls the hook; a plain result is passed on within
the same call, an awaitable becomes a task that passes it on later. Whatever goes wrong (an exception, a timeout, a hook that
cancels itself) is passed on as an error, so that every question ends: closed, if not with an answer. A question whose connection
is gone is cancelled by its task and passes nothing on.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from tlsio.model.codes import alert_name, alert_number
from tlsio.model.errors import HandshakeError, TLSError, UsageTypeError, UsageValueError

__all__ = ["INTERNAL_ERROR", "Answer", "alert_of", "ask", "no_loop", "wrong_answer"]

Answer = Callable[[Any, BaseException | None], None]

# RFC 8446 §6.2: "An internal error unrelated to the peer or the correctness of the protocol".
INTERNAL_ERROR = "internal_error"


def ask(
    loop: asyncio.AbstractEventLoop | None, name: str, timeout: float | None, answer: Answer, hook: Callable[..., Any], *args: object
) -> "asyncio.Task[None] | None":
    """Call `hook(*args)` and give what comes of it to `answer(result, error)`. Without a loop an async hook is an error.

    Returns:
        The task that waits for an async hook, to be cancelled when nobody wants the answer any more; None when it has come.
    """
    try:
        result = hook(*args)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (code of the user; it fails the handshake, closed)
        answer(None, error if isinstance(error, Exception) else _cancelled(name))
        return None
    if not inspect.isawaitable(result):
        answer(result, None)
        return None
    if loop is None:
        if inspect.iscoroutine(result):
            result.close()
        answer(None, no_loop(name))
        return None
    task = loop.create_task(_wait(name, timeout, answer, result), name=f"tlsio {name}")
    if inspect.iscoroutine(result):  # one that is cancelled before it has begun would complain that nobody awaits it
        task.add_done_callback(lambda _task: result.close())
    return task


async def _wait(name: str, timeout: float | None, answer: Answer, result: Awaitable[Any]) -> None:  # noqa: ASYNC109  (it is the option)
    task = asyncio.current_task()
    value, failure, scope = None, None, asyncio.timeout(timeout)
    try:
        async with scope:
            value = await result
    except asyncio.CancelledError:
        if task is not None and task.cancelling():  # by us: the connection is gone
            raise
        failure = _cancelled(name)
    except Exception as error:  # noqa: BLE001
        failure = _late(name) if scope.expired() and isinstance(error, TimeoutError) else error
    answer(value, failure)


def _late(name: str) -> Exception:
    return HandshakeError(
        f"{name} gave no answer in time", code="ERR_TLS_HOOK_TIMEOUT", alert=INTERNAL_ERROR, hint="Raise hook_timeout, or answer sooner."
    )


def _cancelled(name: str) -> Exception:
    return HandshakeError(f"{name} was cancelled", code="ERR_TLS_HOOK_CANCELLED", alert=INTERNAL_ERROR)


def alert_of(error: BaseException, default: str) -> int:
    """The number of the alert a hook's error asks for by `HandshakeError(alert=...)`, otherwise of `default`.

    An error of ours is told which one was sent.
    """
    wanted = error.alert if isinstance(error, HandshakeError) else None
    try:
        number = alert_number(wanted or default)
    except UsageValueError as unknown:
        error.add_note(unknown.message)
        number = alert_number(INTERNAL_ERROR)
    if isinstance(error, TLSError):
        error.alert = alert_name(number)
    return number


def no_loop(name: str) -> TLSError:
    """An async function where nothing can wait for it."""
    return UsageTypeError(f"{name} must not be async: a SecurePair has no loop", hint="Answer at once, or use a TLSSocket over a stream.")


def wrong_answer(name: str, expected: str, value: object) -> TLSError:
    """An answer of a type that means nothing."""
    return UsageTypeError(f"{name} must return {expected}, got {type(value).__name__}")
