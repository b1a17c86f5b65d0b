"""Port 80: a redirect and nothing else."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

import https_curl
import pki
import tlsio
from ports import own_port
from seeds import new_seed
from tlsio.https.plain_http.redirect import RedirectServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GET = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"


@asynccontextmanager
async def redirecting(https_port: int = 443, **options: Any) -> AsyncIterator[RedirectServer]:
    """Start one on a free port."""
    server = await RedirectServer(**options).start(https_port, "127.0.0.1", 0)
    try:
        yield server
    finally:
        await server.stop()


async def ask(server: RedirectServer, request: str | bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes; return status, headers and body once the server has closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request if isinstance(request, bytes) else request.encode("latin-1"))
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split(" ")[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


async def send_until_closed(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send until the server has gone, which raises an error."""
    while True:
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("host", "target", "location"),
    [
        ("example.com", "/", "https://example.com/"),
        ("example.com:80", "/a/b?c=d&e", "https://example.com/a/b?c=d&e"),
        ("EXAMPLE.com.", "/", "https://EXAMPLE.com./"),
        ("localhost:8080", "/%41%0d%0aX:%20y?%2F", "https://localhost/%41%0d%0aX:%20y?%2F"),
        ("127.0.0.1", "/", "https://127.0.0.1/"),
        ("[::1]:80", "/", "https://[::1]/"),
        ("my_host", "/", "https://my_host/"),
        ("example.com", "//evil.example/x", "https://example.com//evil.example/x"),
        ("example.com", "/\\evil.example", "https://example.com/\\evil.example"),
        ("example.com", "/@evil.example", "https://example.com/@evil.example"),
        ("example.com", "http://example.com/absolute?x", "https://example.com/absolute?x"),
        ("example.com", "HTTP://EXAMPLE.com:80", "https://example.com/"),
        ("example.com", "http://example.com?x", "https://example.com/?x"),
    ],
)
async def test_the_redirect_keeps_host_path_and_query(host: str, target: str, location: str) -> None:
    """As they came; it never leaves the host."""
    async with redirecting() as server:
        status, headers, body = await ask(server, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
    assert (status, headers["location"], body) == (308, location, b"")
    assert headers["connection"] == "close"
    assert headers["content-length"] == "0"
    assert "GMT" in headers["date"]


async def test_two_colons_are_every_address() -> None:
    """Of IPv4 too."""
    with own_port() as port:
        server = await RedirectServer().start(443, "::", port)
        try:
            for address in ("127.0.0.1", "::1"):
                _, writer = await asyncio.open_connection(address, port)
                writer.close()
        finally:
            await server.stop()


async def test_without_a_status_nothing_is_redirected() -> None:
    """Next to a server of another protocol; what the answer knows is answered."""
    async with redirecting(status=None, answer=lambda path, _host: b"known" if path.endswith("/t") else None) as server:
        status, headers, _ = await ask(server, GET)
        assert (status, headers.get("location")) == (404, None)
        status, _, body = await ask(server, "GET /.well-known/acme-challenge/t HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert (status, body) == (200, b"known")


async def test_another_port_of_https_is_named() -> None:
    """In place of the port of HTTP."""
    async with redirecting(8443) as server:
        for host, expected in (("example.com:8080", "https://example.com:8443/"), ("[::1]", "https://[::1]:8443/")):
            assert (await ask(server, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))[1]["location"] == expected


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PATCH"])
async def test_each_method_is_redirected(method: str) -> None:
    """308 keeps it; 301 is for old clients."""
    request = f"{method} /x HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n"
    async with redirecting() as server:
        assert (await ask(server, request))[0] == 308
    async with redirecting(status=301) as server:
        assert (await ask(server, request))[0] == 301


@pytest.mark.parametrize(
    "host",
    [
        "", "a b", "evil.example/x", "evil.example#", "evil.example?", "user@evil.example", "user:pw@evil.example", "evil.example\\x", "a..b", ".",
        "-" * 64, "a" * 300, "example.com:http", "example.com:123456", "[::1", "[::g]", "[fe80::1%25eth0]", "::1", "example.com\t\x0b", "%65vil",
        "exämple.com", "a,b", "1.2.3", "0x7f.1", "a.0x", "example.com:65536",
    ],
)  # fmt: skip
async def test_a_bad_host_is_refused(host: str) -> None:
    """It does not stand in the answer."""
    async with redirecting() as server:
        status, headers, body = await ask(server, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
    assert status == 400
    assert "location" not in headers
    assert b"evil" not in body


@pytest.mark.parametrize(
    "request_text",
    [
        "GET / HTTP/1.1\r\n\r\n",  # no Host
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET http://example.com@evil.example/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET http:///x HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET ftp://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET https://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET evil HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET \\evil HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET /\rX: y HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET /é HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "nonsense\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00",  # TLS
    ],
)
async def test_a_bad_request_is_refused(request_text: str) -> None:
    """With one answer and the end."""
    async with redirecting() as server:
        status, headers, _ = await ask(server, request_text)
    assert status == 400
    assert "location" not in headers
    assert headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("request_text", ["HEAD / HTTP/1.1\r\nHost: a@b\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n"])
async def test_an_answer_to_head_has_no_body(request_text: str) -> None:
    """Whatever it says."""
    async with redirecting() as server:
        status, _, body = await ask(server, request_text)
    assert (status, body) == (400 if "@" in request_text else 308, b"")


async def test_a_large_head_is_refused() -> None:
    """Before it is complete; a smaller one is not."""
    async with redirecting() as server:
        assert (await ask(server, GET.replace("\r\n\r\n", f"\r\nX: {'x' * 10_000}\r\n\r\n")))[0] == 308
        assert (await ask(server, GET.replace("\r\n\r\n", f"\r\nX: {'x' * 20_000}")))[0] == 431


async def test_sockets_may_be_bound_already() -> None:
    """By a process that had the rights for the port."""
    one, other = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    ports = [one.getsockname()[1], other.getsockname()[1]]
    server = await RedirectServer().start(443, sockets=[one, other])
    assert server.port == ports[0]
    for port in ports:
        assert (await https_curl.curl(f"http://localhost:{port}/"))["location"] == "https://localhost/"
    await server.stop()
    assert server.port is None


async def test_bytes_may_come_one_at_a_time() -> None:
    """And none is read twice."""
    async with redirecting() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for byte in GET.encode():
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.read()).startswith(b"HTTP/1.1 308 Permanent Redirect\r\n")
        writer.close()


async def test_a_body_does_not_cost_the_answer() -> None:
    """It is read and dropped, up to a limit."""
    async with redirecting() as server:
        status, *_ = await ask(server, b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000)
        assert status == 308
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 100000000\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        with pytest.raises(ConnectionError):
            await send_until_closed(writer, b"x" * 65536)
        writer.close()


@pytest.mark.parametrize("sent", ["", "GET / HT", GET])
async def test_a_slow_client_is_dropped(sent: str) -> None:
    """One that says nothing, or half of it, or does not close after the answer."""
    async with redirecting(timeout=0.2) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent.encode())
        with suppress(ConnectionError):
            assert (await reader.read()).startswith(b"HTTP/1.1 308") == (sent == GET)
        with pytest.raises(ConnectionError):
            await send_until_closed(writer, b" ")
        writer.close()
        assert (await ask(server, GET))[0] == 308


async def test_connections_are_bounded() -> None:
    """Further ones are closed at once."""
    async with redirecting(max_connections=2) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        for _, writer in held:
            writer.write(b"GET")
        while len(server._connections) < 2:  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.001)
        reader, third = await asyncio.open_connection("127.0.0.1", server.port)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        for _, writer in (*held, (None, third)):
            writer.close()


async def test_a_client_that_goes_leaves_nothing() -> None:
    """Whenever it goes."""
    async with redirecting() as server:
        for end in range(len(GET)):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(GET[:end].encode())
            writer.close()
            await writer.wait_closed()
        assert (await ask(server, GET))[0] == 308
        while server._connections:  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.001)


async def test_no_mutation_leads_elsewhere() -> None:
    """Whatever the request has become, a redirect goes to the Host that was sent, on one line."""
    chosen = random.Random(new_seed())  # noqa: S311 - a test
    parts = [
        b"\r",
        b"\n",
        b"\r\n",
        b" ",
        b"\t",
        b"\0",
        b"//",
        b"\\",
        b"@",
        b"#",
        b"?",
        b":",
        b"%0d%0a",
        b"Host: evil.example\r\n",
        b"http://",
        b"\xff",
    ]
    async with redirecting() as server:
        for _ in range(500):
            request = bytearray(b"GET /a?b HTTP/1.1\r\nHost: example.com:80\r\nX: y\r\n\r\n")
            for _ in range(chosen.randint(1, 3)):
                at = chosen.randrange(len(request) + 1)
                request[at : at + chosen.randint(0, 2)] = chosen.choice(parts)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(bytes(request))
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            head, _, rest = answer.partition(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if line.startswith(b"location: ")]
            failure = repr(bytes(request))
            if lines:
                unfolded = re.sub(rb"\r?\n[ \t]+", b" ", request)  # h11 still reads lines that were folded
                host = re.search(rb"(?im)^host:[ \t]*([^:\s]+)", unfolded)
                assert host, failure
                place = b"location: https://" + host[1]
                assert len(lines) == 1, failure
                assert lines[0].startswith(place + b"/"), failure
                assert rest == b"", failure
            else:
                assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), failure


CHALLENGE = "GET /.well-known/acme-challenge/token?x HTTP/1.1\r\nHost: Example.com:80\r\n\r\n"


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_challenge_is_asked_for_before_the_redirect(kind: str) -> None:
    """With path and host; a challenge that is not known is redirected."""
    asked = []

    def answer(path: str, host: str) -> bytes | None:
        asked.append((path, host))
        return b"key authorization" if "token" in path else None

    async def answer_later(path: str, host: str) -> bytes | None:
        await asyncio.sleep(0)
        return answer(path, host)

    async with redirecting(answer=answer if kind == "plain" else answer_later) as server:
        status, headers, body = await ask(server, CHALLENGE)
        assert (status, body) == (200, b"key authorization")
        assert "location" not in headers
        assert (await ask(server, CHALLENGE.replace("token", "other")))[0] == 308
        assert (await ask(server, CHALLENGE.replace("GET", "POST")))[0] == 308
        assert (await ask(server, GET))[0] == 308
        assert (await ask(server, CHALLENGE.replace("acme-challenge/", "acme-challenge-")))[0] == 308
        assert (await ask(server, CHALLENGE.replace("Example.com", "a@b")))[0] == 400
    assert asked == [("/.well-known/acme-challenge/token?x", "Example.com"), ("/.well-known/acme-challenge/other?x", "Example.com")]


async def test_an_answer_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The client gets 500."""

    def answer(_path: str, _host: str) -> bytes:
        raise OSError("no storage")

    async with redirecting(answer=answer) as server:
        assert (await ask(server, CHALLENGE))[0] == 500
    assert caplog.records[0].exc_info


async def test_a_stop_cancels_an_answer() -> None:
    """It does not wait for it."""
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def answer(_path: str, _host: str) -> bytes:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with redirecting(answer=answer) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(CHALLENGE.encode())
        await started.wait()
        await server.stop()
        await cancelled.wait()
        writer.close()


@pytest.mark.parametrize("options", [{"status": 302}, {"max_connections": 0}])
def test_mistakes(options: Any) -> None:
    """Found at the start."""
    with pytest.raises(tlsio.UsageError):
        RedirectServer(**options)


async def hello(_scope: Any, _receive: Any, send: Any) -> None:
    """Say hello."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def test_a_server_redirects_to_itself() -> None:
    """A client follows from one port to the other."""
    async with https_curl.serving(hello, redirect_port=0, lifespan="off") as site:
        redirect = site.server.redirect_server
        assert redirect is not None
        answer = await https_curl.curl(f"http://localhost:{redirect.port}/x", "--location", "--cacert", str(site.folder / "ca.pem"))
        plain = redirect.port
    assert answer.body.endswith(b"hello")
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", plain)


async def test_a_server_that_cannot_redirect_does_not_start() -> None:
    """Nothing is left open."""
    who = pki.localhost()
    async with redirecting() as other:
        server = tlsio.https.Server(hello, cert=who.chain_pem, key=who.key_pem, redirect_port=other.port, lifespan="off")
        with pytest.raises(OSError, match="address already in use"):
            await server.start("127.0.0.1", 0)
