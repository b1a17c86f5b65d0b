"""A cluster as it lives: four processes on one port, ticket keys from one Redis, thousands of clients that come back."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pki
import tlsio
from redis_server import RedisServer
from seeds import new_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES, CLIENTS, VISITS = 4, 200, 10_000
SECONDS = 135.0  # two changes of keys, which are a minute apart
RESTART = 0.25  # of it, then Redis is restarted


@contextmanager
def nodes(port: int, url: str, folder: Path) -> Iterator[None]:
    """Run the processes until the end of the block."""
    who = pki.localhost()
    files = folder / "node.pem", folder / "node.key"
    files[0].write_bytes(who.chain_pem)
    files[1].write_bytes(who.key_pem)
    command = [sys.executable, str(Path(__file__).parents[2] / "support" / "cluster_node.py"), str(port), url, *map(str, files)]
    with ExitStack() as stack:
        running = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) for _ in range(NODES)]
        for process in running:
            stack.callback(process.kill)
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
        yield


class Visitors:
    """Clients of both versions that come back with what they were given last."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._contexts = [tlsio.create_secure_context(ca=pki.ca1().cert_pem, max_version=version) for version in ("TLSv1.2", "TLSv1.3")]
        self._sessions: dict[int, bytes] = {}
        self.resumed = self.visits = 0
        self.keys: set[bytes] = set()  # names of ticket keys: they stand before each ticket, in the clear

    async def visit(self, client: int) -> None:
        """Visit; a first visit does not count."""
        session = self._sessions.pop(client, None)
        given: list[bytes] = []
        context = self._contexts[client % 2]
        async with tlsio.connect(
            self._port, "127.0.0.1", servername="localhost", secure_context=context, session=session, on={"session": given.append}
        ) as sock:
            assert await sock.readexactly(5) == b"hello"
            assert await sock.read() == b""
            ticket = sock.get_tls_ticket()
            reused = sock.is_session_reused()
        assert ticket
        self.keys.add(ticket[:16])
        self._sessions[client] = given[-1] if given else session or b""
        if session is not None:
            self.visits += 1
            self.resumed += reused


async def live(port: int, redis: RedisServer) -> Visitors:
    """Let the clients come again and again, at the pace that fills the time."""
    visitors, start, restarted = Visitors(port), time.monotonic(), False
    chance = random.Random(new_seed())  # noqa: S311 - who comes when
    await asyncio.gather(*map(visitors.visit, range(CLIENTS)))
    while visitors.visits < VISITS:
        await asyncio.gather(*map(visitors.visit, chance.sample(range(CLIENTS), 8)))
        share = visitors.visits / VISITS
        if not restarted and share > RESTART:
            restarted = True
            await asyncio.to_thread(redis.restart)
        await asyncio.sleep(max(0.0, start + share * SECONDS - time.monotonic()))
    return visitors


@pytest.mark.slow
def test_clients_resume_wherever_they_come(tmp_path: Path) -> None:
    """Over 99 % of ten thousand, through two changes of keys and a Redis that is restarted, empty. Nobody is turned away."""
    with socket.socket() as reserved, RedisServer() as redis:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with nodes(port, redis.url, tmp_path):
            visitors = asyncio.run(live(port, redis))
    assert len(visitors.keys) >= 3
    assert visitors.resumed / visitors.visits > 0.99
