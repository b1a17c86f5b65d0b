"""Server names that the engine answers by itself, as the server has answered them before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization

import pki
import tlsio
from external_keys import Signer
from net import until
from tlsio.connection.socket.tls_socket import internals_of
from visits import visit, visit_blocked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOME, OTHER, THIRD = (pki.leaf(name) for name in ("home", "other", "third"))


def context(who: pki.Identity, **options: Any) -> tlsio.SecureContext:
    """Make a context of an identity."""
    return tlsio.create_secure_context(cert=who.chain_pem, key=who.key_pem, **options)


class Published:
    """A source with a table, which counts how often it is read."""

    def __init__(self, published_for: float) -> None:
        self.published_for = published_for
        self.default = context(HOME)
        self.table: dict[str, tlsio.SecureContext] = {"*.example": context(OTHER)}
        self.reads = 0
        self.report: Callable[[], object] = bool

    @property
    def published(self) -> Mapping[str, tlsio.SecureContext]:
        """Return the table."""
        self.reads += 1
        return self.table

    async def context_for(self, server_name: str | None, /) -> tlsio.SecureContext | None:
        """Return the default for anything but its names."""
        return self.default

    def on(self, event: str, function: Callable[[], object]) -> None:
        """Take the server's function."""
        self.report = function

    def off(self, event: str, function: Callable[[], object]) -> None:
        """Forget it."""


def ignore(_socket: tlsio.TLSSocket) -> None:
    """Have the socket end with the client."""


@pytest.mark.parametrize("name", ["exact.org", "of.pattern.org", "unknown.org"])
async def test_known_name_of_the_table_needs_no_loop(name: str) -> None:
    """The handshake thread chooses the context itself."""
    async with tlsio.serve(ignore, secure_context=context(HOME), handshake_threads=1) as server:
        server.add_context("exact.org", context(OTHER))
        server.add_context("*.pattern.org", context(THIRD))
        expected = {"exact.org": OTHER, "of.pattern.org": THIRD}.get(name, HOME).cert_der
        assert [await visit(server, name), await visit_blocked(server, name)] == [expected] * 2


@pytest.mark.parametrize("name", ["a.example", ""])
async def test_known_name_of_a_source_needs_no_loop(name: str) -> None:
    """Nor does a hello without a name."""
    source = Published(60.0)
    async with tlsio.serve(ignore, secure_context=source, handshake_threads=1) as server:
        expected = (OTHER if name else HOME).cert_der
        assert [await visit(server, name), await visit_blocked(server, name)] == [expected] * 2
        assert source.reads == 1


@pytest.mark.parametrize("threads", [0, 1])
async def test_changed_names_are_served_at_once(threads: int) -> None:
    """What was known of them before does not count."""
    async with tlsio.serve(ignore, secure_context=context(HOME), handshake_threads=threads) as server:
        server.add_context("a.org", context(OTHER))
        found = [await visit(server, "a.org")]
        server.add_context("*.org", context(THIRD))
        found.append(await visit(server, "a.org"))
        server.remove_context("*.org")
        found.append(await visit(server, "a.org"))
        server.remove_context("a.org")
        found.append(await visit(server, "a.org"))
        server.set_secure_context(cert=THIRD.chain_pem, key=THIRD.key_pem)
        found.append(await visit(server, "a.org"))
    assert found == [one.cert_der for one in (OTHER, THIRD, OTHER, HOME, THIRD)]


@pytest.mark.parametrize("threads", [0, 1])
async def test_reported_change_is_served_at_once(threads: int) -> None:
    """Before the source's time is over."""
    source = Published(60.0)
    async with tlsio.serve(ignore, secure_context=source, handshake_threads=threads) as server:
        assert await visit(server, "a.example") == OTHER.cert_der
        source.table = {"a.example": context(THIRD)}
        source.report()
        assert await visit(server, "a.example") == THIRD.cert_der


@pytest.mark.parametrize(("published_for", "reads"), [(0.0, 2), (60.0, 1)])
async def test_table_is_read_again_after_its_time(published_for: float, reads: int) -> None:
    """Without one, for each hello."""
    source = Published(published_for)
    async with tlsio.serve(ignore, secure_context=source) as server:
        for _ in range(2):
            await visit(server, "a.example")
    assert source.reads == reads


@pytest.mark.parametrize("threads", [0, 1])
async def test_entry_ends(threads: int) -> None:
    """Though nothing was reported."""
    source = Published(0.02)
    async with tlsio.serve(ignore, secure_context=source, handshake_threads=threads) as server:
        assert await visit(server, "a.example") == OTHER.cert_der
        source.table = {"a.example": context(THIRD)}
        deadline = time.monotonic() + 20
        while await visit(server, "a.example") != THIRD.cert_der:
            assert time.monotonic() < deadline


async def test_file_source_needs_no_loop_for_a_second(tmp_path: Any) -> None:
    """For any name."""
    for kind, text in (("cert", HOME.chain_pem), ("key", HOME.key_pem)):
        (tmp_path / kind).write_bytes(text)
    source = tlsio.FileSource(cert=tmp_path / "cert", key=tmp_path / "key")
    async with tlsio.serve(ignore, secure_context=source, handshake_threads=1) as server:
        await visit(server, "any.org")
        assert await visit_blocked(server, "any.org") == HOME.cert_der


@pytest.mark.parametrize("threads", [0, 1])
async def test_socket_has_the_context_of_its_handshake(threads: int) -> None:
    """Its verdict is that of the name, which requests a certificate, and not of the default."""
    sockets: list[tlsio.TLSSocket] = []
    asks = context(THIRD, ca=pki.ca1().cert_pem, request_cert=True, reject_unauthorized=False)
    async with tlsio.serve(sockets.append, secure_context=context(HOME), handshake_threads=threads) as server:
        server.add_context("a.org", asks)
        for _ in range(2):
            await visit(server, "a.org")
        await until(lambda: len(sockets) == 2)
        assert [one.authorization_error for one in sockets] == ["UNABLE_TO_GET_ISSUER_CERT"] * 2


async def test_many_names_are_served_right() -> None:
    """More than are remembered: they take the places of others."""
    async with tlsio.serve(ignore, secure_context=context(HOME), handshake_threads=1) as server:
        known = {f"{number}.org": (OTHER, THIRD)[number % 2] for number in range(40)}
        contexts = {who.cert_der: context(who) for who in (OTHER, THIRD)}
        for name, who in known.items():
            server.add_context(name, contexts[who.cert_der])
        for _ in range(2):
            assert [await visit(server, name) for name in known] == [who.cert_der for who in known.values()]


async def test_hook_is_called_although_the_name_is_known() -> None:
    """It was set later."""
    third = context(THIRD)
    async with tlsio.serve(ignore, secure_context=context(HOME), handshake_threads=1) as server:
        server.add_context("a.org", context(OTHER))
        assert await visit(server, "a.org") == OTHER.cert_der
        server.on("sni_callback", lambda _name, _socket: third)
        assert await visit(server, "a.org") == THIRD.cert_der


async def test_key_that_lives_elsewhere_is_used_in_the_loop() -> None:
    """Its signatures belong to the loop's thread, so that the thread may not serve its name."""
    signer = Signer(serialization.load_pem_private_key(OTHER.key_pem, None))
    async with tlsio.serve(ignore, secure_context=context(HOME), handshake_threads=1) as server:
        server.add_context("a.org", {"cert": OTHER.chain_pem, "key": signer})
        assert [await visit(server, "a.org") for _ in range(3)] == [OTHER.cert_der] * 3
    assert len(signer.calls) == 3


async def test_authority_is_answered_although_the_name_is_known() -> None:
    """By the challenge, RFC 8737."""

    class Challenged(Published):
        def challenge_for(self, server_name: str) -> tlsio.SecureContext:
            return context(THIRD)

    async with tlsio.serve(ignore, secure_context=Challenged(60.0), handshake_threads=1) as server:
        assert await visit(server, "a.example") == OTHER.cert_der
        sock = await tlsio.connect(
            server.port, "127.0.0.1", servername="a.example", alpn_protocols=["acme-tls/1"], reject_unauthorized=False
        )
        assert sock.get_peer_certificate()["raw"] == THIRD.cert_der
        await sock.aclose()


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("threads", [0, 1])
async def test_stored_session_of_a_known_name_is_resumed(version: Any, threads: int) -> None:
    """The store is asked although the name needs no question."""
    store, cache = tlsio.MemorySessionStore(), tlsio.ClientSessionCache()

    async def greet(sock: tlsio.TLSSocket) -> None:
        await sock.send(b"hello")
        await sock.read()

    resumed = []
    async with tlsio.serve(greet, 0, "127.0.0.1", secure_context=context(HOME), session_store=store, handshake_threads=threads) as server:
        server.add_context("other", context(OTHER))
        for _ in range(3):
            async with tlsio.connect(
                server.port, "127.0.0.1", servername="other", ca=OTHER.cert_pem, session_cache=cache, max_version=version
            ) as sock:
                assert await sock.read() == b"hello"
                resumed.append(sock.is_session_reused())
    assert resumed == [False, True, True]


@pytest.mark.parametrize("threads", [0, 1])
async def test_server_that_listens_again_asks_again(threads: int) -> None:
    """A change while it was closed was reported to nobody."""
    source = Published(60.0)
    server = tlsio.create_server(ignore, secure_context=source, handshake_threads=threads)
    async with await server.listen(0, "127.0.0.1"):
        assert await visit(server, "a.example") == OTHER.cert_der
    source.table = {"a.example": context(THIRD)}
    async with await server.listen(0, "127.0.0.1"):
        assert await visit(server, "a.example") == THIRD.cert_der


async def test_context_is_kept_while_the_store_is_asked() -> None:
    """Another thread may change names meanwhile, which drops the contexts that no connection uses."""
    changes: list[Callable[[], object]] = []

    def clock() -> float:
        for change in changes:
            change()
        return time.monotonic()

    store, cache, contexts = tlsio.MemorySessionStore(clock=clock), tlsio.ClientSessionCache(), []

    async def greet(sock: tlsio.TLSSocket) -> None:
        contexts.append(internals_of(sock).context)
        await sock.send(b"hello")
        await sock.read()

    source = Published(60.0)
    source.table = {"other": context(OTHER)}
    async with tlsio.serve(greet, 0, "127.0.0.1", secure_context=source, session_store=store) as server:
        another = context(THIRD)
        for _ in range(2):
            async with tlsio.connect(server.port, "127.0.0.1", servername="other", ca=OTHER.cert_pem, session_cache=cache) as sock:
                assert await sock.read() == b"hello"
            changes[:] = [lambda: server.add_context("third", another)]
    assert contexts == [source.table["other"]] * 2


@pytest.mark.parametrize("published_for", [None, "60"])
def test_time_of_a_table_is_a_number(published_for: Any) -> None:
    """Otherwise each client would fail."""
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.create_server(secure_context=Published(published_for))
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
