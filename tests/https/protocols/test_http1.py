"""HTTP/1.1: the limits of each connection and request, and what is refused."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import https_curl
import pki
import tlsio
from https_curl import VERSIONS
from https_peer import connect, echo, exchange, serving, split

if TYPE_CHECKING:
    from tlsio.https import Server

CLOSE = b"Connection: close\r\n"


def get(*headers: bytes, path: bytes = b"/") -> bytes:
    """Return a request that is the last one."""
    return b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n" % (path, CLOSE, b"".join(line + b"\r\n" for line in headers))


def stay(path: bytes) -> bytes:
    """Return a request after which the connection stays open."""
    return b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path


async def test_requests_one_after_the_other() -> None:
    """On one connection, pipelined too."""
    async with serving() as server:
        answer = await exchange(server, stay(b"/1") + stay(b"/2"), get(path=b"/3"))
    assert [part[:7] for part in answer.split(b"\r\n\r\n")[1:]] == [b"GET /1 ", b"GET /2 ", b"GET /3 "]


async def test_requests_before_a_fault_are_answered() -> None:
    """The fault is in a later one of the same write."""
    async with serving() as server:
        answer = await exchange(server, stay(b"/1") + stay(b"/2") + b"GET / HTTP/7.1\r\n\r\n" + stay(b"/3"))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200", b"400"]


@pytest.mark.parametrize("is_started", [False, True])
@pytest.mark.parametrize("body", [b"Content-Length: 200\r\n\r\n" + b"B" * 200, b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n"])
async def test_a_refused_body_does_not_touch_the_response_before(body: bytes, is_started: bool, caplog: pytest.LogCaptureFixture) -> None:  # noqa: FBT001
    """The request whose body is refused was sent while an earlier one was being answered."""
    caplog.set_level(logging.INFO, "tlsio.https")
    asked: list[str] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
        if is_started:
            await send(start)
            await send({"type": "http.response.body", "body": b"O", "more_body": True})
        while not caplog.records:  # noqa: ASYNC110 - the log has no event
            await asyncio.sleep(0.01)
        if not is_started:
            await send(start)
        await send({"type": "http.response.body", "body": b"K" if is_started else b"OK"})

    async with serving(app, limits={"max_body_bytes": 100}) as server, asyncio.timeout(5):
        answer = await exchange(server, stay(b"/1"), b"POST /2 HTTP/1.1\r\nHost: localhost\r\n" + body)
    first, status, _ = re.split(rb"HTTP/1.1 (413|400)", answer)
    assert split(first)[::2] == (200, b"OK")
    assert status == (b"413" if b"B" in body else b"400")
    assert asked == ["/1"]


async def test_a_body_that_is_refused_after_the_response() -> None:
    """An error would answer the client's next request."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"OK"})

    async with serving(app) as server, await connect(server) as sock, asyncio.timeout(5):
        await sock.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await sock.readuntil(b"\r\n\r\nOK")).count(b"HTTP/1.1") == 1
        await sock.send(b"ZZZ\r\n")
        assert await sock.read() == b""


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_client_that_goes_is_reported_to_the_request_it_waits_for(count: int) -> None:
    """With pipelined requests too; those are not begun any more."""
    asked: list[str] = []
    begun, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, _send: Any) -> None:
        asked.append(scope["path"])
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    async with serving(app, graceful_timeout=0.1) as server, asyncio.timeout(5):
        sock = await connect(server)
        await sock.send(b"".join(stay(b"/%d" % number) for number in range(count)))
        await begun.wait()
        sock.destroy()
        await ended.wait()
    assert asked == ["/0"]


async def test_a_head_of_the_allowed_size() -> None:
    """And one that is larger by a byte, whole or in pieces."""
    async with serving(limits={"max_header_bytes": 1000}) as server:
        used = len(b"/") + sum(
            len(name) + len(value) + 4 for name, value in ((b"Host", b"localhost"), (b"Connection", b"close"), (b"A", b""))
        )
        fits = get(b"A: " + b"x" * (1000 - used))
        assert split(await exchange(server, fits))[0] == 200
        over = fits.replace(b"A: x", b"A: xx")
        status, headers, body = split(await exchange(server, over))
        assert (status, headers[b"connection"], body) == (431, b"close", b"The head of the request is too large.\n")
        assert split(await exchange(server, *(over[at : at + 100] for at in range(0, len(over), 100))))[0] == 431


@pytest.mark.parametrize("endless", [b"GET / HTTP/1.1\r\nA: ", b"GET /", b""])
async def test_a_head_without_an_end(endless: bytes) -> None:
    """A header, a URL or a method that never ends is kept up to the limit and one read more."""
    async with serving(limits={"max_header_bytes": 1000}) as server:
        assert await flood(server, endless) in {400, 431}


async def flood(server: Server, start: bytes) -> int:
    """Send a request that never ends; return the status of the answer."""
    async with await connect(server) as sock:
        await sock.send(start)
        with suppress(tlsio.TLSError):
            for _ in range(1000):
                await sock.send(b"x" * 10_000)
        return split(await sock.read())[0]


async def test_a_chunk_extension_without_an_end() -> None:
    """It is neither head nor body, and the parser reports nothing of it."""
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;"
    async with serving(limits={"max_header_bytes": 1000}) as server:
        assert await flood(server, head) == 431


@pytest.mark.parametrize(("count", "status"), [(8, 200), (9, 431)])
async def test_the_number_of_headers(count: int, status: int) -> None:
    """On each side of the limit; Host and Connection count."""
    async with serving(limits={"max_headers": 10}) as server:
        assert split(await exchange(server, get(*[b"A: 1"] * count)))[0] == status


async def test_trailers_do_not_reach_the_scope() -> None:
    """They would change what the application has seen already; they count as headers."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        seen.append([name for name, _ in scope["headers"]])

    head = b"POST / HTTP/1.1\r\nHost: localhost\r\n%sTransfer-Encoding: chunked\r\n\r\n" % CLOSE
    async with serving(app, limits={"max_headers": 5}) as server:
        assert split(await exchange(server, head, b"5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n"))[2] == b"POST / hello"
        assert seen == [[b"host", b"connection", b"transfer-encoding"]]
        many = b"".join(b"X-%d: 1\r\n" % n for n in range(9))
        assert b" 431 " in await exchange(server, head, b"5\r\nhello\r\n0\r\n" + many + b"\r\n")


@pytest.mark.parametrize(
    ("version", "codings", "status"),
    [
        (b"1.1", [b"Chunked"], 200),
        (b"1.1", [b"gzip, chunked"], 501),
        (b"1.1", [b"gzip", b"chunked"], 501),
        (b"1.1", [b"identity"], 501),
        (b"1.1", [b"xchunked"], 501),
        (b"1.1", [b"chunked, gzip"], 400),
        (b"1.1", [b"chunked", b"chunked"], 400),
        (b"1.0", [b"chunked"], 400),
    ],
)
async def test_the_transfer_codings_of_a_request(version: bytes, codings: list[bytes], status: int) -> None:
    """RFC 9112, section 6.1; the application does not get one that is refused."""
    asked: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await echo(scope, receive, send)

    lines = b"".join(b"Transfer-Encoding: %s\r\n" % coding for coding in codings)
    request = b"POST / HTTP/%s\r\nHost: localhost\r\n%s%s\r\n3\r\nabc\r\n0\r\n\r\n" % (version, CLOSE, lines)
    async with serving(app) as server, asyncio.timeout(5):
        assert split(await exchange(server, request))[0] == status
    assert asked == (["/"] if status == 200 else [])


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/3.0", 400),
        (b"SETUP / RTSP/1.0", 501),
        (b"TEARDOWN / RTSP/1.0", 501),
        (b"SOURCE / ICE/1.0", 501),
        (b"CONNECT / HTTP/1.1", 501),
        (b"CONNECT localhost:443 HTTP/1.1", 501),
        (b"CONNECT https://localhost/ HTTP/1.1", 501),
        (b"PROPFIND / HTTP/1.1", 200),
    ],
)
async def test_other_protocols_and_versions(line: bytes, status: int) -> None:
    """They are refused, after the responses to earlier requests."""
    async with serving() as server, asyncio.timeout(5):
        answer = await exchange(server, stay(b"/1") + line + b"\r\nHost: localhost\r\n%s\r\n" % CLOSE)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"%d" % status]


@pytest.mark.parametrize(
    "trailer", [b"Connection: close", b"connection: upgrade", b"Upgrade: foo", b"Content-Length: 1", b"Transfer-Encoding: x"]
)
async def test_a_trailer_about_the_connection_or_the_body(trailer: bytes) -> None:
    """RFC 9110, section 6.5.1: not in trailers."""
    head = b"POST /1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    async with serving(limits={"keep_alive_timeout": 1.0}) as server, asyncio.timeout(5):
        answer = await exchange(server, head + trailer + b"\r\n\r\n" + get(path=b"/2"))
    assert split(answer)[0] == 400


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413)])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_the_size_of_a_body(size: int, status: int, is_chunked: bool) -> None:  # noqa: FBT001
    """On each side of the limit, announced or not."""
    how = b"Transfer-Encoding: chunked\r\n" if is_chunked else b"Content-Length: %d\r\n" % size
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size) if is_chunked else b"x" * size
    async with serving(limits={"max_body_bytes": 1000}) as server:
        answer = await exchange(server, b"POST / HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n" % (CLOSE, how), body)
        assert split(answer)[0] == status


async def test_no_request_at_all() -> None:
    """The connection is closed without a word."""
    async with serving(limits={"header_timeout": 0.05}) as server:
        assert await exchange(server) == b""


async def test_a_head_that_takes_too_long() -> None:
    """The time runs from its first byte, and bytes do not extend it."""
    async with serving(limits={"header_timeout": 0.3}) as server, asyncio.timeout(5):
        async with await connect(server) as sock:
            sending = asyncio.create_task(_drip(sock, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000))
            answer = await sock.read()
            sending.cancel()
        assert split(answer)[::2] == (408, b"The request took too long.\n")


async def _drip(sock: Any, data: bytes) -> None:
    for byte in data:
        await sock.send(bytes([byte]))
        await asyncio.sleep(0.01)


async def test_an_idle_connection_is_closed() -> None:
    """After `keep_alive_timeout`, not after the longer `header_timeout`."""
    async with serving(limits={"keep_alive_timeout": 0.05, "header_timeout": 60.0}) as server:
        assert split(await exchange(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))[0] == 200


@pytest.mark.parametrize("line", [b"\r\n", b"\n", b"\r\n\r\n"])
async def test_empty_lines_keep_no_idle_connection(line: bytes) -> None:
    """They are skipped before a request, and are none."""
    async with (
        serving(limits={"keep_alive_timeout": 0.2, "header_timeout": 60.0}) as server,
        await connect(server) as sock,
        asyncio.timeout(5),
    ):
        await sock.send(stay(b"/"))
        await sock.readuntil(b"GET / ")
        await sock.send(line)
        assert await sock.read() == b""


async def test_a_request_that_is_answered_before_its_end_keeps_no_idle_connection() -> None:
    """The time runs from the end of its body."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"OK"})

    async with (
        serving(app, limits={"keep_alive_timeout": 0.2, "header_timeout": 60.0}) as server,
        await connect(server) as sock,
        asyncio.timeout(5),
    ):
        await sock.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
        await sock.readuntil(b"\r\n\r\nOK")
        await sock.send(b"hello")
        assert await sock.read() == b""


@pytest.mark.parametrize("part", [b"GET /2 HTTP/1.1\r\n", b"POST /2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n"])
async def test_a_request_that_has_begun_is_not_idle(part: bytes) -> None:
    """It began during the response before it, and `keep_alive_timeout` would be over."""
    goes_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/1":
            await goes_on.wait()
        await echo(scope, receive, send)

    async with (
        serving(app, limits={"keep_alive_timeout": 1e-6, "header_timeout": 60.0}) as server,
        await connect(server) as sock,
        asyncio.timeout(5),
    ):
        await sock.send(stay(b"/1") + part)
        goes_on.set()
        await sock.readuntil(b"GET /1 ")
        await sock.send(b"x" if b"POST" in part else b"Host: localhost\r\n\r\n")
        assert b"/2 " in await sock.readuntil(b"/2 ")


async def test_a_body_that_stops() -> None:
    """The application waits for it, and is told that the client has gone."""
    ended = asyncio.Event()

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    async with serving(app, limits={"min_rate": 1000, "rate_grace": 0.1}) as server:
        answer = await exchange(server, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345")
        assert split(answer)[0] == 408
        await ended.wait()


async def test_a_client_that_waits_for_100_continue_is_not_slow() -> None:
    """It is the application that takes its time."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.3)
        await echo(scope, receive, send)

    async with serving(app, limits={"min_rate": 1000, "rate_grace": 0.1}) as server, await connect(server) as sock:
        await sock.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n%s\r\n" % CLOSE)
        assert await sock.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await sock.send(b"hello")
        assert b"POST / hello" in await sock.readuntil(b"hello")


async def test_a_client_that_does_not_send_what_it_has_asked_for() -> None:
    """After "100 Continue" its body has the same limit as any other."""
    async with serving(limits={"min_rate": 1000, "rate_grace": 0.1}) as server, await connect(server) as sock:
        await sock.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await sock.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert split(await sock.read_all())[0] == 408


async def test_a_request_that_is_cancelled_before_it_has_begun() -> None:
    """The server forgets it, and can be stopped."""
    async with serving() as server, await connect(server) as sock:
        sock.on("error", lambda _error: None)  # the connection is cut
        service: Any = server._service
        await sock.send(get())
        while not service.state.tasks:  # noqa: ASYNC110  (the moment before the first step has no sign)
            await asyncio.sleep(0)
        server.abort()
        async with asyncio.timeout(5):
            await service.wait()


async def test_the_pace_of_a_body_does_not_count_after_its_end() -> None:
    """Its last bytes come with the first ones of the next head, which has a limit of its own."""
    async with serving(echo, limits={"min_rate": 1000, "rate_grace": 0.1}) as server, await connect(server) as sock:
        await sock.send(b"POST /1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234")
        await sock.send(b"56789POST /2 HTTP/1.1\r\n")
        assert b"POST /1 0123456789" in await sock.readuntil(b"56789")
        await asyncio.sleep(0.15)
        await sock.send(b"Host: localhost\r\nContent-Length: 5\r\n\r\nhello")
        assert b"POST /2 hello" in await sock.readuntil(b"hello")


async def test_a_client_that_does_not_read() -> None:
    """Its connection is aborted, and the application goes on."""
    ended = asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(200):
            await send({"type": "http.response.body", "body": bytes(1_000_000), "more_body": True})
        ended.set()

    async with serving(app, limits={"min_rate": 10_000_000, "rate_grace": 0.1}) as server, await connect(server, read_limit=1000) as sock:
        await sock.send(get())
        await ended.wait()


@pytest.mark.slow  # a client that takes its time
async def test_a_client_that_reads_steadily() -> None:
    """Faster than min_rate, though the kernel takes more from us only when a third of its buffer is free."""
    size, step = 6_000_000, 60_000

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": bytes(size)})

    def read(port: int) -> int:
        context = ssl.create_default_context(cadata=pki.localhost().cert_pem.decode())
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        plain.connect(("127.0.0.1", port))
        with context.wrap_socket(plain) as sock:
            sock.sendall(get())
            count, began = 0, time.monotonic()
            while count < size and (part := sock.recv(step)):
                count += len(part)
                time.sleep(max(0.0, began + count / 3_000_000 - time.monotonic()))
            return count

    async with serving(app, limits={"min_rate": 1_000_000, "rate_grace": 0.1}) as server:
        assert await asyncio.to_thread(read, server.port) >= size


async def test_one_fault_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """With the client's address and the status."""
    caplog.set_level(logging.INFO)
    async with serving() as server:
        assert split(await exchange(server, b"GET / HTTP/1.1\r\nFoo\r\n\r\n"))[0] == 400
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert lines[0].endswith(": 400: This is not a valid request of HTTP/1.1.")


HTTP10 = b"%s / HTTP/1.0\r\nHost: localhost\r\n%s\r\n"


@pytest.mark.parametrize("headers", [[], [(b"Transfer-Encoding", b"chunked")], [(b"Content-Length", b"10")]])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_response_of_http10(method: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """RFC 9112, section 6.1: it has no Transfer-Encoding."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        await send({"type": "http.response.body", "body": b"world"})

    async with serving(app) as server, asyncio.timeout(5):
        status, sent, body = split(await exchange(server, HTTP10 % (method, b"")))
    assert (status, sent[b"connection"], body) == (200, b"close", b"helloworld" if method == b"GET" else b"")
    assert b"transfer-encoding" not in sent
    assert sent.get(b"content-length") == (b"10" if headers and headers[0][1] == b"10" else None)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_response_of_http10_that_is_not_complete(fails: bool) -> None:  # noqa: FBT001
    """Its end is that of the connection, which is cut off without close_notify."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        if fails:
            raise ValueError

    async with serving(app) as server, asyncio.timeout(5):
        with pytest.raises((tlsio.TruncatedError, ConnectionError)):
            await exchange(server, HTTP10 % (b"GET", b""))


async def test_100_continue_of_http10() -> None:
    """RFC 9110, section 10.1.1: it is ignored."""
    async with serving() as server, asyncio.timeout(5):
        answer = await exchange(server, HTTP10 % (b"POST", b"Expect: 100-continue\r\nContent-Length: 5\r\n"), b"hello")
    assert split(answer)[::2] == (200, b"POST / hello")


async def test_an_upgrade_to_something_else_is_ignored() -> None:
    """RFC 9110, section 7.8."""
    async with serving() as server:
        answer = await exchange(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: foo\r\nConnection: upgrade, close\r\n\r\n")
        assert split(answer)[::2] == (200, b"GET / ")


FOO = b"Upgrade: foo\r\nConnection: upgrade\r\n"


@pytest.mark.parametrize("cuts", [False, True])
async def test_what_follows_an_ignored_upgrade(cuts: bool) -> None:  # noqa: FBT001
    """Bodies and the next requests, in one write or byte by byte."""
    requests = (
        b"GET /1 HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % FOO,
        b"POST /2 HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: 5\r\n\r\nhello" % FOO,
        b"POST /3 HTTP/1.1\r\nHost: localhost\r\n%sTransfer-Encoding: chunked\r\n\r\n3\r\nbye\r\n0\r\n\r\n" % FOO,
        b"POST /4 HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: 0\r\n\r\n" % FOO,
        stay(b"/5"),
        get(path=b"/6"),
    )
    sent = b"".join(requests)
    async with serving() as server, asyncio.timeout(30):
        answer = await exchange(server, *([sent[at : at + 1] for at in range(len(sent))] if cuts else [sent]))
    bodies = [part.partition(b"HTTP/1.1")[0] for part in answer.split(b"\r\n\r\n")[1:]]
    assert bodies == [b"GET /1 ", b"POST /2 hello", b"POST /3 bye", b"POST /4 ", b"GET /5 ", b"GET /6 "]


async def test_the_body_after_an_ignored_upgrade_is_no_request() -> None:
    """When it comes in a later write than its head."""
    hidden = get(path=b"/hidden")
    head = b"POST /2 HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n" % (CLOSE, len(hidden))
    async with serving() as server, await connect(server) as sock:
        await sock.send(b"GET /1 HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % FOO + head)
        await sock.readuntil(b"GET /1 ")
        await sock.send(hidden)
        assert split(await sock.read())[2] == b"POST /2 " + hidden


WEBSOCKET = b"%s /ws HTTP/%s\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"
HELLO = b"\x81\x85\0\0\0\0hello"


async def echo_both(scope: Any, receive: Any, send: Any) -> None:
    """Echo one message of a WebSocket, or a request."""
    if scope["type"] == "http":
        await echo(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": (await receive())["text"]})


async def test_a_message_in_the_same_write_as_the_handshake() -> None:
    """It is not lost."""
    async with serving(echo_both) as server, asyncio.timeout(5):
        answer = await exchange(server, WEBSOCKET % (b"GET", b"1.1", b"") + HELLO)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\r\n\r\n\x81\x05hello" in answer


async def test_a_websocket_behind_a_request() -> None:
    """The response comes first, and no byte of it is taken for a frame."""
    async with serving(echo_both) as server, asyncio.timeout(5):
        answer = await exchange(server, stay(b"/1") + WEBSOCKET % (b"GET", b"1.1", b"") + HELLO)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"400"]
    assert b"\r\n\r\nGET /1 HTTP/1.1 400" in answer


async def test_a_websocket_after_a_request() -> None:
    """On the same connection, when the response is complete."""
    async with serving(echo_both) as server, await connect(server) as sock, asyncio.timeout(5):
        await sock.send(stay(b"/1"))
        await sock.readuntil(b"\r\n\r\nGET /1 ")
        await sock.send(WEBSOCKET % (b"GET", b"1.1", b"") + HELLO)
        assert b"\x05hello" in await sock.readuntil(b"\x05hello")


@pytest.mark.parametrize(
    ("early", "answer"),
    [
        (HELLO, b"\x81\x05hello"),
        (b"\x89\x80\0\0\0\0" + HELLO, b"\x8a\x00\x81\x05hello"),
        (b"\x81\x05hello", b"\x88\x13\x03\xeaincorrect masking"),
        (b"\xff\xff", b"\x88"),
        (b"\x88\x80\0\0\0\0", b"\x88\x00"),
    ],
)
async def test_frames_before_the_handshake_is_answered(early: bytes, answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """They are parsed after it, valid or not, and no client can cause an error in the log."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
            await send({"type": "websocket.close"})

    async with serving(app) as server, await connect(server) as sock, asyncio.timeout(5):
        await sock.send(WEBSOCKET % (b"GET", b"1.1", b"") + early)
        head = await sock.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert (await sock.readexactly(len(answer))).startswith(answer)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_many_bytes_before_the_handshake_is_answered() -> None:
    """The server stops reading, and goes on after it."""
    accepts = asyncio.Event()
    large = b"\x82\xff" + (200_000).to_bytes(8, "big") + bytes(4 + 200_000)
    sizes: list[int] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await accepts.wait()
        await send({"type": "websocket.accept"})
        sizes.extend([len((await receive())["bytes"]) for _ in range(3)])

    async with serving(app) as server, await connect(server) as sock, asyncio.timeout(5):
        await sock.send(WEBSOCKET % (b"GET", b"1.1", b""))
        sending = asyncio.create_task(sock.send(large * 3))
        await asyncio.sleep(0.1)
        accepts.set()
        await sending
        await sock.read()
        while len(sizes) < 3:  # noqa: ASYNC110 - the application ends by itself
            await asyncio.sleep(0.01)
    assert sizes == [200_000] * 3


@pytest.mark.parametrize("more", [b"", b"\x88\x80\0\0\0\0"])
async def test_a_text_that_is_not_utf8(more: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """RFC 6455, section 8.1: the WebSocket fails. It may end with the client's close frame."""
    async with serving(echo_both) as server, asyncio.timeout(5):
        answer = await exchange(server, WEBSOCKET % (b"GET", b"1.1", b""), b"\x81\x81\0\0\0\0\xff" + more)
    assert answer.endswith(b"\x88\x00" if more else b"\x88\x02\x03\xef")
    assert not [record for record in caplog.records if "Invalid UTF-8" in record.getMessage() or record.name == "asyncio"]


@pytest.mark.parametrize(("line", "status"), [(b"A: " + b"x" * 9000, 431), (b"A: \xe9", 101), (b"Content-Length: 0", 101)])
async def test_the_head_of_a_websocket(line: bytes, status: int) -> None:
    """One that only websockets refuses is answered, too."""
    async with serving(echo_both) as server, asyncio.timeout(5):
        answer = await exchange(server, WEBSOCKET % (b"GET", b"1.1", line + b"\r\n") + HELLO)
    assert int(answer.split()[1]) == status


@pytest.mark.parametrize("is_websocket", [False, True])
@pytest.mark.parametrize(
    ("target", "host", "path", "query"),
    [
        (b"/ws?a=%41?b", b"localhost", "/ws", b"a=%41?b"),
        (b"//x/ws", b"localhost", "//x/ws", b""),
        (b"https://127.0.0.1/w%73?a=1", b"127.0.0.1", "/ws", b"a=1"),
        (b"HTTPS://127.0.0.1:443//ws", b"127.0.0.1:443", "//ws", b""),
        (b"https://127.0.0.1", b"127.0.0.1", "/", b""),
        (b"https://127.0.0.1?a=/b", b"127.0.0.1", "/", b"a=/b"),
    ],
)
async def test_the_target_in_the_scope(target: bytes, host: bytes, path: str, query: bytes, is_websocket: bool) -> None:  # noqa: FBT001
    """In each form, the same for requests and WebSockets."""
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        seen.append((dict(scope["headers"])[b"host"], scope["path"], scope["query_string"]))
        kind = "websocket.http.response" if is_websocket else "http.response"
        await send({"type": f"{kind}.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": f"{kind}.body", "body": b""})

    request = (WEBSOCKET % (b"GET", b"1.1", b"")) if is_websocket else get(path=b"/ws")
    async with serving(app) as server, asyncio.timeout(5):
        assert split(await exchange(server, request.replace(b"/ws", target, 1)))[0] == 200
    assert seen == [(host, path, query)]


@pytest.mark.parametrize("target", [b"https://127.0.0.1", b"*"])
async def test_the_target_of_options_for_the_whole_server(target: bytes) -> None:
    """RFC 9112, section 3.2.4: both forms are the same."""
    async with serving() as server:
        answer = await exchange(server, get().replace(b"GET /", b"OPTIONS " + target))
    assert split(answer)[::2] == (200, b"OPTIONS * ")


@pytest.mark.parametrize("is_websocket", [False, True])
@pytest.mark.parametrize("target", [b"rg://x/ws", b"ftp://localhost/ws", b"/ws#a", b"/#/ws", b"*", b"https://localhost/ws#a"])
async def test_a_target_that_is_not_valid(target: bytes, is_websocket: bool) -> None:  # noqa: FBT001
    """It is refused, after the responses to earlier requests."""
    request = (WEBSOCKET % (b"GET", b"1.1", b"")) if is_websocket else get(path=b"/ws")
    async with serving(echo_both) as server, asyncio.timeout(5):
        answer = await exchange(server, stay(b"/1") + request.replace(b"/ws", target, 1))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"400"]


@pytest.mark.parametrize(
    ("method", "version", "rest", "body"),
    [
        (b"POST", b"1.1", b"", b"POST /ws "),
        (b"GET", b"1.0", b"", b"GET /ws "),
        (b"GET", b"1.1", b"Content-Length: 5\r\n", b"GET /ws hello"),
    ],
)
async def test_an_upgrade_that_is_no_handshake_of_a_websocket(method: bytes, version: bytes, rest: bytes, body: bytes) -> None:
    """RFC 6455, section 4.1: a handshake is a GET of HTTP/1.1 or higher; and it has no body."""
    async with serving(echo_both, limits={"keep_alive_timeout": 0.1}) as server, asyncio.timeout(5):
        answer = await exchange(server, WEBSOCKET % (method, version, rest) + (b"hello" if rest else b""))
    assert split(answer)[::2] == (200, body)


async def test_plain_http_is_told_to_use_https() -> None:
    """In plain text, since there is no TLS."""
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _, body = split(await reader.read())
        writer.close()
        await writer.wait_closed()
    assert (status, b"https://" in body) == (400, True)


@pytest.mark.parametrize("white", [b" ", b"\t", b" \t "])
async def test_white_space_around_a_value_is_no_part_of_it(white: bytes) -> None:
    """RFC 9110, section 5.5: of the host, an expectation, a coding (llhttp refuses tabs there), and in the scope."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(value for name, value in scope["headers"] if name == b"a")
        await echo(scope, receive, send)

    head = b"POST / HTTP/1.1\r\nHost: localhost#\r\nExpect:#100-continue#\r\nTransfer-Encoding: chunked \r\nA:#b c#\r\nConnection: close\r\n\r\n"
    async with serving(app) as server, asyncio.timeout(5):
        answer = await exchange(server, head.replace(b"#", white) + b"2\r\nhi\r\n0\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"100", b"200"]
    assert seen == [b"b c"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_options_for_the_whole_server_is_below_no_path(version: str) -> None:
    """RFC 9112, section 3.2.4, and RFC 9113, section 8.3.1, with a `root_path`."""
    async with https_curl.serving(echo, root_path="/app") as site:
        answer = await site.get("", "-X", "OPTIONS", "--request-target", "*", version=version)
    assert answer.body == b"OPTIONS * "


@pytest.mark.parametrize(
    "lines", [b"Connection: Upgrade\r\nConnection: keep-alive\r\n", b"Connection: keep-alive\r\nConnection: Upgrade \r\n"]
)
async def test_a_handshake_with_two_connection_headers(lines: bytes) -> None:
    """RFC 9110, section 5.3: they are one list."""
    async with serving(echo_both) as server, await connect(server) as sock, asyncio.timeout(5):
        await sock.send((WEBSOCKET % (b"GET", b"1.1", b"")).replace(b"Connection: Upgrade\r\n", lines))
        assert (await sock.readuntil(b"\r\n")).split()[1] == b"101"
