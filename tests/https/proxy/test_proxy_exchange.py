"""`tlsio proxy --http`: a request and its response are passed on side by side, whoever ends first."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import h11
import httpx
import pytest
from h2.connection import H2Connection
from h2.events import ResponseReceived

import pki
from foreign_peers import find
from https_peer import connect, exchange, serving, split
from served import client_context
from tlsio.https.protocols.http2 import protocol as http2_protocol
from tlsio.https.proxy import backend as backend_module
from tlsio.https.proxy import exchange as exchange_module
from tlsio.https.proxy.backend import BackendConnection, BackendError
from tlsio.https.proxy.http import HTTPProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tlsio import TLSSocket
    from tlsio.https import Server

    Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def ca(tmp_path: Path) -> str:
    """Return a file with the root."""
    path = tmp_path / "ca.pem"
    path.write_bytes(pki.ca1().cert_pem)
    return str(path)


def client(server: Server, *, http2: bool) -> httpx.AsyncClient:
    """Return a client of the proxy."""
    return httpx.AsyncClient(verify=client_context(), http1=not http2, http2=http2, base_url=f"https://localhost:{server.port}", timeout=20)


NAMES = [(":scheme", "https"), (":authority", "localhost")]
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nmuch"


class Backend:
    """A backend, whose connections end when `answer` returns."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.connections = 0
        self.open = 0
        self.all_left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self.open += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        writer.close()
        self.open -= 1
        if not self.open:
            self.all_left.set()


@asynccontextmanager
async def proxying(
    answer: Answer, *, host: str = "127.0.0.1", read_timeout: float | None = 60.0, **options: Any
) -> AsyncIterator[tuple[Server, Backend]]:
    """Run a proxy of a backend that answers so."""
    backend = Backend(answer)
    listening = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with serving(HTTPProxy(host, port, read_timeout=read_timeout), lifespan="on", **options) as server:
        yield server, backend
    listening.close()


async def head_of(reader: asyncio.StreamReader) -> bytes:
    """Return the head of a request."""
    return await reader.readuntil(b"\r\n\r\n")


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer when the head is here, without reading on, and close."""
    await head_of(reader)
    writer.write(TOO_LARGE)


async def refuse_and_stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer when the head is here, and wait until the other side has gone."""
    await head_of(reader)
    writer.write(TOO_LARGE)
    await reader.read()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the body while it comes."""
    await head_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
        if chunk.endswith(b"\r\n0\r\n\r\n"):
            return


async def read_until(sock: TLSSocket, end: bytes) -> bytes:
    """Read until this has come."""
    received = b""
    while end not in received:
        chunk = await sock.read()
        assert chunk, received
        received += chunk
    return received


@pytest.mark.parametrize("answer", [refuse, refuse_and_stay], ids=["closes", "stays"])
async def test_an_early_response_is_passed_on_at_once(answer: Answer) -> None:
    """HTTP/1.1: the client has sent a part of its body, and waits. The connection serves its next request."""
    async with proxying(answer) as (server, backend), await connect(server) as sock:
        for _ in range(2):
            await sock.send(POST + b"3\r\nabc\r\n")
            assert (await read_until(sock, b"much")).startswith(b"HTTP/1.1 413 ")
            await backend.all_left.wait()
            await sock.send(b"3\r\nabc\r\n0\r\n\r\n")
    assert backend.connections == 2


CURL = ("-sS", "-N", "-4", "-T", ".", "-H", "Expect:", "-w", " %{http_code} %{http_version}")


@pytest.mark.slow
@pytest.mark.parametrize("answer", [refuse, refuse_and_stay], ids=["closes", "stays"])
@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_curl_uploads_without_an_end(answer: Answer, version: str, ca: str) -> None:
    """It prints the response while its input is still open."""
    async with proxying(answer) as (server, backend):
        command = [find("curl", "curl"), *CURL, "--cacert", ca, f"--http{version}", f"https://localhost:{server.port}/"]
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"x" * 1000)
        assert await process.stdout.readexactly(4) == b"much"
        await backend.all_left.wait()
        process.stdin.close()
        assert (await process.stdout.read()).decode() == f" 413 {version}"
        assert await process.wait() == 0


NODE = """
const [port, ca, version] = process.argv.slice(1);
const options = { ca: require('fs').readFileSync(ca), host: 'localhost', port, method: 'POST', ':method': 'POST' };
const session = version === '2' ? require('http2').connect(`https://localhost:${port}`, options) : null;
const stream = session ? session.request({ ':method': 'POST' }, { endStream: false }) : require('https').request(options);
const seen = { body: '' };
const read = (data) => { seen.body += data; };
stream.on('response', (response) => {
  seen.status = response.statusCode || response[':status'];
  (session ? stream : response).on('data', read).on('end', session ? () => {} : finish);
});
function finish() { console.log(JSON.stringify(seen)); process.exit(); }
stream.on('close', () => { seen.code = stream.rstCode; finish(); });
stream.write('abc');
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_node_uploads_without_an_end(version: str, ca: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the response; by HTTP/2, RST_STREAM with NO_ERROR ends its upload (RFC 9113, section 8.1)."""
    monkeypatch.setattr(http2_protocol, "_LINGER", 0.05)
    async with proxying(refuse_and_stay) as (server, backend):
        command = [find("node", "nodejs"), "-e", NODE, str(server.port), ca, version]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        await backend.all_left.wait()
    assert json.loads(output) == {"body": "much", "status": 413} | ({"code": 0} if version == "2" else {})


async def test_an_early_response_is_whole_though_the_backend_resets() -> None:
    """A backend that closes with a part of the body unread resets the connection: what it has sent is read."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 20000\r\n\r\n" + bytes(20_000))
        await writer.drain()

    async with proxying(answer) as (server, _):
        for _ in range(10):
            async with await connect(server) as sock:
                await sock.send(POST + b"10000\r\n%b\r\n" % bytes(65536) * 30)
                head = await read_until(sock, b"\r\n\r\n")
                left = 20_000 - len(head.partition(b"\r\n\r\n")[2])
                while left:
                    left -= len(chunk := await sock.read())
                    assert chunk


NODE_BY_TURNS = """
const [port, ca] = process.argv.slice(1);
const session = require('http2').connect(`https://localhost:${port}`, { ca: require('fs').readFileSync(ca) });
const stream = session.request({ ':method': 'POST' }, { endStream: false });
const seen = [];
stream.on('data', (data) => { seen.push(data.toString()); seen.length < 3 ? stream.write(`part ${seen.length}.`) : stream.end(); });
stream.on('close', () => { console.log(JSON.stringify(seen)); process.exit(); });
stream.write('part 0.');
"""


@pytest.mark.slow
async def test_parts_by_turns_of_node(ca: str) -> None:
    """HTTP/2: the backend gets a part, and the client its answer, before the next part exists."""
    async with proxying(echo) as (server, _):
        command = [find("node", "nodejs"), "-e", NODE_BY_TURNS, str(server.port), ca]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
    assert json.loads(output) == ["part 0.", "part 1.", "part 2."]


async def test_parts_by_turns() -> None:
    """As above by HTTP/1.1."""
    async with proxying(echo) as (server, _), await connect(server) as sock:
        await sock.send(POST)
        for number in range(3):
            await sock.send(b"7\r\npart %d.\r\n" % number)
            await read_until(sock, b"part %d." % number)
        await sock.send(b"0\r\n\r\n")
        await read_until(sock, b"0\r\n\r\n")


async def test_a_client_that_reads_late_holds_both_directions_up() -> None:
    """What lies between is bounded by the kernels' buffers, and nothing is lost."""
    sent = 0
    size, chunk = 60_000_000, bytes(60_000)

    async def write(sock: TLSSocket) -> None:
        nonlocal sent
        while sent < size:
            await sock.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            sent += len(chunk)
        await sock.send(b"0\r\n\r\n")

    async with proxying(echo) as (server, _), await connect(server) as sock:
        await sock.send(POST)
        writing = asyncio.ensure_future(write(sock))
        last = -1
        while sent != last:
            last = sent
            await asyncio.sleep(0.3)
        assert sent < size
        received = 0
        tail = b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            data = await sock.read()
            received += len(data)
            tail = (tail + data)[-16:]
        await writing
    assert received > size


class TestTime:
    """`read_timeout` counts while the backend is waited for."""

    @pytest.mark.slow  # the backend must answer in time on a busy machine too
    async def test_not_while_the_client_sends(self) -> None:
        """A client that is slower gets its response."""
        async with proxying(echo, read_timeout=1.0) as (server, _), await connect(server) as sock:
            await sock.send(POST)
            await asyncio.sleep(1.5)
            await sock.send(b"1\r\na\r\n0\r\n\r\n")
            assert (await read_until(sock, b"0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")

    async def test_while_the_backend_takes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        """504: it neither reads the body nor answers."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await released.wait()

        released = asyncio.Event()
        async with proxying(answer, read_timeout=0.2) as (server, _), await connect(server) as sock:
            writing = asyncio.ensure_future(sock.send(POST + b"%x\r\n%b\r\n0\r\n\r\n" % (30_000_000, bytes(30_000_000))))
            assert (await read_until(sock, b"does not answer.\n")).startswith(b"HTTP/1.1 504 ")
            await writing
            released.set()
        assert "its response is late" in caplog.text

    @pytest.mark.slow  # the backend must begin in time
    async def test_after_the_request(self) -> None:
        """A backend that begins and stops is cut off."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            await reader.read()

        async with proxying(answer, read_timeout=1.0) as (server, backend), client(server, http2=True) as asking:
            with pytest.raises(httpx.RemoteProtocolError):
                await asking.get("/")
            await backend.all_left.wait()


class TestExpect:
    """RFC 9110, section 10.1.1: the backend decides whether the client is to send its body."""

    HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"

    async def test_the_backend_refuses(self) -> None:
        """The client is not asked for its body."""
        async with proxying(refuse) as (server, _):
            assert split(await exchange(server, self.HEAD))[::2] == (413, b"much")

    async def test_the_backend_agrees(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The client gets its "100 Continue", once."""
        monkeypatch.setattr(exchange_module, "_CONTINUE", 20.0)
        began = asyncio.get_running_loop().time()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert b"100-continue" in await head_of(reader)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + await reader.readexactly(3))

        async with proxying(answer) as (server, _), await connect(server) as sock:
            await sock.send(self.HEAD)
            assert await read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await sock.send(b"abc")
            assert split(await read_until(sock, b"abc"))[0] == 200
        assert asyncio.get_running_loop().time() - began < exchange_module._CONTINUE

    async def test_the_backend_says_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """After a time the client is asked for its body nevertheless."""
        monkeypatch.setattr(exchange_module, "_CONTINUE", 0.05)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + await reader.readexactly(3))

        async with proxying(answer) as (server, _), await connect(server) as sock:
            await sock.send(self.HEAD)
            await read_until(sock, b"HTTP/1.1 100 Continue\r\n\r\n")
            await sock.send(b"abc")
            assert split(await read_until(sock, b"abc"))[0] == 200


class TestGone:
    """A client that leaves while the backend takes no more of its body."""

    UPLOAD = POST + b"%x\r\n%b" % (60_000_000, bytes(30_000_000))  # more than the kernels take

    @staticmethod
    async def stream(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send a response without end, and read nothing."""
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()

    async def test_while_the_backend_streams(self) -> None:
        """The exchange ends, though the response does not."""
        async with proxying(self.stream) as (server, backend), await connect(server) as sock:
            sending = asyncio.ensure_future(sock.send(self.UPLOAD))
            left, same = -1, 0
            while same < 50:  # reads of the response in which nothing of the upload was taken
                await sock.read()
                left, same = sock.writable_length, (same + 1 if sock.writable_length == left else 0)
            assert left
            sock.destroy()
            async with asyncio.timeout(10):
                await backend.all_left.wait()
            with suppress(OSError):
                await sending

    async def test_while_the_backend_is_silent(self) -> None:
        """HTTP/2: the client resets its stream. Without a limit in time, nothing else would end the request."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            is_closed = asyncio.ensure_future(reader.read())
            await released.wait()
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            with suppress(ConnectionError):
                await is_closed

        released = asyncio.Event()
        async with proxying(answer, read_timeout=None, graceful_timeout=0.5) as (server, backend), await connect(server, "h2") as sock:
            http = await TestConnections.ask(sock, "/")
            with suppress(TimeoutError):
                while True:  # until nothing is taken any more
                    async with asyncio.timeout(0.5):
                        http.receive_data(await sock.read())
                    while window := min(http.local_flow_control_window(1), 16384):
                        http.send_data(1, bytes(window))
                    await sock.send(http.data_to_send())
            assert server._service is not None
            assert server._service.state.tasks
            http.reset_stream(1)
            await sock.send(http.data_to_send())
            async with asyncio.timeout(5):
                while server._service.state.tasks:  # noqa: ASYNC110 - a few passes of the loop
                    await asyncio.sleep(0)
            released.set()
            await backend.all_left.wait()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Stale:
    """Answers the first request; at the second one its connection ends with `last`. Another answers if it recovers."""

    def __init__(self, last: bytes = b"", *, resets: bool = False, recovers: bool = True) -> None:
        self.last, self.resets, self.recovers = last, resets, recovers
        self.heads: list[bytes] = []
        self.is_asked_again = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        is_first = not self.heads
        self.heads.append(await head_of(reader))
        if is_first:
            writer.write(OK)
            self.heads.append(await head_of(reader))
            writer.write(self.last)
            if self.resets:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif self.recovers:
            self.is_asked_again.set()
            writer.write(OK)
            await reader.read()


class TestStale:
    """A backend that closes an idle connection when a request is on its way to it."""

    @staticmethod
    async def ask(answer: Stale, method: str = "GET", body: bytes = b"", *, http2: bool = False, **options: Any) -> int:
        """Return the status of the second request."""
        async with proxying(answer, **options) as (server, _), client(server, http2=http2) as asking:
            assert (await asking.get("/first")).status_code == 200
            return (await asking.request(method, "/second", content=body or None)).status_code

    @pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
    @pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
    async def test_is_asked_again(self, resets: bool, http2: bool) -> None:  # noqa: FBT001
        """Over a new connection, with the same request."""
        answer = Stale(resets=resets)
        assert await self.ask(answer, http2=http2) == 200
        assert len(answer.heads) == 3
        assert answer.heads[1] == answer.heads[2]

    async def test_once(self) -> None:
        """502 after the second failure."""
        answer = Stale(recovers=False)
        assert await self.ask(answer) == 502
        assert len(answer.heads) == 3

    @pytest.mark.parametrize(("method", "body"), [("POST", b""), ("PATCH", b""), ("PUT", b"body")])
    async def test_not_what_may_have_an_effect(self, method: str, body: bytes) -> None:
        """502: RFC 9110, section 9.2.2. A body is not here any more."""
        answer = Stale()
        assert await self.ask(answer, method, body) == 502
        assert len(answer.heads) == 2

    async def test_not_after_a_part_of_a_response(self) -> None:
        """502: the backend has taken the request."""
        answer = Stale(b"H")
        assert await self.ask(answer) == 502
        assert len(answer.heads) == 2

    async def test_a_body_that_has_not_begun(self) -> None:
        """A client that waits for the head of its response, or for "100 Continue", sends it to the new connection."""
        answer = Stale()
        put = b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
        async with proxying(answer) as (server, _), await connect(server) as sock:
            await sock.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await read_until(sock, b"ok")
            await sock.send(put)
            await answer.is_asked_again.wait()
            await sock.send(b"body")
            await read_until(sock, b"ok")

    async def test_not_a_new_connection(self) -> None:
        """502: it was not idle."""

        async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await head_of(reader)

        async with proxying(answer) as (server, backend), client(server, http2=False) as asking:
            assert (await asking.get("/")).status_code == 502
            assert backend.connections == 1

    @pytest.mark.slow  # the first response must be in time on a busy machine too
    async def test_not_a_late_response(self) -> None:
        """504: the backend works on it."""
        heads = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await head_of(reader))
            writer.write(OK)
            heads.append(await head_of(reader))
            await reader.read()

        async with proxying(answer, read_timeout=1.0) as (server, _), client(server, http2=False) as asking:
            assert (await asking.get("/")).status_code == 200
            assert (await asking.get("/")).status_code == 504
        assert len(heads) == 2


class TestConnections:
    """Those to the backend, between requests and after them."""

    @staticmethod
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each request."""
        while True:
            await head_of(reader)
            writer.write(OK)

    async def test_is_used_again(self) -> None:
        """One after the other share one, which is closed with the server."""
        async with proxying(self.answer) as (server, backend):
            async with client(server, http2=True) as asking:
                for _ in range(3):
                    assert (await asking.get("/")).text == "ok"
            assert (backend.connections, backend.open) == (1, 1)
        await backend.all_left.wait()

    async def test_is_closed_after_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without another request."""
        monkeypatch.setattr(backend_module, "_IDLE", 0.05)
        async with proxying(self.answer) as (server, backend):
            async with client(server, http2=True) as asking:
                await asking.get("/")
            await backend.all_left.wait()

    async def test_what_follows_a_response_is_not_the_next_one(self) -> None:
        """A backend that sends two responses to one request does not answer another client's."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                path = (await head_of(reader)).split()[1]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path) * (2 if path == b"/a" else 1))

        async with proxying(answer) as (server, _), client(server, http2=True) as asking:
            assert (await asking.get("/a")).text == "/a"
            assert (await asking.get("/b")).text == "/b"

    async def test_a_client_that_leaves_in_its_body(self) -> None:
        """The backend's connection is closed: what it has is not the whole body."""
        got = b""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal got
            got = await reader.read(-1)

        async with proxying(answer) as (server, backend):
            async with await connect(server) as sock:
                await sock.send(POST + b"3\r\nabc\r\n")
            await backend.all_left.wait()
        assert got.startswith(b"POST / ")
        assert not got.endswith(b"0\r\n\r\n")

    async def test_a_client_that_leaves_before_its_body(self) -> None:
        """HTTP/2: the backend has the head of a request whose body does not end, and no other request follows it."""
        got: list[bytes] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.append(await head_of(reader))
            if got[-1].startswith(b"GET "):
                writer.write(OK)
            got.append(await reader.read())

        async with proxying(answer) as (server, backend), await connect(server, "h2") as sock:
            http = await self.ask(sock, "/first")
            while not got:  # noqa: ASYNC110 - a few passes of the loop
                await asyncio.sleep(0)
            http.reset_stream(1)
            await sock.send(http.data_to_send())
            await backend.all_left.wait()
            http.send_headers(3, [(":method", "GET"), (":path", "/second"), *NAMES], end_stream=True)
            await sock.send(http.data_to_send())
            await read_until(sock, b"ok")
        while len(got) < 4:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        first, body, second, rest = got
        assert (first.split()[1], body, second.split()[1], rest) == (b"/first", b"", b"/second", b"")
        assert b"\r\ntransfer-encoding: chunked\r\n" in first

    @staticmethod
    async def ask(sock: TLSSocket, path: str) -> H2Connection:
        """Send the head of a request by HTTP/2, whose body may follow."""
        http = H2Connection()
        http.initiate_connection()
        http.send_headers(1, [(":method", "POST"), (":path", path), *NAMES])
        await sock.send(http.data_to_send())
        return http

    async def test_an_early_response_before_the_body(self) -> None:
        """HTTP/2: the client sends nothing of its body before it has the response."""
        async with proxying(refuse_and_stay) as (server, _), await connect(server, "h2") as sock:
            await self.ask(sock, "/")
            await read_until(sock, b"much")

    async def test_the_head_of_a_response_before_its_body(self) -> None:
        """HTTP/2: the backend sends its body when the client has sent one, which waits for the head."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nX-Seen: yes\r\n\r\n")
            await reader.readuntil(b"0\r\n\r\n")
            writer.write(b"thanks")

        async with proxying(answer) as (server, _), await connect(server, "h2") as sock:
            http = await self.ask(sock, "/")
            while not any(isinstance(event, ResponseReceived) for event in http.receive_data(await sock.read())):
                pass
            http.send_data(1, b"please", end_stream=True)
            await sock.send(http.data_to_send())
            await read_until(sock, b"thanks")

    @pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
    async def test_a_backend_that_fails_before_the_body(self, host: str) -> None:
        """HTTP/2: 502, and nothing waits for the client any more."""

        async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await head_of(reader)

        async with proxying(answer, host=host) as (server, _), await connect(server, "h2") as sock:
            await self.ask(sock, "/")
            await read_until(sock, b"does not answer.\n")

    async def test_a_part_that_was_not_sent_whole(self) -> None:
        """The backend answers while the end of the body waits for room: the next request would be that end."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)  # noqa: FBT003
            connection = BackendConnection(ours, None)
            await connection.send(h11.Request(method="POST", target="/", headers=[("host", "a"), ("transfer-encoding", "chunked")]))
            with suppress(BlockingIOError):
                while True:
                    ours.send(bytes(65536))
            sending = asyncio.ensure_future(connection.send(h11.EndOfMessage()))
            theirs.send(TOO_LARGE)
            while not isinstance(await connection.receive(), h11.EndOfMessage):
                pass
            assert not sending.done()
            sending.cancel()
            await asyncio.wait([sending])
            assert not connection.renew()

    async def test_a_reset_is_not_the_end_of_a_body(self) -> None:
        """What is written finds the reset, so that reading finds the end: a body without a length is not whole."""
        with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as ours:
            theirs, _ = listening.accept()
            ours.setblocking(False)  # noqa: FBT003
            connection = BackendConnection(ours, None)
            await connection.send(h11.Request(method="POST", target="/", headers=[("host", "a"), ("transfer-encoding", "chunked")]))
            theirs.sendall(b"HTTP/1.1 200 OK\r\n\r\npart")
            assert isinstance(await connection.receive(), h11.Response)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
            await connection.send(h11.Data(data=b"more"))
            assert isinstance(await connection.receive(), h11.Data)
            with pytest.raises(BackendError, match="reset"):
                await connection.receive()

    async def test_a_backend_that_closes_in_the_body(self) -> None:
        """Without a response: 502, and the client may send the rest."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)

        async with proxying(answer) as (server, _), await connect(server) as sock:
            await sock.send(POST + b"3\r\nabc\r\n")
            assert (await read_until(sock, b"does not answer.\n")).startswith(b"HTTP/1.1 502 ")

    async def test_the_second_address_of_a_name(self) -> None:
        """Is tried when the first refuses: localhost may be ::1 too."""
        async with proxying(self.answer, host="localhost") as (server, backend), client(server, http2=True) as asking:
            assert (await asking.get("/")).text == "ok"
            assert backend.connections == 1

    async def test_a_name_without_an_address(self) -> None:
        """502."""
        async with proxying(self.answer, host="nowhere.invalid") as (server, _), client(server, http2=True) as asking:
            assert (await asking.get("/")).status_code == 502
