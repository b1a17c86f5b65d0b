"""Metrics and the health answer."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from https_names import VERSIONS, connected, curl, own, say_host, serving
from ports import own_port
from tlsio.https import Server

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = ("127.0.0.1", 0)
both = pytest.mark.parametrize("version", VERSIONS)


def reader(server: Server) -> Callable[..., float | None]:
    """Return a function that reads a sample."""
    assert server.metrics is not None
    registry = server.metrics.registry
    return lambda name, **labels: registry.get_sample_value(name, labels)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    while not condition():  # noqa: ASYNC110 - a counter is no event
        await asyncio.sleep(0.001)


@both
async def test_requests_are_counted(version: str) -> None:
    """By version, method and status, with their time and bytes."""
    async with serving(metrics=LOOPBACK, strict_host=True, **own()) as server, connected(server, version) as client:
        read = reader(server)
        await client.get("a.example")
        await client.get("a.example")
        await client.get("b.example")
        labels = {"version": version, "method": "GET"}
        await until(lambda: read("tlsio_https_requests_total", **labels, status="421") == 1)
        assert read("tlsio_https_requests_total", **labels, status="200") == 2
        assert read("tlsio_https_request_seconds_count", version=version) == 3
        assert (read("tlsio_https_request_seconds_sum", version=version) or 0) > 0
        assert read("tlsio_https_body_sent_bytes_total") == 2 * len("a.example") + len(
            "This connection cannot be used for that host: open another one.\n"
        )
        assert read("tlsio_https_requests_in_progress", version=version) == 0
        assert read("tlsio_handshakes_total", server="https", kind="full") == 1


@both
async def test_what_is_in_progress(version: str) -> None:
    """Requests, which are HTTP/2's streams, and connections by version."""
    release = asyncio.Event()

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await say_host(scope, receive, send)

    async with serving(wait, metrics=LOOPBACK, lifespan="off", **own()) as server, connected(server, version) as client:
        read = reader(server)
        asking = asyncio.create_task(client.get("a.example"))
        await until(lambda: read("tlsio_https_requests_in_progress", version=version) == 1)
        assert read("tlsio_https_connections_open", version=version) == 1
        assert read("tlsio_https_connections_open", version="2" if version == "1.1" else "1.1") == 0
        release.set()
        await asking
        await until(lambda: read("tlsio_https_requests_in_progress", version=version) == 0)


async def test_clients_cannot_make_labels() -> None:
    """Each unknown method is OTHER."""
    async with serving(metrics=LOOPBACK, **own()) as server, connected(server, "2") as client:
        read = reader(server)
        for method in ("BREW", "PROPFIND"):
            await client.ask([(":method", method), (":scheme", "https"), (":path", "/"), (":authority", "a.example")])  # type: ignore[attr-defined]
        await until(lambda: read("tlsio_https_requests_total", version="2", method="OTHER", status="200") == 2)


async def test_websockets_are_counted_apart() -> None:
    """Their duration says nothing about requests."""
    async with serving(metrics=LOOPBACK, **own()) as server, connected(server, "1.1") as client:
        read = reader(server)
        lines = ["GET / HTTP/1.1", "Host: a.example", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        client.socket.write("\r\n".join([*lines, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]).encode())
        assert await client.socket.read()
        await until(lambda: read("tlsio_https_requests_total", version="1.1", method="WEBSOCKET", status="101") == 1)
        assert read("tlsio_https_websockets_open", version="1.1") == 0
        assert read("tlsio_https_request_seconds_count", version="1.1") is None


async def test_they_are_served_at_their_own_address() -> None:
    """In Prometheus's format, by plain HTTP, and to no one who has only the public port."""
    async with serving(metrics=LOOPBACK, **own()) as server:
        assert server.metrics is not None
        base = f"http://127.0.0.1:{server.metrics.port}"
        async with connected(server, "2") as client:
            await client.get("a.example")
            code, text = await curl("-i", f"{base}/metrics")
            assert code == 0
            assert text.startswith("HTTP/1.1 200")
            assert "content-type: text/plain; version=" in text
            assert 'tlsio_https_requests_total{method="GET",status="200",version="2"} 1.0' in text
            assert "process_open_fds" in text
            code, text = await curl("-i", "-H", "Accept: application/openmetrics-text; version=1.0.0", f"{base}/metrics")
            assert "application/openmetrics-text" in text
            assert text.endswith("# EOF\n")
            assert (await client.get("a.example", "/metrics")) == (200, b"a.example")
        assert "HTTP/1.1 404" in (await curl("-i", f"{base}/"))[1]
        assert "HTTP/1.1 405" in (await curl("-i", "-X", "POST", f"{base}/metrics"))[1]


async def test_health_says_when_no_more_should_come() -> None:
    """200 while requests are accepted, 503 while the last ones finish, and then nothing."""
    running, release = asyncio.Event(), asyncio.Event()

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        running.set()
        await release.wait()
        await say_host(scope, receive, send)

    async with serving(wait, metrics=LOOPBACK, lifespan="off", **own()) as server:
        assert server.metrics is not None
        health = f"http://127.0.0.1:{server.metrics.port}/health"
        assert (await curl("-w", "%{http_code}", health))[1] == "ok\n200"
        async with connected(server, "1.1") as client:
            asking = asyncio.create_task(client.get("a.example"))
            await running.wait()
            stopping = asyncio.create_task(server.stop())
            await asyncio.sleep(0)
            assert (await curl("-w", "%{http_code}", health))[1] == "stopping\n503"
            release.set()
            assert await asking == (200, b"a.example")
        await stopping
        assert (await curl(health))[0] != 0


async def test_it_starts_again() -> None:
    """With the counters that it had, at the same address."""
    with own_port() as port:
        server = Server(say_host, metrics=("127.0.0.1", port), **own())
        for number in (1, 2):
            await server.start("127.0.0.1", 0)
            async with connected(server, "2") as client:
                await client.get("a.example")
            read = reader(server)
            await until(lambda: read("tlsio_https_requests_total", version="2", method="GET", status="200") == number)  # noqa: B023
            assert server.metrics is not None
            assert server.metrics.port == port
            await server.stop()
            assert server.metrics.port is None


async def test_an_address_in_use_stops_the_start() -> None:
    """Nothing is left of it."""
    async with serving(metrics=LOOPBACK, **own()) as first:
        assert first.metrics is not None
        second = Server(say_host, metrics=("127.0.0.1", first.metrics.port or 0), **own())
        with pytest.raises(OSError, match="address already in use"):
            await second.start("127.0.0.1", 0)
        assert second.port is None


@pytest.mark.parametrize("address", [9090, "127.0.0.1:9090", ("127.0.0.1",), (9090, "127.0.0.1"), ("127.0.0.1", 65536)])
def test_the_address_is_checked(address: Any) -> None:
    """A host and a port."""
    with pytest.raises(tlsio.UsageError, match="metrics"):
        Server(say_host, metrics=address, **own())


def test_the_package_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(tlsio.ConfigError, match=r"tlsio\[prometheus\]"):
        Server(say_host, metrics=LOOPBACK, **own())
