"""`tlsio proxy --http`: the last messages of a WebSocket arrive, whichever side closes, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from https_peer import serving
from served import client_context
from tlsio.https.proxy import relay as relay_module
from tlsio.https.proxy.http import HTTPProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import pytest
    from websockets.asyncio.server import ServerConnection

    Answer = Callable[[ServerConnection], Awaitable[None]]

SCOPE: dict[str, Any] = {
    "type": "websocket", "raw_path": b"/ws", "path": "/ws", "query_string": b"", "headers": [(b"host", b"localhost")],
    "client": None, "subprotocols": [], "extensions": {},
}  # fmt: skip
LARGE = b"m" * 1_000_000
SMALL = [b"%d" % number for number in range(10)]


class Client:
    """A client as the proxy sees it: ASGI's `receive` and `send`.

    Attributes:
        accepted: The WebSocket is open.
        may_read: Set: it reads what it is sent.
        got: What it has been sent.
    """

    def __init__(self) -> None:
        self.queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.may_read = asyncio.Event()
        self.accepted = asyncio.Event()
        self.is_closed = False
        self.got: list[dict[str, Any]] = []
        self.queue.put_nowait({"type": "websocket.connect"})

    def say(self, *messages: bytes) -> None:
        """Send messages."""
        for message in messages:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": message})

    def close(self, code: int) -> None:
        """Send Close."""
        self.is_closed = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": ""})

    async def send(self, message: Any) -> None:
        """Take a message of the proxy; as servers do, fail after Close."""
        if message["type"] != "websocket.accept":
            await self.may_read.wait()
        if self.is_closed:
            raise ConnectionResetError
        self.accepted.set()
        self.got.append(message)

    async def run(self, port: int, **options: Any) -> None:
        """Run the proxy for this client."""
        await HTTPProxy("127.0.0.1", port, **options)(SCOPE, self.queue.get, self.send)


@asynccontextmanager
async def backend(answer: Answer) -> AsyncIterator[int]:
    """Run a backend; yield its port."""
    async with serve(answer, "127.0.0.1", 0, compression=None, close_timeout=0.2) as server:
        yield server.sockets[0].getsockname()[1]


async def test_the_last_messages_of_a_backend() -> None:
    """The backend sends and closes; the client, which reads late, sends too. It gets all of them, and the code."""
    closed = asyncio.Event()

    async def answer(ws: ServerConnection) -> None:
        for message in SMALL:
            await ws.send(message)
        await ws.close(4001, "done")
        closed.set()

    client = Client()
    async with backend(answer) as port:
        running = asyncio.ensure_future(client.run(port))
        await closed.wait()
        client.say(*SMALL)
        while not client.queue.empty():  # noqa: ASYNC110 - a few passes of the loop
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        client.may_read.set()
        await running
    assert client.got[1:] == [
        *({"type": "websocket.send", "bytes": message} for message in SMALL),
        {"type": "websocket.close", "code": 4001, "reason": "done"},
    ]


async def test_the_last_messages_of_a_client() -> None:
    """The client sends and closes; the backend, which reads late, answers the first. It gets all of them, and the code."""
    got: list[Any] = []
    may_read, ended = asyncio.Event(), asyncio.Event()
    code: int | None = None

    async def answer(ws: ServerConnection) -> None:
        nonlocal code
        await may_read.wait()
        with suppress(websockets.ConnectionClosed):
            while True:
                got.append(await ws.recv())
                if len(got) == 1:
                    await ws.send(b"thanks")
        await ws.wait_closed()
        code = ws.close_code
        ended.set()

    client = Client()
    client.may_read.set()
    said = [*[LARGE] * 20, *SMALL]
    async with backend(answer) as port:
        running = asyncio.ensure_future(client.run(port))
        await client.accepted.wait()
        client.say(*said)
        client.close(4002)
        while client.queue.qsize() == len(said) + 1:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        may_read.set()
        await running
        await ended.wait()
    assert (got, code) == (said, 4002)


class EndlessSender:
    """A backend that sends until the connection is closed.

    Attributes:
        code: Why it was closed.
        ended: It was.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.ended = asyncio.Event()

    async def __call__(self, ws: ServerConnection) -> None:
        """Send."""
        with suppress(websockets.ConnectionClosed):
            while True:
                await ws.send(LARGE)
        self.code = ws.close_code
        self.ended.set()


async def test_a_backend_that_goes_on_sending() -> None:
    """The client closes: what the backend sends before its own Close is read and dropped, so that Close arrives."""
    sender = EndlessSender()
    client = Client()
    client.may_read.set()
    async with backend(sender) as port:
        running = asyncio.ensure_future(client.run(port))
        while len(client.got) < 3:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        client.close(4002)
        await running
        await sender.ended.wait()
    assert sender.code == 4002


class TestNotReading:
    """A backend that does not read: TCP holds up all that it is sent."""

    @staticmethod
    @asynccontextmanager
    async def backend() -> AsyncIterator[int]:
        """Run one; yield its port."""
        released = asyncio.Event()

        async def answer(ws: ServerConnection) -> None:
            ws.transport.pause_reading()
            await released.wait()
            ws.transport.abort()

        async with backend(answer) as port:
            yield port
            released.set()

    async def test_messages(self, caplog: pytest.LogCaptureFixture) -> None:
        """After a time, the client is told, and the log."""
        client = Client()
        client.may_read.set()
        client.say(*[LARGE] * 40)
        async with self.backend() as port:
            await client.run(port, read_timeout=0.2)
        assert client.got[1:] == [{"type": "websocket.close", "code": 1011}]
        [error] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert error.endswith(" failed at the WebSocket /ws: it does not read the client's messages")

    async def test_close(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The client has gone: the answer to its Close is not waited for without an end."""
        monkeypatch.setattr(relay_module, "_CLOSING", 0.2)
        client = Client()
        async with self.backend() as port:
            running = asyncio.ensure_future(client.run(port))
            await client.accepted.wait()
            client.close(1000)
            await running

    async def test_cancelled(self) -> None:
        """The connection is dropped at once."""
        client = Client()
        client.say(*[LARGE] * 40)
        async with self.backend() as port:
            running = asyncio.ensure_future(client.run(port, read_timeout=None))
            last = -1
            while client.queue.qsize() != last:
                last = client.queue.qsize()
                await asyncio.sleep(0.1)
            running.cancel()
            await asyncio.wait([running], timeout=2)
            assert running.cancelled()


async def test_the_server_stops() -> None:
    """Both sides learn of it by a Close."""
    sender = EndlessSender()
    async with backend(sender) as port:
        async with serving(HTTPProxy("127.0.0.1", port), lifespan="on") as server:
            url = f"wss://localhost:{server.port}/ws"
            client = await connect(url, ssl=client_context(), proxy=None, max_size=None)
            await client.recv()
            reading = asyncio.ensure_future(_read(client))
        await sender.ended.wait()
        await reading
    assert (client.close_code, sender.code) == (1012, 1012)


async def _read(client: Any) -> None:
    with suppress(websockets.ConnectionClosed):
        while True:
            await client.recv()
