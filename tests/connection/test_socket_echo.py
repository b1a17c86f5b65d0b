"""A word there and back: that the fixtures stand on their feet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from net import Net, Pair


async def test_words_arrive_both_ways(pair: Pair, net: Net) -> None:
    """What one side writes the other reads, in the version asked for."""
    async with pair() as (client, peer, _server):
        client.write(b"hello")
        assert await peer.read() == b"hello"
        peer.write(b"you too")
        assert await client.read() == b"you too"
        assert client.get_protocol() == peer.get_protocol() == net.version
