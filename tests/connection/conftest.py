"""Connections on both drivers and under both versions of TLS, by fixtures that say which.

A test that takes `net`, or `pair`, which is `net.pair`, runs for each of the four, and on asyncio for a server with handshake threads:

    async def test_echo(pair: Pair) -> None:
        async with pair() as (client, peer, _server):
            client.write(b"hello")
            assert await peer.read() == b"hello"
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from net import Net
from tlsio.native._core import has_reactor

if TYPE_CHECKING:
    from collections.abc import Generator

    from net import Driver, Pair, Version


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run servers with handshake threads on one loop: the threads are the engine's, and know no loop."""
    items[:] = [item for item in items if not _is_threads_on_uvloop(getattr(item, "callspec", None))]


def _is_threads_on_uvloop(callspec: Any) -> bool:
    return callspec is not None and callspec.params.get("driver") == "threads" and callspec.params.get("loop_name") == "uvloop"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip a test that listens by the native driver, on a build that does not have it."""
    try:
        return (yield)
    except tlsio.UsageError as error:
        if has_reactor or error.code != "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM":
            raise
        return pytest.skip("this build has no driver that listens")


@pytest.fixture(params=["native", "threads", "portable"])
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
