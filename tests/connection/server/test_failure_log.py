"""Failed handshakes in the log: at DEBUG and a limited number; without DEBUG, no sockets are made for them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from net import until
from tlsio.connection.server.failure_log import FailureLog

if TYPE_CHECKING:
    import pytest

    import tlsio
    from net import Net


async def fail(net: Net, server: tlsio.Server) -> None:
    """Send a request of HTTP where TLS is expected, read until the end, and wait until it is counted."""
    before = sum(server.stats().handshakes_failed.values())
    reader, writer = await asyncio.open_connection(sock=await net.dial(server))
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await reader.read()
    writer.close()
    await writer.wait_closed()
    await until(lambda: sum(server.stats().handshakes_failed.values()) > before)


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages about handshakes."""
    return [record.getMessage() for record in caplog.records if "handshake" in record.getMessage()]


async def test_a_failed_handshake_is_logged_at_debug(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    """Without a listener: the line has the client's address and the cause, and the failure is counted once."""
    caplog.set_level(logging.DEBUG, "tlsio")
    async with net.serve() as server:
        await fail(net, server)
        assert server.stats().handshakes_failed == {"ERR_SSL_HTTP_REQUEST": 1}
    [line] = lines_of(caplog)
    assert line.startswith("<TLSSocket server")
    assert "HTTP" in line


async def test_no_failure_is_logged_above_debug(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    """Strangers do not fill the log, and the level may change at any time."""
    caplog.set_level(logging.INFO, "tlsio")
    async with net.serve() as server:
        await fail(net, server)
        assert lines_of(caplog) == []
        caplog.set_level(logging.DEBUG, "tlsio")
        await fail(net, server)
        assert len(lines_of(caplog)) == 1
        assert server.stats().handshakes_failed == {"ERR_SSL_HTTP_REQUEST": 2}


async def test_a_listener_replaces_the_log(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    """The application decides what it writes."""
    caplog.set_level(logging.DEBUG, "tlsio")
    failures: list[Any] = []
    async with net.serve() as server:
        server.on("tls_client_error", lambda error, _sock: failures.append(error))
        await fail(net, server)
    assert len(failures) == 1
    assert lines_of(caplog) == []


def test_a_flood_is_logged_in_part(caplog: pytest.LogCaptureFixture) -> None:
    """20 in a second, then the number of those that were left out."""
    caplog.set_level(logging.DEBUG, "tlsio")
    now = 100.0
    log = FailureLog(clock=lambda: now)

    def fail_times(count: int) -> None:
        for _ in range(count):
            if log.accepts():
                log.write("a connection", ValueError("no TLS"))

    fail_times(20)
    assert lines_of(caplog) == ["'a connection': handshake failed: no TLS"] * 20
    fail_times(3)
    now += 0.99
    fail_times(2)
    assert len(lines_of(caplog)) == 20
    now += 0.01
    fail_times(1)
    assert lines_of(caplog)[20:] == [
        "5 more failed handshakes were not logged: at most 20 are in a second",
        "'a connection': handshake failed: no TLS",
    ]


def test_a_log_without_debug_counts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It asks the logger, and neither the clock nor anything else."""
    caplog.set_level(logging.INFO, "tlsio")

    def clock() -> float:
        raise AssertionError

    assert not FailureLog(clock).accepts()
