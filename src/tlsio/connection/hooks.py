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

from tlsio.model.codes import ALERTS
from tlsio.model.errors import HandshakeError, TLSError, UsageTypeError

__all__ = ["Answer", "alert_number", "ask", "hook_error"]

Answer = Callable[[Any, BaseException | None], None]

_ALERT_NUMBERS = {name: number for number, name in ALERTS.items()}
INTERNAL_ERROR = 80             # RFC 8446 §6.2: "An internal error unrelated to the peer"


def ask(
    loop: asyncio.AbstractEventLoop, name: str, timeout: float | None, answer: Answer, hook: Callable[..., Any], *args: object
) -> "asyncio.Task[None] | None":
    """Call `hook(*args)` and give what comes of it to `answer(result, error)`.

    Returns:
        The task that waits for an async hook, to be cancelled when nobody wants the answer any more; None when it has come.
    """
    try:
        result = hook(*args)
    except Exception as error:  # noqa: BLE001  (code of the user; it fails the handshake, closed)
        answer(None, error)
        return None
    if not inspect.isawaitable(result):
        answer(result, None)
        return None
    return loop.create_task(_wait(name, timeout, answer, result), name=f"tlsio {name}")


async def _wait(name: str, timeout: float | None, answer: Answer, result: Awaitable[Any]) -> None:  # noqa: ASYNC109  (it is the option)
    task = asyncio.current_task()
    try:
        async with asyncio.timeout(timeout):
            value = await result
    except asyncio.CancelledError as error:
        if task is not None and task.cancelling():      # by us: the connection is gone
            raise
        answer(None, HandshakeError(f"{name} was cancelled").with_traceback(error.__traceback__))
    except TimeoutError as error:
        late = HandshakeError(f"{name} gave no answer in time", code="ERR_TLS_HOOK_TIMEOUT", hint="Raise hook_timeout, or answer sooner.")
        answer(None, late.with_traceback(error.__traceback__))
    except Exception as error:  # noqa: BLE001
        answer(None, error)
    else:
        answer(value, None)


def alert_number(error: BaseException) -> int:
    """The alert a hook's error asks for: `HandshakeError(alert=...)`, otherwise internal_error."""
    name = error.alert if isinstance(error, HandshakeError) else None
    return INTERNAL_ERROR if name is None else _ALERT_NUMBERS.get(name, INTERNAL_ERROR)


def hook_error(name: str, expected: str, value: object) -> TLSError:
    """An answer of a type that means nothing."""
    return UsageTypeError(f"{name} must return {expected}, got {type(value).__name__}")
