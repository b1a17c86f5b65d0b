"""Runs a program to its end, within a time, and leaves no process behind that it may kill."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING, NamedTuple

from tlsio.acme.storage.uninterrupted import to_the_end
from tlsio.model.errors import ACMEError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Ended", "run_program", "run_to_end"]

_SHOWN = 500  # characters of its output in an error
# For a killed process to end: one that waits for a file system of the network may take that long.
_KILL_TIMEOUT = 10.0
_log = logging.getLogger("tlsio.acme")


class Ended(NamedTuple):
    """How a program ended.

    Attributes:
        code: Its exit code; negative: the signal that killed it.
        output: The end of what it printed.
    """

    code: int
    output: bytes


async def run_program(command: Sequence[str], label: str, *, seconds: float, given: bytes = b"", hint: str | None = None) -> None:
    """Run a program. A cancellation kills it, with the processes that it has started.

    Args:
        command: The program and its arguments; no shell.
        label: What messages call it.
        seconds: Until it is killed.
        given: Its standard input.
        hint: Of the error, if it fails.

    Raises:
        ACMEError: it cannot be started, failed, or took too long (`ERR_ACME_DNS`).
    """
    try:
        ended = await run_to_end(command, seconds=seconds, given=given, most=_SHOWN)
    except TimeoutError:
        raise ACMEError(f"{label} has not ended after {seconds:g} s, and was killed", code="ERR_ACME_DNS", hint=hint) from None
    except OSError as error:
        raise ACMEError(f"{label} cannot be started: {error.strerror}", code="ERR_ACME_DNS", hint=hint) from error
    if ended.code:
        raise ACMEError(f"{label} ended with {ended.code}{_show(ended.output)}", code="ERR_ACME_DNS", hint=hint)


async def run_to_end(
    command: Sequence[str], *, seconds: float, most: int, given: bytes = b"", variables: Mapping[str, str] | None = None
) -> Ended:
    """Run a program. A cancellation kills it, with the processes that it has started.

    Args:
        command: The program and its arguments; no shell.
        seconds: Until it is killed.
        most: Bytes of its output that are returned.
        given: Its standard input.
        variables: Its environment; None: that of this process.

    Raises:
        TimeoutError: it was killed.
        OSError: it cannot be started.
    """
    # Files and not pipes: what the program starts may keep them, and so cannot delay its end.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as stdin:
        stdin.write(given)
        stdin.seek(0)
        # Not asyncio's subprocess: a cancellation while it starts would lose the process.
        process = subprocess.Popen(  # noqa: S603, ASYNC220 - a program of the user's own; it starts at once
            command, stdin=stdin, stdout=output, stderr=output, env=variables, start_new_session=True
        )
        end = _wait_in_thread(process)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(end)
        finally:
            if not end.done():
                await to_the_end(asyncio.create_task(_kill(process, end), name="tlsio acme kill"))
        size = os.fstat(output.fileno()).st_size
        return Ended(process.returncode, os.pread(output.fileno(), most, max(0, size - most)))


def _wait_in_thread(process: subprocess.Popen[bytes]) -> asyncio.Future[None]:
    """Return a future that is done when a process has ended.

    It has a thread of its own: a few programs that wait for the DNS would take all of the loop's
    executor, on which files of the storage and host names wait. And the thread does not hold up the
    end of this process, if the program cannot be killed.
    """
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()

    def wait() -> None:
        process.wait()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(end.set_result, None)

    threading.Thread(target=wait, name="tlsio acme program", daemon=True).start()
    return end


async def _kill(process: subprocess.Popen[bytes], end: asyncio.Future[None]) -> None:
    """Kill a program with what it has started, and wait until it has ended, if it can be killed."""
    with contextlib.suppress(ProcessLookupError):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except PermissionError as error:  # it has become another user's, as by sudo
            _log.warning("The process %d cannot be killed, and goes on: %s", process.pid, error.strerror)
            return
    await asyncio.wait([end], timeout=_KILL_TIMEOUT)


def _show(output: bytes) -> str:
    """Return what it printed as one printable line."""
    text = " ".join(output.decode(errors="replace").split())
    printable = "".join(one if one.isprintable() else "?" for one in text)
    return f": {printable}" if printable else ""
