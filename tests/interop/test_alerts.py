"""A refusal is told: the fitting alert reaches the peer, and theirs becomes an error that says what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import pki
import tlsio
from foreign_peers import PEERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from foreign_peers import Part, Peer
    from net import Net

LINE = b"let me in\n"


async def echo(socket: tlsio.TLSSocket) -> None:
    """Send back what comes."""
    async for chunk in socket:
        await socket.send(chunk)


@pytest.fixture(params=[name for name in PEERS if name != "asyncio"])
def frank_server(request: pytest.FixtureRequest) -> Peer:
    """Those who send their alerts, and tell of ours: asyncio's servers close before either."""
    return PEERS[request.param]


class Refusals:
    """What a server tells about those it did not let in."""

    def __init__(self, server: tlsio.Server) -> None:
        self.codes: list[str] = []
        server.on("tls_client_error", lambda error, _socket: self.codes.append(error.code))


async def test_a_client_of_an_unknown_authority(peer: Peer, net: Net, part: Part) -> None:
    """It hears unknown_ca."""
    async with net.serve(echo, ca=pki.ca1().cert_pem, request_cert=True) as server:
        refusals = Refusals(server)
        heard = await peer.talk(net.port(server), replace(part, identity=pki.self_signed()), LINE)
    assert "alert unknown ca" in heard.error
    assert refusals.codes == ["DEPTH_ZERO_SELF_SIGNED_CERT"]


async def test_a_client_without_a_certificate(peer: Peer, net: Net, part: Part) -> None:
    """It hears certificate_required; TLS 1.2 has no such alert."""
    async with net.serve(echo, ca=pki.ca1().cert_pem, request_cert=True) as server:
        refusals = Refusals(server)
        heard = await peer.talk(net.port(server), part, LINE)
    assert {"TLSv1.2": "alert handshake failure", "TLSv1.3": "alert certificate required"}[net.version] in heard.error
    assert refusals.codes == ["ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"]


async def test_a_client_with_another_protocol(peer: Peer, net: Net, part: Part) -> None:
    """It hears no_application_protocol (RFC 7301 §3.2)."""
    async with net.serve(echo, alpn_protocols=["echo/1"]) as server:
        refusals = Refusals(server)
        heard = await peer.talk(net.port(server), replace(part, alpn=("gopher",)), LINE)
    assert "alert no application protocol" in heard.error
    assert len(refusals.codes) == 1


async def test_a_client_whom_the_application_refuses(peer: Peer, net: Net, part: Part) -> None:
    """It hears the alert that the hook names."""

    async def check(_certificate: object, _socket: tlsio.TLSSocket) -> None:
        raise tlsio.HandshakeError("that account is closed", alert="access_denied")

    options = {"ca": pki.ca1().cert_pem, "request_cert": True, "check_client": check}
    async with net.serve(echo, **options) as server:
        heard = await peer.talk(net.port(server), replace(part, identity=pki.client()), LINE)
    assert "alert access denied" in heard.error


@pytest.mark.parametrize(
    ("identity", "code", "alert"),
    [
        (pki.self_signed, "DEPTH_ZERO_SELF_SIGNED_CERT", "unknown ca"),
        (pki.expired, "CERT_HAS_EXPIRED", "certificate expired"),
        (pki.wildcard, "ERR_TLS_CERT_ALTNAME_INVALID", "bad certificate"),
    ],
)
async def test_a_server_we_do_not_trust(
    identity: Callable[[], pki.Identity], code: str, alert: str, frank_server: Peer, net: Net, part: Part
) -> None:
    """Their server hears why, before it has heard anything else of us."""
    async with frank_server.serve(replace(part, identity=identity())) as service:
        with pytest.raises(tlsio.CertificateError) as caught:
            await tlsio.connect(service.port, "127.0.0.1", **net.client_options())
        heard = await service.heard()
    assert caught.value.code == code
    assert f"alert {alert}" in heard.error


async def test_a_server_that_wants_our_certificate(frank_server: Peer, net: Net, part: Part) -> None:
    """The hint says what is missing: with TLS 1.3 at the first read, for the handshake was done before."""
    async with frank_server.serve(replace(part, identity=pki.localhost(), request_cert=True)) as service:
        with pytest.raises(tlsio.AlertReceived) as caught:
            async with tlsio.connect(service.port, "127.0.0.1", **net.client_options()) as socket:
                await socket.read()
        await service.heard()
    assert caught.value.alert == {"TLSv1.2": "handshake_failure", "TLSv1.3": "certificate_required"}[net.version]
    assert "cert= and key=" in (caught.value.hint or "")
