"""Our side of a conversation with a foreign peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from foreign_peers import PEERS, Part, find_node, find_node_24
from net import Net
from node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from foreign_peers import Peer
    from net import Version


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> Version:
    """The one version both sides speak."""
    return request.param


@pytest.fixture
def net(version: Version) -> Net:
    """Servers and clients of ours, on the native driver."""
    return Net("native", version)


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Peer:
    """Whom we talk to."""
    return PEERS[request.param]


@pytest.fixture
def part(version: Version, tmp_path: Path) -> Part:
    """What a peer is by default: one that trusts ca1 and has no certificate."""
    return Part(folder=tmp_path, version=version)


@pytest.fixture(scope="session", params=[find_node, find_node_24], ids=["node", "node24"])
def process(request: pytest.FixtureRequest) -> Iterator[Node]:
    """One Node for all tests."""
    made = Node(request.param())
    yield made
    made.close()


@pytest.fixture
def node(process: Node) -> Iterator[Node]:
    """A Node that has no server and no socket yet."""
    yield process
    process.ask("reset").result(20)
