"""Explains why the kernel refuses to bind a TCP port, and finds the process that has it."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hint_for_bind"]

_LISTENING = "0A"  # TCP_LISTEN, as proc(5) prints the state of a socket
_FIRST_FREE_PORT = 1024  # below, CAP_NET_BIND_SERVICE is needed (ip(7)) unless a sysctl lowers it


def hint_for_bind(error: OSError, port: int) -> str:
    """Say what to do about a failed bind(2); the sentence continues "While listening on ...:"."""
    if error.errno == errno.EADDRINUSE:
        holder = _describe_holder(port)
        if holder is None:
            return (
                "this process has the port. Close the other server first, or choose another port; both can share one with reuse_port=True."
            )
        return f"{holder} has the port. Stop it, or choose another port; several processes can share one with reuse_port=True in each."
    if error.errno == errno.EACCES and port < _FIRST_FREE_PORT:
        return (
            f"ports below {_FIRST_FREE_PORT} need root or the capability CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=). Or let "
            "systemd open the socket and give it as sock=, or use a higher port."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have the address. Give one of its own, or leave host= out for all of them."
    return "check the address and the permissions of this process."


def _describe_holder(port: int) -> str | None:
    """Name the process that listens on a port; None: this one. Another user's cannot be found."""
    inodes = set(_find_inodes(port))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(one.readlink()) in inodes for one in (process / "fd").iterdir()):
                if int(process.name) == os.getpid():
                    return None
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
        except OSError:  # another user's, or it has ended
            continue
    return "another process (ss -ltnp shows which)"


def _find_inodes(port: int) -> Iterator[str]:
    """Yield the listening sockets of a port as /proc/PID/fd shows them."""
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and re.fullmatch(rf"[0-9A-F]+:{port:04X}", fields[1]):
                yield f"socket:[{fields[9]}]"
