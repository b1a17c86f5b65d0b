"""Connections on both drivers and under both versions of TLS, by fixtures that say which.

A test that takes `net`, or `pair`, which is `net.pair`, runs for each of the four:

    async def test_echo(pair: Pair) -> None:
        async with pair() as (client, peer, _server):
            client.write(b"hello")
            assert await peer.read() == b"hello"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from net import Net

if TYPE_CHECKING:
    from net import Driver, Pair, Version


@pytest.fixture(params=["native", "portable"])
def driver(request: pytest.FixtureRequest) -> Driver:
    """The way bytes come and go: the engine's reactor, or any byte stream."""
    return request.param


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> Version:
    """The one version both sides speak."""
    return request.param


@pytest.fixture
def net(driver: Driver, version: Version) -> Net:
    """Servers and clients of that driver and version."""
    return Net(driver, version)


@pytest.fixture
def pair(net: Net) -> Pair:
    """One connection: a client, the server's socket for it, and the server."""
    return net.pair
