"""Hellos that come in pieces, or are larger than a record, while hooks take their time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from net import Net
from sessions import Store, greet, visit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from net import Driver

LARGE = [f"{number:0>250}" for number in range(200)]  # 50 kB: four records


@contextlib.asynccontextmanager
async def dripping(net: Net, server: tlsio.Server) -> AsyncIterator[None]:
    """Put a network before a server of `serve` that carries one byte at a time to it."""
    port = net.port(server)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(size):
                writer.write(data)
                await asyncio.sleep(0)
        writer.close()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, backward = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, backward, 1), carry(onward, writer, 65536))
        ended.set()

    ended = asyncio.Event()
    async with await asyncio.start_server(run, "127.0.0.1", 0) as below:
        net.ports[server] = below.sockets[0].getsockname()[1]
        yield
        await ended.wait()


@pytest.mark.node("26: suspended hellos")
@pytest.mark.parametrize("way", ["in pieces", "large"])
async def test_hello_waits_for_a_late_answer(net: Net, way: str) -> None:
    """The name is chosen and the session found later, and it is resumed."""
    asked: list[str | None] = []

    async def choose(name: str | None, _socket: tlsio.TLSSocket) -> None:
        await asyncio.sleep(0)
        asked.append(name)

    options: dict[str, Any] = {"alpn_protocols": LARGE} if way == "large" else {}
    async with net.serve(greet, session_store=Store(later=True), sni_callback=choose) as server:
        first = await visit(net, server, **options)
        async with dripping(net, server) if way == "in pieces" else contextlib.nullcontext():
            second = await visit(net, server, session=first.session, **options)
    assert (first.reused, second.reused) == (False, True)
    assert asked == ["localhost"] * 2


@pytest.mark.node("tls-async-cb-after-socket-end")
async def test_session_that_is_found_after_the_client_has_left(driver: Driver) -> None:
    """The hook is cancelled; one that answers all the same does no harm."""
    net, store = Net(driver, "TLSv1.2"), Store()
    asked, answered = asyncio.Event(), asyncio.Event()

    async def resume(session_id: bytes) -> bytes | None:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            answered.set()
        return store.get(session_id)

    hooks = {"new_session": lambda session_id, data: store.put(session_id, data, 0), "resume_session": resume}
    async with net.serve(greet, secure_options=tlsio.constants.SSL_OP_NO_TICKET, **hooks) as server:
        first = await visit(net, server)
        assert len(store.kept) == 1
        coming = asyncio.ensure_future(visit(net, server, session=first.session))
        await asked.wait()
        coming.cancel()
        await answered.wait()
        await asyncio.gather(coming, return_exceptions=True)
        assert (await visit(net, server)).authorized
