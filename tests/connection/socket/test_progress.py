"""Nothing stands still, and nothing turns for ever: what a connection waits for, seen from the public face.

The peer is OpenSSL in memory, whose every byte is the test's to hold back (`wire_peer`). Silence is judged by what the
engine asks for, not by time.
"""

# ruff: noqa: ASYNC110 - the test is the wire: it carries bytes until something holds

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
import watchdog
from net import once
from tlsio.connection.drivers.native import current_reactor
from wire_peer import StreamWire, TcpWire, WirePeer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from net import Driver, Version

SERVER: dict[str, Any] = {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem}
MUTUAL: dict[str, Any] = {**SERVER, "ca": pki.ca1().cert_pem}
MUCH = bytes(range(256)) * 16_384  # 4 MiB


class Talk:
    """A client in memory and the server's socket it talks to."""

    def __init__(self, driver: Driver, version: Version, identity: pki.Identity | None = None, **options: Any) -> None:
        self.options = {**SERVER, "min_version": version, "max_version": version, **options}
        self.peer = WirePeer(version, identity=identity)
        self.driver = driver
        self.socket: tlsio.TLSSocket
        self.deaf = False

    async def __aenter__(self) -> Self:
        self.server = tlsio.create_server(**self.options)
        opened: Any = once(self.server, "secure_connection")
        if self.driver != "portable":
            await self.server.listen(0, "127.0.0.1")
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)  # noqa: FBT003
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.server.port))
            self.wire: TcpWire | StreamWire = TcpWire(sock)
            self.upgrade = None
        else:
            self.wire = StreamWire(65536)
            self.upgrade = asyncio.ensure_future(self.server.upgrade(self.wire.stream))
        while not opened.done():
            await self.carry()
        self.socket = opened.result()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.server.close(0)
        self.wire.close()
        await self.server.wait_closed()
        if self.upgrade is not None:
            await asyncio.gather(self.upgrade, return_exceptions=True)
        for _ in range(20):
            await asyncio.sleep(0)
        self.peer.free()

    async def carry(self) -> None:
        """Move what there is, both ways, and let the loop turn."""
        self.peer.handshake()
        self.peer.push()
        data = self.peer.take()
        while data:
            data = data[self.wire.send(data) :]
            if data:
                await asyncio.sleep(0)
        if not self.deaf:
            self.peer.give(self.wire.receive(65536))
            self.peer.read()
        await asyncio.sleep(0)

    async def until(self, done: Callable[[], bool]) -> None:
        """Carry until it holds."""
        while not done():
            await self.carry()

    async def flush(self) -> None:
        """Let what the peer has written reach the server."""
        for _ in range(20):
            await self.carry()


async def falls_silent(sock: tlsio.TLSSocket) -> bool:
    """Tell whether the engine asks for no more turns once it had some."""
    for _ in range(200):
        if not sock._connection.needs_turn:
            return True
        await asyncio.sleep(0)
    return False


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("updates", [1, 3, 20])
async def test_key_updates_of_a_client_that_does_not_read_are_waited_for(driver: Driver, updates: int) -> None:
    """The answers have no room: the connection waits for room, and takes everything up when it comes."""
    async with Talk(driver, "TLSv1.3") as talk:
        sock = talk.socket
        talk.deaf = True
        sock.write(MUCH)
        await talk.flush()
        for _ in range(updates):
            talk.peer.update_key(requested=True)
        talk.peer.write(b"hello")
        await talk.flush()
        assert await falls_silent(sock)
        assert sock.writable_length > 65536
        talk.deaf = False
        await talk.until(lambda: len(talk.peer.received) == len(MUCH))
        assert talk.peer.received == MUCH
        assert await sock.readexactly(5) == b"hello"


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("size", [100, 2500, 5000, 16384])
async def test_data_behind_a_late_certificate_is_what_was_sent(driver: Driver, version: Version, size: int) -> None:
    """A question that opens inside a read leaves nothing but the bytes that were read."""
    store = tlsio.MemorySessionStore()
    async with Talk(driver, version, pki.client(), ca=pki.ca1().cert_pem, session_store=store) as talk:
        sock = talk.socket
        asking = asyncio.ensure_future(sock.renegotiate(request_cert=True, reject_unauthorized=False))
        await asyncio.sleep(0)
        sent, got = b"", b""
        for part in range(4):
            data = bytes([part + 65]) * size
            talk.peer.write(data)
            sent += data
            while len(got) < len(sent):
                reading = asyncio.ensure_future(sock.read())
                await talk.until(reading.done)
                got += reading.result()
        assert got == sent
        await talk.until(asking.done)
        await asking


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("hook", ["store", "check_client", "none"])
async def test_a_write_during_a_question_leaves_with_its_answer(driver: Driver, hook: str) -> None:
    """What was written while a post-handshake question was open is sent, also when the answer came at once."""
    options: dict[str, Any] = {
        "store": {"session_store": tlsio.MemorySessionStore()},
        "check_client": {"check_client": lambda *_: None, "request_cert": False},
        "none": {},
    }[hook]
    async with Talk(driver, "TLSv1.3", pki.client(), ca=pki.ca1().cert_pem, **options) as talk:
        sock = talk.socket
        sock.on("data", lambda _data: sock.write(b"reply"))
        asking = asyncio.ensure_future(sock.renegotiate(request_cert=True))
        await talk.flush()
        talk.peer.write(b"A" * 50)
        await talk.until(lambda: bytes(talk.peer.received) == b"reply")
        await talk.until(asking.done)
        await asking


@pytest.mark.only_loop("asyncio")
async def test_the_end_behind_much_memory_is_told() -> None:
    """Over a stream that gives 600 KB at once, after the flow has stopped."""
    async with Talk("portable", "TLSv1.3", allow_half_open=True) as talk:
        got = bytearray()
        listener = talk.socket.on("data", got.extend)
        talk.peer.write(MUCH[:600_000])
        data = talk.peer.take()
        talk.wire.send(data)
        while len(got) < 600_000:
            await asyncio.sleep(0)
        talk.socket.off("data", listener)
        talk.wire.fin()
        with pytest.raises(tlsio.TruncatedError):
            await talk.socket.read()


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("event", ["connection", "secure_connection", "data"])
async def test_a_listener_may_turn_the_reactor_again(version: Version, event: str) -> None:
    """As tools that nest loops do: the inner turn goes on with the notices that the outer one has left."""
    nested: list[str] = []

    def run_within(*_news: Any) -> None:
        nested.append(event)
        for _ in range(3):
            current_reactor()._turn()  # type: ignore[attr-defined]
            current_reactor()._flush()  # type: ignore[attr-defined]

    def accept(sock: tlsio.TLSSocket) -> None:
        if event == "data":
            sock.on("data", lambda data: (run_within(), sock.write(data)))
        else:
            sock.on("data", sock.write)

    options: dict[str, Any] = {**SERVER, "min_version": version, "max_version": version}
    async with tlsio.serve(accept, 0, "127.0.0.1", shutdown_timeout=0.1, **options) as server:
        if event != "data":
            server.on(event, run_within)
        client: dict[str, Any] = {"ca": pki.ca1().cert_pem, "servername": "localhost"}
        sockets = await asyncio.gather(*(tlsio.connect(server.port, "127.0.0.1", **client) for _ in range(6)))
        for sock in sockets:
            await sock.send(b"hello")
        for sock in sockets:
            assert await sock.readexactly(5) == b"hello"
            await sock.aclose()
    assert nested


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("event", ["connection", "secure_connection", "data", "sni_callback"])
async def test_a_listener_may_fork(event: str) -> None:
    """The child goes its way without a crash, the parent's connection goes on."""
    loop, children = asyncio.get_running_loop(), list[int]()

    def fork(*_news: Any) -> None:
        child = watchdog.fork()
        if child == 0:
            # What the interrupted turn still does in the child must not crash it: end in the loop's next pass.
            loop.call_soon(os._exit, 0)
        else:
            children.append(child)

    def accept(sock: tlsio.TLSSocket) -> None:
        if event == "data":
            sock.on("data", fork)
        sock.on("data", lambda data: sock.write(data) if os.getpid() == parent else None)

    parent = os.getpid()
    more = {"sni_callback": fork} if event == "sni_callback" else {}
    async with tlsio.serve(accept, 0, "127.0.0.1", shutdown_timeout=0.1, **SERVER, **more) as server:
        if event in {"connection", "secure_connection"}:
            server.on(event, fork)
        sock = await tlsio.connect(server.port, "127.0.0.1", ca=pki.ca1().cert_pem, servername="localhost")
        await sock.send(b"hello")
        assert await sock.readexactly(5) == b"hello"
        await sock.aclose()
    assert children
    for child in children:
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.only_loop("asyncio")
async def test_a_listener_that_was_shut_down_elsewhere_is_reported_once() -> None:
    """It is readable for ever, and accepts nothing."""
    listening = socket.create_server(("127.0.0.1", 0))
    copy = listening.dup()
    server = tlsio.create_server(**SERVER)
    errors: list[Exception] = []
    server.on("error", errors.append)
    await server.listen(sock=listening)
    copy.shutdown(socket.SHUT_RDWR)
    while not errors:
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(errors) == 1
    copy.close()
    server.close(0)
    await server.wait_closed()


@pytest.mark.only_loop("asyncio")
async def test_an_error_is_reported_after_the_reactor_has_gone() -> None:
    """The last connection of a program is reset while nothing reads: the data, then the true error."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        peer = WirePeer("TLSv1.3", is_server=True, identity=pki.localhost())
        connecting = asyncio.ensure_future(
            tlsio.connect(listening.getsockname()[1], "127.0.0.1", ca=pki.ca1().cert_pem, servername="localhost")
        )
        accepted, _ = await asyncio.to_thread(listening.accept)
        wire = TcpWire(accepted)
        while not (connecting.done() and peer.done):
            peer.give(wire.receive(65536))
            peer.handshake()
            wire.send(peer.take())
            await asyncio.sleep(0)
        sock = connecting.result()
        peer.write(b"last words")
        wire.send(peer.take())
        for _ in range(20):
            await asyncio.sleep(0)
        wire.reset()
        for _ in range(20):
            await asyncio.sleep(0)
        assert await sock.read() == b"last words"
        for _ in range(2):
            with pytest.raises(tlsio.ConnectionLostError) as lost:
                await sock.read()
            assert lost.value.code == "ECONNRESET"
        peer.free()
