"""`set_key_cert`: another certificate for one connection, chosen while the client's hello is looked at."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

import pki
import stdlib_peer
import tlsio
from net import Net

if TYPE_CHECKING:
    from net import Driver, Pair, Version

OTHER_VERSION = {"TLSv1.2": "TLSv1.3", "TLSv1.3": "TLSv1.2"}
ACME = "acme-tls/1"


def options_of(who: pki.Identity, **options: Any) -> dict[str, Any]:
    """Return the options of a context with that certificate."""
    return {"cert": who.chain_pem, "key": who.key_pem, **options}


def challenge() -> pki.Identity:
    """Return a certificate as for tls-alpn-01: signed by itself."""
    return pki.self_signed()


def shown_to(client: tlsio.TLSSocket) -> bytes:
    """Return the certificate that a client has seen."""
    found = client.get_peer_certificate()
    assert found is not None
    return bytes(found.raw)


@pytest.mark.node("tls-server-setkeycert")
@pytest.mark.parametrize("given", ["options", "context"])
@pytest.mark.parametrize("when", ["sync", "async"])
async def test_a_certificate_for_one_protocol(net: Net, version: Version, given: str, when: str) -> None:
    """Settings of the other context do not count: it would not even speak this version. Other protocols see the usual one."""
    other: Any = options_of(challenge(), min_version=OTHER_VERSION[version], max_version=OTHER_VERSION[version])
    if given == "context":
        other = tlsio.create_secure_context(**other)

    def choose(_name: str | None, protocols: list[str], sock: tlsio.TLSSocket) -> str:
        if ACME in protocols:
            sock.set_key_cert(other)
        return protocols[0]

    async def choose_later(name: str | None, protocols: list[str], sock: tlsio.TLSSocket) -> str:
        await asyncio.sleep(0)
        return choose(name, protocols, sock)

    async with net.serve(alpn_callback=choose if when == "sync" else choose_later) as server:
        for protocol, who in ((ACME, challenge()), ("h2", pki.localhost())):
            sock = await net.connect(server, alpn_protocols=[protocol], reject_unauthorized=False)
            assert (sock.alpn_protocol, sock.get_protocol(), shown_to(sock)) == (protocol, version, who.cert_der)
            sock.destroy()
            await sock.wait_closed()


async def test_the_standard_library_sees_it(version: Version) -> None:
    """The whole of what an ACME server looks at: name, protocol, certificate."""

    def choose(name: str | None, _protocols: list[str], sock: tlsio.TLSSocket) -> str:
        assert (name, sock.client_hello and sock.client_hello.server_name) == ("localhost", "localhost")
        sock.set_key_cert(options_of(challenge()))
        return ACME

    async with Net("native", version).serve(lambda sock: sock.end(b"x"), alpn_callback=choose) as server:
        seen = await stdlib_peer.visit(server, stdlib_peer.client(version=version, alpn=[ACME]))
    assert (seen.reason, seen.version, seen.alpn, seen.certificate) == ("", version, ACME, challenge().cert_der)


async def test_it_wins_over_the_context_of_the_name(net: Net) -> None:
    """Whichever is chosen first; what else that context sets holds."""

    def choose(_name: str, sock: tlsio.TLSSocket) -> dict[str, Any]:
        sock.set_key_cert(options_of(challenge(), alpn_protocols=["of no effect"]))
        return options_of(pki.wildcard(), alpn_protocols=["named"])

    async with net.serve(sni_callback=choose) as server:
        sock = await net.connect(server, alpn_protocols=["named"], reject_unauthorized=False)
        assert (shown_to(sock), sock.alpn_protocol) == (challenge().cert_der, "named")
        sock.destroy()
        await sock.wait_closed()


async def test_the_last_one_counts(pair: Pair) -> None:
    """And it is what the server's socket tells of itself."""

    def choose(_name: str, sock: tlsio.TLSSocket) -> None:
        sock.set_key_cert(options_of(challenge()))
        sock.set_key_cert(options_of(pki.chained()))

    async with pair(server={"sni_callback": choose}) as (near, far, _):
        assert shown_to(near) == pki.chained().cert_der
        assert len(near.get_verified_chain()) == 3  # the intermediate was sent along
        own = far.get_certificate()
        assert own is not None
        assert own.raw == pki.chained().cert_der


@pytest.mark.parametrize(("sigalgs", "who"), [("ECDSA+SHA256", pki.localhost), ("RSA-PSS+SHA256:RSA+SHA256", pki.localhost_rsa)])
async def test_all_its_certificates_are_taken(net: Net, sigalgs: str, who: Any) -> None:
    """The one that fits the client is shown."""
    certs, keys = [pki.localhost().cert_pem, pki.localhost_rsa().cert_pem], [pki.localhost().key_pem, pki.localhost_rsa().key_pem]
    both = tlsio.create_secure_context(cert=certs, key=keys)
    async with net.serve(**options_of(challenge()), sni_callback=lambda _name, sock: sock.set_key_cert(both)) as server:
        sock = await net.connect(server, sigalgs=sigalgs)
        assert shown_to(sock) == who().cert_der
        sock.destroy()
        await sock.wait_closed()


async def test_whom_the_server_trusts_does_not_change(pair: Pair) -> None:
    """The other context trusts nobody and asks for nothing."""
    other = options_of(pki.localhost(), ca=[], request_cert=False)
    who = pki.client()
    server = {"ca": pki.ca1().cert_pem, "request_cert": True, "sni_callback": lambda _name, sock: sock.set_key_cert(other)}
    async with pair(server=server, client=options_of(who)) as (near, far, _):
        near.write(b"x")
        assert await far.read() == b"x"
        assert far.authorized


async def test_it_may_be_given_before_the_handshake(version: Version) -> None:
    """Of `TLSSocket(stream, is_server=True)`; not after it."""
    near, far = socket.socketpair()
    server = tlsio.TLSSocket(near, is_server=True, **options_of(pki.localhost(), max_version=version))
    client = tlsio.TLSSocket(far, servername="localhost", reject_unauthorized=False)
    server.set_key_cert(options_of(challenge()))
    await asyncio.gather(server.handshake(), client.handshake())
    assert shown_to(client) == challenge().cert_der
    with pytest.raises(tlsio.UsageError, match="too late") as caught:
        server.set_key_cert(options_of(challenge()))
    assert caught.value.code == "ERR_TLS_INVALID_STATE"
    await asyncio.gather(server.aclose(), client.aclose())


def test_a_client_has_its_certificate_from_the_start() -> None:
    """Its sessions are kept under it."""
    client = tlsio.create_secure_pair(servername="localhost", reject_unauthorized=False)
    with pytest.raises(tlsio.UsageError, match="client") as caught:
        client.cleartext.set_key_cert(options_of(challenge()))
    assert caught.value.code == "ERR_TLS_INVALID_STATE"


def test_a_pair_has_it_too() -> None:
    """Before the first byte, and in its hooks."""
    server = tlsio.create_secure_pair(is_server=True, **options_of(pki.localhost()))
    client = tlsio.create_secure_pair(servername="localhost", reject_unauthorized=False)
    server.cleartext.set_key_cert(options_of(challenge()))
    for _ in range(3):
        server.encrypted.write(client.encrypted.read())
        client.encrypted.write(server.encrypted.read())
    found = client.cleartext.get_peer_certificate()
    assert found is not None
    assert found.raw == challenge().cert_der


async def test_it_is_too_late_when_the_client_is_judged(pair: Pair) -> None:
    """What raises in a hook ends the handshake; here the hook takes it."""
    raised: list[str] = []

    def check(_certificate: object, sock: tlsio.TLSSocket) -> None:
        try:
            sock.set_key_cert(options_of(challenge()))
        except tlsio.UsageError as error:
            raised.append(error.code)

    async with pair(server={"check_client": check}) as (near, far, _):
        near.write(b"x")
        assert await far.read() == b"x"
        assert shown_to(near) == pki.localhost().cert_der
    assert raised == ["ERR_TLS_INVALID_STATE"]


WEAK = "DEFAULT@SECLEVEL=0"


@pytest.mark.parametrize(
    ("context", "error", "code"),
    [
        ({}, tlsio.ConfigError, "ERR_CRYPTO_OPERATION_FAILED"),
        ({"cert": pki.localhost().cert_pem}, tlsio.ConfigError, "ERR_TLS_CERT_WITHOUT_KEY"),
        (
            options_of(pki.leaf("weak", key=pki.rsa.generate_private_key(65537, 1024)), ciphers=WEAK),
            tlsio.ConfigError,
            "ERR_SSL_EE_KEY_TOO_SMALL",
        ),
        ("cert.pem", tlsio.UsageError, "ERR_TLS_INVALID_CONTEXT"),
        ({"certificate": b""}, tlsio.UsageError, "ERR_TLS_UNKNOWN_OPTION"),
    ],
    ids=["nothing", "no key", "weak", "path", "option"],
)
async def test_what_cannot_be_shown_raises(driver: Driver, context: Any, error: type[tlsio.TLSError], code: str) -> None:
    """In the hook, which may go on: the usual certificate is shown then."""
    net, raised = Net(driver, "TLSv1.3"), []

    def choose(_name: str, sock: tlsio.TLSSocket) -> None:
        with pytest.raises(error) as caught:
            sock.set_key_cert(context)
        raised.append(caught.value.code)

    async with net.serve(sni_callback=choose) as server:
        sock = await net.connect(server)
        assert shown_to(sock) == pki.localhost().cert_der
        sock.destroy()
        await sock.wait_closed()
    assert raised == [code]


async def test_an_error_that_the_hook_lets_go_ends_the_handshake(net: Net) -> None:
    """Closed."""
    async with net.serve(sni_callback=lambda _name, sock: sock.set_key_cert({})) as server:
        ours, theirs = await net.refused(server)
    assert isinstance(ours, tlsio.ConfigError)
    assert isinstance(theirs, tlsio.AlertReceived)
    assert theirs.alert == "internal_error"


async def test_a_destroyed_connection_takes_none(net: Net) -> None:
    """The hook has ended it itself."""
    raised: list[str] = []

    def choose(_name: str, sock: tlsio.TLSSocket) -> None:
        sock.destroy()
        try:
            sock.set_key_cert(options_of(challenge()))
        except tlsio.UsageError as error:
            raised.append(error.code)

    async with net.serve(sni_callback=choose) as server:
        with pytest.raises(tlsio.TLSError):
            await net.connect(server)
    assert raised == ["ERR_TLS_INVALID_STATE"]
