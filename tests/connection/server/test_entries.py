"""The entries of a server's names, for layers that serve several names on one connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from sessions import greet
from tlsio.connection.server.server import entries_of, watch_clients
from tlsio.connection.socket.tls_socket import internals_of

if TYPE_CHECKING:
    from net import Net

LOCALHOST: dict[str, Any] = {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem}
REQUIRING: dict[str, Any] = {"request_cert": True, "ca": pki.ca1().cert_pem}


def test_whether_an_entry_may_ask_follows_every_change() -> None:
    """Contexts, names and the hook; a source may always."""
    server = tlsio.create_server(**LOCALHOST)
    entries = entries_of(server)
    assert not entries.may_request_cert
    server.add_context("a.example", REQUIRING)
    assert entries.may_request_cert
    server.remove_context("a.example")
    assert not entries.may_request_cert
    server.set_secure_context(**REQUIRING)
    assert entries.may_request_cert
    server.set_secure_context(request_cert=False)
    assert not entries.may_request_cert
    hook = server.on("sni_callback", lambda _name, _socket: None)
    assert entries.may_request_cert
    assert entries.has_hook
    server.off("sni_callback", hook)
    assert not entries.may_request_cert
    assert entries_of(tlsio.create_server(secure_context=pki_source())).may_request_cert


def pki_source() -> Any:
    """Return a source."""

    class Source:
        context = tlsio.create_secure_context(**LOCALHOST)

        def context_for(self, _name: str | None) -> tlsio.SecureContext:
            return self.context

    return Source()


def test_names_are_found_as_for_a_hello() -> None:
    """By the table, then by the default; an address by its own entry."""
    server = tlsio.create_server(**LOCALHOST)
    entries = entries_of(server)
    server.add_context("*.a.example", REQUIRING)
    server.add_context("192.0.2.1", REQUIRING)
    default = entries.find(None)
    assert default is not None
    assert not default.options.request_cert
    assert entries.find("b.example") is default
    assert entries.find(None, "192.0.2.2") is default
    for found in (entries.find("x.a.example"), entries.find(None, "192.0.2.1")):
        assert found is not None
        assert found.options.request_cert


async def test_a_connection_is_compared_by_policy(net: Net) -> None:
    """It has the policy of its context and of contexts of equal trust, until another takes its place."""
    async with net.serve(greet, **REQUIRING) as server:
        agent = pki.client()
        async with await net.connect(server, cert=agent.cert_pem, key=agent.key_pem):
            while not server.open_sockets():  # noqa: ASYNC110 - a socket of the server is no event here
                await asyncio.sleep(0.001)
            handshake = internals_of(server.open_sockets()[0]).handshake
            entries = entries_of(server)
            own = handshake.context
            assert own is not None
            assert handshake.connection.uses(own.native)
            assert entries.is_same_policy(handshake, own)
            assert entries.is_same_policy(handshake, own.replace(cert=pki.localhost_rsa().cert_pem, key=pki.localhost_rsa().key_pem))
            assert not entries.is_same_policy(handshake, own.replace(ca=pki.ca2().cert_pem))
            assert not entries.is_same_policy(handshake, own.replace(request_cert=False))
            copy = own.replace()
            assert not handshake.connection.uses(copy.native)
            handshake.context = copy
            assert not entries.is_same_policy(handshake, own)


async def test_watching_failures_takes_nothing_over(net: Net) -> None:
    """The listener is called as without it; the watch ends with None, and is off where no entry asks."""
    watched: list[BaseException] = []
    emitted: list[BaseException] = []
    async with net.serve(greet, **REQUIRING) as server:
        server.on("tls_client_error", lambda error, _socket: emitted.append(error))
        watch_clients(server, lambda error, _socket: watched.append(error))
        await net.refused(server, cert=pki.self_signed().cert_pem, key=pki.self_signed().key_pem)
        assert len(emitted) == 1
        assert watched == emitted
        watch_clients(server, None)
        await net.refused(server, cert=pki.self_signed().cert_pem, key=pki.self_signed().key_pem)
        assert len(watched) == 1


@pytest.mark.parametrize(("asks", "wants"), [(True, True), (False, False)])
def test_failures_are_watched_only_where_an_entry_asks(asks: bool, wants: bool) -> None:  # noqa: FBT001
    """A flood of failing handshakes makes no object for each otherwise."""
    server = tlsio.create_server(**LOCALHOST, **({**REQUIRING} if asks else {}))
    watch_clients(server, lambda _error, _socket: None)
    assert server._gate.wants_failures is wants
