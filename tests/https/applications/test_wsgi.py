"""WSGI applications: streams both ways, ends with its client, and knows the certificate."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from typing import TYPE_CHECKING, Any

import h2.connection
import h2.events
import pytest

import https_curl
import pki
import tlsio
from https_curl import VERSIONS, curl
from tlsio.https.applications.wsgi import ClientGoneError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LARGE = 3_000_000


def text(start_response: Any, body: str, status: str = "200 OK") -> list[bytes]:
    """Answer with a text."""
    data = body.encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(data)))])
    return [data]


def environment(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer with the environment, one variable on a line."""
    shown = {name: value for name, value in environ.items() if isinstance(value, str)}
    body = "\n".join(f"{name}={value!r}" for name, value in shown.items()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def variables(site: https_curl.Site, path: str = "/", *arguments: str, version: str = "1.1") -> dict[str, str]:
    """Return the environment of a request."""
    answer = await site.get(path, *arguments, version=version)
    return {name: eval(value) for name, _, value in (line.partition("=") for line in answer.text.splitlines())}  # noqa: S307 - our own repr


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_environment_is_that_of_pep_3333(version: str) -> None:
    """Paths are bytes that were unquoted."""
    async with https_curl.serving(environment) as site:
        found = await variables(
            site, "/a%20b/%ff%C3%A9?q=%41&r", "-H", "X-One: 1", "-H", "X-One: 2", "-H", "Cookie: a=1; b=2", version=version
        )
        port = str(site.port)
    assert found["REQUEST_METHOD"] == "GET"
    assert (found["SCRIPT_NAME"], found["PATH_INFO"], found["QUERY_STRING"]) == ("", "/a b/\xff\xc3\xa9", "q=%41&r")
    assert found["SERVER_PROTOCOL"] == f"HTTP/{version}"
    assert (found["SERVER_NAME"], found["SERVER_PORT"], found["REMOTE_ADDR"]) == ("127.0.0.1", port, "127.0.0.1")
    assert found["wsgi.url_scheme"] == "https"
    assert found["HTTP_HOST"] == f"localhost:{port}"
    assert found["HTTP_X_ONE"] == "1,2"
    assert found["HTTP_COOKIE"] == "a=1; b=2"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("rest", [[], [b""], (b"",), [b"world"]], ids=["none", "empty", "empty tuple", "more"])
async def test_what_write_has_sent_has_an_end(version: str, rest: Any) -> None:
    """Whatever the application returns after it, such as one empty part."""

    def app(_environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", [])
        write(b"hello")
        return rest

    async with https_curl.serving(app, interface="wsgi") as site:
        answer = await site.get(version=version)
    assert answer.body == b"hello" + b"".join(rest)


async def test_a_mounted_application_has_a_script_name() -> None:
    """And the rest as its path."""
    async with https_curl.serving(environment, root_path="/app") as site:
        found = await variables(site, "/x")
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/app", "/x")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_header_cannot_be_a_variable_of_tls(version: str) -> None:
    """Nor pass for another header by an underscore."""
    fakes = ["SSL_CLIENT_VERIFY: SUCCESS", "SSL-CLIENT-VERIFY: SUCCESS", "HTTPS: off", "X_Real_IP: 6.6.6.6", "SSL-CLIENT-S-DN: CN=admin"]
    async with https_curl.serving(environment) as site:
        found = await variables(site, "/", *(part for fake in fakes for part in ("-H", fake)), version=version)
    assert found["SSL_CLIENT_VERIFY"] == "NONE"
    assert found["HTTPS"] == "on"
    assert found["HTTP_SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert "SSL_CLIENT_S_DN" not in found
    assert "HTTP_X_REAL_IP" not in found


@pytest.mark.parametrize("version", VERSIONS)
async def test_mod_ssl_describes_client_and_connection(version: str) -> None:
    """Under Apache's names, each chain from the leaf's issuer on."""
    who = pki.leaf(
        "Ada Łovelace", issuer=pki.ca3(), units=["One", "Two"], names=["ada.example", "more.example"], extensions=[], serial_number=0xABC
    )
    options = {"ca": pki.ca1().cert_pem, "request_cert": True}
    async with https_curl.serving(environment, **options) as site:
        found = await variables(site, "/", *site.as_client(who), version=version)
        again = await variables(site, "/", *site.as_client(who), version=version)
    assert found["HTTPS"] == "on"
    assert found["SSL_PROTOCOL"] == "TLSv1.3"
    assert found["SSL_CIPHER"].startswith("TLS_")
    assert found["SSL_TLS_SNI"] == "localhost"
    assert found["SSL_SESSION_RESUMED"] == "Initial"
    assert found["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert found["SSL_CLIENT_M_SERIAL"] == "0ABC"
    assert found["SSL_CLIENT_M_VERSION"] == "3"
    assert found["SSL_CLIENT_S_DN"] == "CN=Ada Łovelace,OU=Two,OU=One,O=tlsio tests".encode().decode("latin-1")
    assert found["SSL_CLIENT_S_DN_CN"].encode("latin-1").decode() == "Ada Łovelace"
    assert (found["SSL_CLIENT_S_DN_OU"], found["SSL_CLIENT_S_DN_OU_1"]) == ("One", "Two")
    assert found["SSL_CLIENT_I_DN_CN"] == "ca3"
    assert (found["SSL_CLIENT_SAN_DNS_0"], found["SSL_CLIENT_SAN_DNS_1"]) == ("ada.example", "more.example")
    assert found["SSL_CLIENT_V_START"].endswith("GMT")
    assert int(found["SSL_CLIENT_V_REMAIN"]) > 3600
    assert found["SSL_CLIENT_CERT"].split() == who.cert_pem.decode().split()
    assert found["SSL_CLIENT_CERT_CHAIN_0"].split() == pki.ca3().cert_pem.decode().split()
    assert found["SSL_SERVER_S_DN_CN"] == "localhost"
    assert again["SSL_CLIENT_CERT"] == found["SSL_CLIENT_CERT"]


async def test_mod_ssl_says_why_a_client_was_not_accepted() -> None:
    """The application decides, if the server lets it."""
    options = {"ca": pki.ca1().cert_pem, "request_cert": True, "reject_unauthorized": False}
    async with https_curl.serving(environment, **options) as site:
        found = await variables(site, "/", *site.as_client(pki.agent4()))
    assert found["SSL_CLIENT_VERIFY"].startswith("FAILED:")
    assert found["SSL_CLIENT_S_DN_CN"] == "agent4"


def digest(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer with the digest of the body."""
    found = hashlib.sha256()
    while chunk := environ["wsgi.input"].read(10_000):
        found.update(chunk)
    return text(start_response, found.hexdigest())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("chunked", [False, True])
async def test_an_upload_streams(version: str, chunked: bool) -> None:  # noqa: FBT001 - a parameter
    """With and without its length."""
    content = bytes(range(256)) * (LARGE // 256)
    arguments = ("-H", "transfer-encoding: chunked") if chunked and version == "1.1" else ()
    async with https_curl.serving(digest) as site:
        ca = ("--cacert", str(site.folder / "ca.pem"))
        answer = await curl(f"https://localhost:{site.port}/", f"--http{version}", *ca, *arguments, "-T", "-", data=content)
    assert answer.text == hashlib.sha256(content).hexdigest()


async def test_a_length_that_is_sent_twice() -> None:
    """Is one number: HTTP/2 allows the same one again."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        length = environ["CONTENT_LENGTH"]
        return text(start_response, f"{length} {environ['wsgi.input'].read(int(length))!r}")

    fields = [
        (":method", "POST"), (":path", "/"), (":scheme", "https"), (":authority", "localhost"), ("content-length", "3"), ("content-length", "3"),
    ]  # fmt: skip
    async with https_curl.serving(app) as site:
        client = h2.connection.H2Connection()
        client.initiate_connection()
        client.send_headers(1, fields)
        client.send_data(1, b"abc", end_stream=True)
        async with await tlsio.connect(site.port, "127.0.0.1", ca=pki.ca1().cert_pem, alpn_protocols=["h2"]) as socket:
            await socket.send(client.data_to_send())
            body = b""
            while not body:
                events = client.receive_data(await socket.read())
                body = b"".join(event.data for event in events if isinstance(event, h2.events.DataReceived))
    assert body == b"3 b'abc'"


@pytest.mark.parametrize("reads", [False, True])
async def test_a_body_is_asked_for_when_it_is_read(reads: bool) -> None:  # noqa: FBT001 - a parameter
    """A client that waits for 100 does not send what the application does not want."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        size = len(environ["wsgi.input"].read()) if reads else 0
        start_response("200 OK", [])
        yield b"size "
        yield str(size).encode()

    async with https_curl.serving(app) as site:
        socket = await connect(site, b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        head = await socket.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 100" if reads else b"HTTP/1.1 200")
        if reads:
            await socket.send(b"body")
            assert (await socket.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        socket.destroy()


@pytest.mark.parametrize("version", VERSIONS)
async def test_lines_of_a_body_are_whole(version: str) -> None:
    """However the client sends them: `readline(limit)` waits for the line."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        return text(start_response, f"{body.readline(100)!r} {body.readline(2)!r} {list(body)!r} {body.read()!r}")

    async with https_curl.serving(app) as site:
        answer = await site.get("/", "--data-binary", "first\nsecond\nthird", version=version)
    assert answer.text == repr(b"first\n") + " " + repr(b"se") + " " + repr([b"cond\n", b"third"]) + " " + repr(b"")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_response_streams(version: str) -> None:
    """Each part goes out before the next is made: the application waits for the client to have it."""
    go_on = threading.Event()

    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first\n"
        assert go_on.wait(20)
        yield b""
        yield b"second\n"

    async with https_curl.serving(app) as site:
        url, ca = f"https://localhost:{site.port}/", str(site.folder / "ca.pem")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "curl", "-sSN", f"--http{version}", "--noproxy", "*", "--cacert", ca, url, stdout=pipe
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"first\n"
        go_on.set()
        assert await process.stdout.read() == b"second\n"
        assert await process.wait() == 0


@pytest.mark.parametrize("version", VERSIONS)
async def test_write_and_close(version: str) -> None:
    """`start_response` returns `write`; what the application returned is closed, in the end."""
    closed = threading.Event()

    class Parts:
        def __iter__(self) -> Iterator[bytes]:
            yield b"iterated"

        def close(self) -> None:
            closed.set()

    def app(_environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("201 Created", [("X-Kind", "é")])(b"written ")
        return Parts()

    async with https_curl.serving(app) as site:
        answer = await site.get(version=version)
    assert (answer.status, answer.text) == (201, "written iterated")
    assert closed.is_set()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("parts", [[], [b""], [b"", b""], ()])
async def test_an_empty_body(version: str, parts: Any) -> None:
    """Ends too."""

    def app(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return parts

    async with https_curl.serving(app) as site:
        assert (await site.get(version=version)).body == b""


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_application_may_change_its_mind(version: str) -> None:
    """Before the first part is sent."""

    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        start_response("500 Oops", [], (ValueError, ValueError(), None))
        yield b"sorry"

    async with https_curl.serving(app) as site:
        answer = await site.get(version=version)
    assert (answer.status, answer.text) == (500, "sorry")


def raises(_environ: Any, _start_response: Any) -> Any:
    """Raise at once."""
    raise ValueError("of the application")


def starts_twice(_environ: Any, start_response: Any) -> Any:
    """Call start_response twice."""
    start_response("200 OK", [])
    start_response("200 OK", [])
    return []


def starts_not(_environ: Any, _start_response: Any) -> Any:
    """Return without a head."""
    return [b"body"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("app", [raises, starts_twice, starts_not])
async def test_a_broken_application_is_logged(app: Any, version: str, caplog: pytest.LogCaptureFixture) -> None:
    """The client gets 500."""
    async with https_curl.serving(app) as site:
        assert (await site.get(version=version)).status == 500
    assert any(record.exc_info and record.exc_info[0] in {ValueError, RuntimeError} for record in caplog.records)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_wrong_length_holds_no_thread(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """The server refuses the body; the thread ends with that error. One thread serves them all."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        if environ["PATH_INFO"] == "/good":
            yield from text(start_response, "good")
            return
        start_response("200 OK", [("Content-Length", "3")])
        for _ in range(100):
            yield b"longer than that"

    async with https_curl.serving(app, wsgi_threads=1) as site:
        for _ in range(3):
            if version == "2":
                assert (await site.get("/", version=version)).status == 500
            else:
                with pytest.raises(AssertionError, match=r"curl: \(\d+\)"):
                    await site.get("/", version=version)
        assert (await site.get("/good", version=version)).text == "good"
    assert any(record.exc_info for record in caplog.records)


class Gone:
    """Notes how a thread ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.error = error
        self.ended.set()


async def connect(site: https_curl.Site, request: bytes) -> tlsio.TLSSocket:
    """Send a request of HTTP/1.1."""
    socket = await tlsio.connect(site.port, "localhost", ca=pki.ca1().cert_pem)
    await socket.send(request)
    return socket


async def test_an_endless_response_ends_with_its_client(caplog: pytest.LogCaptureFixture) -> None:
    """So does its thread; this is no error."""
    gone = Gone()

    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        with gone:
            while True:
                yield b"more\n"

    async with https_curl.serving(app) as site:
        socket = await connect(site, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await socket.readuntil(b"more\n")
        socket.destroy()
        assert await asyncio.to_thread(gone.ended.wait, 20)
    assert not [record for record in caplog.records if record.exc_info]


async def test_an_endless_response_ends_with_its_stream() -> None:
    """Also where the connection of HTTP/2 lives on."""
    gone = Gone()

    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        with gone:
            while True:
                yield b"more\n" * 1000

    async with https_curl.serving(app) as site:
        socket = await tlsio.connect(site.port, "localhost", ca=pki.ca1().cert_pem, alpn_protocols=["h2"])
        client = h2.connection.H2Connection()
        client.initiate_connection()
        client.send_headers(1, [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")], end_stream=True)
        await socket.send(client.data_to_send())
        while not any(isinstance(event, h2.events.DataReceived) for event in client.receive_data(await socket.read())):
            pass
        client.reset_stream(1)
        await socket.send(client.data_to_send())
        assert await asyncio.to_thread(gone.ended.wait, 20)
        assert site.server.tls_server.connections == 1
        socket.destroy()


async def test_an_upload_that_breaks_off_does_not_look_complete(caplog: pytest.LogCaptureFixture) -> None:
    """Reading raises an OSError, which frameworks know; the log stays quiet."""
    gone = Gone()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with gone:
            environ["wsgi.input"].read()
        return text(start_response, "complete")

    async with https_curl.serving(app) as site:
        socket = await connect(site, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
        socket.destroy()
        assert await asyncio.to_thread(gone.ended.wait, 20)
    assert isinstance(gone.error, ClientGoneError)
    assert isinstance(gone.error, OSError)
    assert not [record for record in caplog.records if record.exc_info]


async def test_threads_are_bounded() -> None:
    """Further requests wait for one."""
    running, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def app(_environ: Any, start_response: Any) -> list[bytes]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(20)
        with lock:
            running -= 1
        return text(start_response, "ok")

    async with https_curl.serving(app, wsgi_threads=2) as site:
        answers = await asyncio.gather(*(site.get() for _ in range(4)))
    assert [answer.text for answer in answers] == ["ok"] * 4
    assert most == 2


async def test_a_stop_ends_threads_that_send() -> None:
    """After graceful_timeout; threads do not keep the process from ending."""
    gone = Gone()

    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        with gone:
            while True:
                yield b"more\n"

    async with https_curl.serving(app, graceful_timeout=0.01) as site:
        socket = await connect(site, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await socket.readuntil(b"more\n")
    assert await asyncio.to_thread(gone.ended.wait, 20)
    assert isinstance(gone.error, ClientGoneError | GeneratorExit)
    socket.destroy()


@pytest.mark.parametrize("threads", [0, 10_000, "two"])
def test_the_number_of_threads_is_checked(threads: Any) -> None:
    """Before the server starts."""
    with pytest.raises(tlsio.UsageError, match="wsgi_threads"):
        tlsio.https.Server(raises, wsgi_threads=threads)


async def test_a_websocket_is_refused() -> None:
    """WSGI has none: the request is one like others, or closed."""
    async with https_curl.serving(digest) as site:
        upgrade = (
            "-H",
            "Connection: Upgrade",
            "-H",
            "Upgrade: websocket",
            "-H",
            "Sec-WebSocket-Version: 13",
            "-H",
            "Sec-WebSocket-Key: eA==",
        )
        assert (await site.get("/", *upgrade)).status == 200
