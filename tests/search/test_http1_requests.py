"""Requests of HTTP/1.1 that are damaged: what two parsers take for a request, both take for the same one.

h11 reads each stream too. Where it and the server accept a request, method, target and body are equal, so nothing can be smuggled
past one of them; and the server's answer to a stream does not depend on how it was cut. Each seed is one stream:
`SEED=17 pytest tests/search/test_http1_requests.py` runs one again, `FIRST=` and `MANY=` run others.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple

import h11
import pytest
import uvicorn

from http2_wire import MemoryTransport
from tlsio.https.limits import Limits
from tlsio.https.protocols.connection import Connection
from tlsio.https.protocols.http1 import Http1Protocol
from tlsio.https.protocols.service import Service

FIRST, MANY = int(os.environ.get("FIRST", "0")), int(os.environ.get("MANY", "300"))
SEEDS = range(FIRST, FIRST + MANY) if "SEED" not in os.environ else [int(os.environ["SEED"])]
SIZE = 30  # seeds of one test
TURNS = 4  # of the loop, in which an application takes all that is there
REQUESTS = (
    b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /2?q HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n3\r\nabc\r\n0\r\nT: r\r\n\r\n",
    b"PUT /4 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc",
    b"POST /5 HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /6 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"POST /7 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nwxyz",
    b"POST /8 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /9 HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
    b"POST /10 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n",
)
KEPT = [one for one in REQUESTS if b"close" not in one and b"HTTP/1.0" not in one and b"Upgrade" not in one]  # others follow them
PIECES = (
    *(b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b"\x0b", b"\xff", b":", b",", b";", b'"', b"-", b"+", b"_", b"%", b"0", b"1", b"a", b"0x"),
    *(b"chunked", b"HTTP/1.1", b"\r\n\r\n", b"Content-Length: 3\r\n", b"Content-Length:\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Transfer-Encoding: identity\r\n", b"Connection: close\r\n"),
)


class Asked(NamedTuple):
    """A request that was read to its end."""

    method: bytes
    target: bytes
    body: bytes


def damaged(chance: random.Random) -> bytes:
    """Return some requests, with some faults; now and then more than may wait for their turn."""
    before = chance.choices(KEPT, k=chance.choice([0, 0, 0, chance.randrange(60)]))
    stream = b"".join(before + chance.choices(REQUESTS, k=chance.randint(1, 4)))
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        at = chance.randrange(len(stream) + 1)
        match chance.randrange(4):
            case 0:
                stream = stream[:at] + chance.choice(PIECES) + stream[at:]
            case 1:
                stream = stream[:at] + stream[at + chance.randint(1, 3) :]
            case 2:
                stream = stream[:at] + chance.randbytes(1) + stream[at + 1 :]
            case _:
                lines = stream.split(b"\r\n")
                lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
                stream = b"\r\n".join(lines)
    return stream


def cut(chance: random.Random, stream: bytes) -> list[bytes]:
    """Cut a stream at random."""
    places = sorted({0, len(stream), *(chance.randrange(len(stream) + 1) for _ in range(chance.randint(1, 5)))})
    return [stream[begin:end] for begin, end in pairwise(places)]


class Site:
    """A server in memory, and the requests it has read to their end."""

    def __init__(self) -> None:
        config = uvicorn.Config(self._answer, log_config=None, lifespan="off", interface="asgi3")
        config.load()
        self.service = Service(config, Limits())
        self.asked: list[Asked] = []

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        query = scope["query_string"]
        self.asked.append(Asked(scope["method"].encode(), scope["raw_path"] + (b"?" + query if query else b""), body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def read(self, parts: list[bytes]) -> tuple[list[Asked], list[bool]]:
        """Return the requests in a stream, and whether each answer is a refusal, whose reason a cut may change."""
        self.asked = []
        here = SimpleNamespace(remote_address="127.0.0.1", remote_port=50000, local_address="127.0.0.1", local_port=443)
        connection: Any = Connection(self.service, here)  # type: ignore[arg-type]
        connection.tls, connection.acknowledged = {}, lambda: 0
        protocol = Http1Protocol(connection)
        transport = MemoryTransport(protocol)
        protocol.connection_made(transport)
        for part in parts:
            while transport.reading_paused and not transport.closed:  # noqa: ASYNC110 - a transport has no event
                await asyncio.sleep(0)
            if not transport.closed:
                protocol.data_received(part)
            for _ in range(TURNS):
                await asyncio.sleep(0)
        while protocol._pipeline and not transport.closed:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        transport.close()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert not self.service.connections
        assert not self.service.state.tasks
        return self.asked, [status != b"2" for status in re.findall(rb"HTTP/1.1 ([245])", transport.written)]


def read_by_h11(stream: bytes) -> list[Asked]:
    """Return the requests that h11 reads to their end."""
    found: list[Asked] = []
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(stream)
    try:
        while connection.their_state is not h11.MUST_CLOSE:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                found.append(Asked(head.method, head.target.removesuffix(b"?"), body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
            else:
                break
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        pass  # what follows is not read, by the one or by the other
    return found


@pytest.mark.parametrize("first", range(SEEDS[0], SEEDS[-1] + 1, SIZE))
async def test_damaged_requests(first: int) -> None:
    """Both parsers read the same, and a cut changes nothing."""
    site = Site()
    for seed in range(first, min(first + SIZE, SEEDS[-1] + 1)):
        chance = random.Random(seed)  # noqa: S311 - a case that can be run again
        stream = damaged(chance)
        whole = await site.read([stream])
        for ours, theirs in zip(whole[0], read_by_h11(stream), strict=False):
            assert ours == theirs, f"SEED={seed}: {stream!r}"
        assert await site.read(cut(chance, stream)) == whole, f"SEED={seed}: {stream!r}"
        assert await site.read([stream[at : at + 1] for at in range(len(stream))]) == whole, f"SEED={seed}: {stream!r}"
