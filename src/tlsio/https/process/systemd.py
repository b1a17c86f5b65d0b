"""What systemd passes to a service, and the reports it expects: sockets, readiness, a watchdog.

Source: sd_listen_fds(3), sd_notify(3), systemd.service(5) (`Type=notify-reload`).
"""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tlsio.model.environment import take_variable
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Notifier", "passed_sockets", "socket_of"]

_FIRST = 3  # SD_LISTEN_FDS_START
_NUMBER = re.compile(r"[0-9]{1,19}")  # up to 64 bits


def passed_sockets(take: Callable[[str], str] = take_variable) -> list[socket.socket]:
    """Return the listening sockets that were passed to this process; [] if none were.

    The variables are removed, so that processes started later do not take the sockets for theirs.

    Raises:
        ConfigError: what was passed is not a number of listening sockets.
    """
    pid, count = take("LISTEN_PID"), take("LISTEN_FDS")
    take("LISTEN_FDNAMES")
    if not count or pid != str(os.getpid()):
        return []
    if _NUMBER.fullmatch(count) is None:
        raise ConfigError(f"LISTEN_FDS is not a number: {count!r}", code="ERR_HTTPS_SOCKET")
    return [socket_of(number) for number in range(_FIRST, _FIRST + int(count))]


def socket_of(number: int) -> socket.socket:
    """Return the listening socket with a descriptor's number. It is not inherited further.

    Raises:
        ConfigError: it is not one.
    """
    try:
        os.set_inheritable(number, False)  # noqa: FBT003
        made = socket.socket(fileno=number)
    except OSError as error:
        raise ConfigError(f"File descriptor {number} is not a socket: {error.strerror}", code="ERR_HTTPS_SOCKET") from None
    if made.type != socket.SOCK_STREAM or not made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        made.detach()
        raise ConfigError(
            f"File descriptor {number} is not a listening TCP or Unix socket",
            code="ERR_HTTPS_SOCKET",
            hint="In a systemd .socket unit use ListenStream=, with Accept=no.",
        )
    return made


class Notifier:
    """Reports to the service manager, if there is one."""

    def __init__(self, take: Callable[[str], str] = take_variable) -> None:
        """Read NOTIFY_SOCKET and WATCHDOG_USEC, and remove them: child processes do not report."""
        self._given = address = take("NOTIFY_SOCKET")
        pid, period = take("WATCHDOG_PID"), take("WATCHDOG_USEC")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        is_watched = self._address and _NUMBER.fullmatch(period) is not None and int(period) and pid in ("", str(os.getpid()))
        # Half the time, as sd_watchdog_enabled(3) recommends; None: there is no watchdog.
        self.watchdog_interval = int(period) / 2e6 if is_watched else None

    @property
    def variables(self) -> dict[str, str]:
        """The variables for a process that takes over from this one."""
        if not self._given:
            return {}
        period = {} if self.watchdog_interval is None else {"WATCHDOG_USEC": str(int(self.watchdog_interval * 2e6))}
        return {"NOTIFY_SOCKET": self._given, **period}

    def ready(self, status: str) -> None:
        """Report that the server accepts connections, or has reloaded."""
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def replaced(self, pid: int) -> None:
        """Report that another process has taken over. Only the old one can: `NotifyAccess=main`."""
        self._send(f"READY=1\nMAINPID={pid}")

    def reloading(self) -> None:
        """Report that a reload has begun; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that the server stops."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Report that the loop runs, for the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # If the service manager has gone, that is not our failure.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender, suppress(OSError):
            sender.sendto(message.encode(), self._address)
