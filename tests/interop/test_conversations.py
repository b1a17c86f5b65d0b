"""A word there and back with every foreign peer: as client and as server, with client certificates and without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import pki
import tlsio

if TYPE_CHECKING:
    from foreign_peers import Part, Peer
    from net import Net

LINE = b"a word from afar\n"


async def echo(socket: tlsio.TLSSocket) -> None:
    """Send back what comes."""
    async for chunk in socket:
        await socket.send(chunk)


def common_name(socket: tlsio.TLSSocket) -> object:
    """Return who the other side says it is."""
    certificate = socket.get_peer_certificate()
    return certificate and certificate["subject"]["CN"]


async def test_their_client_gets_its_echo(peer: Peer, net: Net, part: Part) -> None:
    """A client that trusts our authority talks to our server."""
    async with net.serve(echo) as server:
        heard = await peer.talk(net.port(server), part, LINE)
    assert (heard.data, heard.protocol, heard.error) == (LINE, net.version, "")


async def test_their_client_shows_its_certificate(peer: Peer, net: Net, part: Part) -> None:
    """Our server knows who it talks to."""
    seen = []

    async def look(socket: tlsio.TLSSocket) -> None:
        seen.append((socket.authorized, common_name(socket), socket.get_protocol(), socket.servername))
        await echo(socket)

    async with net.serve(look, ca=pki.ca1().cert_pem, request_cert=True) as server:
        heard = await peer.talk(net.port(server), replace(part, identity=pki.client()), LINE)
    assert heard.data == LINE
    assert seen == [(True, "client", net.version, "localhost")]


@pytest.mark.node("tls-no-rsa-key")
@pytest.mark.parametrize("who", ["ec", "rsa", "chained"])
async def test_their_client_accepts_each_kind_of_certificate(who: str, peer: Peer, net: Net, part: Part) -> None:
    """EC, RSA, and one that needs its intermediate."""
    identity = {"ec": pki.localhost, "rsa": pki.localhost_rsa, "chained": pki.chained}[who]()
    async with net.serve(echo, cert=identity.chain_pem, key=identity.key_pem) as server:
        heard = await peer.talk(net.port(server), part, LINE)
    assert (heard.data, heard.error) == (LINE, "")


@pytest.mark.node("tls-no-rsa-key")
async def test_our_client_gets_its_echo(peer: Peer, net: Net, part: Part) -> None:
    """A server that our authority vouches for talks to our client, who ends first."""
    async with peer.serve(replace(part, identity=pki.localhost())) as service:
        async with tlsio.connect(service.port, "127.0.0.1", **net.client_options()) as socket:
            assert (socket.authorized, common_name(socket), socket.get_protocol()) == (True, "localhost", net.version)
            await socket.send(LINE)
            assert await socket.readline() in {LINE, LINE[-2::-1] + b"\n"}  # OpenSSL's server turns the line round
        heard = await service.heard()
    assert (heard.protocol, heard.who, heard.error) == (net.version, None, "")


async def test_our_client_shows_its_certificate(peer: Peer, net: Net, part: Part) -> None:
    """Their server asks for it, and knows whom it talks to."""
    me = pki.client()
    async with peer.serve(replace(part, identity=pki.localhost(), request_cert=True)) as service:
        async with tlsio.connect(service.port, "127.0.0.1", **net.client_options(cert=me.cert_pem, key=me.key_pem)) as socket:
            await socket.send(LINE)
            assert len(await socket.readline()) == len(LINE)
        heard = await service.heard()
    assert (heard.who, heard.error) == ("client", "")


async def test_the_same_protocol_is_agreed_on(peer: Peer, net: Net, part: Part) -> None:
    """Their client offers two protocols, our server prefers the second."""
    agreed = []

    async def look(socket: tlsio.TLSSocket) -> None:
        agreed.append(socket.alpn_protocol)
        await echo(socket)

    async with net.serve(look, alpn_protocols=["echo/2", "echo/1"]) as server:
        heard = await peer.talk(net.port(server), replace(part, alpn=("echo/1", "echo/2")), LINE)
    assert heard.data == LINE
    assert agreed == ["echo/2"]
    assert heard.alpn in {"echo/2", None}  # OpenSSL's command line does not tell


async def test_their_server_chooses_our_protocol(peer: Peer, net: Net, part: Part) -> None:
    """Our client offers two protocols, their server knows one of them."""
    async with peer.serve(replace(part, identity=pki.localhost(), alpn=("echo/1",))) as service:
        async with tlsio.connect(service.port, "127.0.0.1", alpn_protocols=["echo/2", "echo/1"], **net.client_options()) as socket:
            assert socket.alpn_protocol == "echo/1"
        await service.heard()
