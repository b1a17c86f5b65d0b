"""Sessions never cross trust: attacks by ticket, with the standard library as the client that resumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import pki
import stdlib_peer
import tlsio

if TYPE_CHECKING:
    from net import Version

PLAIN, STRICT = "plain.example", "strict.example"
KEYS = bytes(range(48))


def greet(sock: tlsio.TLSSocket) -> None:
    """Say how the server sees the client, and close."""
    sock.write(f"{sock.authorized} {sock.is_session_reused()} {sock.authorization_error}".encode())
    sock.close()


def identity(who: pki.Identity | None = None, **options: Any) -> dict[str, Any]:
    """Return the options of a server."""
    who = who or pki.localhost()
    return {"cert": who.chain_pem, "key": who.key_pem, "request_cert": False, **options}


TRUST: dict[str, dict[str, Any]] = {
    "certificate demanded": {"request_cert": True},
    "certificate asked for": {"request_cert": True, "reject_unauthorized": False},
    "crl": {"crl": pki.ca1_crl()},
    "another ca": {"ca": pki.ca2().cert_pem},
    "more ca": {"extra_ca": pki.ca2().cert_pem},
    "pins": {"pins": [bytes(32)]},
}


async def test_ticket_resumes_at_the_same_name(version: Version) -> None:
    """Or the attacks below would prove nothing."""
    client = stdlib_peer.client(version=version)
    async with tlsio.serve(greet, 0, "127.0.0.1", **identity(ca=pki.ca1().cert_pem)) as server:
        first = await stdlib_peer.visit(server, client)
        second = await stdlib_peer.visit(server, client, session=first.session)
        assert (first.reused, second.reused, second.data) == (False, True, b"False True None")
        stats = server.stats()
        assert (stats.handshakes_full, stats.handshakes_resumed) == (1, 1)


@pytest.mark.parametrize("trust", list(TRUST))
async def test_ticket_does_not_cross_to_a_name_of_other_trust(version: Version, trust: str) -> None:
    """A ticket of one name is a full handshake at another one, both ways (the class of CVE-2025-23419)."""
    client = stdlib_peer.client(version=version)
    base = {"ca": pki.ca1().cert_pem}
    async with tlsio.serve(greet, 0, "127.0.0.1", **identity(**base)) as server:
        server.add_context(STRICT, TRUST[trust])
        first = await stdlib_peer.visit(server, client, PLAIN)
        attack = await stdlib_peer.visit(server, client, STRICT, session=first.session)
        assert not attack.reused
        expected = {"certificate demanded": b"", "certificate asked for": b"False False UNABLE_TO_GET_ISSUER_CERT"}
        assert attack.data == expected.get(trust, b"False False None")
        if attack.session is not None:
            back = await stdlib_peer.visit(server, client, PLAIN, session=attack.session)
            assert not back.reused


async def test_ticket_does_not_cross_to_a_name_that_demands_a_certificate(version: Version) -> None:
    """Nobody gets in who has shown nothing, whatever he resumes; who shows one gets in."""
    stranger = stdlib_peer.client(version=version)
    async with tlsio.serve(greet, 0, "127.0.0.1", **identity(ca=pki.ca1().cert_pem)) as server:
        server.add_context(STRICT, identity(pki.leaf(STRICT), request_cert=True))
        first = await stdlib_peer.visit(server, stranger, PLAIN)
        attack = await stdlib_peer.visit(server, stranger, STRICT, session=first.session)
        assert attack.data == b""
        assert attack.reason in ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE")
        friend = await stdlib_peer.visit(server, stdlib_peer.client(pki.client(), version=version), STRICT)
        assert friend.data == b"True False None"


@pytest.mark.parametrize("trust", list(TRUST))
async def test_ticket_does_not_survive_changed_trust(version: Version, trust: str) -> None:
    """`set_secure_context` with another trust ends the old tickets."""
    client = stdlib_peer.client(pki.client(), version=version)
    async with tlsio.serve(greet, 0, "127.0.0.1", **identity(ca=pki.ca1().cert_pem)) as server:
        first = await stdlib_peer.visit(server, client)
        server.set_secure_context(**TRUST[trust])
        second = await stdlib_peer.visit(server, client, session=first.session)
        assert not second.reused


async def test_revoked_client_does_not_resume(version: Version) -> None:
    """A CRL that comes later ends its session, and refuses it."""
    client = stdlib_peer.client(pki.agent4(), version=version)
    async with tlsio.serve(greet, 0, "127.0.0.1", **identity(ca=pki.ca2().cert_pem, request_cert=True)) as server:
        first = await stdlib_peer.visit(server, client)
        assert first.data == b"True False None"
        again = await stdlib_peer.visit(server, client, session=first.session)
        assert again.data == b"True True None"
        server.set_secure_context(crl=pki.ca2_crl())
        last = await stdlib_peer.visit(server, client, session=again.session or first.session)
        assert (last.data, last.reason) == (b"", "SSLV3_ALERT_CERTIFICATE_REVOKED")


async def test_ticket_survives_another_certificate(version: Version) -> None:
    """A renewed certificate or key is no other trust."""
    client = stdlib_peer.client(version=version)
    async with tlsio.serve(greet, 0, "127.0.0.1", **identity()) as server:
        first = await stdlib_peer.visit(server, client)
        renewed = pki.leaf("localhost")
        server.set_secure_context(cert=renewed.cert_pem, key=renewed.key_pem)
        second = await stdlib_peer.visit(server, client, session=first.session)
        assert second.reused
        third = await stdlib_peer.visit(server, client)
        assert third.certificate == renewed.cert_der


@pytest.mark.parametrize("trust", list(TRUST))
async def test_ticket_does_not_cross_to_another_server_with_the_same_keys(version: Version, trust: str) -> None:
    """Servers of one cluster resume each other's sessions under equal trust only."""
    client = stdlib_peer.client(version=version)
    options = identity(ca=pki.ca1().cert_pem, ticket_keys=KEYS)
    async with (
        tlsio.serve(greet, 0, "127.0.0.1", **options) as one,
        tlsio.serve(greet, 0, "127.0.0.1", **options) as twin,
        tlsio.serve(greet, 0, "127.0.0.1", **(options | TRUST[trust])) as other,
    ):
        first = await stdlib_peer.visit(one, client)
        attack = await stdlib_peer.visit(other, client, session=first.session)
        assert not attack.reused
        friend = await stdlib_peer.visit(twin, client, session=first.session)
        assert friend.reused


async def test_given_session_id_context_does_not_open_a_name(version: Version) -> None:
    """It holds for the server's own trust; a name of another trust is still apart."""
    client = stdlib_peer.client(version=version)
    options = identity(ca=pki.ca1().cert_pem, ticket_keys=KEYS, session_id_context="cluster")
    async with (
        tlsio.serve(greet, 0, "127.0.0.1", **options) as one,
        tlsio.serve(greet, 0, "127.0.0.1", **options) as twin,
    ):
        one.add_context(STRICT, {"request_cert": True})
        first = await stdlib_peer.visit(one, client)
        attack = await stdlib_peer.visit(one, client, STRICT, session=first.session)
        assert attack.data == b""
        friend = await stdlib_peer.visit(twin, client, session=first.session)
        assert friend.reused


async def test_resumed_client_is_as_unauthorized_as_it_was(version: Version) -> None:
    """With `reject_unauthorized=False` a bad certificate is let pass; resuming does not make it a good one."""
    client = stdlib_peer.client(pki.self_signed(), version=version)
    options = identity(ca=pki.ca1().cert_pem, request_cert=True, reject_unauthorized=False)
    async with tlsio.serve(greet, 0, "127.0.0.1", **options) as server:
        first = await stdlib_peer.visit(server, client)
        second = await stdlib_peer.visit(server, client, session=first.session)
        assert first.data == b"False False DEPTH_ZERO_SELF_SIGNED_CERT"
        assert second.data == b"False True DEPTH_ZERO_SELF_SIGNED_CERT"


@pytest.mark.node("26: authorized needs a certificate")
async def test_resumed_client_without_a_certificate_is_not_authorized(version: Version) -> None:
    """It was asked for one, and let in without: nothing speaks against it, but nobody is known."""
    client = stdlib_peer.client(version=version)
    options = identity(ca=pki.ca1().cert_pem, request_cert=True, reject_unauthorized=False)
    async with tlsio.serve(greet, 0, "127.0.0.1", **options) as server:
        first = await stdlib_peer.visit(server, client)
        second = await stdlib_peer.visit(server, client, session=first.session)
    assert first.data == b"False False UNABLE_TO_GET_ISSUER_CERT"
    assert second.data == b"False True None"


async def test_resumed_client_is_known_by_the_same_pin(version: Version) -> None:
    """With `reject_unauthorized=False` a pinned certificate that was not verified stays unverified."""
    device = pki.self_signed()
    client = stdlib_peer.client(device, version=version)
    options = identity(ca=pki.ca1().cert_pem, request_cert=True, reject_unauthorized=False, pins=[device.spki_sha256])
    async with tlsio.serve(greet, 0, "127.0.0.1", **options) as server:
        first = await stdlib_peer.visit(server, client)
        second = await stdlib_peer.visit(server, client, session=first.session)
        assert first.data == b"False False DEPTH_ZERO_SELF_SIGNED_CERT"
        assert second.data == b"False True DEPTH_ZERO_SELF_SIGNED_CERT"


async def test_session_of_a_pinned_authority_is_not_resumed_where_the_leaf_counts(version: Version) -> None:
    """With `reject_unauthorized=False` the same pins mean the leaf: even one id context for both does not mix them."""
    client = stdlib_peer.client(pki.client(), version=version)
    options = identity(
        ca=pki.ca1().cert_pem, request_cert=True, pins=[pki.ca1().spki_sha256], ticket_keys=KEYS, session_id_context="cluster"
    )
    async with (
        tlsio.serve(greet, 0, "127.0.0.1", **options) as strict,
        tlsio.serve(greet, 0, "127.0.0.1", **options, reject_unauthorized=False) as soft,
    ):
        first = await stdlib_peer.visit(strict, client)
        assert first.data == b"True False None"
        assert (await stdlib_peer.visit(soft, client, session=first.session)).data == b""


async def test_pinned_client_resumes(version: Version) -> None:
    """Who met the pins then is authorized now."""
    client = stdlib_peer.client(pki.client(), version=version)
    pins = [pki.ca1().spki_sha256]
    async with tlsio.serve(greet, 0, "127.0.0.1", **identity(ca=pki.ca1().cert_pem, request_cert=True, pins=pins)) as server:
        first = await stdlib_peer.visit(server, client)
        second = await stdlib_peer.visit(server, client, session=first.session)
        assert (first.data, second.data) == (b"True False None", b"True True None")


async def test_pushed_ticket_key_leaves_the_older_readable(version: Version) -> None:
    """48 bytes go in front; a list replaces all."""
    client = stdlib_peer.client(version=version)
    async with tlsio.serve(greet, 0, "127.0.0.1", **identity(ticket_keys=KEYS)) as server:
        first = await stdlib_peer.visit(server, client)
        server.set_ticket_keys(bytes(48))
        assert server.get_ticket_keys() == bytes(48)
        second = await stdlib_peer.visit(server, client, session=first.session)
        assert second.reused
        server.set_ticket_keys([b"x" * 48])
        third = await stdlib_peer.visit(server, client, session=second.session or first.session)
        assert not third.reused
        server.set_ticket_keys([KEYS])
        fourth = await stdlib_peer.visit(server, client, session=first.session)
        assert fourth.reused


@pytest.mark.slow
async def test_replaced_ticket_key_is_forgotten_after_one_session_timeout(version: Version) -> None:
    """Else a stolen old key would open the server for ever. The other server's timeout is too long to be over in this test."""
    client = stdlib_peer.client(version=version)
    async with (
        tlsio.serve(greet, 0, "127.0.0.1", **identity(session_timeout=1, ticket_keys=KEYS)) as server,
        tlsio.serve(greet, 0, "127.0.0.1", **identity(session_timeout=3600, ticket_keys=KEYS)) as patient,
        tlsio.serve(greet, 0, "127.0.0.1", **identity(ticket_keys=KEYS)) as forger,
    ):
        server.set_ticket_keys(bytes(48))
        patient.set_ticket_keys(bytes(48))
        for _ in range(20):
            forged = await stdlib_peer.visit(forger, client)
            assert (await stdlib_peer.visit(patient, client, session=forged.session)).reused
            if not (await stdlib_peer.visit(server, client, session=forged.session)).reused:
                return
            await stdlib_peer.pause(0.5)
        pytest.fail("the old key still decrypts")


async def test_ticket_keys_given_with_a_new_context_are_used(version: Version) -> None:
    """They belong to the server as a whole."""
    async with tlsio.serve(greet, 0, "127.0.0.1", **identity()) as server:
        server.set_secure_context(ticket_keys=KEYS)
        assert server.get_ticket_keys() == KEYS
        before = server.get_ticket_keys()
        server.set_secure_context(max_version=version)
        assert server.get_ticket_keys() == before


@pytest.mark.node("tls-ticket-invalid-arg")
@pytest.mark.parametrize(
    ("keys", "code"), [("x" * 48, "ERR_INVALID_ARG_TYPE"), (b"x", "ERR_INVALID_ARG_VALUE"), ([], "ERR_INVALID_ARG_VALUE")]
)
def test_ticket_keys_are_checked(keys: Any, code: str) -> None:
    """As in Node; the old ones stay."""
    server = tlsio.create_server()
    before = server.get_ticket_keys()
    with pytest.raises(tlsio.UsageError) as caught:
        server.set_ticket_keys(keys)
    assert caught.value.code == code
    assert server.get_ticket_keys() == before
