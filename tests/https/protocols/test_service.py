"""The server's start and end, and what happens to requests meanwhile."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from typing import Any

import pytest

import pki
import tlsio
from https_names import NAMES, VERSIONS, Http1Client, Http2Client, connected, curl, own, say_host, serving
from tlsio.https import Server
from tlsio.https import server as server_module

both = pytest.mark.parametrize("version", VERSIONS)


class App:
    """An application that notes its lifespan and waits within requests.

    Attributes:
        events: What happened, in order.
        running: Set when a request runs.
        release: A request answers when this is set.
        fails: What its startup or shutdown does: "startup", "shutdown", "raise", "hang at startup", "hang at shutdown".
    """

    def __init__(self, fails: str = "") -> None:
        self.events: list[str] = []
        self.running, self.starting, self.release = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.fails = fails

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve."""
        if scope["type"] == "lifespan":
            await self.live(receive, send)
            return
        self.running.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        await say_host(scope, receive, send)
        self.events.append("answered")

    async def live(self, receive: Any, send: Any) -> None:
        """Start and stop."""
        await receive()
        self.starting.set()
        if self.fails == "raise":
            raise ValueError("no database")
        try:
            if self.fails == "hang at startup":
                await asyncio.Event().wait()
        finally:
            self.events.append("startup")
        if self.fails == "startup":
            await send({"type": "lifespan.startup.failed", "message": "Traceback ...\nValueError: no database\n"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            if self.fails == "hang at shutdown":
                await asyncio.Event().wait()
        finally:
            self.events.append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})
        await asyncio.sleep(0)
        self.events.append("end")


# ---- a graceful stop


@both
async def test_requests_finish_before_the_application_stops(version: str) -> None:
    """Nothing new is accepted, what runs is answered in full, and then comes the application's shutdown."""
    app = App()
    async with serving(app, **own()) as server:
        port = server.port
        async with connected(server, version) as client:
            asking = asyncio.create_task(client.get("a.example"))
            await app.running.wait()
            stopping = asyncio.create_task(server.stop())
            await asyncio.sleep(0)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            app.release.set()
            assert await asking == (200, b"a.example")
            if isinstance(client, Http2Client):
                await client.until_closed()
                assert client.goaway
            else:
                assert await client.socket.read() == b""
        await stopping
    assert app.events == ["startup", "answered", "shutdown", "end"]


@both
async def test_idle_connections_are_closed(version: str) -> None:
    """A client that only keeps its connection does not hold the stop."""
    async with serving(**own()) as server, connected(server, version) as client:
        await client.get("a.example")
        stopping = asyncio.create_task(server.stop())
        if isinstance(client, Http2Client):
            await client.until_closed()
        else:
            assert await client.socket.read() == b""
        client.socket.destroy()
        await stopping


async def test_a_request_on_its_way_is_served() -> None:
    """It was sent when the server had not yet told the client to stop."""
    async with serving(**own()) as server, connected(server, "1.1") as client:
        assert isinstance(client, Http1Client)
        await client.get("a.example")
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        assert await client.get("a.example") == (200, b"a.example")
        assert b"connection: close" in client.head
        client.socket.destroy()
        await stopping


async def test_half_a_head_is_waited_for() -> None:
    """The rest of a request is served, as the last one."""
    async with serving(**own()) as server, connected(server, "1.1") as client:
        assert isinstance(client, Http1Client)
        await client.get("a.example")
        client.socket.write(b"GET / HTTP/1.1\r\n")
        while not [one for one in server._service.connections if one._reader.is_in_head]:  # type: ignore[union-attr]  # noqa: ASYNC110 - only the parser sees it
            await asyncio.sleep(0.001)
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        assert await client.send(b"Host: a.example\r\n\r\n") == (200, b"a.example")
        client.socket.destroy()
        await stopping


@both
async def test_a_handshake_in_progress_is_served(version: str) -> None:
    """The client connected before the stop: its first request gets an answer."""
    stopping: list[asyncio.Task[None]] = []
    async with serving(**own()) as server:

        def stop(_host: str, _cert: object) -> None:
            stopping.append(asyncio.create_task(server.stop()))

        async with connected(server, version, check_server_identity=stop) as client:
            assert await client.get("a.example") == (200, b"a.example")
        await stopping[0]


async def test_a_handshake_that_stands_still_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends nothing does not hold the stop for long."""
    monkeypatch.setattr(server_module, "_HANDSHAKE_TIME", 0.05)
    async with serving(**own()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while not server.tls_server.connections:  # noqa: ASYNC110 - a counter is no event
            await asyncio.sleep(0.001)
        await server.stop()
        assert await reader.read() == b""
        writer.close()


async def test_websockets_are_told_to_reconnect() -> None:
    """1012, "service restart" (IANA), and its application gets the same code."""
    codes: list[int] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        codes.append((await receive())["code"])

    async with serving(app, lifespan="off", **own()) as server, connected(server, "1.1") as client:
        lines = ["GET / HTTP/1.1", "Host: a.example", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        client.socket.write("\r\n".join([*lines, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]).encode())
        assert b" 101 " in await client.socket.read()
        stopping = asyncio.create_task(server.stop())
        frame = await client.socket.read()
        assert frame == b"\x88\x02" + (1012).to_bytes(2, "big")
        client.socket.destroy()
        await stopping
    assert codes == [1012]


@both
async def test_after_the_timeout_requests_are_cancelled(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """They and their connections end, with a line that says so."""
    app = App()
    async with serving(app, graceful_timeout=0.05, **own()) as server, connected(server, version) as client:
        asking = asyncio.create_task(client.get("a.example"))
        await app.running.wait()
        await server.stop()
        await asyncio.wait([asking])
        assert asking.exception() is not None or asking.result()[0] in {500, -2}
    assert app.events[:2] == ["startup", "cancelled"]
    assert app.events[-1] == "end"
    assert "1 requests were cancelled: graceful_timeout has passed" in caplog.text
    assert [record for record in caplog.records if record.exc_info] == []


async def test_a_request_that_ignores_its_cancellation_is_left(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop ends all the same, and says what it left."""
    from tlsio.https.protocols import service  # noqa: PLC0415

    monkeypatch.setattr(service, "_CANCEL_TIME", 0.05)
    running, release = asyncio.Event(), asyncio.Event()
    tasks: list[Any] = []

    async def stubborn(_scope: Any, _receive: Any, _send: Any) -> None:
        tasks.append(asyncio.current_task())
        running.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with serving(stubborn, lifespan="off", graceful_timeout=0.05, **own()) as server, connected(server, "2") as client:
        asking = asyncio.create_task(client.get("a.example"))
        await running.wait()
        await server.stop()
        asking.cancel()
    assert "1 requests ignored their cancellation" in caplog.text
    release.set()
    await asyncio.wait(tasks)


@both
async def test_a_cancelled_stop_ends_at_once(version: str) -> None:
    """Requests are cancelled, and the application gets its shutdown."""
    app = App()
    async with serving(app, **own()) as server, connected(server, version) as client:
        asking = asyncio.create_task(client.get("a.example"))
        await app.running.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert app.events == ["startup", "cancelled", "shutdown", "end"]
        assert server.port is None
        await asyncio.gather(asking, return_exceptions=True)


@both
async def test_a_request_may_start_the_stop_but_not_wait_for_it(version: str) -> None:
    """It would wait for itself."""
    errors: list[tlsio.UsageError] = []
    tasks: list[asyncio.Task[None]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await server.stop()
        except tlsio.UsageError as error:
            errors.append(error)
        tasks.append(asyncio.create_task(server.stop()))
        await asyncio.sleep(0)
        await say_host(scope, receive, send)

    async with serving(app, lifespan="off", **own()) as server:
        async with connected(server, version) as client:
            assert await client.get("a.example") == (200, b"a.example")
        await tasks[0]
    assert [error.code for error in errors] == ["ERR_TLS_SELF_WAIT"]


@both
async def test_an_abort_ends_a_stop_that_waits(version: str) -> None:
    """As a second signal: requests, connections and handshakes end, the application gets its shutdown."""
    app = App()
    async with serving(app, **own()) as server, connected(server, version) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        asking = asyncio.create_task(client.get("a.example"))
        await app.running.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        server.abort()
        await stopping
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.gather(reader.read(), return_exceptions=True)
        writer.close()
    assert app.events == ["startup", "cancelled", "shutdown", "end"]


async def test_stops_are_one_stop() -> None:
    """Before the start it does nothing; several wait for the same end; after it there is nothing to do."""
    app = App()
    server = Server(app, **own())
    await server.stop()
    await server.start("127.0.0.1", 0)
    await asyncio.gather(server.stop(), server.stop())
    await server.stop()
    assert app.events == ["startup", "shutdown", "end"]


@pytest.mark.parametrize("kind", ["path", "sock"])
async def test_it_listens_elsewhere(kind: str, unix_path: Any) -> None:
    """On a Unix socket, whose clients have no address, or on a socket that it is given."""
    server = Server(say_host, access_log="json", **own())
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    if kind == "path":
        sock.close()
    await server.start(**({"path": unix_path} if kind == "path" else {"sock": sock}))
    code, text = await curl("-k", *(["--unix-socket", str(unix_path)] if kind == "path" else []), f"https://localhost:{port}/")
    assert (code, text) == (0, f"localhost:{port}")
    await server.stop()


async def test_it_starts_again() -> None:
    """After a stop, with a new lifespan."""
    app = App()
    app.release.set()
    server = Server(app, **own())
    for _ in range(2):
        async with await server.start("127.0.0.1", 0), connected(server, "2") as client:
            assert await client.get("a.example") == (200, b"a.example")
    assert app.events == ["startup", "answered", "shutdown", "end"] * 2


# ---- a start that fails


@pytest.mark.parametrize("root_path", ["/\xe9", "/%C3%A9", "app", "/a b", "/a?b", "/a#b", "/a\n", "/a\0", b"/a", None])
def test_a_root_path_that_no_request_can_begin_with(root_path: Any) -> None:
    """Otherwise each request would fail."""
    with pytest.raises(tlsio.UsageError, match="root_path must be"):
        Server(App(), root_path=root_path, **own())


def test_a_wrong_lifespan() -> None:
    """It is not that of an application."""
    with pytest.raises(tlsio.UsageError, match="lifespan must be 'auto' or"):
        Server(App(), lifespan="x", **own())  # type: ignore[arg-type]


async def test_it_starts_once() -> None:
    """A second start while it runs is a mistake."""
    async with serving(**own()) as server:
        with pytest.raises(tlsio.UsageError) as caught:
            await server.start("127.0.0.1", 0)
        assert caught.value.code == "ERR_SERVER_ALREADY_LISTEN"


async def test_an_application_that_refuses_to_start_says_why() -> None:
    """The last line of its message is in the error; nothing is left."""
    app = App("startup")
    server = Server(app, **own())
    with pytest.raises(tlsio.ConfigError, match="failed to start: ValueError: no database") as caught:
        await server.start("127.0.0.1", 0)
    assert caught.value.code == "ERR_HTTPS_APP"
    app.fails = ""
    await server.start("127.0.0.1", 0)
    await server.stop()


@pytest.mark.parametrize(("lifespan", "starts"), [("on", False), ("auto", True), ("off", True)])
async def test_an_application_that_raises_in_its_lifespan(lifespan: Any, starts: bool) -> None:  # noqa: FBT001
    """With "auto" it is taken for one without a lifespan, as uvicorn does."""
    server = Server(App("raise"), lifespan=lifespan, **own())
    if starts:
        await server.start("127.0.0.1", 0)
        await server.stop()
        return
    with pytest.raises(tlsio.ConfigError, match="failed to start"):
        await server.start("127.0.0.1", 0)


async def test_an_address_in_use_stops_the_application() -> None:
    """It was started first, so it is stopped again; then the server can start elsewhere."""
    app = App()
    async with serving(**own()) as other:
        server = Server(app, **own())
        with pytest.raises(OSError, match="Address already in use"):
            await server.start("127.0.0.1", other.port)
        assert app.events == ["startup", "shutdown", "end"]
    await server.start("127.0.0.1", 0)
    await server.stop()


async def test_a_stop_during_the_start_stops_it() -> None:
    """Also while the application hangs in its startup."""
    app = App("hang at startup")
    server = Server(app, **own())
    starting = asyncio.create_task(server.start("127.0.0.1", 0))
    await app.starting.wait()
    await server.stop()
    with pytest.raises(tlsio.UsageError) as caught:
        await starting
    assert caught.value.code == "ERR_SERVER_NOT_RUNNING"
    assert server.port is None


@pytest.mark.parametrize("turns", range(8))
async def test_a_stop_at_any_moment_of_the_start(turns: int) -> None:
    """Whichever step it interrupts, either the start fails or it was complete; nothing is left."""
    app = App()
    server = Server(app, metrics=("127.0.0.1", 0), **own())
    starting = asyncio.create_task(server.start("127.0.0.1", 0))
    for _ in range(turns):
        await asyncio.sleep(0)
    await server.stop()
    await asyncio.wait([starting])
    if starting.exception() is None:
        await server.stop()
    assert server.port is None
    assert app.events in ([], ["startup"], ["startup", "shutdown", "end"])


@pytest.mark.parametrize("turns", range(8))
async def test_a_start_that_is_cancelled_leaves_nothing(turns: int) -> None:
    """Neither the application's task nor a listening socket."""
    app = App("hang at startup" if turns == 7 else "")
    server = Server(app, metrics=("127.0.0.1", 0), **own())
    starting = asyncio.create_task(server.start("127.0.0.1", 0))
    for _ in range(turns):
        await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    if not starting.cancelled():
        await server.stop()
    assert server.port is None
    app.fails = ""
    await server.start("127.0.0.1", 0)
    await server.stop()


async def test_a_shutdown_that_hangs_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """After graceful_timeout, with a line that says so."""
    app = App("hang at shutdown")
    async with serving(app, graceful_timeout=0.05, **own()):
        pass
    assert app.events == ["startup", "shutdown"]
    assert "its shutdown took longer than graceful_timeout" in caplog.text


# ---- contexts of the program's own


@pytest.mark.parametrize("is_source", [False, True])
async def test_a_given_context_speaks_http2(is_source: bool, tmp_path: Any) -> None:  # noqa: FBT001
    """It gets ALPN and the ciphers of HTTPS, unless it has its own."""
    (tmp_path / "cert.pem").write_bytes(pki.localhost().chain_pem)
    (tmp_path / "key.pem").write_bytes(pki.localhost().key_pem)
    files = {"cert": tmp_path / "cert.pem", "key": tmp_path / "key.pem"}
    given: Any = tlsio.FileSource(**files) if is_source else tlsio.create_secure_context(**files)
    async with serving(secure_context=given) as server:
        for version in VERSIONS:
            async with connected(server, version, "localhost") as client:
                assert client.socket.alpn_protocol == ("h2" if version == "2" else "http/1.1")
                assert await client.get("localhost") == (200, b"localhost")
        with pytest.raises(tlsio.TLSError):
            async with connected(server, "2", "localhost", max_version="TLSv1.2", ciphers="ECDHE-ECDSA-AES128-SHA256"):
                pass


async def test_a_context_with_its_own_protocols_keeps_them() -> None:
    """Such as for HTTP/1.1 alone."""
    given = tlsio.create_secure_context(**own(alpn_protocols=["http/1.1"]))
    async with serving(secure_context=given) as server:
        with pytest.raises(tlsio.TLSError):
            async with connected(server, "2"):
                pass
        async with connected(server, "1.1") as client:
            assert await client.get("a.example") == (200, b"a.example")


# ---- under fire


async def h2load(server: Server, version: str, requests: int, *, clients: int = 4) -> asyncio.subprocess.Process:
    """Start h2load."""
    kind = ["--h1"] if version == "1.1" else ["-m", "10"]
    arguments = ["-n", str(requests), "-c", str(clients), *kind, f"https://localhost:{server.port}/"]
    return await asyncio.create_subprocess_exec("h2load", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)


async def succeeded(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Return how many requests h2load got an answer for."""
    output, _ = await process.communicate()
    found = re.search(rb"(\d+) succeeded", output)
    assert found, output
    return int(found[1]), output.decode()


@pytest.mark.slow
@both
async def test_a_certificate_is_swapped_under_fire(version: str) -> None:
    """Not one request fails, on connections of before and after."""
    pairs = [pki.leaf("localhost", issuer=pki.ca1(), names=NAMES) for _ in range(2)]
    async with serving(**own()) as server:
        total = 0
        for _ in range(3):
            process = await h2load(server, version, 2000)
            ending, swaps = asyncio.create_task(succeeded(process)), 0
            while not ending.done():
                swaps += 1
                server.tls_server.set_secure_context(cert=pairs[swaps % 2].cert_pem, key=pairs[swaps % 2].key_pem)
                await asyncio.sleep(0.005)
            count, output = await ending
            assert "0 failed, 0 errored, 0 timeout" in output
            total += count
        assert total == 6000
        assert swaps > 1


@pytest.mark.slow
@both
async def test_no_request_is_cut_off_by_a_stop_under_fire(version: str) -> None:
    """What the application answered has arrived, and it answered all that it was given."""
    calls, enough = 0, asyncio.Event()

    async def count(scope: Any, receive: Any, send: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1000:
            enough.set()
        await asyncio.sleep(0)
        await say_host(scope, receive, send)

    async with serving(count, lifespan="off", **own()) as server:
        process = await h2load(server, version, 1_000_000)
        ending = asyncio.create_task(succeeded(process))
        await enough.wait()
        await server.stop()
        count_arrived, output = await ending
        assert calls >= 1000
        assert count_arrived == calls, output


async def test_errors_of_the_server_reach_its_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A failing application is a line with its traceback, and the server goes on."""
    caplog.set_level(logging.INFO)

    async def fail(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fail":
            raise ValueError("a bug")
        await say_host(scope, receive, send)

    async with serving(fail, lifespan="off", **own()) as server, connected(server, "2") as client:
        assert (await client.get("a.example", "/fail"))[0] == 500
        assert await client.get("a.example") == (200, b"a.example")
    assert "ValueError: a bug" in caplog.text
