"""Sample the objects and memory of this process, and execute the orders of the soak.

An order is one line of JSON on stdin, its answer one line of JSON on stdout.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import resource
import socket
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlsio.connection.context.secure_context import SecureContext
from tlsio.connection.socket.tls_socket import TLSSocket
from tlsio.native._core import Connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

_DESCRIPTORS = Path("/proc/self/fd")
_LIBC = ctypes.CDLL(None)
# Seconds. A process without connections has tasks from time to time: every few seconds ticket keys are read, which takes up to eight
# commands of Redis. A task that never ends is still running after this, on any machine.
_PASSING = 10.0
# `tcpi_state` of TCP_INFO: include/net/tcp_states.h of Linux.
_STATES = dict(
    enumerate(
        [
            "established",
            "syn-sent",
            "syn-recv",
            "fin-wait-1",
            "fin-wait-2",
            "time-wait",
            "close",
            "close-wait",
            "last-ack",
            "listen",
            "closing",
        ],
        1,
    )
)


class Complaints:
    """Warnings of Python, and exceptions that it could only print."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        warnings.simplefilter("always")
        warnings.showwarning = self._hear_warning  # type: ignore[assignment]
        sys.unraisablehook = self._hear_unraisable

    def add(self, line: str) -> None:
        """Keep one more."""
        self._lines.append(line)

    def take(self) -> list[str]:
        """Return those since the last time."""
        lines, self._lines = self._lines, []
        return lines

    def _hear_warning(self, message: object, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
        self.add(f"{filename}:{lineno}: {category.__name__}: {message}")

    def _hear_unraisable(self, what: Any) -> None:
        self.add(f"{what.err_msg or 'exception ignored in'} {what.object!r}: {what.exc_value!r}")


async def obey(answers: dict[str, Callable[..., Awaitable[dict[str, Any]]]]) -> None:
    """Execute orders until stdin ends."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        order = json.loads(line)
        print(json.dumps(await answers[order.pop("do")](**order)), flush=True)


def count_tasks() -> int:
    """Return the number of tasks of the running loop, the caller's not counted."""
    return len(asyncio.all_tasks()) - 1


def describe_tasks() -> list[str]:
    """Return the name of each task of the running loop, except the caller's, and the lines at which it waits, the outermost first."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return sorted(f"{one.get_name()} ({' > '.join(_lines(one.get_coro()))})" for one in others)


def _lines(awaited: Any) -> Iterator[str]:
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:  # a future, or an iterator of C
            break
        yield f"{awaited.__qualname__}, {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


async def take_sample(redis_port: int = 0) -> dict[str, Any]:
    """Wait for tasks that end soon, collect garbage, give freed memory back to the kernel, and count what is left."""
    deadline = time.monotonic() + _PASSING
    while count_tasks() and time.monotonic() < deadline:  # noqa: ASYNC110 - all tasks at rest is no event
        await asyncio.sleep(0.01)
    return _count(redis_port)


def _count(redis_port: int) -> dict[str, Any]:
    for _ in range(3):  # what a finalizer lets go of is found by the next pass
        gc.collect()
    _LIBC.malloc_trim(0)
    kinds = Counter(type(one) for one in gc.get_objects())
    states, redis_sockets = _own_sockets(redis_port)
    return {
        "resident": int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE"),
        "heap": _heap_in_use(),
        "blocks": sys.getallocatedblocks(),
        "descriptors": sum(1 for _ in _DESCRIPTORS.iterdir()) - 1 - redis_sockets,  # one is the listing itself
        "redis_sockets": redis_sockets,
        "tasks": count_tasks(),
        "running": "; ".join(describe_tasks()),
        "sockets": kinds[TLSSocket],
        "natives": kinds[Connection],
        "contexts": kinds[SecureContext],
        "states": " ".join(f"{state}={count}" for state, count in sorted(states.items())),
    }


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


def _heap_in_use() -> int:
    """Return the bytes that malloc has given out; unlike resident memory, holes do not count."""
    call = _LIBC.mallinfo2
    call.restype = _Mallinfo2
    info = call()
    return int(info.uordblks + info.hblkhd)


def _own_sockets(redis_port: int) -> tuple[Counter[str], int]:
    """Return this process's TCP sockets by state, and how many lead to Redis: its client keeps as many as it likes.

    Each is asked itself: /proc/net/tcp shows some twice while other connections come and go.
    """
    own = {}  # by inode, because each handshake thread listens on a duplicate
    for descriptor in _DESCRIPTORS.iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            own[descriptor.readlink().name] = int(descriptor.name)
    states: Counter[str] = Counter()
    redis_sockets = 0
    for name, number in own.items():
        if not name.startswith("socket:"):
            continue
        with socket.socket(fileno=os.dup(number)) as one:
            if one.family not in {socket.AF_INET, socket.AF_INET6}:
                continue
            if redis_port and _port_of_peer(one) == redis_port:
                redis_sockets += 1
            else:
                states[_STATES[one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]]] += 1
    return states, redis_sockets


def _port_of_peer(one: socket.socket) -> int:
    try:
        return int(one.getpeername()[1])
    except OSError:  # it listens, or has been reset
        return 0
