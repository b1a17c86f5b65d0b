"""Foreign clients come back with their session, and are known again without a full handshake."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import pki
import tlsio
from foreign_peers import PEERS
from net import Net

if TYPE_CHECKING:
    from foreign_peers import Part, Peer
    from net import Driver, Version

LINE = b"here I am again\n"


class Echo:
    """An echo that remembers which of its connections were resumed, and whom it talked to."""

    def __init__(self) -> None:
        self.resumed: list[bool] = []
        self.who: list[object] = []

    async def __call__(self, socket: tlsio.TLSSocket) -> None:
        """Send back what comes."""
        certificate = socket.get_peer_certificate()
        self.resumed.append(socket.is_session_reused())
        self.who.append(certificate and certificate["subject"]["CN"])
        async for chunk in socket:
            await socket.send(chunk)


@pytest.fixture(params=["openssl", "node", "node24", "python"])
def peer(request: pytest.FixtureRequest) -> Peer:
    """Those who can be told to keep a session."""
    return PEERS[request.param]


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("driver", ["native", "portable"])
@pytest.mark.parametrize("kept", ["by ticket", "in a store"])
async def test_a_session_is_resumed(peer: Peer, driver: Driver, version: Version, part: Part, kept: str) -> None:
    """Both sides say so, and the statistics count it."""
    net, echo = Net(driver, version), Echo()
    async with net.serve(echo, session_store=tlsio.MemorySessionStore() if kept == "in a store" else None) as server:
        first, second, third = await peer.resume([net.port(server)] * 3, part, LINE)
        stats = server.stats()
    assert (first.data + second.data + third.data, second.error, third.error) == (3 * LINE, "", "")
    assert echo.resumed == [False, True, True]
    assert (stats.handshakes_full, stats.handshakes_resumed) == (1, 2)
    assert stats.session_hits == (2 if kept == "in a store" else 0)


async def test_a_resumed_client_is_still_known(peer: Peer, net: Net, part: Part) -> None:
    """The certificate shown in the first handshake holds in the second."""
    echo = Echo()
    async with net.serve(echo, ca=pki.ca1().cert_pem, request_cert=True) as server:
        _, second = await peer.resume([net.port(server)] * 2, replace(part, identity=pki.client()), LINE)
    assert (echo.resumed, echo.who, second.error) == ([False, True], ["client", "client"], "")


async def test_a_session_of_another_trust_is_not_resumed(peer: Peer, net: Net, part: Part) -> None:
    """Between the two visits the server begins to ask for certificates: the old ticket does not open the door."""
    echo = Echo()
    server: tlsio.Server

    async def tighten(socket: tlsio.TLSSocket) -> None:
        server.set_secure_context(ca=pki.ca1().cert_pem, request_cert=True)
        await echo(socket)

    async with net.serve(tighten) as server:
        _, second = await peer.resume([net.port(server)] * 2, replace(part, identity=pki.client()), LINE)
    assert (echo.resumed, echo.who, second.error) == ([False, False], [None, "client"], "")
