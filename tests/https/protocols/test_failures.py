"""Applications that fail in unusual ways, over both versions: the client gets an answer, and the log a line."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

import https_curl
from http2_wire import POST, Wire
from https_curl import VERSIONS
from https_peer import exchange, serving

if TYPE_CHECKING:
    from collections.abc import Callable


class OddError(BaseException):
    """As gevent's Timeout and pytest's outcomes are."""


async def raise_odd() -> None:
    """Raise what is not an Exception."""
    raise OddError("odd")


async def await_cancelled() -> None:
    """Wait for what somebody else has cancelled."""
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    await cancelled


async def exit_program() -> None:
    """Call `sys.exit`."""
    raise SystemExit(3)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fail", [raise_odd, await_cancelled, exit_program], ids=lambda fail: fail.__name__)
async def test_whatever_is_raised_is_answered_and_logged(version: str, fail: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> None:
    """The request fails, once, and the server serves on."""

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        await fail()

    async with https_curl.serving(app) as site, asyncio.timeout(10):
        for _ in range(2):
            assert (await site.get(version=version)).status == 500
    assert [record.getMessage() for record in caplog.records] == ["Exception in ASGI application"] * 2


@pytest.mark.parametrize("parts", [[(b"abc", False), (b"1234567", False)], [(b"abc" * 5, True), (b"1234567", False)]])
async def test_a_part_that_does_not_fit_the_length_is_not_counted(parts: list[tuple[bytes, bool]]) -> None:
    """The application goes on after the error; the rest must not be taken for all of the body."""
    errors: list[str] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        for body, more in parts:
            try:
                await send({"type": "http.response.body", "body": body, "more_body": more})
            except RuntimeError as error:
                errors.append(str(error))

    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving(app) as server, asyncio.timeout(5):
        answer = await exchange(server, request * 2)
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"\r\n\r\n")
    wire = Wire(app).start()
    await wire.turn(wire.head(1))
    assert (wire.status(1), wire.bodies[1]) == (500, b"Internal Server Error")
    await wire.end()
    assert len(errors) == 4


async def test_looking_for_the_client_leaves_nothing_behind() -> None:
    """A stream of hours may do so each second (HTTP/2)."""
    counts: list[int] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            gc.collect()
            counts.append(sum(isinstance(one, asyncio.Future) for one in gc.get_objects()))
            for _ in range(200):
                waiting = asyncio.ensure_future(receive())
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    wire = Wire(app).start()
    await wire.turn(wire.head(1, POST, ends=False))
    while not wire.heads.get(1):
        await wire.turn()
    await wire.end()
    assert counts[1] - counts[0] < 20
