"""Clients that resume: what they keep, what it is bound to, and what is judged again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import Net
from sessions import greet, visit
from tlsio.session.client_session import ClientSession

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@pytest.mark.node("tls-client-resume", "tls-client-resume-12")
async def test_session_of_the_event_is_resumed(net: Net) -> None:
    """TLS 1.2 gives one with the handshake; TLS 1.3 two behind it, and one more with each resumption."""
    modern = net.version == "TLSv1.3"
    async with net.serve(greet) as server:
        first = await visit(net, server)
        assert (first.reused, first.authorized, len(first.sessions)) == (False, True, 2 if modern else 1)
        second = await visit(net, server, session=first.session)
        assert (second.reused, second.authorized, len(second.sessions)) == (True, True, 1 if modern else 0)
        stats = server.stats()
        assert (stats.handshakes_full, stats.handshakes_resumed) == (1, 1)


@pytest.mark.node("tls-client-resume", "tls-client-resume-12")
async def test_getters_tell_the_same(net: Net) -> None:
    """`get_session` can be resumed once a ticket has come; `get_tls_ticket` is for looking at."""
    async with net.serve(greet) as server:
        async with await net.connect(server) as sock:
            assert await sock.readexactly(5) == b"hello"
            await sock.read()
            session, ticket = sock.get_session(), sock.get_tls_ticket()
            certificate = sock.get_peer_certificate()
        assert session
        assert ticket
        assert ticket in session
        async with await net.connect(server, session=session) as sock:
            await sock.readexactly(5)
            assert sock.is_session_reused()
            assert sock.get_peer_certificate() == certificate
            await sock.read()
        assert sock.get_session()  # readable after the close


async def _first_of(sock: tlsio.TLSSocket) -> bytes:
    async for chunk in sock:
        return chunk
    raise AssertionError


READS: dict[str, Callable[[tlsio.TLSSocket], Awaitable[bytes]]] = {
    "read": lambda sock: sock.read(),
    "readexactly": lambda sock: sock.readexactly(6),
    "readline": lambda sock: sock.readline(),
    "async for": _first_of,
}


async def speak_first(sock: tlsio.TLSSocket) -> None:
    """Send a line at once, and leave the connection open until the client ends it."""
    sock.write(b"hello\n")
    await sock.read()


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_sessions_are_reported_before_the_data_that_follows_them(
    net: Net, read: Callable[[tlsio.TLSSocket], Awaitable[bytes]]
) -> None:
    """A client that keeps its connections resumes too, however it reads: it may have one only until it is closed."""
    async with net.serve(speak_first) as server:
        sessions: list[bytes] = []
        issued = {"TLSv1.2": [1, 1, 1], "TLSv1.3": [2, 3, 4]}[net.version]
        for count in issued:
            async with await net.connect(server, session=sessions[-1] if sessions else None, on={"session": sessions.append}) as sock:
                assert await read(sock) == b"hello\n"
                assert len(sessions) == count


async def test_kept_connections_resume_from_the_cache(net: Net) -> None:
    """All but the first, as with Python's `ssl`, which has tickets after its first read."""
    cache = tlsio.ClientSessionCache()
    async with net.serve(speak_first) as server, contextlib.AsyncExitStack() as kept:
        reused = 0
        for _ in range(20):
            sock = await kept.enter_async_context(await net.connect(server, session_cache=cache))
            assert await sock.readline() == b"hello\n"
            reused += sock.is_session_reused()
    assert reused == 19


@pytest.mark.parametrize("version", ["TLSv1.3"], indirect=True)  # in TLS 1.2, tickets come with the handshake
@pytest.mark.without_threads("a thread sends the ticket before the data")
async def test_listener_that_destroys_the_socket_during_a_read_loses_no_data(net: Net) -> None:
    """The read that found the ticket returns the data after it, and the next one raises."""
    async with net.serve(speak_first, handshake_threads=0) as server:
        sock = await net.connect(server)
        sock.once("session", lambda _session: sock.destroy())
        assert await sock.readline() == b"hello\n"
        with pytest.raises(tlsio.ConnectionLostError) as caught:
            await sock.read()
        assert caught.value.code == "ERR_SOCKET_CLOSED"


async def test_server_has_a_session_and_no_ticket(net: Net) -> None:
    """As in Node; a server offers none either."""
    seen: list[Any] = []

    def look(sock: tlsio.TLSSocket) -> None:
        seen.extend([bool(sock.get_session()), sock.get_tls_ticket()])
        with pytest.raises(tlsio.UsageError) as caught:
            sock.set_session(b"x")
        seen.append(caught.value.code)
        greet(sock)

    async with net.serve(look) as server:
        await visit(net, server)
    assert seen == [True, None, "ERR_TLS_INVALID_STATE"]


async def test_set_session_is_for_before_the_handshake(net: Net) -> None:
    """A wrapped stream has a time before it."""
    async with net.serve(greet) as server:
        first = await visit(net, server)
        sock = tlsio.TLSSocket(await net.dial(server), **net.client_options(servername="localhost"))
        sock.set_session(first.session)
        await sock.handshake()
        assert sock.is_session_reused()
        with pytest.raises(tlsio.UsageError) as caught:
            sock.set_session(first.session)
        assert caught.value.code == "ERR_TLS_INVALID_STATE"
        await sock.aclose()


OTHERS: dict[str, dict[str, Any]] = {
    "ca": {"ca": [pki.ca1().cert_pem, pki.ca2().cert_pem]},
    "extra_ca": {"extra_ca": pki.ca2().cert_pem},
    "crl": {"crl": pki.ca1_crl()},
    "pins": {"pins": [pki.ca1().spki_sha256]},
    "unverified": {"reject_unauthorized": False},
    "ocsp": {"ocsp": "check"},
    "another certificate of ours": {"cert": pki.client().chain_pem, "key": pki.client().key_pem},
}


@pytest.mark.parametrize("other", list(OTHERS))
async def test_session_is_bound_to_what_it_was_made_under(net: Net, other: str) -> None:
    """Under other trust, or with another certificate of ours, it is as if there were none; both ways."""
    async with net.serve(greet, ca=pki.ca1().cert_pem) as server:
        plain = await visit(net, server)
        assert not (await visit(net, server, session=plain.session, **OTHERS[other])).reused
        special = await visit(net, server, **OTHERS[other])
        assert not (await visit(net, server, session=special.session)).reused
        assert (await visit(net, server, session=special.session, **OTHERS[other])).reused


@pytest.mark.node("26: sessions keep to their name")
async def test_session_is_bound_to_the_name(net: Net) -> None:
    """One that was verified as a name opens no other one, though the certificate has both."""
    who = pki.leaf("one.example", issuer=pki.ca1(), names=["one.example", "two.example"])
    async with net.serve(greet, cert=who.chain_pem, key=who.key_pem) as server:
        first = await visit(net, server, servername="one.example")
        assert not (await visit(net, server, servername="two.example", session=first.session)).reused
        assert (await visit(net, server, servername="one.example", session=first.session)).reused


def spoilt(session: bytes, **changes: Any) -> bytes:
    """Change what goes with a session."""
    found = ClientSession.decode(session)
    assert found is not None
    return dataclasses.replace(found, **changes).encode()


def raw(session: bytes) -> bytes:
    """Return OpenSSL's own part of a session."""
    found = ClientSession.decode(session)
    assert found is not None
    return found.data


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "expired": lambda session: spoilt(session, valid_until=int(time.time()) - 1),
    "cut": lambda session: session[:60],
    "cut within": lambda session: session[:-10],
    "not ours": lambda _session: b"nonsense",
    "empty": lambda _session: b"",
    "raw": raw,
    "garbage behind what goes with it": lambda session: spoilt(session, data=b"garbage"),
}


@pytest.mark.parametrize("how", list(SPOILT))
async def test_spoilt_session_is_a_full_handshake(net: Net, how: str) -> None:
    """Never an error for anybody."""
    async with net.serve(greet) as server:
        first = await visit(net, server)
        second = await visit(net, server, session=SPOILT[how](first.session))
        assert (second.reused, second.authorized) == (False, True)


async def test_pins_are_judged_again(net: Net) -> None:
    """By the keys that were verified then: here they are changed as whoever can write the client's disk would."""
    pins = [pki.ca1().spki_sha256]
    async with net.serve(greet) as server:
        first = await visit(net, server, pins=pins)
        assert (await visit(net, server, pins=pins, session=first.session)).reused
        forged = spoilt(first.session, spki_digests=(bytes(32),))
        told, error = await net.refused(server, pins=pins, session=forged)
        assert error.code == "ERR_TLS_PIN_MISMATCH"
        assert told.alert == "bad_certificate"  # type: ignore[attr-defined]


async def test_pin_of_an_unverified_server_is_judged_again(net: Net) -> None:
    """With `reject_unauthorized=False` the leaf's digest of the session counts, and a session of unknown origin has none."""
    options = {"pins": [pki.localhost().spki_sha256], "reject_unauthorized": False}
    async with net.serve(greet) as server:
        first = await visit(net, server, **options)
        assert (await visit(net, server, **options, session=first.session)).reused
        assert not (await visit(net, server, **options, session=SPOILT["raw"](first.session))).reused
        forged = spoilt(first.session, spki_digests=(bytes(32), pki.localhost().spki_sha256))
        _, error = await net.refused(server, **options, session=forged)
        assert (error.code, error.alert) == ("ERR_TLS_PIN_MISMATCH", "bad_certificate")


@pytest.mark.parametrize("later", [False, True])
async def test_own_check_is_asked_again(net: Net, later: bool) -> None:  # noqa: FBT001
    """`check_server_identity` sees the certificate of the session, and its no ends the connection before anything leaves."""
    asked: list[str] = []
    answer: list[Exception | None] = [None]

    def check(host: str, certificate: Any) -> Exception | None:
        asked.append(f"{host} {certificate['subject']['CN']}")
        return answer[0]

    async def check_later(host: str, certificate: Any) -> Exception | None:
        await asyncio.sleep(0)
        return check(host, certificate)

    hook = check_later if later else check
    received: list[bytes] = []

    def listen(sock: tlsio.TLSSocket) -> None:
        sock.on("data", received.append)
        greet(sock)

    async with net.serve(listen) as server:
        first = await visit(net, server, check_server_identity=hook)
        assert (await visit(net, server, check_server_identity=hook, session=first.session)).reused
        answer[0] = tlsio.HandshakeError("not today")
        told, error = await net.refused(server, check_server_identity=hook, session=first.session)
        assert error is answer[0]
        assert told.alert == "bad_certificate"  # type: ignore[attr-defined]
    assert asked == ["localhost localhost"] * 3
    assert received == []


async def test_what_was_let_pass_is_as_unauthorized_as_before(net: Net) -> None:
    """A session of a server that was not verified tells the same of it again."""
    async with net.serve(greet) as server:
        options = {"ca": pki.ca2().cert_pem, "reject_unauthorized": False}
        first = await visit(net, server, **options)
        second = await visit(net, server, session=first.session, **options)
        assert (first.reused, first.authorized, second.reused, second.authorized) == (False, False, True, False)
        assert first.error == second.error == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"


async def test_raw_session_is_taken_where_nothing_is_verified(net: Net) -> None:
    """As in Node: with `reject_unauthorized=False` there is nothing to lose, and nobody is authorized by it."""
    async with net.serve(greet) as server:
        first = await visit(net, server, reject_unauthorized=False)
        second = await visit(net, server, session=raw(first.session), reject_unauthorized=False)
        assert (second.reused, second.authorized, second.error) == (True, False, "UNSPECIFIED")


class TestCache:
    """`session_cache` does by itself what `session` and its event do by hand."""

    async def test_second_visit_resumes(self, net: Net) -> None:
        """And each one after it."""
        cache = tlsio.ClientSessionCache()
        async with net.serve(greet) as server:
            visits = [(await visit(net, server, session_cache=cache)).reused for _ in range(5)]
        assert visits == [False, True, True, True, True]

    async def test_ticket_of_tls_1_3_is_used_once(self, net: Net) -> None:
        """Clients that come at the same time each have their own, or none."""
        cache = tlsio.ClientSessionCache()
        waiting: list[str] = []
        all_there = asyncio.Event()

        async def wait_for_all(name: str, _socket: tlsio.TLSSocket) -> None:
            waiting.append(name)
            if len(waiting) == 4:
                all_there.set()
            await all_there.wait()

        async with net.serve(greet) as server:
            await visit(net, server, session_cache=cache)
            server.on("sni_callback", wait_for_all)
            visits = await asyncio.gather(*(visit(net, server, session_cache=cache) for _ in range(4)))
        assert sum(visit.reused for visit in visits) == (2 if net.version == "TLSv1.3" else 4)

    async def test_other_servers_and_other_trust_are_other_entries(self, net: Net) -> None:
        """Nothing is offered to whom it does not come from."""
        cache = tlsio.ClientSessionCache()
        async with net.serve(greet) as one, net.serve(greet) as two:
            await visit(net, one, session_cache=cache)
            if net.is_native:  # over a stream nobody knows the port
                assert not (await visit(net, two, session_cache=cache)).reused
                assert two.stats().handshakes_full == 1
            assert not (await visit(net, one, session_cache=cache, pins=[pki.ca1().spki_sha256])).reused
            assert (await visit(net, one, session_cache=cache)).reused

    async def test_session_of_a_failed_handshake_is_forgotten(self, net: Net) -> None:
        """Or a server that fails over it would never be reached again."""
        cache = tlsio.ClientSessionCache()
        async with net.serve(greet) as server:
            await visit(net, server, session_cache=cache)
            assert len(cache) == 1
            server.on("sni_callback", refuse)
            with pytest.raises(tlsio.AlertReceived):
                await visit(net, server, session_cache=cache)
            assert len(cache) == 0

    async def test_given_session_goes_before_the_cache(self, net: Net) -> None:
        """What the call names is what is offered."""
        cache = tlsio.ClientSessionCache()
        async with net.serve(greet) as server:
            await visit(net, server, session_cache=cache)
            assert not (await visit(net, server, session_cache=cache, session=b"nonsense")).reused
            assert (await visit(net, server, session_cache=cache)).reused


def refuse(_name: str, _socket: tlsio.TLSSocket) -> None:
    """Answer no hello."""
    raise tlsio.HandshakeError("not now", alert="unrecognized_name")


async def test_renewed_ticket_is_told(net: Net) -> None:
    """After the server's key has changed a resumed client has a session for the new one; in TLS 1.2 OpenSSL does not say so."""
    async with net.serve(greet, ticket_keys=bytes(48)) as server:
        first = await visit(net, server)
        server.set_ticket_keys(b"x" * 48)
        second = await visit(net, server, session=first.session)
        assert second.reused
        server.set_ticket_keys([b"x" * 48])
        assert (await visit(net, server, session=second.session)).reused
        assert not (await visit(net, server, session=first.session)).reused


async def test_resumed_client_may_renegotiate() -> None:
    """The certificate of the session is the one that has to come again."""
    net = Net("native", "TLSv1.2")
    served: list[tlsio.TLSSocket] = []

    def listen(sock: tlsio.TLSSocket) -> None:
        served.append(sock)
        sock.write(b"hello")

    async with net.serve(listen) as server:
        sessions: list[bytes] = []
        async with await net.connect(server, on={"session": sessions.append}) as sock:
            await sock.readexactly(5)
        async with await net.connect(server, session=sessions[-1]) as sock:
            await sock.readexactly(5)
            assert sock.is_session_reused()
            served[-1].on("data", lambda _chunk: None)
            reading = asyncio.ensure_future(sock.read())
            await served[-1].renegotiate()
            served[-1].write(b"again")
            assert await reading == b"again"


@pytest.mark.parametrize("value", ["text", 1, object()])
def test_session_is_bytes(value: Any) -> None:
    """Anything else is told at the call."""
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.connect(1, session=value)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


def test_session_cache_is_one() -> None:
    """It has to be able to take and put."""
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.connect(1, session_cache={})  # type: ignore[arg-type]
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.node("tls-ticket", "tls-ticket-12")
async def test_servers_with_the_same_keys_resume_each_others_sessions(net: Net) -> None:
    """Other keys end that, silently and with a new session; the old ones back, the old session is good again."""
    keys, others = b"k" * 48, b"o" * 48
    async with (
        net.serve(greet, ticket_keys=keys) as one,
        net.serve(greet, ticket_keys=keys) as two,
        net.serve(greet, ticket_keys=keys) as three,
    ):
        servers = (one, two, three)
        assert [server.get_ticket_keys() for server in servers] == [keys] * 3
        first = await visit(net, one)
        assert [(await visit(net, server, session=first.session)).reused for server in servers] == [True] * 3
        for server in servers:
            server.set_ticket_keys([others])
        changed = await visit(net, two, session=first.session)
        assert (changed.reused, changed.authorized) == (False, True)
        assert [(await visit(net, server, session=changed.session)).reused for server in servers] == [True] * 3
        for server in servers:
            server.set_ticket_keys([keys])
        assert [(await visit(net, server, session=first.session)).reused for server in servers] == [True] * 3
        assert not (await visit(net, three, session=changed.session)).reused
