"""Sockets used where they do not belong: in a child of their process, and in threads other than their loop's."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
import watchdog
from loops import LOOPS
from net import let_go

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net, Pair


def step(coroutine: Any) -> None:
    """Run a coroutine up to its first wait."""
    try:
        coroutine.send(None)
    except StopIteration:
        pass
    finally:
        coroutine.close()


CALLS: dict[str, Callable[[tlsio.TLSSocket], object]] = {
    "write": lambda sock: sock.write(b"x"),
    "write of a bytearray": lambda sock: sock.write(bytearray(b"x")),
    "send": lambda sock: step(sock.send(b"x")),
    "drain": lambda sock: step(sock.drain()),
    "end": lambda sock: sock.end(),
    "end with data": lambda sock: sock.end(b"x"),
    "close": lambda sock: sock.close(),
    "aclose": lambda sock: step(sock.aclose()),
    "wait_closed": lambda sock: step(sock.wait_closed()),
    "read": lambda sock: step(sock.read()),
    "readline": lambda sock: step(sock.readline()),
    "readexactly": lambda sock: step(sock.readexactly(3)),
    "iterate": lambda sock: step(sock.__anext__()),
    "pause": lambda sock: sock.pause(),
    "resume": lambda sock: sock.resume(),
    "set_timeout": lambda sock: sock.set_timeout(1.0),
    "renegotiate": lambda sock: step(sock.renegotiate()),
}


def codes(sock: tlsio.TLSSocket, times: int = 2) -> dict[str, list[str | None]]:
    """Make each call, more than once, and return what it raised."""
    found: dict[str, list[str | None]] = {}
    for name, call in CALLS.items():
        for _ in range(times):
            try:
                call(sock)
            except tlsio.UsageError as error:
                found.setdefault(name, []).append(error.code if isinstance(error, RuntimeError) else None)
            except BaseException as error:  # noqa: BLE001  (it is looked at)
                found.setdefault(name, []).append(repr(error))
            else:
                found.setdefault(name, []).append(None)
    return found


def in_child(call: Callable[[], Any]) -> Any:
    """Return what `call` returns in a child of this process."""
    result, tell = os.pipe()
    child = watchdog.fork()
    if not child:
        try:
            os.write(tell, pickle.dumps(call()))
        finally:
            os._exit(0)
    os.close(tell)
    os.waitpid(child, 0)
    with open(result, "rb") as answer:  # noqa: PTH123  (a descriptor)
        return pickle.load(answer)  # noqa: S301  (our own)


@pytest.mark.parametrize("when", ["at rest", "after traffic"])
@pytest.mark.parametrize("role", ["client", "server"])
async def test_every_call_in_a_child_raises(pair: Pair, when: str, role: str) -> None:
    """Each time, however busy the socket was. The parent's connection does not notice."""
    async with pair() as (client, peer, _):
        sock = client if role == "client" else peer
        if when == "after traffic":
            client.write(b"from the client")
            peer.write(b"from the server")
            sock.write(b"!")
        else:
            await asyncio.sleep(0.01)
        found = in_child(lambda: codes(sock))
        assert found == {name: ["ERR_TLS_FORKED"] * 2 for name in CALLS}
        assert in_child(lambda: (sock.destroy().closed, codes(sock, 1)["write"])) == (True, ["ERR_STREAM_WRITE_AFTER_END"])
        await client.send(b"and on")
        received = b""
        while not received.endswith(b"and on"):
            received += await peer.read()
        assert b"x" not in received


async def test_socket_of_a_parent_that_has_not_begun(net: Net) -> None:
    """The handshake is not started in a child either."""
    async with net.serve(lambda _sock: None) as server:
        sock = tlsio.TLSSocket(await net.dial(server), servername="localhost", ca=pki.ca1().cert_pem)
        assert in_child(lambda: codes(sock, 1)["write"] + codes(sock, 1)["read"]) == ["ERR_TLS_FORKED"] * 2
        sock.destroy()
        await sock.wait_closed()
    await let_go()


async def test_every_call_from_another_thread_raises(pair: Pair) -> None:
    """Nothing has happened then: the socket is as it was."""
    async with pair() as (client, peer, _):
        found = await asyncio.to_thread(codes, client)
        assert found == {name: ["ERR_TLS_WRONG_THREAD"] * 2 for name in CALLS}
        with pytest.raises(tlsio.UsageError):
            await asyncio.to_thread(client.destroy)
        with pytest.raises(tlsio.UsageError, match="call_soon_threadsafe"):
            await asyncio.to_thread(client.write, b"x")
        assert client.writable
        assert client.readable
        await client.send(b"as it was")
        assert await peer.read() == b"as it was"


@pytest.mark.parametrize("loop_factory", list(LOOPS.values()), ids=list(LOOPS))
def test_loop_may_be_run_by_another_thread_next_time(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """One after the other they may all use its sockets; between two runs, too."""
    loop = loop_factory()
    who = pki.localhost()

    async def begin() -> tuple[tlsio.Server, tlsio.TLSSocket]:
        server = tlsio.create_server(lambda sock: sock.on("data", sock.write) and None, cert=who.cert_pem, key=who.key_pem)
        await server.listen(0, "127.0.0.1")
        return server, await tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem)

    async def go_on() -> bytes:
        sock.write(b"b")
        return await sock.readexactly(2)

    async def end() -> None:
        sock.destroy()
        server.close(0)
        await server.wait_closed()

    server, sock = loop.run_until_complete(begin())
    with ThreadPoolExecutor(1) as pool:
        pool.submit(sock.write, b"a").result()
        assert pool.submit(loop.run_until_complete, go_on()).result() == b"ab"
    loop.run_until_complete(end())
    loop.close()


def test_pair_may_be_used_by_any_thread() -> None:
    """It has no loop."""
    made = tlsio.create_secure_pair(servername="localhost")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(made.encrypted.read).result()
        assert pool.submit(made.cleartext.write, b"x").result()


@pytest.mark.parametrize("left", ["open", "closed", "destroyed", "with a listener"])
def test_client_that_is_dropped_open_warns(left: str) -> None:
    """When it is collected, at the latest with its loop."""
    who = pki.localhost()

    async def leave() -> None:
        server = tlsio.create_server(lambda sock: sock.on("data", lambda _data: None) and None, cert=who.cert_pem, key=who.key_pem)
        await server.listen(0, "127.0.0.1")
        sock = await tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem)
        if left == "closed":
            await sock.aclose()
        elif left == "destroyed":
            sock.destroy()
        elif left == "with a listener":
            sock.on("error", print)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(leave())
        for _ in range(3):  # what one pass sets free may hold more
            gc.collect()
    ours = [str(one.message) for one in caught if "TLSSocket" in str(one.message)]
    assert len(ours) == (left == "open")
    assert all(message.startswith("unclosed <TLSSocket client") for message in ours)
