"""Our client comes back to foreign servers: by ticket, and by what the server keeps. Both sides say whether it was resumed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import foreign_servers
import pki
import tlsio
from asn1 import elements, split, tlv
from net import Net
from sessions import TICKET, greet, retold, visit
from tlsio.session.client_session import ClientSession

if TYPE_CHECKING:
    from collections.abc import Iterator

    from foreign_peers import Part
    from net import Version
    from node import Node

pytestmark = pytest.mark.only_loop("asyncio")

KEPT = pytest.mark.parametrize("tickets", [True, False], ids=["by ticket", "by what they keep"])


@pytest.fixture(params=["native", "portable"])
def net(request: pytest.FixtureRequest, version: Version) -> Net:
    """Both ways the bytes come and go."""
    return Net(request.param, version)


@pytest.fixture(scope="session")
def nginx() -> Iterator[dict[bool, int]]:
    """One for all tests."""
    with foreign_servers.nginx() as ports:
        yield ports


async def return_to(net: Net, port: int, sessions: list[bytes], **options: Any) -> bool:
    """Come, and tell whether the session was resumed; new ones are added to `sessions`."""
    async with await net.reach(port, on={"session": sessions.append}, **options) as sock:
        await sock.send(foreign_servers.QUESTION)
        assert foreign_servers.was_resumed(await sock.read()) == sock.is_session_reused()
        assert sock.authorized
        return sock.is_session_reused()


async def come_back(net: Net, port: int, *, resumes: bool = True) -> None:
    """Return with a session by hand, and with a cache, which has one for the third visit from the second."""
    sessions: list[bytes] = []
    assert not await return_to(net, port, sessions)
    assert await return_to(net, port, sessions, session=sessions[-1]) is resumes
    assert await return_to(net, port, sessions, session=sessions[-1]) is resumes
    cache = tlsio.ClientSessionCache()
    assert [await return_to(net, port, sessions, session_cache=cache) for _ in range(3)] == [False, resumes, resumes]


@KEPT
async def test_openssl(net: Net, part: Part, *, tickets: bool) -> None:
    """Its command line."""
    with foreign_servers.openssl(replace(part, identity=pki.localhost()), tickets=tickets) as port:
        await come_back(net, port)


@KEPT
async def test_python(net: Net, part: Part, *, tickets: bool) -> None:
    """The standard library."""
    with foreign_servers.python(replace(part, identity=pki.localhost()), tickets=tickets) as port:
        await come_back(net, port)


@KEPT
async def test_nginx(net: Net, nginx: dict[bool, int], *, tickets: bool) -> None:
    """With its shared cache, and with tickets."""
    await come_back(net, nginx[tickets])


@pytest.mark.node("tls-client-resume", "tls-client-resume-12")
@KEPT
async def test_node(net: Net, node: Node, *, tickets: bool) -> None:
    """With tickets, and in TLS 1.2 by its events; in TLS 1.3 it resumes nothing without tickets."""
    who = pki.localhost()
    options = {"minVersion": net.version, "maxVersion": net.version, "cert": who.chain_pem, "key": who.key_pem}
    more = {} if tickets else {"secureOptions": tlsio.constants.SSL_OP_NO_TICKET}
    port = await node.listen(options | more, {"greet": True, "store": not tickets})
    await come_back(net, port, resumes=tickets or net.version == "TLSv1.2")


# --- what is no good is a full handshake there, too ---

SPOILT = {"key's name": 3, "iv": 20, "session": 40, "hmac": -1}


def spoilt(encoded: bytes, at: int) -> bytes:
    """Flip a bit of the ticket in what our client keeps."""
    found = ClientSession.decode(encoded)
    assert found is not None
    ticket, _ = split(dict(elements(found.data))[TICKET])
    changed = bytearray(ticket)
    changed[at] ^= 1
    return replace(found, data=retold(found.data, {TICKET: tlv(0x04, bytes(changed))})).encode()


async def offer_spoilt(net: Net, port: int) -> None:
    """Come with tickets of which a bit was flipped, with one of a stranger, and with the session for another cipher."""
    sessions: list[bytes] = []
    await return_to(net, port, sessions)
    for at in SPOILT.values():
        assert not await return_to(net, port, sessions, session=spoilt(sessions[-1], at))
    async with net.serve(greet) as ours:
        stranger = await visit(net, ours)
    assert not await return_to(net, port, sessions, session=stranger.session)
    if net.version == "TLSv1.2":
        strong, weak = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"
        await return_to(net, port, sessions, ciphers=weak)
        assert not await return_to(net, port, sessions, ciphers=strong, session=sessions[-1])


async def test_openssl_and_spoilt_sessions(net: Net, part: Part) -> None:
    """It shakes hands in full."""
    with foreign_servers.openssl(replace(part, identity=pki.localhost()), tickets=True) as port:
        await offer_spoilt(net, port)


async def test_nginx_and_spoilt_sessions(net: Net, nginx: dict[bool, int]) -> None:
    """The same."""
    await offer_spoilt(net, nginx[True])


async def test_node_and_spoilt_sessions(net: Net, node: Node) -> None:
    """The same."""
    who = pki.localhost()
    options = {"minVersion": net.version, "maxVersion": net.version, "cert": who.chain_pem, "key": who.key_pem}
    await offer_spoilt(net, await node.listen(options, {"greet": True}))
