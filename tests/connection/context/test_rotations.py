"""A long-lived client whose certificate and roots change all the time: no request fails.

The server is of one authority after the other too. Each rotation writes new roots for both sides before the first certificate under them is used, and
drops the old ones when the last is gone, as an operator with two authorities does. There are 10,000 rotations, or `MANY=`.
"""

from __future__ import annotations

import asyncio
import os
from functools import cache
from typing import TYPE_CHECKING

import pytest

import pki
import tlsio
from file_clock import FileClock

if TYPE_CHECKING:
    from pathlib import Path

ROTATIONS, PARTS = int(os.environ.get("MANY", "10000")), 20
AUTHORITIES = 4


@cache
def authority(number: int) -> pki.Identity:
    """Return one of the authorities that take turns."""
    return pki.authority(f"authority {number}")


@cache
def leaf(role: str, number: int) -> pki.Identity:
    """Return a certificate of that authority."""
    return pki.leaf(f"{role} {number}", issuer=authority(number), names=["localhost"])


class Side:
    """The files of the client or the server."""

    def __init__(self, folder: Path, role: str, time: FileClock) -> None:
        self.folder = folder
        self.role = role
        folder.mkdir()
        self.rotate(0)
        paths = {name: folder / name for name in ("cert", "key", "ca")}
        self.source = tlsio.FileSource(request_cert=True, clock=time.clock, now=time.now, **paths)  # type: ignore[arg-type]

    def rotate(self, number: int) -> None:
        """Write a certificate of this authority; trust it, the one before and the next one."""
        who = leaf(self.role, number % AUTHORITIES)
        roots = b"".join(authority(one % AUTHORITIES).cert_pem for one in (number - 1, number, number + 1))
        for name, content in {"cert": who.cert_pem, "key": who.key_pem, "ca": roots}.items():
            fresh = self.folder / "fresh"
            fresh.write_bytes(content)
            fresh.replace(self.folder / name)


async def rotate(folder: Path, rotations: int) -> None:
    """Rotate one side, then the other, each time with a request before, in between and after."""
    time = FileClock()
    server_side, client_side = (Side(folder / role, role, time) for role in ("server", "client"))
    cache = tlsio.ClientSessionCache()
    resumed = 0

    async with tlsio.serve(answer, 0, "127.0.0.1", secure_context=server_side.source) as server:
        kept = await tlsio.connect(server.port, "127.0.0.1", servername="localhost", secure_context=client_side.source)
        for number in range(1, rotations + 1):
            for side in (client_side, server_side) if number % 2 else (server_side, client_side):
                side.rotate(number)
                time.forward()
                async with tlsio.connect(
                    server.port, "127.0.0.1", servername="localhost", secure_context=client_side.source, session_cache=cache
                ) as sock:
                    await sock.send(b"ping")
                    assert await sock.readexactly(4) == b"pong"
                    resumed += sock.is_session_reused()
        await kept.send(b"ping")
        assert await kept.readexactly(4) == b"pong"  # with a certificate and under roots that are gone
        kept.destroy()
        assert server.stats().handshakes_failed == {}
    for side in (client_side, server_side):
        assert side.source.stats().loads == rotations + 1
        assert side.source.stats().failures == 0
    assert resumed < rotations  # a session of roots that are gone is not offered, or not accepted


async def answer(sock: tlsio.TLSSocket) -> None:
    """Answer each request."""
    while await sock.read(4):
        await sock.send(b"pong")


async def test_some_rotations_fail_no_request(tmp_path: Path) -> None:
    """As many as a test may take."""
    await rotate(tmp_path, 4)


@pytest.mark.slow
@pytest.mark.parametrize("_part", range(PARTS))
def test_rotations_fail_no_request(tmp_path: Path, _part: int) -> None:
    """In parts, each of which a slow machine can do in time."""
    asyncio.run(rotate(tmp_path, ROTATIONS // PARTS))
