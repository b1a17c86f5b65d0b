"""The end of a process, which does not wait for threads of the application that block.

Python joins threads when it exits, and a loop joins those of its executor when it is closed. A
request that was cancelled leaves its thread behind while a function blocks there, and no thread can
be ended from outside. So the process ends without it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import sys
import threading
import time
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
    """End the process if the block takes longer than that, or a signal comes.

    A thread watches, because the main one may not notice a signal while it waits: another thread
    may have received it, or it came just before the wait.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in handlers.items() if handler not in {None, signal.SIG_IGN}}
    for number in handlers:
        signal.signal(number, lambda *_: _leave(FORCED))
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    watcher = threading.Thread(target=_watch, args=(reader, frozenset(handlers), code, seconds), daemon=True)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)
        watcher.join()
        os.close(reader)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _watch(reader: int, numbers: frozenset[int], code: int, seconds: float | None) -> None:
    """Read the numbers of signals until the end of the pipe, or end the process."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        if not select.select([reader], [], [], None if end is None else max(0.0, end - time.monotonic()))[0]:
            _leave(code)
        if not (received := os.read(reader, 64)):
            return
        if not numbers.isdisjoint(received):
            _leave(FORCED)


def _leave(code: int) -> NoReturn:
    _log.warning("The process ends, although threads of the application still run")
    with suppress(OSError, RuntimeError, ValueError):
        sys.stdout.flush()
    os._exit(code)
