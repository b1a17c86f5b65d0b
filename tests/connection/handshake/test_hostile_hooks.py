"""Hooks at their worst: whatever one does, its connection is refused with an alert, told once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import leave, once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from net import Net

HOOKS = ["sni_callback", "alpn_callback", "check_client"]
CLIENT = {"alpn_protocols": ["a", "b"]}
SERVER: dict[str, Any] = {"ca": pki.ca1().cert_pem, "request_cert": True, "reject_unauthorized": False}
GOOD: dict[str, Any] = {"sni_callback": None, "alpn_callback": "b", "check_client": None, "check_server_identity": None}
# What nobody can wait for is worth as much as a test may take.
SOON = 0.02


class OddError(BaseException):
    """Neither an Exception nor what ends a program."""


class UnreadableError(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError


class WordlessError(Exception):
    """Its text is not a text."""

    def __str__(self) -> str:
        """Return a number."""
        return 5  # type: ignore[return-value]  # noqa: PLE0307


class UncodedError(Exception):
    """Its code cannot be had."""

    @property
    def code(self) -> str:
        """Fail."""
        raise RuntimeError


class ClosedError(Exception):
    """Nothing of it can be read, not even its class."""

    def __getattribute__(self, name: str) -> Any:
        """Fail."""
        raise asyncio.CancelledError


class FixedError(tlsio.CertificateError):
    """Its alert cannot be set."""

    @property  # type: ignore[override]
    def alert(self) -> str:
        """Be one."""
        return "decode_error"

    @alert.setter
    def alert(self, _value: object) -> None:
        if "openssl_errors" in self.__dict__:  # its constructor has ended
            raise RuntimeError


UNSOUND = [UnreadableError, WordlessError, UncodedError, FixedError]


class Awaited:
    """An awaitable of somebody's own making: each step is what the generator yields to the loop."""

    def __init__(self, steps: Callable[[], Any]) -> None:
        self.steps = steps

    def __await__(self) -> Iterator[Any]:
        """Give the steps."""
        return self.steps()  # type: ignore[no-any-return]


def spin() -> Iterator[None]:
    """Never finish, and never wait either."""
    while True:
        yield


def bad_step() -> Iterator[int]:
    """Yield what is no future."""
    yield 42


def late_finish() -> Iterator[None]:
    """Finish once, then have more to say."""
    yield
    return ["finished"]


def raising(error: type[BaseException]) -> Callable[[], Any]:
    """Return a hook that raises one at once; a new one each time, as it keeps the frames it went through."""

    def hook() -> None:
        raise error

    return hook


def raising_later(error: type[BaseException]) -> Callable[[], Any]:
    """Return an async hook that raises one."""

    async def hook() -> None:
        await asyncio.sleep(0)
        raise error

    return hook


async def nothing_to_await() -> AsyncIterator[int]:
    """An async generator, which is no awaitable."""
    yield 1


def done(*, value: Any = None, error: Exception | None = None, cancelled: bool = False) -> asyncio.Future[Any]:
    """Return a future that is over."""
    future = asyncio.get_running_loop().create_future()
    if cancelled:
        future.cancel()
    elif error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
    return future


FAILED = "ERR_TLS_HOOK_FAILED"  # of a check: that of a refused certificate
FAILURES: dict[str, tuple[Callable[[], Any], str]] = {
    # what the hook does, and the code of what is told
    "raises OddError": (raising(OddError), "ERR_TLS_HOOK_CANCELLED"),
    "raises OddError later": (raising_later(OddError), "ERR_TLS_HOOK_CANCELLED"),
    "raises ClosedError": (raising(ClosedError), "ERR_TLS_HOOK_CANCELLED"),
    "raises ClosedError later": (raising_later(ClosedError), "ERR_TLS_HOOK_CANCELLED"),
    "raises GeneratorExit": (raising(GeneratorExit), "ERR_TLS_HOOK_CANCELLED"),
    "raises GeneratorExit later": (raising_later(GeneratorExit), "ERR_TLS_HOOK_CANCELLED"),
    "raises StopIteration": (raising(StopIteration), "ERR_TLS_HOOK_CANCELLED"),
    "raises StopAsyncIteration later": (raising_later(StopAsyncIteration), FAILED),
    "raises TimeoutError later": (raising_later(TimeoutError), FAILED),
    "gives a future that is cancelled": (lambda: done(cancelled=True), "ERR_TLS_HOOK_CANCELLED"),
    "gives a future that has failed": (lambda: done(error=LookupError()), FAILED),
    "gives a future of nonsense": (lambda: done(value=object()), "nonsense"),
    "gives an awaitable of nonsense": (lambda: Awaited(late_finish), "nonsense"),
    "gives an awaitable that is none": (lambda: Awaited(lambda: [1]), FAILED),
    "gives an awaitable that yields nonsense": (lambda: Awaited(bad_step), FAILED),
    "never waits": (lambda: Awaited(spin), "ERR_TLS_HOOK_TIMEOUT"),
    "gives an async generator": (nothing_to_await, "nonsense"),
    "gives a function": (lambda: print, "nonsense"),
    "gives a class": (lambda: LookupError, "nonsense"),
    "gives a number": (lambda: 1.5, "nonsense"),
    "gives a set": (lambda: {"a"}, "nonsense"),
    "gives half a surrogate pair": (lambda: "\udcff", "nonsense"),
}
NONSENSE = {
    "sni_callback": "ERR_INVALID_ARG_TYPE",
    "alpn_callback": "ERR_TLS_ALPN_CALLBACK_INVALID_RESULT",
    "check_client": "ERR_INVALID_ARG_TYPE",
    "check_server_identity": "ERR_INVALID_ARG_TYPE",
}


def patience(code: str) -> float:
    """Return a `hook_timeout` that a busy machine does not reach, unless it is to be reached."""
    return SOON if code == "ERR_TLS_HOOK_TIMEOUT" else 30.0


class Reports:
    """How often a server's failures were told, and whose: weakly, to see that they go."""

    def __init__(self, server: tlsio.Server) -> None:
        self.errors: list[BaseException] = []
        self.sockets: list[weakref.ref[tlsio.TLSSocket]] = []
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        server.on("tls_client_error", self.hear)

    def hear(self, error: BaseException, sock: tlsio.TLSSocket) -> None:
        """Keep one."""
        self.errors.append(error)
        self.sockets.append(weakref.ref(sock))
        if not self.heard.done():
            self.heard.set_result(None)

    def codes(self) -> list[str]:
        """Return what they are counted as."""
        return [getattr(error, "code", None) or type(error).__name__ for error in self.errors]


async def enter(net: Net, server: tlsio.Server, **options: Any) -> BaseException | None:
    """Connect, and read until the end; return what the client was told."""
    try:
        sock = await net.connect(server, **CLIENT, **options)
    except (tlsio.TLSError, OSError) as error:
        return error
    try:
        await sock.read()
    except tlsio.TLSError as error:
        return error
    finally:
        sock.destroy()
        await sock.wait_closed()
    return None


async def gone(references: list[weakref.ref[Any]]) -> bool:
    """Tell whether nothing holds them, when the loop has had its turns."""
    for turn in range(30):  # a stream is let go by a task of several steps
        await asyncio.sleep(0)
        if turn % 10 == 9 and any(reference() is not None for reference in references):
            gc.collect(turn // 10)
    return all(reference() is None for reference in references)


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("hook", HOOKS)
async def test_failing_hook_refuses_once_and_leaves_nothing(net: Net, hook: str, failure: str) -> None:
    """One alert, one report, one count; no socket, no connection."""
    does, code = FAILURES[failure]
    async with net.serve(hook_timeout=patience(code), **SERVER, **{hook: lambda *_: does()}) as server:
        reports = Reports(server)
        told = await enter(net, server)
        await reports.heard
        refuses = hook == "check_client" and code == FAILED
        assert reports.codes() == ["ERR_TLS_CERTIFICATE" if refuses else NONSENSE[hook] if code == "nonsense" else code]
        wanted = "bad_certificate" if refuses else "internal_error"
        assert isinstance(told, tlsio.AlertReceived)
        assert told.alert == wanted
        stats = server.stats()
        assert (stats.handshakes_failed, stats.handshakes_full, stats.open_connections) == ({reports.codes()[0]: 1}, 0, 0)
        reports.errors.clear()  # an exception's frames hold what the hook was given
        del told
        assert await gone(reports.sockets)


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("failure", FAILURES)
async def test_failing_check_of_the_server_fails_connect_once(net: Net, failure: str) -> None:
    """`connect` raises it; the server is told by an alert."""
    does, code = FAILURES[failure]
    async with net.serve() as server:
        reports = Reports(server)
        with pytest.raises(tlsio.TLSError) as caught:
            await net.connect(server, check_server_identity=lambda *_: does(), hook_timeout=patience(code))
        wanted = {"nonsense": NONSENSE["check_server_identity"], FAILED: "ERR_TLS_CERTIFICATE"}.get(code, code)
        assert caught.value.code == wanted
        await reports.heard
        assert [type(error) for error in reports.errors] == [tlsio.AlertReceived]
        assert server.stats().open_connections == 0


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("raises", [raising, raising_later])
@pytest.mark.parametrize("kind", UNSOUND)
@pytest.mark.parametrize("hook", HOOKS)
async def test_exception_that_cannot_be_read_refuses_the_client(net: Net, hook: str, kind: type[Exception], raises: Any) -> None:
    """The handshake ends at once with an alert, and the exception is the cause."""
    does = raises(kind)
    async with net.serve(**SERVER, **{hook: lambda *_: does()}) as server:
        reports = Reports(server)
        told = await asyncio.wait_for(enter(net, server), 20)
        assert isinstance(told, tlsio.AlertReceived)
        await reports.heard
        assert isinstance(reports.errors[0], tlsio.HandshakeError | tlsio.CertificateError)
        assert isinstance(reports.errors[0].__cause__, kind)


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("raises", [raising, raising_later])
@pytest.mark.parametrize("kind", UNSOUND)
async def test_exception_that_cannot_be_read_refuses_the_server(net: Net, kind: type[Exception], raises: Any) -> None:
    """`connect` raises an error of ours with the exception as its cause."""
    does = raises(kind)
    async with net.serve() as server:
        with pytest.raises(tlsio.CertificateError) as caught:
            await asyncio.wait_for(net.connect(server, check_server_identity=lambda *_: does()), 20)
        assert isinstance(caught.value.__cause__, kind)


@pytest.mark.only_loop("asyncio")
async def test_outcome_that_ends_the_answer_ends_the_handshake(net: Net) -> None:
    """Even if the answer's own check raises what is not an Exception: the question does not stay open."""

    class Answer:
        def __repr__(self) -> str:
            raise OddError

    async def answer(*_args: Any) -> Any:
        return Answer()

    async with net.serve(**SERVER, alpn_callback=answer) as server:
        reports = Reports(server)
        told = await asyncio.wait_for(enter(net, server), 20)
        await reports.heard
        assert isinstance(told, tlsio.AlertReceived)
        assert told.alert == "internal_error"
        assert reports.codes() == [FAILED]


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("hook", HOOKS)
async def test_hook_that_will_not_be_cancelled_is_timed_out(net: Net, hook: str) -> None:
    """The handshake ends in time; when the hook ends at last, nobody wants to know."""
    free = asyncio.Event()

    async def stay(*_args: Any) -> Any:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue
        return GOOD[hook]

    async with net.serve(hook_timeout=SOON, **SERVER, **{hook: stay}) as server:
        reports = Reports(server)
        told = await enter(net, server)
        await reports.heard
        assert reports.codes() == ["ERR_TLS_HOOK_TIMEOUT"]
        assert isinstance(told, tlsio.AlertReceived)
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"tlsio {hook}"]
        free.set()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert reports.codes() == ["ERR_TLS_HOOK_TIMEOUT"]
        assert server.stats().handshakes_full == 0


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("hook", HOOKS)
async def test_hook_of_a_client_that_left_may_end_as_it_likes(net: Net, hook: str) -> None:
    """Cancelled, it raises something else, or answers all the same: one hang-up is told."""
    asked = asyncio.Event()
    ends: list[Callable[[], Any]] = [raising(LookupError), raising(OddError), lambda: GOOD[hook]]
    end: list[Callable[[], Any]] = []

    async def stay(*_args: Any) -> Any:
        asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return end[-1]()

    async with net.serve(**SERVER, **{hook: stay}) as server, net.relay(server) as relay:
        reports = Reports(server)
        for one in ends:
            end.append(one)
            asked.clear()
            connecting = asyncio.create_task(net.connect(server, **CLIENT))
            await asked.wait()
            relay.reset()
            await leave(connecting)
            await reports.heard
            reports.heard = asyncio.get_running_loop().create_future()
        assert len(reports.errors) == len(ends)
        assert all(isinstance(error, ConnectionError) for error in reports.errors)
        assert server.stats().handshakes_full == 0


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("does", ["close", "destroy", "destroy with an error"])
async def test_hook_that_ends_its_connection(net: Net, hook: str, does: str) -> None:
    """Its answer is dropped; nothing of the socket stays."""
    seen: list[weakref.ref[tlsio.TLSSocket]] = []

    def end(*args: Any) -> Any:
        sock = args[-1]
        seen.append(weakref.ref(sock))
        sock.close() if does == "close" else sock.destroy(LookupError() if "error" in does else None)
        return GOOD[hook]

    def secured(_sock: Any) -> None:
        pytest.fail("a connection that was ended was let in")

    async with net.serve(secured, **SERVER, **{hook: end}) as server:
        reports = Reports(server)
        assert await enter(net, server) is not None
        assert reports.codes() == (["LookupError"] if "error" in does else [])
        reports.errors.clear()
        assert await gone(seen)
        assert (len(seen), server.stats().open_connections, server.stats().handshakes_full) == (1, 0, 0)


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("seconds", [0, None])
async def test_hook_that_closes_its_server(net: Net, hook: str, seconds: float | None) -> None:
    """At once: the connection is gone with it. In its time: it goes on, and the server waits for it."""
    servers: list[tlsio.Server] = []

    def close(*_args: Any) -> Any:
        servers[0].close(seconds)
        return GOOD[hook]

    async with net.serve(lambda sock: sock.close(), **SERVER, **{hook: close}) as server:
        servers.append(server)
        told = await enter(net, server)
        assert (told is None) is (seconds is None)
        await server.wait_closed()
        assert server.stats().open_connections == 0
        assert server.stats().handshakes_full == (seconds is None)


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("hook", [*HOOKS, "check_server_identity"])
async def test_hook_that_connects_elsewhere(net: Net, hook: str) -> None:
    """While its own connection waits: another one, through the same loop."""
    elsewhere: list[bytes] = []

    async def ask(*_args: Any) -> Any:
        async with await net.connect(other) as sock:
            elsewhere.append(await sock.read())
        return GOOD[hook]

    client = {hook: ask} if hook == "check_server_identity" else {}
    hooks = {} if client else {hook: ask}
    async with (
        net.serve(lambda sock: sock.end(b"elsewhere")) as other,
        net.serve(lambda sock: sock.end(b"here"), **SERVER, **hooks) as server,
    ):
        sock = await net.connect(server, **CLIENT, **client)
        assert (await sock.read(), elsewhere) == (b"here", [b"elsewhere"])
        sock.destroy()
        await sock.wait_closed()


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("hook", HOOKS)
async def test_hook_that_blocks_holds_up_everybody_and_breaks_nobody(net: Net, hook: str) -> None:
    """The time it takes is nobody's timeout."""

    def block(*_args: Any) -> Any:
        time.sleep(2 * SOON)
        return GOOD[hook]

    async with net.serve(lambda sock: sock.close(), hook_timeout=SOON, **SERVER, **{hook: block}) as server:
        assert await asyncio.gather(enter(net, server), enter(net, server)) == [None, None]
        assert server.stats().handshakes_full == 2


@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("hook", HOOKS)
def test_hook_that_ends_the_program(net: Net, hook: str, error: type[BaseException], *, later: bool) -> None:
    """It does, but not before its connection is refused; and whoever goes on finds the server as it was."""
    ending = [error]

    def stop(*_args: Any) -> Any:
        if not ending:
            return GOOD[hook]
        return (raising_later if later else raising)(ending.pop())()

    async def run() -> None:
        async with net.serve(lambda sock: sock.close(), **SERVER, **{hook: stop}) as server:
            servers.append(server)
            reports.append(Reports(server))
            told.append(asyncio.create_task(enter(net, server)))
            await over.wait()
            assert isinstance(await told[0], tlsio.AlertReceived)
            assert await enter(net, server) is None  # the next one is let in

    servers: list[tlsio.Server] = []
    reports: list[Reports] = []
    told: list[asyncio.Task[BaseException | None]] = []
    over = asyncio.Event()
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(run())
        with pytest.raises(error):
            loop.run_until_complete(task)
        over.set()
        loop.run_until_complete(task)
        assert reports[0].codes() == ["ERR_TLS_HOOK_CANCELLED"]
        assert isinstance(reports[0].errors[0].__cause__, error)
        assert (servers[0].stats().handshakes_failed, servers[0].stats().handshakes_full) == ({"ERR_TLS_HOOK_CANCELLED": 1}, 1)
    finally:
        loop.close()


@pytest.mark.only_loop("asyncio")
async def test_each_hook_of_one_connection_may_be_late(net: Net) -> None:
    """All of them async, and the client gone before the last one answers: each is asked at most once."""
    asked: list[str] = []

    def hook(name: str) -> Callable[..., Awaitable[Any]]:
        async def answer(*_args: Any) -> Any:
            asked.append(name)
            if name == "check_client":
                await asyncio.get_running_loop().create_future()
            return GOOD[name]

        return answer

    async with net.serve(**SERVER, **{name: hook(name) for name in HOOKS}) as server, net.relay(server) as relay:
        told = once(server, "tls_client_error")
        connecting = asyncio.create_task(net.connect(server, **CLIENT))
        while "check_client" not in asked:  # noqa: ASYNC110 - a hook's call is no event
            await asyncio.sleep(0)
        relay.reset()
        await leave(connecting)
        error, _ = await told
        assert isinstance(error, ConnectionError)
        assert asked == HOOKS
