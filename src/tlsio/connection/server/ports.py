"""Explains why the kernel refuses to bind a TCP port, and finds the process that has it."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address, IPv6Address

__all__ = ["hint_for_bind"]

_LISTENING = "0A"  # TCP_LISTEN, as proc(5) prints the state of a socket
_FIRST_FREE_PORT = 1024  # below, CAP_NET_BIND_SERVICE is needed (ip(7)) unless a sysctl lowers it


def hint_for_bind(error: OSError, host: str, port: int) -> str:
    """Say what to do about a failed bind(2); the sentence continues "While listening on ...:"."""
    if error.errno == errno.EADDRINUSE:
        holder = _describe_holder(host, port)
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


def _describe_holder(host: str, port: int) -> str | None:
    """Name the process that listens on a port; None: this one. Another user's cannot be found."""
    inodes = set(_find_inodes(host, port))
    for process in Path("/proc").glob("[0-9]*"):
        if inodes.isdisjoint(_open_files(process)):
            continue
        if int(process.name) == os.getpid():
            return None
        with suppress(OSError):  # it has ended
            return f"process {process.name} ({(process / 'comm').read_text().strip()})"
    return "another socket (ss -ltnp shows which, if it listens)"


def _open_files(process: Path) -> Iterator[str]:
    """Yield what the descriptors of a process are; nothing for another user's process."""
    with suppress(OSError):
        for one in (process / "fd").iterdir():
            with suppress(OSError):  # it was closed in the meantime
                yield str(one.readlink())


def _find_inodes(host: str, port: int) -> Iterator[str]:
    """Yield the listening sockets that conflict with an address, as /proc/PID/fd shows them."""
    own = ip_address(host.partition("%")[0])
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            place, _, number = fields[1].partition(":")
            if fields[3] == _LISTENING and int(number, 16) == port and _conflicts(own, _parse(place)):
                yield f"socket:[{fields[9]}]"


def _parse(place: str) -> IPv4Address | IPv6Address:
    """Parse an address of /proc/net/tcp or tcp6: 32-bit words in this machine's byte order."""
    words = bytes.fromhex(place)
    return ip_address(b"".join(words[at : at + 4][:: -1 if sys.byteorder == "little" else 1] for at in range(0, len(words), 4)))


def _conflicts(one: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address) -> bool:
    return one == other or one.is_unspecified or other.is_unspecified
