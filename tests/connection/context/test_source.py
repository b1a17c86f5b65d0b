"""Context sources on servers and clients: who is asked when, what is refused, and what a change does."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import dial, once, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from net import Net


class Contexts:
    """A source of a dict; sync."""

    def __init__(self, contexts: Mapping[str | None, tlsio.SecureContext | None]) -> None:
        self.contexts = dict(contexts)
        self.asked: list[str | None] = []

    def context_for(self, server_name: str | None) -> Any:
        """Look it up; any other name has no context."""
        self.asked.append(server_name)
        return self.contexts.get(server_name)


class AsyncContexts(Contexts):
    """The same, async."""

    async def context_for(self, server_name: str | None) -> Any:
        """Look it up after a pass of the loop."""
        await asyncio.sleep(0)
        return super().context_for(server_name)


class Reporting(Contexts):
    """A source that reports changes, and publishes a table if it has one."""

    published: Mapping[str, tlsio.SecureContext] | None = None

    def __init__(self, contexts: Mapping[str | None, tlsio.SecureContext | None]) -> None:
        super().__init__(contexts)
        self.listeners: list[Callable[[], object]] = []

    def on(self, event: str, function: Callable[[], object]) -> None:
        """Add a listener."""
        assert event == "changed"
        self.listeners.append(function)

    def off(self, event: str, function: Callable[[], object]) -> None:
        """Remove a listener."""
        assert event == "changed"
        self.listeners.remove(function)

    def change(self, default: tlsio.SecureContext) -> None:
        """Replace the default."""
        self.contexts[None] = default
        for function in tuple(self.listeners):
            function()


KINDS = pytest.mark.parametrize("kind", [Contexts, AsyncContexts])


def context(net: Net | None, who: pki.Identity, **options: Any) -> tlsio.SecureContext:
    """Make a context of an identity, for the version of `net`."""
    versions = {} if net is None else {"min_version": net.version, "max_version": net.version}
    return tlsio.create_secure_context(**{"cert": who.chain_pem, "key": who.key_pem, "request_cert": False, **versions} | options)


async def visit(net: Net, server: tlsio.Server, name: str = "localhost", **options: Any) -> bytes:
    """Return the certificate that `name` is served with; "" sends no name."""
    sock = await net.connect(server, servername=name, reject_unauthorized=False, **options)
    try:
        certificate = sock.get_peer_certificate()
        assert certificate is not None
        return bytes(certificate["raw"])
    finally:
        sock.destroy()
        await sock.wait_closed()


@KINDS
async def test_hook_and_table_come_before_the_source_and_its_default_last(net: Net, kind: type[Contexts]) -> None:
    """Each is asked about what those before it have not answered."""
    hook, table, sourced, default = (pki.leaf(name) for name in ("hook", "table", "sourced", "default"))
    source = kind({None: context(net, default), "sourced": context(net, sourced), "table": context(net, sourced)})

    def choose(name: str, _socket: tlsio.TLSSocket) -> tlsio.SecureContext | None:
        return context(net, hook) if name == "hook" else None

    async with net.serve(secure_context=source) as server:
        server.add_context("table", {"cert": table.cert_pem, "key": table.key_pem})
        assert await visit(net, server, "sourced") == sourced.cert_der
        server.on("sni_callback", choose)
        for name, who in {"hook": hook, "table": table, "sourced": sourced, "": default}.items():
            assert await visit(net, server, name) == who.cert_der
    assert "hook" not in source.asked
    assert "table" not in source.asked


@KINDS
@pytest.mark.parametrize("name", ["unknown.example", ""])
async def test_none_refuses_with_unrecognized_name(net: Net, kind: type[Contexts], name: str) -> None:
    """Of a name, and of the default too: no other context takes its place."""
    source = kind({None: context(net, pki.localhost())})
    if not name and not net.is_native:
        return  # `upgrade` asks for its default at first, and raises
    async with net.serve(secure_context=source) as server:
        if not name:
            source.contexts[None] = None
        told, got = await net.refused(server, servername=name, reject_unauthorized=False)
        assert isinstance(told, tlsio.HandshakeError)
        assert (told.code, told.alert) == ("ERR_TLS_UNRECOGNIZED_NAME", "unrecognized_name")
        assert got.alert == "unrecognized_name"


async def test_failing_source_refuses_with_internal_error(net: Net, loop_errors: list[Any]) -> None:
    """It never falls back to another context."""

    class Broken(Contexts):
        def context_for(self, server_name: str | None) -> Any:
            if server_name == "broken":
                raise ZeroDivisionError("no database")
            return super().context_for(server_name)

    async with net.serve(secure_context=Broken({None: context(net, pki.localhost()), "wrong": 3})) as server:  # type: ignore[dict-item]
        for name in ("broken", "wrong"):
            told, got = await net.refused(server, servername=name, reject_unauthorized=False)
            assert isinstance(told, tlsio.TLSError)
            assert got.alert == "internal_error"
    assert loop_errors == []


async def test_slow_source_is_bounded_by_hook_timeout(net: Net) -> None:
    """On servers as a hook, on clients within `connect`."""

    class Slow(AsyncContexts):
        async def context_for(self, server_name: str | None) -> Any:
            if server_name == "slow":
                await asyncio.get_running_loop().create_future()
            return await super().context_for(server_name)

    source = Slow({None: context(net, pki.localhost())})
    async with net.serve(secure_context=source, hook_timeout=0.05) as server:
        told, _ = await net.refused(server, servername="slow", reject_unauthorized=False)
        assert getattr(told, "code", None) == "ERR_TLS_HOOK_TIMEOUT"
        with pytest.raises(tlsio.HandshakeError) as caught:
            await net.reach(net.port(server), servername="slow", secure_context=source, hook_timeout=0.05)
        assert caught.value.code == "ERR_TLS_HOOK_TIMEOUT"


async def test_published_names_are_not_asked_about(net: Net) -> None:
    """A wildcard has the place of one label; a hello without a name gets the default."""
    exact, star, asked, default = (pki.leaf(name) for name in ("exact", "star", "asked", "default"))
    source = Reporting({None: context(net, default), "asked.example": context(net, asked)})
    source.published = {"a.test": context(net, exact), "*.a.test": context(net, star)}
    async with net.serve(secure_context=source) as server:
        for name, who in {"a.test": exact, "b.a.test": star, "asked.example": asked, "": default}.items():
            assert await visit(net, server, name) == who.cert_der
        told, _ = await net.refused(server, servername="c.b.a.test", reject_unauthorized=False)
        assert getattr(told, "code", None) == "ERR_TLS_UNRECOGNIZED_NAME"
    assert {name for name in source.asked if name} == {"asked.example", "c.b.a.test"}


async def test_change_applies_to_new_connections_only(net: Net) -> None:
    """An open connection keeps what it has, and works on."""
    old, new = pki.leaf("old"), pki.leaf("new")
    source = Reporting({None: context(net, old)})
    async with net.serve(secure_context=source) as server:
        first = await net.connect(server, servername="", reject_unauthorized=False)
        await until(server.open_sockets)
        source.change(context(net, new))
        assert await visit(net, server, "") == new.cert_der
        [far] = [one for one in server.open_sockets() if not one.closed][:1]
        for sender, receiver in ((first, far), (far, first)):
            await sender.send(b"ping")
            assert await receiver.readexactly(4) == b"ping"
        assert bytes(first.get_peer_certificate()["raw"]) == old.cert_der  # type: ignore[index]
        assert bytes(far.get_certificate()["raw"]) == old.cert_der  # type: ignore[index]
        first.destroy()
    assert source.listeners == []


async def test_change_may_be_reported_by_another_thread(net: Net) -> None:
    """The server asks in its own loop."""
    source = Reporting({None: context(net, pki.leaf("old")), "published": context(net, pki.leaf("table"))})
    source.published = {}
    new = pki.leaf("new")
    async with net.serve(secure_context=source) as server:
        await visit(net, server, "")
        thread = threading.Thread(target=source.change, args=(context(net, new),))
        thread.start()
        thread.join()
        asyncio.get_running_loop().call_soon(lambda: None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await visit(net, server, "") == new.cert_der


async def test_new_default_that_cannot_be_used_leaves_the_old_one(net: Net) -> None:
    """The server's `error` event says so."""
    old = pki.leaf("old")
    source = Reporting({None: context(net, old)})
    source.published = {}
    async with net.serve(secure_context=source) as server:
        await visit(net, server, "")
        for wrong in (context(net, pki.leaf("new"), request_cert=None, crl=pki.ca1_crl(), ca=pki.ca1().cert_pem), None):
            told = once(server, "error")
            source.change(wrong)  # type: ignore[arg-type]
            assert (await told).code in {"ERR_TLS_CERT_NOT_REQUESTED", "ERR_TLS_NO_CONTEXT"}
            source.contexts[None] = context(net, old)
            assert await visit(net, server, "") == old.cert_der


async def test_default_inherits_nothing_from_the_one_before(net: Net) -> None:
    """A reload by `set_secure_context` keeps what is not given; a source's contexts are whole."""
    who, visitor = pki.localhost(), pki.client()
    strict = context(net, who, ca=pki.ca1().cert_pem, request_cert=True)
    source = Reporting({None: strict, "localhost": strict})
    async with net.serve(secure_context=source) as server:
        await net.refused(server)
        await visit(net, server, cert=visitor.cert_pem, key=visitor.key_pem)
        source.contexts["localhost"] = context(net, who)
        source.change(source.contexts["localhost"])
        await visit(net, server)


async def test_name_inherits_from_the_default_what_it_leaves_unset(net: Net) -> None:
    """As one of `add_context`, also one that was added before the source's default was known."""
    who = pki.localhost()
    named = tlsio.create_secure_context(cert=who.cert_pem, key=who.key_pem)
    strict = context(net, who, ca=pki.ca1().cert_pem, request_cert=True)
    server = tlsio.create_server(secure_context=Contexts({None: strict, "localhost": named}))
    server.add_context("added", {"cert": who.cert_pem, "key": who.key_pem})
    async with server:
        await server.listen(0, "127.0.0.1")
        net.ports[server] = server.port or 0
        for name in ("localhost", "added"):
            await net.refused(server, servername=name, reject_unauthorized=False)


async def test_names_added_before_the_start_are_checked_by_it() -> None:
    """What contradicts the source's default raises in `listen`."""
    server = tlsio.create_server(secure_context=Contexts({None: context(None, pki.localhost())}))
    server.add_context("added", {"session_timeout": 60})
    with pytest.raises(tlsio.UsageError, match="session_timeout= cannot be set for a single name"):
        await server.listen(0, "127.0.0.1")
    server.remove_context("added")
    async with await server.listen(0, "127.0.0.1"):
        assert server.listening


@pytest.mark.parametrize("gone", ["certificate", "roots"])
@pytest.mark.parametrize("id_context", [None, b"shop"])
async def test_tickets_survive_another_certificate_but_not_other_roots(net: Net, gone: str, id_context: bytes | None) -> None:
    """The default context owns them, with the digest of its trust."""
    visitor, ca1, ca2 = pki.client(), pki.ca1().cert_pem, pki.ca2().cert_pem
    trusting = {"request_cert": True, "ca": [ca1, ca2], "session_id_context": id_context}
    old = context(net, pki.localhost(), **trusting)
    new = context(net, pki.localhost_rsa(), **trusting) if gone == "certificate" else old.replace(ca=ca1)
    source = Reporting({None: old, "localhost": old})
    cache = tlsio.ClientSessionCache()
    options = {"cert": visitor.cert_pem, "key": visitor.key_pem, "session_cache": cache}

    async def resumes(server: tlsio.Server) -> bool:
        sock = await net.connect(server, **options)
        await sock.send(b"x")
        assert await sock.readexactly(1) == b"x"  # and the tickets before it
        sock.destroy()
        await sock.wait_closed()
        return sock.is_session_reused()

    async with net.serve(echo, secure_context=source) as server:
        assert [await resumes(server), await resumes(server)] == [False, True]
        source.contexts["localhost"] = new
        source.change(new)
        assert await resumes(server) is (gone == "certificate")
        assert await resumes(server)


async def echo(sock: tlsio.TLSSocket) -> None:
    """Send back one byte."""
    await sock.send(await sock.readexactly(1))


async def test_policy_of_the_server_applies_to_all_contexts(net: Net) -> None:
    """Lists are fetched for clients of each context of the source; each is completed once."""
    visitor = pki.leaf("visitor", issuer=pki.ca1())
    contexts = {name: context(net, pki.localhost(), ca=pki.ca1().cert_pem, request_cert=True) for name in (None, "localhost")}
    options = {"cert": visitor.cert_pem, "key": visitor.key_pem}
    async with net.serve(secure_context=Contexts(contexts), fetch_crl="check") as server:
        for name in ("localhost", "", "localhost"):
            await visit(net, server, name, **options)
    async with net.serve(secure_context=Contexts(contexts), fetch_crl="require") as server:
        for name in ("localhost", ""):
            told, _ = await net.refused(server, servername=name, reject_unauthorized=False, **options)
            assert getattr(told, "code", None) == "UNABLE_TO_GET_CRL"


async def test_alpn_callback_of_a_source_is_asked(net: Net) -> None:
    """A context chosen by name decides about protocols too."""
    asked = []

    def choose(name: str | None, protocols: list[str], _socket: tlsio.TLSSocket) -> str:
        asked.append((name, protocols))
        return protocols[-1]

    source = Contexts({None: context(net, pki.localhost()), "localhost": context(net, pki.localhost(), alpn_callback=choose)})
    async with net.serve(secure_context=source) as server:
        sock = await net.connect(server, alpn_protocols=["h2", "http/1.1"])
        assert sock.alpn_protocol == "http/1.1"
        sock.destroy()
        await sock.wait_closed()
    assert asked == [("localhost", ["h2", "http/1.1"])]


async def test_ticket_keys_of_the_default_are_used(net: Net) -> None:
    """The first ones, and those of a later default; a source of keys cannot be exchanged."""
    keys = [bytes([number]) * 48 for number in range(2)]
    source = Reporting({None: context(net, pki.localhost(), ticket_keys=keys[0]), "localhost": context(net, pki.localhost())})
    async with net.serve(secure_context=source) as server:
        await visit(net, server)
        assert server.get_ticket_keys() == keys[0]
        source.change(context(net, pki.localhost(), ticket_keys=keys[1]))
        await visit(net, server)
        assert server.get_ticket_keys() == keys[1]
        told = once(server, "error")
        source.change(context(net, pki.localhost(), ticket_keys=tlsio.TicketKeyRing()))
        assert isinstance(await told, tlsio.UsageError)
        source.contexts[None] = source.contexts["localhost"]
        await visit(net, server)
        assert server.get_ticket_keys() == keys[1]


# ---- starting


@pytest.mark.parametrize("is_async", [False, True])
async def test_start_runs_before_the_first_question(net: Net, *, is_async: bool) -> None:
    """In `listen`, `upgrade` and `connect`."""
    steps: list[str] = []

    class Started(Contexts):
        def start(self) -> Any:
            steps.append("start")
            return asyncio.sleep(0) if is_async else None

        def context_for(self, server_name: str | None) -> Any:
            assert steps
            return super().context_for(server_name)

    async with net.serve(
        secure_context=Started({None: context(net, pki.localhost()), "localhost": context(net, pki.localhost())})
    ) as server:
        trust = tlsio.create_secure_context(ca=pki.ca1().cert_pem)
        await visit(net, server)
        steps.clear()
        sock = await net.connect(server, secure_context=Started({"localhost": trust}))
        assert steps
        sock.destroy()
        await sock.wait_closed()


class Unable(Contexts):
    """A source that cannot start."""

    async def start(self) -> None:
        """Fail."""
        raise ZeroDivisionError("no database")


@pytest.mark.parametrize(
    ("source", "error", "code"),
    [
        (Contexts({}), tlsio.ConfigError, "ERR_TLS_NO_CONTEXT"),
        (AsyncContexts({}), tlsio.ConfigError, "ERR_TLS_NO_CONTEXT"),
        (Contexts({None: 3, "localhost": 3}), tlsio.UsageError, "ERR_TLS_INVALID_CONTEXT"),  # type: ignore[dict-item]
        (Unable({}), ZeroDivisionError, None),
    ],
)
async def test_source_without_a_default_cannot_start(source: Contexts, error: type[Exception], code: str | None) -> None:
    """`listen` and `connect` raise, a given stream is closed, and the server can be tried again."""
    server = tlsio.create_server(secure_context=source)
    with pytest.raises(error) as caught:
        await server.listen(0, "127.0.0.1")
    assert getattr(caught.value, "code", None) == code
    assert not server.listening
    below = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = below.sockets[0].getsockname()[1]
    for call in (
        lambda stream: tlsio.connect(socket=stream, servername="localhost", secure_context=source),
        server.upgrade,
    ):
        stream = await dial(port)
        with pytest.raises(error):
            await call(stream)
        assert stream.fileno() == -1
    below.close()


# ---- clients


@KINDS
@pytest.mark.parametrize(
    ("host", "servername", "asked"), [("localhost", None, "localhost"), ("127.0.0.1", None, None), ("127.0.0.1", "LocalHost", "localhost")]
)
async def test_client_asks_with_the_name_that_it_sends(kind: type[Contexts], host: str, servername: str | None, asked: str | None) -> None:
    """For each connection anew; an address is no name."""
    trust = tlsio.create_secure_context(ca=pki.ca1().cert_pem)
    source = kind({asked: trust})
    who = pki.localhost()
    async with tlsio.serve(echo, 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem) as server:
        for _ in range(2):
            async with tlsio.connect(server.port, host, servername=servername, secure_context=source) as sock:
                assert sock.authorized
                await sock.send(b"x")
        reader, writer = await tlsio.open_connection(host, server.port, servername=servername, secure_context=source)
        writer.write(b"x")
        assert await reader.read() == b"x"
        writer.close()
        await writer.wait_closed()
    assert source.asked == [asked] * 3


@KINDS
async def test_asyncio_server_takes_a_source(kind: type[Contexts]) -> None:
    """It listens by the same server."""
    source = kind({None: context(None, pki.localhost()), "localhost": context(None, pki.localhost())})
    server = await tlsio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, secure_context=source)
    async with server:
        reader, writer = await tlsio.open_connection("localhost", server.sockets[0].getsockname()[1], ca=pki.ca1().cert_pem)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


# ---- calls that cannot wait


@pytest.mark.parametrize("has_now", [False, True])
async def test_wrapped_streams_take_a_source_that_answers_at_once(*, has_now: bool) -> None:
    """Both sides; of an async source by its `context_now`."""
    contexts = {None: context(None, pki.localhost()), "localhost": context(None, pki.localhost(), ca=pki.ca1().cert_pem)}
    source = AsyncContexts(contexts) if has_now else Contexts(contexts)
    if has_now:
        source.context_now = contexts.get  # type: ignore[attr-defined]
    near, far = socket.socketpair()
    server = tlsio.TLSSocket(far, is_server=True, secure_context=source)
    client = tlsio.TLSSocket(near, servername="localhost", secure_context=source)
    await asyncio.gather(client.handshake(), server.handshake())
    assert client.authorized
    client.destroy()
    server.destroy()
    await asyncio.gather(client.wait_closed(), server.wait_closed())


@pytest.mark.parametrize("is_server", [False, True])
async def test_async_source_is_refused_where_nothing_waits(*, is_server: bool) -> None:
    """The message names the calls that wait."""
    source = AsyncContexts({None: context(None, pki.localhost())})
    near, far = socket.socketpair()
    for call in (
        lambda: (
            tlsio.TLSSocket(near, is_server=is_server, servername="localhost", secure_context=source)
            if not is_server
            else tlsio.TLSSocket(near, is_server=True, secure_context=source)
        ),
        lambda: tlsio.create_secure_pair(source, is_server=is_server, **({} if is_server else {"servername": "localhost"})),  # type: ignore[arg-type]
    ):
        with pytest.raises(tlsio.UsageStateError, match="cannot wait") as caught:
            call()
        assert "upgrade" in (caught.value.hint or "")
    near.close()
    far.close()


def test_pair_takes_a_source_and_keeps_its_own_strictness() -> None:
    """By name on the server; arguments of the pair can only add to the verification."""
    named = pki.localhost()
    source = Contexts({None: context(None, pki.leaf("default")), "localhost": context(None, named, ca=pki.ca1().cert_pem)})
    server = tlsio.create_secure_pair(source, is_server=True)
    client = tlsio.create_secure_pair(source, servername="localhost", reject_unauthorized=True)
    for _ in range(4):
        server.encrypted.write(client.encrypted.read())
        client.encrypted.write(server.encrypted.read())
    assert client.cleartext.authorized
    assert source.asked == [None, "localhost", "localhost"]


# ---- misuse


def test_source_beside_a_context_option_raises() -> None:
    """As beside a context."""
    source = Contexts({})
    for call in (
        lambda: tlsio.create_server(secure_context=source, cert=pki.localhost().cert_pem),
        lambda: tlsio.connect(443, "localhost", secure_context=source, ca=pki.ca1().cert_pem),
        lambda: tlsio.connect(443, "localhost", secure_context=source, pins=[b"x" * 32]),
    ):
        with pytest.raises(tlsio.UsageError, match="secure_context cannot be combined") as caught:
            call()
        assert "context source" in (caught.value.hint or "")


@pytest.mark.parametrize("wrong", [3, object(), Contexts])
def test_other_objects_are_refused(wrong: Any) -> None:
    """A class is no source either."""
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.create_server(secure_context=wrong)
    assert caught.value.code == "ERR_TLS_INVALID_CONTEXT"


def test_default_of_a_source_cannot_be_set() -> None:
    """The next change would undo it."""
    server = tlsio.create_server(secure_context=Contexts({}))
    with pytest.raises(tlsio.UsageStateError, match="comes from the source"):
        server.set_secure_context(cert=pki.localhost().cert_pem)


async def test_guards_are_judged_with_the_first_default() -> None:
    """`check_client` beside a default that requests no certificate protects nothing: `listen` raises."""
    server = tlsio.create_server(
        secure_context=Contexts({None: context(None, pki.localhost(), request_cert=None)}), check_client=lambda *_: None
    )
    with pytest.raises(tlsio.ConfigError) as caught:
        await server.listen(0, "127.0.0.1")
    assert caught.value.code == "ERR_TLS_CERT_NOT_REQUESTED"
