"""The access log: uvicorn's text, and JSON with facts about TLS."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from typing import Any

import pytest
from uvicorn.logging import AccessFormatter

import pki
import tlsio
from https_names import VERSIONS, Http1Client, Http2Client, connected, own, say_host, serving, trusting
from tlsio.https import Limits
from tlsio.https.layers import access_log

LOGGER = "tlsio.access"
both = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(autouse=True)
def _level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines of the access log."""
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


async def wait_for(caplog: pytest.LogCaptureFixture, number: int = 1) -> list[str]:
    """Wait until there are so many lines: one comes after its response."""
    while len(lines(caplog)) < number:  # noqa: ASYNC110 - a log record is no event
        await asyncio.sleep(0.001)
    return lines(caplog)


@both
async def test_the_text_is_uvicorns(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its formatter reads the record's arguments."""
    async with serving(access_log="text", **own()) as server, connected(server, version) as client:
        await client.get("a.example", "/a%20b/\u007e?q=1&r=%0a")
        address = f"127.0.0.1:{client.socket.local_port}"
        assert await wait_for(caplog) == [f'{address} - "GET /a%20b/~?q=1&r=%0a HTTP/{version}" 200']
    [record] = [record for record in caplog.records if record.name == LOGGER]
    formatted = AccessFormatter("%(client_addr)s|%(request_line)s|%(status_code)s", use_colors=False).format(record)
    assert formatted == f"{address}|GET /a%20b/~?q=1&r=%0a HTTP/{version}|200 OK"


@both
async def test_json_has_the_facts(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of the request, the response and the connection."""
    agent = pki.client()
    options = {"cert": agent.cert_pem, "key": agent.key_pem}
    async with serving(access_log="json", **trusting(ecdh_curve="X25519")) as server, connected(server, version, **options) as client:
        await client.get("a.example", "/x?y")
        [line] = await wait_for(caplog)
        suite = client.socket.get_cipher()["standard_name"]
        address = f"127.0.0.1:{client.socket.local_port}"
    found = json.loads(line)
    assert found.pop("time").endswith("+00:00")
    assert found.pop("seconds") > 0
    assert found.pop("tls") == {
        "version": "TLSv1.3", "suite": suite, "group": "X25519", "resumed": False, "alpn": "h2" if version == "2" else "http/1.1",
        "sni": "a.example", "client_cert": "CN=client,O=tlsio tests",
    }  # fmt: skip
    assert found == {
        "client": address, "host": "a.example", "method": "GET", "target": "/x?y", "http_version": version, "status": 200,
        "sent": 9, "received": 0, "user_agent": None,
    }  # fmt: skip


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_client_can_forge_a_line(form: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever bytes the parser lets pass in targets and headers."""
    async with serving(access_log=form, **own()) as server, connected(server, "1.1") as client:
        assert isinstance(client, Http1Client)
        hostile = b"GET /\xc2\x85\xe2\x80\xa8\x7f HTTP/1.1\r\nHost: a.example\r\nUser-Agent: \x1b[2J\xe2\x80\xa8\x85\r\n\r\n"
        status, _ = await client.send(hostile)
        if status == 200:
            [line] = await wait_for(caplog)
            assert line.isascii()
            assert line.isprintable()
        await client.socket.aclose()


@both
async def test_refused_requests_are_logged(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """The layers within answer 421."""
    async with serving(access_log="text", strict_host=True, **own()) as server, connected(server, version) as client:
        await client.get("b.example")
        [line] = await wait_for(caplog)
        assert line.endswith(f'"GET / HTTP/{version}" 421')


HEAD = b"Host: a.example\r\nUser-Agent: agent\r\n"
REFUSED_BY_HTTP1 = {
    "not a method": (b"nonsense\r\n\r\n", "- - HTTP/1.1", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\n" + HEAD + b"\r\n", "GET /a HTTP/1.1", 400),
    "no host": (b"GET /x?y HTTP/1.1\r\n\r\n", "GET /x?y HTTP/1.1", 400),
    "header too large": (b"PUT /x HTTP/1.1\r\nA: " + b"a" * 150000, "PUT /x HTTP/1.1", 431),
    "too many headers": (b"GET /x HTTP/1.1\r\n" + HEAD * 60 + b"\r\n", "GET /x HTTP/1.1", 431),
    "unsupported method": (b"CONNECT a:1 HTTP/1.1\r\n" + HEAD + b"\r\n", "CONNECT a:1 HTTP/1.1", 501),
    "body too large": (b"POST /x HTTP/1.1\r\n" + HEAD + b"Content-Length: 9\r\n\r\n123456789", "POST /x HTTP/1.1", 413),
    "no key": (b"GET /x HTTP/1.1\r\n" + HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "GET /x HTTP/1.1", 400),
    "second request": (
        b"GET /1 HTTP/1.1\r\n" + HEAD + b"\r\nPOST /2 HTTP/1.1\r\n" + HEAD + b"Content-Length: 9\r\n\r\n123456789",
        "POST /2 HTTP/1.1",
        413,
    ),
}


@pytest.mark.parametrize("name", REFUSED_BY_HTTP1)
async def test_what_http1_refuses_is_logged_and_counted(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Once, with what is known of it and the status of the answer."""
    sent, line, status = REFUSED_BY_HTTP1[name]
    before = 2 if name == "second request" else 1
    options: dict[str, Any] = {"access_log": "text", "metrics": True, "limits": Limits(max_body_bytes=5), **own()}
    async with serving(**options) as server, connected(server, "1.1") as client:
        client.socket.write(sent)
        answer = await read_all(client)
        assert b"HTTP/1.1 %d " % status in answer
        found = await wait_for(caplog, before)
    assert f'"{line}" {status}' in [one.split(" - ", 1)[1] for one in found]
    assert len(lines(caplog)) == before
    labels = {"version": "1.1", "method": line.split(" ")[0] if line[0] != "-" else "OTHER", "status": str(status)}
    assert server.metrics is not None
    assert server.metrics.registry.get_sample_value("tlsio_https_requests_total", labels) == 1
    assert server.metrics.registry.get_sample_value("tlsio_https_requests_in_progress", {"version": "1.1"}) in {None, 0}


async def read_all(client: Any) -> bytes:
    """Read to the end of the connection."""
    data = b""
    while chunk := await client.socket.read():
        data += chunk
    return data


async def test_a_late_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With 408, whether its head or its body is late."""
    limits = Limits(header_timeout=0.05, rate_grace=0.05)

    async def read(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] == "http.request":
            pass

    async with serving(read, access_log="text", limits=limits, lifespan="off", **own()) as server:
        for sent in (b"GET /x HTTP/1.1\r\nHo", b"POST /x HTTP/1.1\r\n" + HEAD + b"Content-Length: 9\r\n\r\n1"):
            async with connected(server, "1.1") as client:
                client.socket.write(sent)
                assert b" 408 " in await client.socket.read()
        found = await wait_for(caplog, 2)
    assert [line.split(" - ", 1)[1] for line in found] == ['"GET /x HTTP/1.1" 408', '"POST /x HTTP/1.1" 408']


REFUSED_BY_HTTP2: dict[str, Any] = {
    "malformed": ([(":method", "GET"), (":path", "x")], b"", "GET x HTTP/2", 400),
    "too many headers": ([(":method", "GET"), (":path", "/x"), *[("a", "b")] * 101], b"", "GET /x HTTP/2", 431),
    "long body": ([(":method", "POST"), (":path", "/x?y"), ("content-length", "9")], b"", "POST /x?y HTTP/2", 413),
    "body too large": ([(":method", "POST"), (":path", "/x")], b"123456789", "POST /x HTTP/2", 413),
    "version of websocket": ([(":method", "CONNECT"), (":path", "/x"), (":protocol", "websocket")], b"", "CONNECT /x HTTP/2", 400),
}


@pytest.mark.parametrize("name", REFUSED_BY_HTTP2)
async def test_what_http2_refuses_is_logged_and_counted(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A reset for a malformed request counts as 400."""
    fields, body, line, status = REFUSED_BY_HTTP2[name]
    caplog.set_level(logging.INFO, "tlsio.https")

    async def read(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] == "http.request":
            pass

    options: dict[str, Any] = {"access_log": "json", "metrics": True, "limits": Limits(max_body_bytes=5), **own()}
    async with serving(read, lifespan="off", **options) as server, connected(server, "2") as client:
        assert isinstance(client, Http2Client)
        client.h2.send_headers(1, [*fields[:2], (":scheme", "https"), (":authority", "a.example"), *fields[2:]])
        if body:
            client.h2.send_data(1, body)
        client.socket.write(client.h2.data_to_send())
        [found] = [json.loads(one) for one in await wait_for(caplog)]
    assert "body" in name or any(", stream 1: the request was " in record.getMessage() for record in caplog.records)
    assert f"{found['method']} {found['target']} HTTP/{found['http_version']}" == line
    assert (found["status"], found["host"]) == (status, "a.example")
    assert len(lines(caplog)) == 1
    assert server.metrics is not None
    labels = {"version": "2", "method": line.split(" ")[0], "status": str(status)}
    assert server.metrics.registry.get_sample_value("tlsio_https_requests_total", labels) == 1


@both
async def test_a_failing_application_is_500(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """As its client sees it."""

    async def fail(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ValueError("a bug")

    async with serving(fail, access_log="text", lifespan="off", **own()) as server, connected(server, version) as client:
        assert (await client.get("a.example"))[0] == 500
        [line] = await wait_for(caplog)
        assert line.endswith("500")


START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"hello", "more_body": True}
REFUSED: list[Any] = [
    ("1.1", [{**START, "status": 100}], 500),
    ("2", [{**START, "status": 100}], 500),
    ("1.1", [{**START, "headers": [(b"a", b"b\r\n")]}], 500),
    ("2", [{**START, "headers": [(b"a", b"b\r\n")]}], 500),
    ("1.1", [START], 200),
    ("2", [START], 500),
    ("1.1", [START, BODY], 200),
    ("2", [START, BODY], 200),
]


@pytest.mark.parametrize(("version", "messages", "status"), REFUSED, ids=range(len(REFUSED)))
async def test_a_failure_after_the_first_message(version: str, messages: Any, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """The status is the one that the client got: over HTTP/2 the head waits for a part of the body."""

    async def fail(_scope: Any, _receive: Any, send: Any) -> None:
        for one in messages:
            await send(one)
        raise ValueError("a bug")

    async with serving(fail, access_log="text", lifespan="off", **own()) as server, connected(server, version) as client:
        asking = asyncio.ensure_future(client.get("a.example"))
        [line] = await wait_for(caplog)
        asking.cancel()
        await asyncio.wait([asking])
    assert line.endswith(f" {status}")


async def test_a_websocket_that_could_not_be_accepted(caplog: pytest.LogCaptureFixture) -> None:
    """Its client got 500."""

    async def fail(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "headers": [(b"a", b"b\r\n")]})

    async with serving(fail, access_log="text", lifespan="off", **own()) as server, connected(server, "1.1") as client:
        lines = ["GET / HTTP/1.1", "Host: a.example", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        client.socket.write("\r\n".join([*lines, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]).encode())
        assert (await client.socket.read()).startswith(b"HTTP/1.1 500")
        [line] = await wait_for(caplog)
    assert line.endswith('"WEBSOCKET / HTTP/1.1" 500')


@both
async def test_a_target_ends_no_field(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """Quotes, and what looks like an escape, are escaped."""
    async with serving(access_log="text", **own()) as server, connected(server, version) as client:
        await client.get("a.example", '/"-"\\x0a')
        [line] = await wait_for(caplog)
    assert line.endswith(rf' - "GET /\x22-\x22\x5cx0a HTTP/{version}" 200')


@both
@pytest.mark.parametrize("form", ["text", "json"])
async def test_the_client_that_a_proxy_names(version: str, form: Any, caplog: pytest.LogCaptureFixture) -> None:
    """As the application sees it."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        assert scope["client"][0] == "203.0.113.9"
        await send({**START, "status": 204})
        await send({"type": "http.response.body", "body": b"none of it"})

    options = {"access_log": form, "forwarded_allow_ips": ["127.0.0.1"], "lifespan": "off", **own()}
    async with serving(app, **options) as server, connected(server, version) as client:
        if isinstance(client, Http1Client):
            client.socket.write(b"GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
        else:
            assert isinstance(client, Http2Client)
            pseudo = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a.example")]
            await client.ask([*pseudo, ("x-forwarded-for", "203.0.113.9")])
        [line] = await wait_for(caplog)
    assert "203.0.113.9:0" in line
    if form == "json":
        assert json.loads(line)["sent"] == 0  # a 204 has no body


@both
async def test_a_client_that_left_is_499(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is nginx's number: there was no response."""
    running = asyncio.Event()

    async def wait(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()
        running.set()
        await receive()

    async with serving(wait, access_log="text", lifespan="off", **own()) as server:
        async with connected(server, version) as client:
            asking = asyncio.create_task(client.get("a.example"))
            await running.wait()
            asking.cancel()
            await asyncio.wait([asking])
        [line] = await wait_for(caplog)
        assert line.endswith("499")


async def test_bodies_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Bytes of the request's body and of the response's; a HEAD has none."""

    async def echo(_scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async with serving(echo, access_log="json", lifespan="off", **own()) as server, connected(server, "1.1") as client:
        assert isinstance(client, Http1Client)
        await client.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello")
        [line] = await wait_for(caplog)
        assert [json.loads(line)[name] for name in ("status", "sent", "received")] == [201, 5, 5]
        client.socket.write(b"HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        await client.socket.read()
        assert json.loads((await wait_for(caplog, 2))[1])["sent"] == 0


@pytest.mark.parametrize(("path", "status"), [("/", 101), ("/refuse", 403)])
async def test_a_websocket_is_one_line_at_its_end(path: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """With what was sent over it; nothing else is logged about it."""
    caplog.set_level(logging.INFO)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/refuse":
            await send({"type": "websocket.close"})
        else:
            await say_host(scope, receive, send)

    async with serving(app, access_log="json", lifespan="off", **own()) as server, connected(server, "1.1") as client:
        lines = [f"GET {path} HTTP/1.1", "Host: a.example", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        client.socket.write("\r\n".join([*lines, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]).encode())
        assert await client.socket.read()
        [line] = await wait_for(caplog)
        found = json.loads(line)
        assert (found["method"], found["target"], found["status"]) == ("WEBSOCKET", path, status)
        assert found["sent"] == (len("a.example") if status == 101 else 0)
        assert [record.getMessage() for record in caplog.records if "socket" in record.name] == []
        assert not {"connection open", "connection rejected"} & {record.getMessage() for record in caplog.records}


async def test_off_there_is_no_layer(caplog: pytest.LogCaptureFixture) -> None:
    """And at another level of the logger a request is passed on as it is."""
    async with serving(**own()) as server, connected(server, "2") as client:
        assert [type(layer).__name__ for layer in server._layers] == ["HostCheck"]
        await client.get("a.example")
    caplog.set_level(logging.WARNING, LOGGER)
    async with serving(access_log="json", **own()) as server, connected(server, "2") as client:
        await client.get("a.example")
    assert not lines(caplog)


def test_it_is_checked() -> None:
    """As all options are."""
    with pytest.raises(tlsio.UsageError, match="access_log"):
        access_log.AccessLog("xml")


def test_a_program_without_logging_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for an access log and has configured none gets it on stdout; other programs keep what they have."""
    logger, output = logging.getLogger("tlsio.access.of.a.test"), io.StringIO()
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(access_log, "_log", logger)
    monkeypatch.setattr(sys, "stdout", output)
    access_log.AccessLog("text")
    logger.info("%s", "a line")
    assert output.getvalue() == "a line\n"
    access_log.AccessLog("text")
    [handler] = logger.handlers
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
