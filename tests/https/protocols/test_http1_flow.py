"""HTTP/1.1: what one client can make the server keep, or wait for, by sending ahead or by not reading."""

from __future__ import annotations

import asyncio
import gc
import re
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from eager_tasks import EagerTask
from https_peer import connect, exchange, serving
from tlsio.https.protocols import http1

if TYPE_CHECKING:
    from tlsio.https import Server

LAST = b"GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
LARGE = 8_000_000  # bytes, more than the kernel takes
ANSWER = {"type": "http.response.start", "status": 200, "headers": []}


def get(path: bytes = b"/") -> bytes:
    """Return a request after which the connection stays open."""
    return b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path


def protocol_of(server: Server) -> Any:
    """Return the server's side of the only connection."""
    assert server._service is not None
    (found,) = server._service.connections
    return found


class Polling:
    """An application that looks again and again whether its client has gone, as Starlette's `is_disconnected` does."""

    def __init__(self) -> None:
        self.polls = 0
        self.is_gone = self.is_over = False

    async def wait(self, polls: int) -> None:
        """Wait for this many more looks."""
        wanted = self.polls + polls
        while self.polls < wanted and not self.is_gone:  # noqa: ASYNC110 - a look is no event
            await asyncio.sleep(0.001)

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        """Answer when the test says so, or the client has gone."""
        while not (self.is_gone or self.is_over):
            try:
                async with asyncio.timeout(0.001):
                    self.is_gone = (await receive())["type"] == "http.disconnect"
            except TimeoutError:
                self.polls += 1
        await send(ANSWER)
        await send({"type": "http.response.body", "body": b"OK"})


async def test_requests_ahead_are_bounded() -> None:
    """However often the application looks for its client, and whatever is answered meanwhile."""
    app, ahead = Polling(), 4000
    async with serving(app, graceful_timeout=0.1) as server, asyncio.timeout(20), await connect(server) as sock:
        sending = asyncio.create_task(sock.send(get() * ahead + LAST))
        await app.wait(50)
        pipeline = protocol_of(server)._pipeline
        most = len(pipeline)
        app.is_over = True
        answers = b""
        while chunk := await sock.read():
            answers += chunk
            most = max(most, len(pipeline))
        await sending
    assert answers.count(b"HTTP/1.1 200") == ahead + 1
    assert most <= http1._MOST_WAITING + 1  # one may have begun in the read before


@pytest.mark.parametrize("size", [1, 7, 100, 16384])
async def test_requests_ahead_keep_their_order(size: int) -> None:
    """However they are cut, with bodies that look like heads, and a WebSocket's handshake after them."""
    paths: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, message = b"", {"more_body": True}
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        paths.append(scope["path"])
        assert not body or body == get() * 40
        await asyncio.sleep(0)
        await send(ANSWER)
        await send({"type": "http.response.body", "body": b"OK"})

    post = b"POST /%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    count = 60
    data = (
        b"".join(get(b"/%d" % number) if number % 20 else post % (number, len(get() * 40)) + get() * 40 for number in range(count)) + LAST
    )
    async with serving(app) as server, await connect(server) as sock:
        for start in range(0, len(data), size):
            sock.write(data[start : start + size])
            if size == 1 and start % 50 == 0:
                await asyncio.sleep(0)
        answers = b""
        while chunk := await sock.read():
            answers += chunk
    assert answers.count(b"HTTP/1.1 200") == count + 1
    assert paths == [*(f"/{number}" for number in range(count)), "/last"]


async def test_a_body_ahead_is_bounded() -> None:
    """It belongs to a request that waits for its turn."""
    app = Polling()
    async with serving(app, graceful_timeout=0.1) as server, asyncio.timeout(20), await connect(server) as sock:
        body = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\nConnection: close\r\n\r\n" + bytes(2_000_000)
        sending = asyncio.create_task(sock.send(get() + body))
        await app.wait(50)
        assert protocol_of(server)._pipeline[0].held <= 2 * http1._MOST_HELD
        app.is_over = True
        while await sock.read():
            pass
        await sending


@pytest.mark.parametrize(("ahead", "is_noticed"), [(http1._MOST_WAITING - 1, True), (http1._MOST_WAITING, False)])
async def test_a_client_that_goes_is_noticed_before_too_much_waits(ahead: int, is_noticed: bool) -> None:  # noqa: FBT001
    """What comes after that is not read, nor is the end."""
    app = Polling()
    async with serving(app, graceful_timeout=0.1) as server, asyncio.timeout(20):
        sock = await connect(server)
        await sock.send(get() * (ahead + 1))
        await app.wait(20)
        sock.end()
        await app.wait(20)
        assert app.is_gone is is_noticed
        sock.destroy()


@pytest.mark.parametrize("fault", [b"\0", b"GET / HTTP/7.1\r\n\r\n"])
async def test_a_fault_ahead_leaves_the_limit_of_a_response(fault: bytes) -> None:
    """A client that does not read would otherwise keep the request for as long as it likes."""
    ended, full = asyncio.Event(), asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(ANSWER)
        await send({"type": "http.response.body", "body": bytes(LARGE), "more_body": True})
        full.set()
        await send({"type": "http.response.body", "body": bytes(LARGE)})
        ended.set()

    limits = {"min_rate": 10_000_000, "rate_grace": 0.2}
    async with serving(app, limits=limits, graceful_timeout=0.1) as server, await connect(server, read_limit=1000) as sock:
        await sock.send(get())
        await full.wait()
        await sock.send(fault)
        async with asyncio.timeout(5):
            await ended.wait()


async def test_a_websocket_after_a_response_that_is_not_read() -> None:
    """The protocol of uvicorn would not know that the client does not read, and send without a bound."""
    asked, full = [], asyncio.Event()

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        asked.append(scope["type"])
        await send(ANSWER)
        await send({"type": "http.response.body", "body": bytes(LARGE)})
        full.set()

    async with serving(app) as server, asyncio.timeout(10), await connect(server, read_limit=1000) as sock:
        await sock.send(get())
        await full.wait()
        await sock.send(HANDSHAKE)
        answer = b""
        while chunk := await sock.read():
            answer += chunk.replace(b"\0", b"")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"400"]
    assert asked == ["http"]


async def test_messages_of_several_tasks_keep_their_order() -> None:
    """They wait for a client that does not read."""
    count = 30

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(ANSWER)
        await send({"type": "http.response.body", "body": bytes(LARGE), "more_body": True})
        await asyncio.gather(*(send({"type": "http.response.body", "body": b"<%d>" % at, "more_body": True}) for at in range(count)))
        await send({"type": "http.response.body"})

    async with serving(app) as server, asyncio.timeout(10):
        answer = await exchange(server, LAST)
    assert [int(at) for at in re.findall(rb"<(\d+)>", answer)] == list(range(count))


async def test_an_idle_connection_keeps_nothing_of_its_last_request() -> None:
    """Nor a body that the application has not received: it may be idle for long."""

    class Kept:
        """What an application puts into a scope."""

    kept: list[weakref.ref[Kept]] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["state"]["kept"] = one = Kept()
        kept.append(weakref.ref(one))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with serving(app) as server, asyncio.timeout(10), await connect(server) as sock:
        for request in (get(), b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"):
            await sock.send(request)
            await sock.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0)
            gc.collect()
            assert kept.pop()() is None


@pytest.mark.parametrize("rest", [LAST[10:], b""], ids=["in time", "never"])
async def test_the_time_of_a_head_counts_while_it_is_read(rest: bytes) -> None:
    """A head that is on its way while reading pauses for earlier requests is not late."""
    header_timeout, begun = 0.2, asyncio.Event()

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        begun.set()
        if scope["path"] == "/1":
            await asyncio.sleep(2 * header_timeout)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    limits = {"header_timeout": header_timeout}
    async with serving(app, limits=limits) as server, asyncio.timeout(10), await connect(server) as sock:
        await sock.send(get(b"/1") + get(b"/2") + LAST[:10])
        await begun.wait()
        await sock.send(rest)
        answer = b""
        while chunk := await sock.read():
            answer += chunk
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"204", b"204", b"204" if rest else b"408"]


async def test_a_request_that_ends_after_its_response_holds_up_no_stop() -> None:
    """The stop begins between the two, and the client keeps the connection."""
    answered = asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        answered.set()

    async with serving(app, graceful_timeout=20.0) as server, asyncio.timeout(5), await connect(server) as sock:
        await sock.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhel")
        await answered.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        await sock.send(b"lo")
        await sock.readuntil(b"\r\n\r\n")
        assert await sock.read() == b""
        sock.destroy()
        await stopping


async def test_a_request_that_an_application_cancels_before_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    """The stop does not wait for its task again and again, and closes its connection in the end."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        before = asyncio.all_tasks()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        for task in asyncio.all_tasks() - before:
            task.cancel()

    async with serving(app, graceful_timeout=0.2) as server, await connect(server) as sock:
        await sock.send(get() * 2)
        await sock.readuntil(b"\r\n\r\n")
        await server.stop()
        with pytest.raises(tlsio.TruncatedError):
            await sock.read()
    assert [record.getMessage() for record in caplog.records] == ["1 connections were closed: graceful_timeout has passed"]


@pytest.mark.parametrize(("size", "statuses"), [(100, [b"100", b"200"]), (101, [b"413"])])
async def test_a_body_that_is_announced_as_too_large_is_not_asked_for(size: int, statuses: list[bytes]) -> None:
    """RFC 9110, section 10.1.1: the head says so. The application is not called."""
    asked: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
    async with serving(app, limits={"max_body_bytes": 100}) as server, asyncio.timeout(5), await connect(server) as sock:
        await sock.send(head)
        answer = await sock.readuntil(b"\r\n\r\n")
        await sock.send(bytes(size))
        while chunk := await sock.read():
            answer += chunk
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == statuses
    assert len(asked) == len(statuses) - 1


async def test_eager_tasks_answer_a_long_pipeline() -> None:
    """An application that ends within its start, 600 times after a slow one, is not called ever deeper."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] == "/first":
            await asyncio.sleep(0.05)
        await send(ANSWER | {"headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with serving(app) as server:
        asyncio.get_running_loop().set_task_factory(EagerTask())
        try:
            received = await exchange(server, get(b"/first") + 600 * get() + LAST)
        finally:
            asyncio.get_running_loop().set_task_factory(None)
    assert received.count(b"HTTP/1.1 200") == 602
