"""Handshakes whose bytes are spoilt on the way, at random: each connection ends, is counted once, and leaves nothing behind.

A failing test prints its seed; `SEED` repeats it. The engine alone is attacked harder by tests/native/chaos.c.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from seeds import new_seed

if TYPE_CHECKING:
    from net import Net

VISITS = 120
AT_ONCE = 20


class Spoiler:
    """A relay that does one evil to one connection: to bytes of either direction, at a place within the handshake."""

    def __init__(self, port: int, dice: random.Random) -> None:
        self.port = port
        self.dice = dice
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: list[Any] = []

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        self.tasks.append(asyncio.current_task())
        onward, backward = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers += [writer, backward]
        to_server = self.dice.random() < 0.5
        evil = (
            self.dice.choice((self.flip, self.lose, self.repeat, self.insert, self.cut)),
            self.dice.randrange(self.dice.choice((8, 300, 2500))),
        )
        await asyncio.gather(
            self.pump(reader, backward, evil if to_server else None),
            self.pump(onward, writer, None if to_server else evil),
        )

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, evil: Any) -> None:
        """Carry one direction; `evil` is done when its place has come."""
        passed = 0
        with contextlib.suppress(OSError, RuntimeError):  # uvloop raises the latter from writes to what was closed
            while data := await reader.read(65536):
                chunk = bytearray(data)
                if evil is not None and passed <= evil[1] < passed + len(data):
                    evil[0](chunk, evil[1] - passed)
                passed += len(data)
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()

    def flip(self, chunk: bytearray, at: int) -> None:
        """Change one byte."""
        chunk[at] ^= self.dice.randrange(1, 256)

    def lose(self, chunk: bytearray, at: int) -> None:
        """Drop some bytes: whoever waits for them is timed out."""
        del chunk[at : at + self.dice.randrange(1, 50)]

    def repeat(self, chunk: bytearray, at: int) -> None:
        """Send some bytes twice."""
        chunk[at:at] = chunk[at : at + 40]

    def insert(self, chunk: bytearray, at: int) -> None:
        """Send some more."""
        chunk[at:at] = self.dice.randbytes(self.dice.randrange(1, 40))

    def cut(self, chunk: bytearray, at: int) -> None:
        """End the stream in the middle."""
        del chunk[at:]
        self.writers[-2].close()
        self.writers[-1].close()


async def think(*_args: Any) -> None:
    """Answer every question, a little later."""
    await asyncio.sleep(0)


async def choose(_name: str | None, protocols: list[str], _sock: tlsio.TLSSocket) -> str:
    """Answer the question of the protocol."""
    await asyncio.sleep(0)
    return protocols[0]


def ended(server: tlsio.Server) -> int:
    """Return how many handshakes of a server have ended, well or not."""
    stats = server.stats()
    return stats.handshakes_full + stats.handshakes_resumed + sum(stats.handshakes_failed.values())


@pytest.mark.slow
async def test_spoilt_handshakes_end_and_are_counted(net: Net) -> None:
    """With every hook on, at either end."""
    dice = random.Random(new_seed())  # noqa: S311 - not for secrets
    hooks: dict[str, Any] = {"sni_callback": think, "alpn_callback": choose, "check_client": think, "ocsp_request": think}
    trust: dict[str, Any] = {"ca": pki.ca1().cert_pem, "request_cert": True, "handshake_timeout": 0.5}
    mine: dict[str, Any] = {
        "cert": pki.agent1().cert_pem,
        "key": pki.agent1().key_pem,
        "alpn_protocols": ["a"],
        "request_ocsp": True,
        "on": {"error": print},
    }
    done = 0
    turns = asyncio.Semaphore(AT_ONCE)

    async def visit() -> None:
        nonlocal done
        async with turns:
            with contextlib.suppress(tlsio.TLSError, OSError):
                async with await net.connect(server, check_server_identity=think, handshake_timeout=0.5, close_timeout=0.1, **mine) as sock:
                    await sock.send(b"hello")
                    assert await asyncio.wait_for(sock.read(), 0.5) == b"hello"
                    done += 1

    async def echo(sock: tlsio.TLSSocket) -> None:
        with contextlib.suppress(tlsio.TLSError):
            await sock.send(await sock.readexactly(5))

    async with net.serve(echo, **hooks, **trust) as server:
        spoiler = Spoiler(net.port(server), dice)
        below = await asyncio.start_server(spoiler.run, "127.0.0.1", 0)
        net.ports[server] = below.sockets[0].getsockname()[1]
        await asyncio.gather(*(visit() for _ in range(VISITS)))
        below.close()
        while server.connections or ended(server) < VISITS:  # noqa: ASYNC110 - some are not accepted yet, and the last ones are timed out
            await asyncio.sleep(0.05)
        stats = server.stats()
        assert ended(server) == VISITS
        assert stats.handshakes_full >= done
        assert sum(stats.handshakes_failed.values()) > VISITS // 5
        for writer in spoiler.writers:
            writer.close()
        await asyncio.gather(*spoiler.tasks)
