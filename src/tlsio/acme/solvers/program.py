"""Runs a program to its end, within a time, and leaves no process behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tlsio.acme.storage.uninterrupted import to_the_end
from tlsio.model.errors import ACMEError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run_program"]

_SHOWN = 500  # characters of its output in an error


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
    # Files and not pipes: what the program starts may keep them, and so cannot delay its end.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as stdin:
        stdin.write(given)
        stdin.seek(0)
        try:
            # Not asyncio's subprocess: a cancellation while it starts would lose the process.
            process = subprocess.Popen(  # noqa: S603, ASYNC220 - a program of the user's own; it starts at once
                command, stdin=stdin, stdout=output, stderr=output, start_new_session=True
            )
        except OSError as error:
            raise ACMEError(f"{label} cannot be started: {error.strerror}", code="ERR_ACME_DNS", hint=hint) from error
        # A thread of its own: a few programs that wait for the DNS would take all of the loop's
        # executor, on which files of the storage and host names wait.
        waiter = ThreadPoolExecutor(1, "tlsio acme program")
        end = asyncio.get_running_loop().run_in_executor(waiter, process.wait)
        waiter.shutdown(wait=False)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(end)
        except TimeoutError:
            raise ACMEError(f"{label} has not ended after {seconds:g} s, and was killed", code="ERR_ACME_DNS", hint=hint) from None
        finally:
            if not end.done():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await to_the_end(end)
        if process.returncode:
            raise ACMEError(f"{label} ended with {process.returncode}{_shown(output.fileno())}", code="ERR_ACME_DNS", hint=hint)


def _shown(descriptor: int) -> str:
    """Return the end of what it printed, as one printable line."""
    data = os.pread(descriptor, _SHOWN, max(0, os.fstat(descriptor).st_size - _SHOWN))
    text = " ".join(data.decode(errors="replace").split())
    printable = "".join(one if one.isprintable() else "?" for one in text)
    return f": {printable}" if printable else ""
