"""Errors while async `data` listeners run, and after our own close: each is told, once, to whoever is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import once

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from net import Pair

Contexts = list[dict[str, Any]]
CLIENT = {"cert": pki.client().cert_pem, "key": pki.client().key_pem}


def ignore(_: Any) -> None:
    """Take anything."""


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until it is so."""
    while not condition():  # noqa: ASYNC110 - what is waited for is no event
        await asyncio.sleep(0)


def take(loop_errors: Contexts) -> list[str]:
    """Return and forget what reached the loop's handler."""
    names = [type(context["exception"]).__name__ for context in loop_errors]
    loop_errors.clear()
    return names


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_listener_that_fails_after_its_close_is_reported(pair: Pair, loop_errors: Contexts, *, is_async: bool) -> None:
    """It is an error of the program, not of the connection that it has closed."""
    async with pair() as (client, peer, _server):

        def fail(_chunk: bytes) -> None:
            client.close()
            raise ZeroDivisionError

        async def fail_later(_chunk: bytes) -> None:
            await asyncio.sleep(0)
            fail(b"")

        client.on("data", fail_later if is_async else fail)
        closed = once(client, "close")
        peer.write(b"x")
        assert await closed is True
        await asyncio.sleep(0)
        assert take(loop_errors) == ["ZeroDivisionError"]


async def _return() -> None:
    pass


async def _raise() -> None:
    raise ZeroDivisionError


async def _await_cancelled() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@pytest.mark.parametrize(
    ("last", "others"),
    [(_return, []), (_raise, ["ZeroDivisionError"]), (_await_cancelled, ["CancelledError"])],
    ids=["returns", "raises", "cancelled"],
)
async def test_held_error_is_told_whatever_the_listener_does(
    pair: Pair, loop_errors: Contexts, last: Callable[[], Coroutine[Any, Any, None]], others: list[str]
) -> None:
    """The peer is cut off while the listener runs, and nobody listens to `error`."""
    async with pair() as (client, peer, _server):
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def listen(_chunk: bytes) -> None:
            begun.set()
            await go_on.wait()
            await last()

        client.on("data", listen)
        closed = once(client, "close")
        peer.write(b"x")
        await begun.wait()
        peer.destroy()
        await until(lambda: client._error is not None)
        go_on.set()
        assert await closed is True
        assert take(loop_errors) == [*others, "TruncatedError"]


@pytest.mark.parametrize("listeners", [1, 2])
@pytest.mark.parametrize("hears", [True, False], ids=["heard", "unheard"])
async def test_error_that_listeners_pass_on_is_told_once(pair: Pair, loop_errors: Contexts, listeners: int, *, hears: bool) -> None:
    """By the `error` event, or by the loop's handler when nobody listens to that."""
    async with pair() as (client, peer, _server):
        heard: list[str] = []

        async def send(_chunk: bytes) -> None:
            await client.send(b"x" * 20_000_000)

        async def drain(_chunk: bytes) -> None:
            await client.drain()

        for listen in (send, drain)[:listeners]:
            client.on("data", listen)
        if hears:
            client.on("error", lambda error: heard.append(type(error).__name__))
        closed = once(client, "close")
        peer.pause()
        peer.write(b"x")
        await until(lambda: client.writable_length > 0)
        peer.destroy()
        assert await closed is True
        await asyncio.sleep(0)
        told = take(loop_errors) + heard
        assert len(told) == 1
        assert bool(heard) is hears


async def test_pause_in_a_listener_holds_no_error_back(pair: Pair) -> None:
    """`error` and `close` come when the listener is done."""
    async with pair() as (client, peer, _server):
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def listen(_chunk: bytes) -> None:
            client.pause()
            begun.set()
            await go_on.wait()

        client.on("data", listen)
        failed, closed = once(client, "error"), once(client, "close")
        peer.write(b"x")
        await begun.wait()
        peer.destroy()
        await until(lambda: client._error is not None)
        assert not failed.done()
        go_on.set()
        assert isinstance(await failed, tlsio.TruncatedError)
        assert await closed is True


@pytest.mark.parametrize("leaves", ["once", "off"])
async def test_end_waits_for_a_listener_that_has_left(pair: Pair, leaves: str) -> None:
    """It was given data, and is not done with it."""
    async with pair() as (client, peer, _server):
        told: list[str] = []

        async def listen(_chunk: bytes) -> None:
            if leaves == "off":
                client.off("data", listen)
            told.append("begins")
            for _ in range(20):
                await asyncio.sleep(0)
            told.append("done")

        (client.once if leaves == "once" else client.on)("data", listen)
        client.on("end", lambda: told.append("end"))
        closed = once(client, "close")
        peer.end(b"x")
        await until(lambda: "end" in told)
        client.close()
        await closed
        assert told == ["begins", "done", "end"]


@pytest.mark.parametrize("cancelled", [True, False], ids=["cancelled", "waiting"])
async def test_answer_after_our_end_costs_nothing(pair: Pair, *, cancelled: bool) -> None:
    """TLS 1.3: OpenSSL makes tickets for the certificate that comes. They do not follow close_notify, and the client's data arrives."""
    async with pair(server={"ca": pki.ca1().cert_pem}, client={**CLIENT, "allow_half_open": True}) as (client, peer, _server):
        if client.get_protocol() != "TLSv1.3":
            client.destroy()
            return
        asking = asyncio.ensure_future(peer.renegotiate(request_cert=True))
        await asyncio.sleep(0)
        if cancelled:
            asking.cancel()
        peer.end()
        reading = asyncio.ensure_future(client.read())
        sent = b"x" * 200_000
        await client.send(sent)
        assert await reading == b""
        client.end()
        got = b""
        while chunk := await peer.read():
            got += chunk
        assert got == sent
        if not cancelled:
            await asking
        assert peer.authorized


async def test_close_takes_the_place_of_the_deadline_of_a_renegotiation(pair: Pair) -> None:
    """What the peer reads slowly after `close()` is not cut by `handshake_timeout`, and an answer that comes is one."""
    async with pair(server={"ca": pki.ca1().cert_pem, "handshake_timeout": 5}, client=CLIENT) as (client, peer, _server):
        asking = asyncio.ensure_future(peer.renegotiate(request_cert=True))
        await asyncio.sleep(0)
        peer.close()
        assert peer._handshake_timer is None
        client.on("data", ignore)
        try:
            await asking
        except tlsio.ConnectionLostError as lost:
            assert lost.code == "ERR_SOCKET_CLOSED"  # noqa: PT017 - TLS 1.2 has no answer after our end; TLS 1.3 may have one
        await peer.wait_closed()
