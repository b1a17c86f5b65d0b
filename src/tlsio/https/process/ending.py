"""The end of a process, which does not wait for threads of the application that block.

Python joins threads when it exits, and a loop joins those of its executor when it is closed. A
request that was cancelled leaves its thread behind while a function blocks there, and no thread can
be ended from outside. So the process ends without it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

__all__ = ["FORCED", "run_to_end"]

_log = logging.getLogger("tlsio.https")

FORCED = 1  # the exit code if a second signal cut requests off
# Seconds that threads have after the last request was answered or cancelled: less than workers have
# until their parent kills them, and exits with 1.
_LINGER = 3.0


def run_to_end(
    main: Coroutine[Any, Any, int], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None, graceful_timeout: float | None
) -> int:
    """Run a coroutine; return its exit code when all threads that it left have ended.

    If one blocks, the process ends here: some seconds later, or at once after a signal.

    Args:
        main: What serves; it returns the exit code.
        loop_factory: Makes the loop; None: asyncio's.
        graceful_timeout: None: there is no limit, so threads are waited for until a signal comes.
    """
    others = set(threading.enumerate())
    with ExitStack() as stack:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            code = runner.run(main)
            stack.enter_context(_limited(code, None if graceful_timeout is None else _LINGER))
        for thread in set(threading.enumerate()) - others:
            if not thread.daemon:
                thread.join()
    return code


@contextmanager
def _limited(code: int, seconds: float | None) -> Iterator[None]:
    """End the process if the block takes longer than that, or a signal comes."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in handlers.items() if handler not in {None, signal.SIG_IGN}}
    timer = None if seconds is None else threading.Timer(seconds, _leave, (code,))
    for number in handlers:
        signal.signal(number, lambda *_: _leave(FORCED))
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _leave(code: int) -> NoReturn:
    _log.warning("The process ends, although threads of the application still run")
    with suppress(OSError, RuntimeError, ValueError):
        sys.stdout.flush()
    os._exit(code)
