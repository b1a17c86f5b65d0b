"""A restart that drops no connection: the next process takes the listening sockets of this one.

Theory of operation. On SIGUSR2, this process runs its own command line again, with the sockets
inherited and one end of a socket pair. Through the pair, the new process reads which sockets they
are and the session ticket keys, so that sessions go on. When it accepts connections, it says so;
then the old one tells the service manager which process is the main one now, closes the pair, and
serves its requests to the end. Until then nothing has changed: if the new process ends, the old one
goes on.

Both processes accept connections for a moment. The kernel's queue belongs to the socket, which is
never closed, so no connection is refused or lost.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from tlsio.https.process.ticket_periods import PeriodKeys
from tlsio.model.environment import take_variable, with_variables
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Inherited", "Successor", "find_inherited"]

_VARIABLE = "TLSIO_RESTART"
_CHUNK = 65536
_READY = b"ready"
_LINGER = 5.0  # seconds that a new process which is not needed has to end


class Successor:
    """The process that takes over, as the old one sees it."""

    def __init__(self, sockets: Mapping[str, Sequence[socket.socket]], period: PeriodKeys, environment: Mapping[str, str]) -> None:
        """Start it.

        Args:
            sockets: That it listens on, by what they are for.
            period: The session ticket keys.
            environment: Variables for it, besides those of this process.

        Raises:
            OSError: it cannot be started.
        """
        self._is_ending = False
        self._pair, theirs = socket.socketpair()
        numbers = {purpose: [one.fileno() for one in group] for purpose, group in sockets.items()}
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own command line
                    [sys.executable, *sys.orig_argv[1:]],
                    pass_fds=(*(one for group in numbers.values() for one in group), theirs.fileno()),
                    env=with_variables({**environment, _VARIABLE: str(theirs.fileno())}),
                )
            except OSError:
                self._pair.close()
                raise
        with suppress(OSError):  # it has ended already, which `wait` finds out
            self._pair.sendall(_write(numbers, period))
            self._pair.shutdown(socket.SHUT_WR)
        self._pair.setblocking(False)  # noqa: FBT003

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def wait(self) -> bool:
        """Wait until it accepts connections; return False if it has ended instead."""
        loop = asyncio.get_running_loop()
        with suppress(OSError):  # ECONNRESET: it has ended before it read what was sent
            if await loop.sock_recv(self._pair, len(_READY)) == _READY:
                return True
        await loop.run_in_executor(None, self._process.wait)
        self._pair.close()
        return False

    @property
    def exit_code(self) -> int | None:
        """Its exit code, once it has ended."""
        return self._process.poll()

    def release(self) -> None:
        """Let it go on alone."""
        self._pair.close()
        self._process.returncode = 0  # it is not waited for: it outlives us

    def end(self) -> None:
        """Ask it to end, because this process was stopped before that; again: kill it."""
        with suppress(OSError):  # it has ended already
            self._pair.shutdown(socket.SHUT_RDWR)  # neither side waits for the other any more
        (self._process.kill if self._is_ending else self._process.terminate)()
        self._is_ending = True

    async def wait_ended(self) -> None:
        """Wait until it has ended after `end`; kill it if it does not, as its startup may block."""
        ended = asyncio.get_running_loop().run_in_executor(None, self._process.wait)
        if not (await asyncio.wait((ended,), timeout=_LINGER))[0]:
            self._process.kill()
            await ended


class Inherited:
    """What an old process has handed over.

    Attributes:
        sockets: To listen on, by what they are for.
        period: The session ticket keys; None if they cannot be used.
    """

    def __init__(self, sockets: dict[str, list[socket.socket]], period: PeriodKeys | None, pair: socket.socket) -> None:
        self.sockets = sockets
        self.period = period
        self._pair = pair

    async def confirm(self) -> None:
        """Report that this process accepts connections, and wait until the old one has retired."""
        loop = asyncio.get_running_loop()
        with self._pair as pair:
            try:
                await loop.sock_sendall(pair, _READY)
                await loop.sock_recv(pair, 1)
            except OSError:  # the old process has ended, as it does after this
                pass


def find_inherited(take: Callable[[str], str] = take_variable) -> Inherited | None:
    """Return what an old process has handed over to this one; None if it was started otherwise.

    The variable is removed, so that processes started later do not find it.

    Raises:
        ConfigError: the variable is set, but not by such a process.
    """
    number = take(_VARIABLE)
    if not number:
        return None
    try:
        pair = socket.socket(fileno=int(number))
        pair.set_inheritable(False)
        data = b""
        while chunk := pair.recv(_CHUNK):
            data += chunk
        numbers, period = _read(data)
        sockets = {purpose: [socket.socket(fileno=one) for one in group] for purpose, group in numbers.items()}
        for one in itertools.chain.from_iterable(sockets.values()):
            one.set_inheritable(False)
    except (OSError, OverflowError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"The variable {_VARIABLE} is set, but there is nothing to take over: {error}", code="ERR_HTTPS_RESTART"
        ) from None
    pair.setblocking(False)  # noqa: FBT003
    return Inherited(sockets, period, pair)


# JSON, since the new process may be of another version than the old one.


def _write(numbers: Mapping[str, list[int]], period: PeriodKeys) -> bytes:
    keys = {"keys": [one.hex() for one in period.keys], "following": period.following.hex(), "until": period.until}
    return json.dumps({"sockets": numbers, "period": keys}).encode()


def _read(data: bytes) -> tuple[dict[str, list[int]], PeriodKeys | None]:
    found = json.loads(data)
    try:
        period = found["period"]
        keys = PeriodKeys(tuple(map(bytes.fromhex, period["keys"])), bytes.fromhex(period["following"]), float(period["until"]))
    except (KeyError, TypeError, ValueError):  # of a version that wrote them otherwise
        return found["sockets"], None
    return found["sockets"], keys
