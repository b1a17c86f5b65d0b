"""Sessions that somebody has tampered with, or that belong elsewhere: a full handshake, and never an error for the peer."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

import pki
import stdlib_peer
import tlsio
from asn1 import elements, split, tlv
from net import Net
from sessions import TICKET, Store, greet, retold, visit
from tlsio.session.client_session import ClientSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Version

KEYS = bytes(range(48))
TIME, ID_CONTEXT = 0xA1, 0xA4  # more fields


def flipped(data: bytes, at: int) -> bytes:
    """Change one bit."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# --- by those who do not have the keys ---

# Name 16, IV 16, the encrypted session, HMAC 32: RFC 5077 §4.
TICKETS: dict[str, Callable[[bytes], bytes]] = {
    "name": lambda ticket: flipped(ticket, 3),
    "iv": lambda ticket: flipped(ticket, 20),
    "session": lambda ticket: flipped(ticket, 40),
    "end of the session": lambda ticket: flipped(ticket, -33),
    "hmac": lambda ticket: flipped(ticket, -1),
    "half": lambda ticket: ticket[: len(ticket) // 2],
    "name alone": lambda ticket: ticket[:16],
    "one byte": lambda ticket: b"\0",
    "longer": lambda ticket: ticket + bytes(16),
    "long": lambda ticket: ticket * 20,
    "like an id": lambda _ticket: bytes(32),
}


@pytest.mark.parametrize("how", list(TICKETS))
async def test_tampered_ticket(net: Net, how: str) -> None:
    """Whatever is in it; the session made then is a good one."""
    async with net.serve(greet) as server:
        await offer_tampered(net, server, TICKETS[how])


@pytest.mark.parametrize("version", ["TLSv1.3"])
@pytest.mark.parametrize("how", list(TICKETS))
async def test_tampered_stateful_ticket(net: Net, how: str) -> None:
    """One that is nothing but an id."""
    async with net.serve(greet, session_store=Store()) as server:
        await offer_tampered(net, server, TICKETS[how])


async def offer_tampered(net: Net, server: tlsio.Server, change: Callable[[bytes], bytes]) -> None:
    """Come with a changed ticket, and then with the one that was given for it."""
    failed: list[Any] = []
    server.on("tls_client_error", lambda error, _socket: failed.append(error))
    first = await visit(net, server)
    second = await visit(net, server, session=with_ticket(first.session, change))
    assert (second.reused, second.authorized) == (False, True)
    assert (await visit(net, server, session=second.session)).reused
    assert failed == []


def with_ticket(encoded: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return what a client keeps, with another ticket."""
    found = ClientSession.decode(encoded)
    assert found is not None
    ticket, _ = split(dict(elements(found.data))[TICKET])
    return dataclasses.replace(found, data=retold(found.data, {TICKET: tlv(0x04, change(ticket))})).encode()


# --- by those who have them, or who keep the sessions: another server of the cluster, older, or set up in another way ---


def opened(ticket: bytes) -> bytes:
    """Decrypt a ticket."""
    cipher = Cipher(algorithms.AES(KEYS[32:]), modes.CBC(ticket[16:32])).decryptor()
    plain = PKCS7(128).unpadder()
    return plain.update(cipher.update(ticket[32:-32])) + plain.finalize()


def sealed(session: bytes) -> bytes:
    """Encrypt a ticket as Node and we do."""
    padded = PKCS7(128).padder()
    iv = bytes(16)
    cipher = Cipher(algorithms.AES(KEYS[32:]), modes.CBC(iv)).encryptor()
    body = KEYS[:16] + iv + cipher.update(padded.update(session) + padded.finalize())
    return body + hmac.digest(KEYS[16:32], body, hashlib.sha256)


THIS = {"TLSv1.2": tlv(0x02, b"\x03\x03"), "TLSv1.3": tlv(0x02, b"\x03\x04")}
OTHER = {"TLSv1.2": THIS["TLSv1.3"], "TLSv1.3": THIS["TLSv1.2"]}
SESSIONS: dict[str, Callable[[bytes, Version], bytes]] = {
    "expired": lambda session, _: retold(session, {TIME: tlv(0x02, (1_600_000_000).to_bytes(4))}),
    "another id context": lambda session, _: retold(session, {ID_CONTEXT: tlv(0x04, b"another")}),
    "another version": lambda session, version: session.replace(THIS[version], OTHER[version], 1),
    "a cipher that nobody knows": lambda session, _: retold(session, {0x04: b"\xfe\xfe"}),
    "half": lambda session, _: session[: len(session) // 2],
    "nothing": lambda _session, _: b"",
    "nonsense": lambda _session, _: b"nonsense" * 20,
}


@pytest.mark.parametrize("kept", ["by ticket", "in a store"])
@pytest.mark.parametrize("how", ["untouched", *SESSIONS])
async def test_session_that_does_not_fit(net: Net, how: str, kept: str) -> None:
    """It says of itself that it is of no use here."""
    store = Store()
    options: dict[str, Any] = {"session_store": store} if kept == "in a store" else {"ticket_keys": KEYS}

    def change(session: bytes) -> bytes:
        return session if how == "untouched" else SESSIONS[how](session, net.version)

    async with net.serve(greet, **options) as server:
        offered = (await visit(net, server)).session
        if kept == "in a store":
            store.kept = {name: change(session) for name, session in store.kept.items()}
        else:
            offered = with_ticket(offered, lambda ticket: sealed(change(opened(ticket))))
        second = await visit(net, server, session=offered)
        assert (second.reused, second.authorized) == (how == "untouched", True)


# --- of another name, cipher or rule ---


@pytest.mark.parametrize("kept", ["by ticket", "in a store"])
async def test_session_belongs_to_its_name_before_tls_1_3(version: Version, kept: str) -> None:
    """RFC 6066 §3; RFC 8446 §4.6.1 leaves it to the client."""
    client = stdlib_peer.client(version=version)
    modern = version == "TLSv1.3"
    async with Net("native", version).serve(greet, session_store=Store() if kept == "in a store" else None) as server:
        first = await stdlib_peer.visit(server, client, "one.example")
        assert (await stdlib_peer.visit(server, client, "one.example", session=first.session)).reused
        for other in ("two.example", None):
            visit = await stdlib_peer.visit(server, client, other, session=first.session)
            assert (visit.reused, visit.error) == (modern, None)


STRONG, WEAK = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"


@pytest.mark.parametrize("version", ["TLSv1.2"])
@pytest.mark.parametrize("kept", ["by ticket", "in a store"])
class TestCiphers:
    """In TLS 1.2 a resumed connection has the cipher of the first one."""

    async def test_server_that_has_dropped_it(self, net: Net, kept: str) -> None:
        """It is not brought back by a session."""
        store = Store() if kept == "in a store" else None
        async with net.serve(greet, ciphers=WEAK, session_store=store) as server:
            first = await visit(net, server)
            assert (await visit(net, server, session=first.session)).reused
            server.set_secure_context(ciphers=STRONG)
            assert not (await visit(net, server, session=first.session)).reused

    async def test_client_that_has_dropped_it(self, net: Net, kept: str) -> None:
        """It offers no session that the server would have to refuse it for (RFC 5246 §7.4.1.2)."""
        store = Store() if kept == "in a store" else None
        async with net.serve(greet, session_store=store) as server:
            first = await visit(net, server, ciphers=WEAK)
            assert not (await visit(net, server, ciphers=STRONG, session=first.session)).reused
            assert (await visit(net, server, ciphers=f"{STRONG}:{WEAK}", session=first.session)).reused


async def test_session_of_another_version(net: Net) -> None:
    """Offered where only the other version is spoken."""
    versions = {"min_version": "TLSv1.2", "max_version": "TLSv1.3"}
    [other] = {"TLSv1.2", "TLSv1.3"} - {net.version}
    async with net.serve(greet, **versions) as server:
        first = await visit(net, server)
        again = await visit(net, server, session=first.session, min_version=other, max_version=other)
        assert (again.reused, again.authorized) == (False, True)
        assert (await visit(net, server, session=first.session, **versions)).reused == (net.version == "TLSv1.3")


STRANGERS: dict[str, pki.Identity | None] = {"nobody": None, "self-signed": pki.self_signed(), "of another authority": pki.agent4()}


@pytest.mark.parametrize("kept", ["by ticket", "in a store"])
@pytest.mark.parametrize("who", [*STRANGERS, "a friend"])
async def test_session_of_a_lenient_server_does_not_open_a_strict_one(net: Net, who: str, kept: str) -> None:
    """They share keys and a session id context that was given: who was only let pass is asked again, and refused."""
    identity = pki.client() if who == "a friend" else STRANGERS[who]
    me = {} if identity is None else {"cert": identity.chain_pem, "key": identity.key_pem}
    options: dict[str, Any] = {"session_store": Store()} if kept == "in a store" else {"ticket_keys": KEYS}
    options |= {"session_id_context": "cluster", "ca": pki.ca1().cert_pem, "request_cert": True}
    async with net.serve(greet, reject_unauthorized=False, **options) as lenient, net.serve(greet, **options) as strict:
        first = await visit(net, lenient, **me)
        assert (await visit(net, lenient, session=first.session, **me)).reused
        if who == "a friend":
            assert (await visit(net, strict, session=first.session, **me)).reused
        else:
            told, _error = await net.refused(strict, session=first.session, **me)
            assert isinstance(told, tlsio.PeerError)
