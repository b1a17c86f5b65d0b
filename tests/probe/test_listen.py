"""The other end: echo and pipe servers, and what they report of their clients."""

from __future__ import annotations

import asyncio

import pytest

import pki
import tlsio
from faulty_servers import CLIENTS, good
from tlsio import probe

OURS = {"cert": good().chain_pem, "key": good().key_pem}
CA = pki.ca1().cert_pem


async def test_clients_get_back_what_they_send() -> None:
    """And are reported with what was negotiated."""
    seen: list[probe.Arrival] = []
    async with (
        probe.listen(0, "127.0.0.1", on_arrival=seen.append, alpn_protocols=["x"], **OURS) as server,
        tlsio.connect(server.port, "localhost", ca=CA, alpn_protocols=["x"]) as socket,
    ):
        await socket.send(b"hello")
        assert await socket.readexactly(5) == b"hello"
    [one] = seen
    assert (one.version, one.alpn, one.server_name, one.authorized, one.chain) == ("TLSv1.3", "x", "localhost", False, ())
    assert one.as_json()["group"] == one.group


async def test_mutual_tls_shows_the_clients_chain() -> None:
    """Leaf first."""
    who, seen = pki.leaf("someone", issuer=pki.ca3(), usages=[CLIENTS]), list[probe.Arrival]()
    async with (
        probe.listen(0, "127.0.0.1", on_arrival=seen.append, request_cert=True, ca=CA, **OURS) as server,
        tlsio.connect(server.port, "localhost", ca=CA, cert=who.chain_pem, key=who.key_pem) as socket,
    ):
        await socket.send(b"x")
        await socket.readexactly(1)
    assert seen[0].authorized
    assert [one.subject.split(",")[0] for one in seen[0].chain] == ["CN=someone", "CN=ca3", "CN=ca1"]


async def test_a_refused_client_is_reported_with_the_reason() -> None:
    """It sent no certificate."""
    refused: asyncio.Queue[probe.Arrival] = asyncio.Queue()
    async with probe.listen(0, "127.0.0.1", on_arrival=refused.put_nowait, request_cert=True, ca=CA, **OURS) as server:
        with pytest.raises(tlsio.TLSError):
            async with tlsio.connect(server.port, "localhost", ca=CA) as socket:
                await socket.read()
        one = await refused.get()
    assert one.code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
    assert one.error
    assert one.hint


async def test_a_pipe_passes_bytes_both_ways() -> None:
    """The end of the input ends our direction, and what the client sends still arrives."""
    got: list[bytes] = []
    waiting = [b"", b"to the client"]

    async def read() -> bytes:
        return waiting.pop()

    async def write(data: bytes) -> None:
        got.append(data)

    async with (
        probe.listen(0, "127.0.0.1", pipe=(read, write), **OURS) as server,
        tlsio.connect(server.port, "localhost", ca=CA, allow_half_open=True) as socket,
    ):
        assert await socket.read_all() == b"to the client"
        await socket.send(b"to the server")
    assert b"".join(got) == b"to the server"


async def test_a_second_client_of_a_pipe_is_turned_away() -> None:
    """Its bytes would be mixed with those of the first."""
    never = asyncio.Event()

    async def read() -> bytes:
        await never.wait()
        return b""

    async def write(_: bytes) -> None:
        pass

    async with probe.listen(0, "127.0.0.1", pipe=(read, write), **OURS) as server, tlsio.connect(server.port, "localhost", ca=CA) as first:
        await first.send(b"x")
        second = await tlsio.connect(server.port, "localhost", ca=CA)
        with pytest.raises(tlsio.TLSError):
            await second.read()
        second.destroy()
