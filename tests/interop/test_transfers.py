"""Much data, both ways and at the same time, and conversations of which one half has ended."""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import pki
import tlsio
from foreign_peers import PEERS, OpenSSL, exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from foreign_peers import Part, Peer
    from net import Net

MEBIBYTE = 1 << 20
MUCH = random.Random(8).randbytes(4 * MEBIBYTE)  # noqa: S311 - the same for everybody


def digest(data: bytes) -> str:
    """Return what is short enough to be shown when two transfers differ."""
    return f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()[:16]}"


async def echo(socket: tlsio.TLSSocket) -> None:
    """Send back what comes."""
    async for chunk in socket:
        await socket.send(chunk)


@pytest.fixture(params=["node", "node24"])
def nodes(request: pytest.FixtureRequest) -> Peer:
    """The Nodes."""
    return PEERS[request.param]


@pytest.fixture(params=["node", "node24", "python", "asyncio"])
def echoing(request: pytest.FixtureRequest) -> Peer:
    """Servers that echo more than lines."""
    return PEERS[request.param]


@pytest.mark.node("pummel/tls-server-large-request")
async def test_much_from_their_client_comes_back(peer: Peer, net: Net, part: Part) -> None:
    """Whatever the sizes of its records are."""
    async with net.serve(echo) as server:
        heard = await peer.talk(net.port(server), part, MUCH)
    assert (digest(heard.data), heard.error) == (digest(MUCH), "")


async def test_much_from_our_client_comes_back(echoing: Peer, net: Net, part: Part) -> None:
    """Written and read at once."""
    async with echoing.serve(replace(part, identity=pki.localhost())) as service:
        async with tlsio.connect(service.port, "127.0.0.1", **net.client_options()) as socket:
            sending = asyncio.ensure_future(socket.send(MUCH))
            back = await socket.readexactly(len(MUCH))
            await sending
        heard = await service.heard()
    assert (digest(back), heard.error) == (digest(MUCH), "")


async def test_much_goes_both_ways_at_once_with_openssl(net: Net, part: Part) -> None:
    """`s_server` sends its standard input while it writes what we send to its standard output, among its own words."""
    text = MUCH.hex().replace("c", "z").encode()  # a piece that begins with a capital, c, k, q or r would be a command
    with OpenSSL().start_server(replace(part, identity=pki.localhost())) as (process, port):
        their_side = asyncio.ensure_future(asyncio.to_thread(exchange, process, text, until_end=True))
        async with tlsio.connect(port, "127.0.0.1", **net.client_options()) as socket:
            our_side = asyncio.ensure_future(socket.send(text))
            assert digest(await socket.readexactly(len(text))) == digest(text)
            await our_side
        assert text in await their_side


async def test_our_client_ends_first_and_still_hears_the_answer(net: Net, part: Part) -> None:
    """The half of the conversation that has ended is ours: `s_server` answers all the same."""
    async with PEERS["openssl"].serve(replace(part, identity=pki.localhost())) as service:
        async with tlsio.connect(service.port, "127.0.0.1", **net.client_options()) as socket:
            socket.end(b"one\ntwo\n")
            assert [line async for line in lines(socket)] == [b"eno\n", b"owt\n"]
        assert (await service.heard()).error == ""


async def test_their_client_ends_first_and_still_hears_the_answer(nodes: Peer, net: Net, part: Part) -> None:
    """Node says all it has to say and ends; our server answers when it has seen that end."""

    async def answer(socket: tlsio.TLSSocket) -> None:
        told = b"".join([chunk async for chunk in socket])
        await socket.send(told[::-1])

    async with net.serve(answer) as server:
        heard = await nodes.talk(net.port(server), part, b"stressed")
    assert (heard.data, heard.error) == (b"desserts", "")


async def test_our_server_ends_first_and_still_hears_the_rest(net: Net, part: Part) -> None:
    """`s_client` is told that nothing more will come; what it had sent before is read to its end."""
    told: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def greet(socket: tlsio.TLSSocket) -> None:
        socket.end(b"bye\n")
        told.set_result(b"".join([chunk async for chunk in socket]))

    async with net.serve(greet) as server:
        heard = await PEERS["openssl"].talk(net.port(server), part, b"so soon?\n")
        assert await told in {b"", b"so soon?\n"}  # it may have closed before it looked at its input
    assert heard.data == b"bye\n"


async def lines(socket: tlsio.TLSSocket) -> AsyncIterator[bytes]:
    """Yield lines until the end."""
    while line := await socket.readline():
        yield line
