"""The verdict that a session was made by: when it ends, what it remembers, and that renewal does not begin it anew."""

from __future__ import annotations

import dataclasses
import datetime as dt
import struct
import time
from contextlib import suppress
from ssl import SSLError
from typing import TYPE_CHECKING, Any

import pytest

import pki
import responses
import tlsio
from asn1 import elements, tlv
from memory import TLS_1_2, TLS_1_3, server_of, shake, std_client
from net import once
from sessions import Store, greet, retold, visit
from tlsio.session.client_session import ClientSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLObject

    from net import Net, Pair

APPDATA = 0xB2  # the field of OpenSSL's session (ssl/ssl_asn1.c): the engine's mark
MAGIC, TRUST = b"tlsiomk1", 32
HOUR, DAY = dt.timedelta(hours=1), 86400
MUTUAL = {"request_cert": True, "ca": pki.ca1().cert_pem}
CLIENT = {"cert": pki.client().cert_pem, "key": pki.client().key_pem}


def instants(data: bytes) -> tuple[int, int]:
    """When the first handshake of a stored session was, and when its verdict ends."""
    found: tuple[int, int] = struct.unpack_from("!qq", data, data.index(MAGIC) + len(MAGIC) + TRUST)
    return found


def moved(data: bytes, *, first: int = 0, end: int = 0) -> bytes:
    """Move the instants of a stored session by so many seconds."""
    at = data.index(MAGIC) + len(MAGIC) + TRUST
    old = instants(data)
    return data[:at] + struct.pack("!qq", old[0] + first, old[1] + end) + data[at + 16 :]


def unmarked(data: bytes) -> bytes:
    """What another program would have stored."""
    return retold(data, {APPDATA: tlv(0x04, b"")})


def short() -> pki.Identity:
    """Make a client's certificate that ends soon."""
    return pki.leaf("client", issuer=pki.ca1(), not_after=pki.NOW + HOUR)


# --- of a server ---


@pytest.mark.parametrize("asks", [False, True])
async def test_renewal_keeps_the_first_instant(net: Net, asks: bool) -> None:  # noqa: FBT001
    """However often a client comes back."""
    store = Store()
    options = MUTUAL if asks else {}
    async with net.serve(greet, session_store=store, session_timeout=1000, **options) as server:
        session = (await visit(net, server, **CLIENT)).session
        for _ in range(2):
            for key, data in store.kept.items():
                store.kept[key] = moved(data, first=-300, end=-300)
            back = await visit(net, server, session=session, **CLIENT)
            assert back.reused
            session = back.sessions[-1] if back.sessions else session  # TLS 1.2 goes on with the one
        found = [instants(data) for data in store.kept.values()]
        assert min(first for first, _ in found) < time.time() - 500
        assert all(end == first + 1000 for first, end in found)
        if net.version == "TLSv1.3":
            assert min(store.lives) < 500  # what a store is told
        for key, data in store.kept.items():
            store.kept[key] = moved(data, first=-500, end=-500)
        again = await visit(net, server, session=session, **CLIENT)
        assert (again.reused, again.authorized) == (False, True)


@pytest.mark.parametrize(("first", "end"), [(-1000, 0), (0, -1000), (3600, 3600)], ids=["too old", "ended", "of a clock that went back"])
async def test_stored_session_whose_time_is_over(net: Net, first: int, end: int) -> None:
    """It is replayed as it was."""
    store = Store()
    async with net.serve(greet, session_store=store, session_timeout=1000, **MUTUAL) as server:
        back = await visit(net, server, **CLIENT)
        for key, data in store.kept.items():
            store.kept[key] = moved(data, first=first, end=end)
        assert not (await visit(net, server, session=back.session, **CLIENT)).reused


async def test_session_without_a_mark(net: Net) -> None:
    """Made by Node, or an older version: nobody knows which certificate was verified, when, and until when."""
    for options, reused in (({}, True), (MUTUAL, False), (MUTUAL | {"resume_unmarked": True}, True)):
        store = Store()
        async with net.serve(greet, session_store=store, **options) as server:
            back = await visit(net, server, **CLIENT)
            for key, data in store.kept.items():
                assert APPDATA in dict(elements(data))
                store.kept[key] = unmarked(data)
            assert (await visit(net, server, session=back.session, **CLIENT)).reused == reused


async def test_shorter_session_timeout_ends_older_sessions(net: Net) -> None:
    """A reload decides for what was made before it, too."""
    store = Store()
    async with net.serve(greet, session_store=store, session_timeout=1000) as server:
        back = await visit(net, server)
        for key, data in store.kept.items():
            store.kept[key] = moved(data, first=-300)
        server.set_secure_context(session_timeout=200)
        assert not (await visit(net, server, session=back.session)).reused


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize("who", ["leaf", "intermediate"])
def test_client_is_told_of_the_verdicts_end(who: str, version: int) -> None:
    """Of the certificate that ends first, not of the leaf alone."""
    end = pki.NOW + HOUR
    identity = short() if who == "leaf" else pki.leaf("client", issuer=pki.authority("soon", issuer=pki.ca1(), not_after=end))
    outcome = shake(server_of(pki.localhost(), session_timeout=DAY, **MUTUAL), std_client(ca=pki.ca1(), identity=identity, version=version))
    assert outcome.opened
    assert 0 < hint_of(outcome.peer) <= 3600


def hint_of(peer: SSLObject) -> int:
    """Seconds that a client's ticket is good for, as it was told."""
    with suppress(SSLError):
        peer.read()
    assert peer.session is not None
    return peer.session.ticket_lifetime_hint


@pytest.mark.parametrize("version", ["TLSv1.3"])
async def test_certificate_shown_later_is_remembered_with_the_first_instant(net: Net) -> None:
    """The session of a post-handshake authentication is as old as its connection, and ends with the certificate."""
    store, who = Store(), short()
    options = {"ca": pki.ca1().cert_pem, "session_store": store, "session_timeout": DAY}
    async with net.serve(**options) as server:
        let_in = once(server, "secure_connection")
        sock = await net.connect(server, cert=who.cert_pem, key=who.key_pem)
        peer = await let_in
        before = {instants(data)[0] for data in store.kept.values()}
        store.kept.clear()
        peer.on("data", lambda _: None)
        asking = peer.renegotiate(request_cert=True)
        sock.on("data", lambda _: None)
        await asking
        assert peer.authorized
        found = [instants(data) for data in store.kept.values()]
        assert {first for first, _ in found} == before
        assert {end for _, end in found} == {int((pki.NOW + HOUR).timestamp())}
        sock.destroy()
        await sock.wait_closed()


# --- of a client ---


def read(encoded: bytes) -> ClientSession:
    """Look into what a client keeps."""
    found = ClientSession.decode(encoded)
    assert found is not None
    return found


async def test_clients_renewal_keeps_the_first_instant(net: Net) -> None:
    """And the end: `session_timeout` behind the first handshake."""
    async with net.serve(greet) as server:
        first = await visit(net, server, session_timeout=1000)
        made = read(first.session)
        assert abs(made.verified_at - time.time()) < 30
        assert made.valid_until == made.verified_at + 1000
        older = dataclasses.replace(made, verified_at=made.verified_at - 600, valid_until=made.valid_until - 600).encode()
        second = await visit(net, server, session_timeout=1000, session=older)
        assert second.reused
        for session in second.sessions:
            assert read(session).verified_at == made.verified_at - 600
            assert read(session).valid_until == made.valid_until - 600


SPENT: dict[str, Callable[[ClientSession], ClientSession]] = {
    "too old": lambda one: dataclasses.replace(one, verified_at=one.verified_at - 1000),
    "ended": lambda one: dataclasses.replace(one, valid_until=int(time.time()) - 1),
    "of a clock that went back": lambda one: dataclasses.replace(one, verified_at=one.verified_at + 3600),
}


@pytest.mark.parametrize("how", SPENT)
async def test_client_offers_no_session_whose_time_is_over(net: Net, how: str) -> None:
    """It verifies the server again."""
    async with net.serve(greet) as server:
        first = await visit(net, server, session_timeout=1000)
        spent = SPENT[how](read(first.session)).encode()
        assert not (await visit(net, server, session_timeout=1000, session=spent)).reused


async def test_servers_certificate_bounds_the_clients_session(net: Net) -> None:
    """Also that of an intermediate."""
    who = pki.leaf("localhost", issuer=pki.ca1(), names=["localhost"], not_after=pki.NOW + HOUR)
    async with net.serve(greet, cert=who.cert_pem, key=who.key_pem) as server:
        back = await visit(net, server, session_timeout=DAY)
        assert read(back.session).valid_until == int((pki.NOW + HOUR).timestamp())


async def test_list_that_has_to_be_replaced_ends_the_clients_sessions(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full handshake would fail for want of a current list."""
    crl = pki.revocation_list(pki.ca1(), revoked=[], next_update=pki.NOW + HOUR)
    versions = {"min_version": net.version, "max_version": net.version}
    context = tlsio.create_secure_context(ca=pki.ca1().cert_pem, crl=crl, session_timeout=DAY, **versions)
    assert context.lists_end == int((pki.NOW + HOUR).timestamp())
    async with net.serve(greet) as server:
        first = await visit(net, server, secure_context=context)
        assert (await visit(net, server, secure_context=context, session=first.session)).reused
        later = time.time() + 3601
        monkeypatch.setattr("tlsio.connection.handshake.client_handshake.time.time", lambda: later)
        assert not (await visit(net, server, secure_context=context, session=first.session)).reused


@pytest.mark.parametrize("ocsp", ["check", "require"])
async def test_response_bounds_the_clients_session(net: Net, ocsp: str) -> None:
    """Its nextUpdate is the end of what it says."""
    end = pki.NOW + HOUR
    good = responses.respond(pki.localhost(), next_update=end)
    async with net.serve(greet, ocsp_request=lambda *_: good) as server:
        assert read((await visit(net, server, ocsp=ocsp, session_timeout=DAY)).session).valid_until == int(end.timestamp())


async def test_refusal_by_a_response_is_remembered(net: Net) -> None:
    """With `reject_unauthorized=False` the server is let in, and never taken for authorized; also by a session of a session."""
    bad = responses.respond(pki.localhost(), status=responses.REVOKED)
    options = {"ocsp": "check", "reject_unauthorized": False}
    async with net.serve(greet, ocsp_request=lambda *_: bad) as server:
        back = await visit(net, server, **options)
        assert (back.reused, back.authorized, back.error) == (False, False, "CERT_REVOKED")
        session = back.session
        for _ in range(2):
            back = await visit(net, server, session=session, **options)
            assert (back.reused, back.authorized, back.error) == (True, False, "CERT_REVOKED")
            session = back.sessions[-1] if back.sessions else session


async def test_what_was_not_looked_at_is_not_found_good_later(net: Net) -> None:
    """A check of the name refused the server, so no response was judged; another check must not make it authorized."""
    bad = responses.respond(pki.localhost(), status=responses.REVOKED)
    options = {"ocsp": "check", "reject_unauthorized": False}

    def refuse(_name: str, _certificate: Any) -> Exception:
        return ValueError("not this one")

    async with net.serve(greet, ocsp_request=lambda *_: bad) as server:
        back = await visit(net, server, check_server_identity=refuse, **options)
        assert (back.authorized, back.error) == (False, "ERR_TLS_CERTIFICATE")
        again = await visit(net, server, session=back.session, check_server_identity=lambda *_: None, **options)
        assert (again.reused, again.authorized, again.error) == (True, False, "ERR_TLS_CERTIFICATE")


# --- a fault of our own ---


@pytest.mark.parametrize("side", ["client", "server"])
async def test_fault_of_our_own_ends_the_connection(pair: Pair, side: str, loop_errors: list[dict[str, Any]]) -> None:
    """Who waits is woken, and `error` and `close` are told; the other connections go on."""
    async with pair() as (client, peer, server):
        sock, told = (client if side == "client" else peer), []
        sock.on("error", told.append)
        sock.on("close", told.append)
        fault = RuntimeError("a fault of our own")
        sock._crashed(fault)
        assert told == [fault, True]
        with pytest.raises(RuntimeError):
            await sock.read()
        await sock.wait_closed()
        sock._crashed(fault)  # and again, on its way
        assert [context["exception"] for context in loop_errors] == [fault]
        loop_errors.clear()
        del server
