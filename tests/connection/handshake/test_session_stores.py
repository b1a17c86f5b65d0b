"""Sessions that the application keeps: the two hooks and a store, sync and async, and all that may go wrong with them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any

import pytest

import pki
import stdlib_peer
import tlsio
from net import Net, once
from sessions import Store, greet, visit

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from net import Version

NO_TICKET = tlsio.constants.SSL_OP_NO_TICKET


def hooks(store: Store) -> dict[str, Any]:
    """Return the two hooks over a store, and no tickets in TLS 1.2 either."""
    return {
        "new_session": lambda session_id, data: store.put(session_id, data, 0),
        "resume_session": store.get,
        "secure_options": NO_TICKET,
    }


def kept_by(how: str, store: Store) -> dict[str, Any]:
    """Return the options of a server that keeps its sessions in `store`."""
    return {"session_store": store} if how == "store" else hooks(store)


@pytest.mark.node("tls-session-cache")
@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("how", ["store", "hooks"])
async def test_kept_session_is_resumed(net: Net, how: str, later: bool) -> None:  # noqa: FBT001
    """By id in TLS 1.2, by stateful ticket in TLS 1.3."""
    store = Store(later=later)
    async with net.serve(greet, **kept_by(how, store)) as server:
        first = await visit(net, server)
        assert len(store.kept) == (2 if net.version == "TLSv1.3" else 1)
        second = await visit(net, server, session=first.session)
        assert (first.reused, second.reused, second.authorized) == (False, True, True)
        stats = server.stats()
        assert (stats.handshakes_full, stats.handshakes_resumed, stats.session_hits, stats.session_misses) == (1, 1, 1, 0)
        assert stats.sessions_stored == len(store.kept)
        assert stats.session_calls == stats.session_hits + stats.sessions_stored
        assert stats.session_seconds >= 0


class TestMemory:
    """The store that answers at once is asked before there is a socket; nobody is to see a difference."""

    async def test_session_is_resumed(self, net: Net) -> None:
        """At once, and at a server with names, and beside hooks that want a socket."""
        for options in ({}, {"sni_callback": lambda _name, _socket: None}):
            async with net.serve(greet, session_store=tlsio.MemorySessionStore(), **options) as server:
                server.add_context("localhost", {"honor_cipher_order": True})
                first = await visit(net, server)
                second = await visit(net, server, session=first.session)
                assert (first.reused, second.reused) == (False, True)
                stats = server.stats()
                assert (stats.handshakes_full, stats.handshakes_resumed, stats.session_hits, stats.session_misses) == (1, 1, 1, 0)
                assert stats.store is not None
                assert stats.sessions_stored == stats.store.puts > 0

    async def test_it_does_not_cross_names(self, net: Net) -> None:
        """The name is found before the session, which belongs to its trust."""
        async with net.serve(greet, ca=pki.ca1().cert_pem, session_store=tlsio.MemorySessionStore()) as server:
            server.add_context("strict.example", {"request_cert": True})
            who = {"check_server_identity": lambda _host, _certificate: None}
            first = await visit(net, server, servername="localhost", **who)
            told, _error = await net.refused(server, servername="strict.example", session=renamed(first.session, "strict.example"), **who)
            assert told.code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"  # type: ignore[attr-defined]
            assert server.stats().session_misses == 1

    async def test_lost_and_spoilt_sessions(self, net: Net) -> None:
        """A full handshake, counted as what it is."""
        store = tlsio.MemorySessionStore()
        async with net.serve(greet, session_store=store) as server:
            first = await visit(net, server)
            for name in tuple(store._entries):
                store.put(name, b"nonsense", 60.0)
            assert not (await visit(net, server, session=first.session)).reused
            stats = server.stats()
            assert (stats.session_hits, stats.session_misses, stats.session_errors) == (0, 0, 1)
            for name in tuple(store._entries):
                store.delete(name)
            assert not (await visit(net, server, session=first.session)).reused
            assert server.stats().session_misses == 1


async def test_foreign_client_resumes(version: Version) -> None:
    """The standard library's client comes back by id."""
    client = stdlib_peer.client(version=version)
    async with Net("native", version).serve(greet, session_store=Store()) as server:
        first = await stdlib_peer.visit(server, client)
        second = await stdlib_peer.visit(server, client, session=first.session)
        assert (first.reused, second.reused) == (False, True)


async def test_store_is_told_how_long(net: Net) -> None:
    """A session lives for `session_timeout`."""
    store = Store()
    async with net.serve(greet, session_store=store, session_timeout=77) as server:
        await visit(net, server)
    assert set(store.lives) == {77.0}


async def test_names_in_the_store_are_not_ids(net: Net) -> None:
    """Whoever reads the store's names cannot ask for a session by them; nor does it find them under other trust."""
    store = Store()
    ids: list[bytes] = []
    async with net.serve(greet, session_store=store) as server:
        await visit(net, server)
    async with net.serve(greet, **hooks(Store()) | {"new_session": lambda session_id, _data: ids.append(session_id)}) as server:
        await visit(net, server)
    assert {len(name) for name in (*store.kept, *ids)} == {32}
    data = b"".join(store.kept.values())
    assert not [name for name in store.kept if name in data]


async def test_two_servers_share_a_store(net: Net) -> None:
    """Under equal trust; a third one of other trust does not even find it."""
    store = Store()
    async with net.serve(greet, session_store=store) as one, net.serve(greet, session_store=store) as two:
        first = await visit(net, one)
        assert (await visit(net, two, session=first.session)).reused
        async with net.serve(greet, session_store=store, ca=pki.ca2().cert_pem) as other:
            assert not (await visit(net, other, session=first.session)).reused
            assert other.stats().session_misses == 1


class TestTrust:
    """A session opens no name of other trust, whatever way it is kept."""

    @pytest.mark.parametrize("how", ["store", "hooks"])
    async def test_it_does_not_cross_names(self, net: Net, how: str) -> None:
        """A stranger's session does not open the name that demands a certificate (the class of CVE-2025-23419)."""
        store = Store()
        async with net.serve(greet, ca=pki.ca1().cert_pem, **kept_by(how, store)) as server:
            server.add_context("strict.example", {"request_cert": True})
            who = {"check_server_identity": lambda _host, _certificate: None}
            first = await visit(net, server, servername="localhost", **who)
            told, _error = await net.refused(server, servername="strict.example", session=renamed(first.session, "strict.example"), **who)
            assert told.code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"  # type: ignore[attr-defined]

    async def test_it_does_not_survive_other_trust(self, net: Net) -> None:
        """After `set_secure_context` it is a full handshake, also where hooks know nothing of trust."""
        store = Store()
        async with net.serve(greet, ca=pki.ca1().cert_pem, **hooks(store)) as server:
            first = await visit(net, server)
            server.set_secure_context(crl=pki.ca1_crl())
            assert not (await visit(net, server, session=first.session)).reused
            assert server.stats().session_hits == 1  # it was found, and OpenSSL would not have it


def renamed(session: bytes, name: str) -> bytes:
    """Make a client believe that its session was verified for another name."""
    import dataclasses  # noqa: PLC0415

    from tlsio.session.client_session import ClientSession  # noqa: PLC0415

    found = ClientSession.decode(session)
    assert found is not None
    return dataclasses.replace(found, name=name).encode()


async def test_nothing_flows_before_the_session_is_stored(net: Net) -> None:
    """The hook is asked when the handshake is complete; until it has answered the client hears nothing."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def new_session(_session_id: bytes, _data: bytes) -> None:
        asked.set()
        await answer.wait()

    async with net.serve(greet, new_session=new_session, secure_options=NO_TICKET) as server:
        opened = once(server, "secure_connection")
        coming = asyncio.ensure_future(visit(net, server))
        await asked.wait()
        assert not opened.done()
        assert server.connections == 1
        answer.set()
        assert not (await coming).reused
        assert opened.done()


async def test_client_that_is_gone_cancels_the_hook(net: Net) -> None:
    """Whatever the hook waits for, nobody wants it any more."""
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(*_args: object) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with net.serve(greet, new_session=wait, secure_options=NO_TICKET) as server:
        coming = asyncio.ensure_future(visit(net, server))
        await asked.wait()
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        server.close(0)
        await cancelled.wait()


async def test_hooks_that_have_not_begun_end_with_the_connection(net: Net) -> None:
    """Each session is kept by a coroutine of its own; none is left that complains that nobody awaits it."""
    begun: list[Coroutine[Any, Any, None]] = []

    async def wait() -> None:
        await asyncio.Event().wait()

    def keep(*_args: object) -> Coroutine[Any, Any, None]:
        asyncio.get_running_loop().call_soon(server.close, 0)  # it comes before the first step of the task that awaits
        begun.append(wait())
        return begun[-1]

    async with net.serve(greet, new_session=keep, secure_options=NO_TICKET) as server:
        await asyncio.gather(visit(net, server), return_exceptions=True)
        await server.wait_closed()
    assert begun
    assert {inspect.getcoroutinestate(one) for one in begun} == {inspect.CORO_CLOSED}


WRONG: dict[str, Any] = {"text": "text", "number": 7, "True": True, "list": [b"x"]}
GARBAGE: dict[str, bytes] = {"nonsense": b"nonsense", "empty": b"", "cut": b"0\x82\x01\x00"}


class TestFailures:
    """A full handshake, counted; the client notices nothing."""

    @pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
    @pytest.mark.parametrize("how", ["store", "hooks"])
    async def test_broken_store(self, net: Net, how: str, later: bool) -> None:  # noqa: FBT001
        """It raises at each call: `error` hears it."""
        store = Store(later=later, broken=RuntimeError("the store is down"))
        async with net.serve(greet, **kept_by(how, store)) as server:
            heard: list[Exception] = []
            server.on("error", heard.append)
            first = await visit(net, server)
            second = await visit(net, server, session=first.session)
            assert (first.reused, second.reused) == (False, False)
            assert {str(error) for error in heard} == {"the store is down"}
            assert server.stats().session_errors == len(heard) == 3
            assert server.stats().handshakes_full == 2

    async def test_unheard_failures_are_one_warning(self, net: Net, caplog: pytest.LogCaptureFixture) -> None:
        """Until it has worked again."""
        store = Store(broken=RuntimeError("the store is down"))
        with caplog.at_level(logging.WARNING, "tlsio"):
            async with net.serve(greet, session_store=store) as server:
                await visit(net, server)
                await visit(net, server)
                assert len(caplog.records) == 1
                store.broken = None
                await visit(net, server)
                store.broken = RuntimeError("again")
                await visit(net, server)
                assert [record.message for record in caplog.records][1].endswith("again")

    @pytest.mark.parametrize("answer", list(WRONG))
    async def test_wrong_type(self, net: Net, answer: str) -> None:
        """What is no bytes is told as a mistake of ours."""
        store = Store()
        options = hooks(store) | {"resume_session": lambda _id: WRONG[answer]}
        async with net.serve(greet, **options) as server:
            heard: list[Exception] = []
            server.on("error", heard.append)
            first = await visit(net, server)
            assert not (await visit(net, server, session=first.session)).reused
            assert [type(error).__mro__[1:3] for error in heard] == [type(heard[0]).__mro__[1:3]]
            assert isinstance(heard[0], tlsio.UsageError)
            assert isinstance(heard[0], TypeError)

    @pytest.mark.parametrize("answer", list(GARBAGE))
    async def test_garbage(self, net: Net, answer: str) -> None:
        """Bytes that are no session are counted as an error, not as a hit."""
        options = hooks(Store()) | {"resume_session": lambda _id: GARBAGE[answer]}
        async with net.serve(greet, **options) as server:
            first = await visit(net, server)
            assert not (await visit(net, server, session=first.session)).reused
            stats = server.stats()
            assert (stats.session_hits, stats.session_errors) == (0, 1)

    async def test_larger_than_any_session(self, net: Net) -> None:
        """A good session with more behind it: nothing of such a size is copied, let alone opened."""
        store = Store()
        options = hooks(store) | {"resume_session": lambda _id: memoryview([*store.kept.values()][-1] + bytes(300_000))}
        async with net.serve(greet, **options) as server:
            first = await visit(net, server)
            assert not (await visit(net, server, session=first.session)).reused
            stats = server.stats()
            assert (stats.session_hits, stats.session_errors) == (0, 1)

    async def test_another_clients_session(self, net: Net) -> None:
        """A store that mixes them up is not believed: the id is inside."""
        store = Store()
        async with net.serve(greet, **hooks(store)) as server:
            first = await visit(net, server)
            await visit(net, server)
            values = list(store.kept.values())
            for name in store.kept:
                store.kept[name] = values[0] if store.kept[name] is not values[0] else values[-1]
            assert not (await visit(net, server, session=first.session)).reused

    async def test_late_answer(self, net: Net) -> None:
        """`hook_timeout` bounds the wait."""

        async def never(_session_id: bytes) -> None:
            await asyncio.Event().wait()

        store = Store()
        async with net.serve(greet, **hooks(store) | {"resume_session": never}, hook_timeout=0.01) as server:
            heard: list[Any] = []
            server.on("error", heard.append)
            first = await visit(net, server)
            assert not (await visit(net, server, session=first.session)).reused
            assert [error.code for error in heard] == ["ERR_TLS_HOOK_TIMEOUT"]


async def test_check_client_and_store(net: Net) -> None:
    """Whom the user refuses leaves no session; TLS 1.2 resumes none, since no alert could refuse it any more."""
    store = Store()
    verdict: list[Exception | None] = [None]
    options = {"ca": pki.ca1().cert_pem, "request_cert": True, "check_client": lambda _certificate, _socket: verdict[0]}
    me = {"cert": pki.client().chain_pem, "key": pki.client().key_pem}
    async with net.serve(greet, session_store=store, **options) as server:
        first = await visit(net, server, **me)
        modern = net.version == "TLSv1.3"
        assert len(store.kept) == (2 if modern else 0)
        assert (await visit(net, server, session=first.session, **me)).reused == modern
        count = len(store.kept)
        verdict[0] = tlsio.HandshakeError("not you", alert="access_denied")
        told, _error = await net.refused(server, session=first.session, **me)
        assert told is verdict[0]
        assert len(store.kept) == count


async def test_ticket_keys_keep_tickets(net: Net) -> None:
    """Whoever gives keys wants tickets; the store is for clients of TLS 1.2 that take none."""
    store = Store()
    async with net.serve(greet, session_store=store, ticket_keys=bytes(48)) as server:
        first = await visit(net, server)
        assert (await visit(net, server, session=first.session)).reused
        assert not store.kept
        if net.version == "TLSv1.2":
            plain = await visit(net, server, secure_options=NO_TICKET)
            assert len(store.kept) == 1
            assert (await visit(net, server, session=plain.session, secure_options=NO_TICKET)).reused


async def test_hooks_alone_leave_tickets_to_tls_1_2(net: Net) -> None:
    """As in Node; in TLS 1.3, where Node asks for nothing, they are used."""
    store = Store()
    options = hooks(store)
    del options["secure_options"]
    async with net.serve(greet, **options) as server:
        first = await visit(net, server)
        assert (await visit(net, server, session=first.session)).reused
        assert bool(store.kept) == (net.version == "TLSv1.3")


async def test_lookup_alone_stores_nothing(net: Net) -> None:
    """Without `new_session` there is nobody to give a session to, and the numbers do not say otherwise."""
    async with net.serve(greet, resume_session=Store().get, secure_options=NO_TICKET) as server:
        first = await visit(net, server)
        assert not (await visit(net, server, session=first.session)).reused
        stats = server.stats()
        assert (stats.sessions_stored, stats.session_misses) == (0, 1)


async def test_hooks_come_and_go(net: Net) -> None:
    """By `on` and `off`, for new connections; beside a store they raise."""
    store = Store()
    async with net.serve(greet) as server:
        server.on("new_session", hooks(store)["new_session"])
        server.on("resume_session", store.get)
        await visit(net, server)
        assert bool(store.kept) == (net.version == "TLSv1.3")
        with pytest.raises(tlsio.UsageError):
            server.on("resume_session", store.get)
        server.off("resume_session", store.get)
        server.on("resume_session", store.get)
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.create_server(session_store=store).on("new_session", print)
    assert caught.value.code == "ERR_INCOMPATIBLE_OPTION_PAIR"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"session_store": {}}, "ERR_INVALID_ARG_TYPE"),
        ({"new_session": 1}, "ERR_INVALID_ARG_TYPE"),
        ({"resume_session": "x"}, "ERR_INVALID_ARG_TYPE"),
        ({"session_store": Store(), "new_session": print}, "ERR_INCOMPATIBLE_OPTION_PAIR"),
        ({"session_store": Store(), "resume_session": print}, "ERR_INCOMPATIBLE_OPTION_PAIR"),
    ],
)
def test_options_are_checked(options: dict[str, Any], code: str) -> None:
    """At the call."""
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.create_server(**options)
    assert caught.value.code == code


async def test_puts_that_have_not_begun_are_closed(net: Net) -> None:
    """A server closes in the same pass of the loop: nothing complains about coroutines that nobody awaits."""
    store = Store(later=True)
    put = store.put
    async with net.serve(greet, session_store=store) as server:

        def put_and_close(*args: Any) -> Any:
            asyncio.get_running_loop().call_soon(server.close, 0)
            return put(*args)

        store.put = put_and_close  # type: ignore[method-assign]
        with pytest.raises(tlsio.TLSError):
            await visit(net, server)
        assert not store.kept


async def test_wrapped_server_keeps_sessions_too() -> None:
    """`TLSSocket(stream, is_server=True)` has nobody with listeners, and works all the same."""
    import socket  # noqa: PLC0415

    who = pki.localhost()
    store = Store()
    sessions: list[bytes] = []
    reused = []
    for _ in range(2):
        near, far = socket.socketpair()
        server = tlsio.TLSSocket(near, is_server=True, cert=who.cert_pem, key=who.key_pem, session_store=store)
        client = tlsio.connect(
            socket=far,
            servername="localhost",
            ca=pki.ca1().cert_pem,
            session=sessions[-1] if sessions else None,
            on={"session": sessions.append},
        )
        shaking = asyncio.ensure_future(server.handshake())
        sock = await client
        await shaking
        server.write(b"hello")
        assert await sock.readexactly(5) == b"hello"
        reused.append(sock.is_session_reused())
        await asyncio.gather(sock.aclose(), server.aclose())
    assert reused == [False, True]
