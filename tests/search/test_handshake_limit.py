"""`max_handshake_bytes`: the verdict follows from the bytes of the handshake, not from how they arrive.

Each seed is one limit near the length of a handshake or of its hello, and one way to cut what the client sends; the same
handshake is also sent without a cut. `SEED=17 pytest tests/search/test_handshake_limit.py` runs one again, `FIRST=` and `MANY=`
run others. What follows the handshake in the same segment does not count.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import pytest

import pki
import stdlib_peer
from net import Driver, Net, Version

if TYPE_CHECKING:
    import tlsio

_PLAYS = 20
FIRST = int(os.environ.get("FIRST", "0"))
MANY = int(os.environ.get("MANY", "500")) // _PLAYS  # seeds; each of them is as much work as so many of the other plays
SEEDS = range(FIRST, FIRST + MANY) if "SEED" not in os.environ else [int(os.environ["SEED"])]
TOO_LARGE = "ERR_TLS_HANDSHAKE_TOO_LARGE"
READ = 65536


@dataclass
class Attempt:
    """One handshake of a client.

    Attributes:
        hello: Bytes of its first flight.
        sent: Bytes of all that it had to send.
        verdict: "" or the code of the server's error.
    """

    hello: int
    sent: int
    verdict: str


class Visitor:
    """A client of the standard library in memory, whose bytes are cut."""

    def __init__(self, version: Version, chance: random.Random | None) -> None:
        context = stdlib_peer.client(pki.chained(), version=version)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._chance = chance
        self.flights: list[int] = []

    async def run(self, port: int, verdict: asyncio.Future[str]) -> None:
        """Shake hands, as far as the server lets it, and stay until its verdict."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        is_done = False
        with suppress(OSError):
            while not is_done:
                is_done = self._step()
                data = self._outgoing.read()
                self.flights.append(len(data))
                if is_done:
                    self._tls.write(bytes(20_000))
                    data += self._outgoing.read()
                for part in self._cut(data):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not is_done and not (answer := await reader.read(READ)):
                    break
                if not is_done:
                    self._incoming.write(answer)
        await verdict
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def _step(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def _cut(self, data: bytes) -> list[bytes]:
        if self._chance is None or not data:
            return [data]
        places = sorted({0, *self._chance.sample(range(len(data)), min(len(data), self._chance.choice([1, 3, 30])))})
        return [data[start:end] for start, end in zip(places, [*places[1:], len(data)], strict=True)]


async def attempt(net: Net, limit: int, chance: random.Random | None) -> Attempt:
    """Shake hands with a server that has this limit."""
    verdict: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def failed(error: tlsio.TLSError, _socket: Any) -> None:
        verdict.set_result(error.code or "")

    def accept(socket: tlsio.TLSSocket) -> None:
        verdict.set_result("")
        socket.destroy()

    who = pki.localhost_rsa()
    options = {"cert": who.cert_pem, "key": who.key_pem, "request_cert": True, "reject_unauthorized": False, "ca": pki.ca1().cert_pem}
    async with net.serve(accept, max_handshake_bytes=limit, **options) as server:
        server.on("tls_client_error", failed)
        visitor = Visitor(net.version, chance)
        await visitor.run(net.port(server), verdict)
    return Attempt(visitor.flights[0], sum(visitor.flights), verdict.result())


@pytest.mark.slow
@pytest.mark.parametrize("version", get_args(Version))
@pytest.mark.parametrize("driver", get_args(Driver))
async def test_one_verdict(driver: Driver, version: Version) -> None:
    """Too large is what has more bytes than the limit, in one piece or in many."""
    net = Net(driver, version)
    usual = await attempt(net, 2**20, None)
    assert usual.verdict == ""
    verdicts = set()
    for seed in SEEDS:
        chance = random.Random(seed)  # noqa: S311 - a case that can be run again
        limit = chance.choice([usual.hello, usual.sent]) + chance.choice([-100, -1, 0, 0, 1, 100])
        for cuts in (None, chance):
            case = await attempt(net, limit, cuts)
            assert case.verdict == ("" if case.sent <= limit else TOO_LARGE), f"SEED={seed}: limit {limit}, {case}, cut: {cuts is not None}"
            verdicts.add(case.verdict)
    assert len(SEEDS) == 1 or verdicts == {"", TOO_LARGE}
