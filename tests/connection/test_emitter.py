"""Events: who is called, in which order, how often, and what a mistake gives."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from net import once
from tlsio.connection.emitter import Emitter

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from net import Pair


class Doorbell(Emitter):
    """An emitter of two events, which notes what it is told besides."""

    _EVENTS = frozenset({"ring", "knock"})

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[Coroutine[Any, Any, Any]] = []
        self.failures: list[BaseException] = []

    def emit(self, event: str, *args: object) -> bool:
        """Tell an event."""
        return self._emit(event, *args)

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.spawned.append(coroutine)

    def _listener_failed(self, error: BaseException) -> None:
        self.failures.append(error)


def test_listeners_are_called_in_order_with_the_arguments() -> None:
    """Each listener of the event, and of no other, is called; the answer is whether there was one."""
    bell, calls = Doorbell(), []
    bell.on("ring", lambda *args: calls.append(("first", args)))
    bell.on("ring", lambda *args: calls.append(("second", args)))
    assert bell.emit("ring", 1, "two") is True
    assert bell.emit("knock") is False
    assert calls == [("first", (1, "two")), ("second", (1, "two"))]


def test_on_returns_the_function() -> None:
    """With a function or as a decorator, the name stays bound to the function."""
    bell, calls = Doorbell(), []

    @bell.on("ring")
    def rung() -> None:
        calls.append("rung")

    @bell.once("ring")
    def rung_once() -> None:
        calls.append("once")

    assert bell.on("knock", rung) is rung
    assert bell.once("knock", rung) is rung
    assert inspect.isfunction(rung)
    assert inspect.isfunction(rung_once)
    bell.emit("ring")
    bell.emit("ring")
    assert calls == ["rung", "once", "rung"]


@pytest.mark.parametrize("method", ["on", "once"])
@pytest.mark.parametrize("with_function", [True, False])
def test_unknown_event_raises_and_names_the_closest(method: str, *, with_function: bool) -> None:
    """A misspelt event is told at once, decorators included."""
    with pytest.raises(tlsio.UsageError, match="no event 'rings'") as caught:
        getattr(Doorbell(), method)("rings", *([print] if with_function else []))
    assert caught.value.code == "ERR_TLS_UNKNOWN_EVENT"
    assert caught.value.hint == "The closest name is 'ring'."
    with pytest.raises(tlsio.UsageError):
        Doorbell().off("rings", print)


@pytest.mark.parametrize("method", ["on", "once"])
def test_listener_must_be_callable(method: str) -> None:
    """Anything else is told at once."""
    with pytest.raises(TypeError) as caught:
        getattr(Doorbell(), method)("ring", "not a function")
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


def test_off_takes_one_away() -> None:
    """Of two equal entries one goes, the last added; bound methods are equal though not identical."""
    bell, calls = Doorbell(), []
    bell.on("ring", calls.append)
    bell.once("ring", calls.append)
    bell.off("ring", calls.append)
    bell.emit("ring", 1)
    bell.emit("ring", 2)
    assert calls == [1, 2]
    bell.off("ring", calls.append)
    assert bell.emit("ring", 3) is False


def test_off_of_an_unknown_function_is_silent() -> None:
    """What is not there is taken away already."""
    bell = Doorbell()
    bell.off("ring", print)
    bell.on("ring", len)
    bell.off("ring", print)
    bell.off("ring", None)  # type: ignore[arg-type]
    assert bell._has("ring")


def test_once_is_called_once_even_when_it_rings_again() -> None:
    """A listener for once that causes the same event is not called by it."""
    bell, calls = Doorbell(), []

    def again() -> None:
        calls.append("once")
        bell.emit("ring")

    bell.once("ring", again)
    bell.emit("ring")
    assert calls == ["once"]


def test_listeners_may_come_and_go_while_an_event_is_told() -> None:
    """Who is added in the middle is called the next time; the others are not skipped."""
    bell, calls = Doorbell(), []

    def first() -> None:
        calls.append("first")
        bell.off("ring", first)
        bell.on("ring", lambda: calls.append("late"))

    bell.on("ring", first)
    bell.on("ring", lambda: calls.append("second"))
    bell.emit("ring")
    assert calls == ["first", "second"]
    bell.emit("ring")
    assert calls == ["first", "second", "second", "late"]


def test_what_a_listener_raises_is_passed_on() -> None:
    """An exception stops neither the other listeners nor who tells the event."""
    bell, calls = Doorbell(), []

    def fail() -> None:
        raise ZeroDivisionError

    bell.on("ring", fail)
    bell.on("ring", lambda: calls.append("second"))
    assert bell.emit("ring") is True
    assert calls == ["second"]
    assert [type(error) for error in bell.failures] == [ZeroDivisionError]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_program_is_not_held_up(stop: type[BaseException]) -> None:
    """What stops the program passes through."""
    bell = Doorbell()

    def fail() -> None:
        raise stop

    bell.on("ring", fail)
    with pytest.raises(stop):
        bell.emit("ring")
    assert not bell.failures


def test_async_listeners_are_spawned() -> None:
    """What an async listener returns is run by the emitter, as a task."""
    bell = Doorbell()

    async def answer(name: str) -> str:
        return name

    bell.on("ring", answer)
    bell.emit("ring", "who")
    [coroutine] = bell.spawned
    assert asyncio.run(coroutine) == "who"


def test_nobody_else_can_emit() -> None:
    """There is no public `emit`: events are told by whom they happen to."""
    assert not hasattr(tlsio.TLSSocket, "emit")
    assert not hasattr(tlsio.Server, "emit")


@pytest.mark.node("tls-tlswrap-segfault-2")
async def test_listeners_of_a_closed_socket_are_safe(pair: Pair) -> None:
    """Late listeners are taken, and hear nothing."""
    async with pair() as (client, _peer, _server):
        client.destroy()
        for event in ("data", "end", "drain", "timeout", "error", "close", "secure", "secure_connect"):
            client.on(event, pytest.fail)
            client.once(event, pytest.fail)
        client.pause().resume()
        await asyncio.sleep(0)


async def test_async_listeners_of_a_socket_are_its_tasks(pair: Pair) -> None:
    """An async listener of any event runs to its end, also after the close."""
    async with pair() as (client, _peer, _server):
        finished: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        @client.on("close")
        async def clean_up(had_error: bool) -> None:  # noqa: FBT001 - the event's
            for _ in range(5):
                await asyncio.sleep(0)
            finished.set_result(had_error)

        client.destroy()
        assert await finished is False


async def test_events_of_the_handshake(pair: Pair) -> None:
    """`secure` on both sides, `secure_connect` on clients."""
    told: list[str] = []
    on = {event: lambda event=event: told.append(f"client {event}") for event in ("secure", "secure_connect")}
    async with pair(client={"on": on}, listener=lambda sock: sock.on("secure", lambda: told.append("server secure"))) as (_c, peer, _s):
        for _ in range(10):
            await asyncio.sleep(0)
        assert sorted(told) == ["client secure", "client secure_connect", "server secure"]
        closed = once(peer, "close")
        peer.destroy()
        assert await closed is False
