"""`partial_record_timeout`: what becomes of a connection whose peer stops in the middle of a record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import tlsio

if TYPE_CHECKING:
    from net import Net


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("size", [1, 3, 5, 100])
async def test_record_that_does_not_go_on_ends_the_connection(net: Net, role: str, size: int) -> None:
    """Whether its header is whole or not, on either side; the other side has its own limit."""
    accepted: asyncio.Future[tlsio.TLSSocket] = asyncio.get_running_loop().create_future()
    short, long = {"partial_record_timeout": 0.02}, {"partial_record_timeout": None}
    ours, theirs = (short, long) if role == "server" else (long, short)
    async with net.serve(accepted.set_result, **ours) as server, net.relay(server) as relay:
        client = await net.connect(server, **theirs)
        peer = await accepted
        await peer.send(b"ready")
        assert await client.read() == b"ready"
        to_client, to_server = relay._writers
        (to_server if role == "server" else to_client).write((b"\x17\x03\x03\x10\x00" + bytes(100))[:size])
        with pytest.raises(tlsio.PeerError) as caught:
            await (peer if role == "server" else client).read()
        assert caught.value.code == "ERR_TLS_PARTIAL_RECORD_TIMEOUT"
        assert "partial_record_timeout" in (caught.value.hint or "")
        client.destroy()
        peer.destroy()


@pytest.mark.parametrize("seconds", [0, -1, "60", 1e10])
def test_wrong_seconds_are_refused(seconds: object) -> None:
    """When the server is made."""
    with pytest.raises(tlsio.UsageError, match="partial_record_timeout"):
        tlsio.create_server(partial_record_timeout=seconds)  # type: ignore[arg-type]
