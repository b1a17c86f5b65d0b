"""What another handshake may decide: strictness for one handshake, verdicts of an end in its middle, our own slow hooks."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from net import Net

CLIENT = {"cert": pki.client().cert_pem, "key": pki.client().key_pem}
STRANGER = {"cert": pki.self_signed().cert_pem, "key": pki.self_signed().key_pem}
TRUST = {"ca": pki.ca1().cert_pem}


@asynccontextmanager
async def opened(net: Net, client: dict[str, Any] | None = None, **server: Any) -> AsyncIterator[tuple[Any, Any, tlsio.Server]]:
    """Give a client and its peer, which both read, and their server."""
    peers: asyncio.Queue[tlsio.TLSSocket] = asyncio.Queue()
    async with net.serve(peers.put_nowait, **TRUST | server) as serving:
        sock = await net.connect(serving, **client if client is not None else CLIENT)
        peer = await peers.get()
        reading = [asyncio.ensure_future(drain(one)) for one in (sock, peer)]
        try:
            yield sock, peer, serving
        finally:
            sock.destroy()
            peer.destroy()
            await asyncio.gather(*reading)


async def drain(sock: tlsio.TLSSocket) -> None:
    """Read until the connection is over, however it ends."""
    with suppress(tlsio.TLSError):
        while await sock.read():
            pass


async def moved(sock: tlsio.TLSSocket) -> None:
    """Wait until data has arrived."""
    while not sock.bytes_read:  # noqa: ASYNC110 - the one who reads is `drain`
        await asyncio.sleep(0)


class Gatekeeper:
    """A `check_client` that waits at its second question until it is let go."""

    def __init__(self) -> None:
        self.asked: list[bool] = []
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, certificate: object, _sock: object) -> None:
        """Let everyone in, the second one later."""
        self.asked.append(certificate is not None)
        if len(self.asked) > 1:
            self.reached.set()
            await self.go.wait()


class TestStrictness:
    """How strict another handshake is."""

    async def test_a_soft_request_softens_one_handshake(self, net: Net) -> None:
        """The next one is as strict as the context, also when it is asked for without options."""
        async with opened(net, STRANGER) as (_client, peer, _server):
            await peer.renegotiate(request_cert=True, reject_unauthorized=False)
            assert (peer.authorized, peer.authorization_error) == (False, "DEPTH_ZERO_SELF_SIGNED_CERT")
            with pytest.raises(tlsio.CertificateError):
                await peer.renegotiate()

    async def test_a_soft_request_does_not_soften_the_client_s_own(self, net: Net) -> None:
        """Up to TLS 1.2 a client may start another handshake itself."""
        if net.version == "TLSv1.3":
            return
        async with opened(net, STRANGER, allow_renegotiation=True) as (client, peer, _server):
            await peer.renegotiate(request_cert=True, reject_unauthorized=False)
            await peer.send(b"after")
            await moved(client)  # until then the server's handshake would satisfy the client's wish
            with pytest.raises(tlsio.TLSError):
                await client.renegotiate()

    @pytest.mark.parametrize("judge", [{}, {"check_client": lambda _certificate, _sock: None}, {"fetch_crl": "check"}])
    async def test_hooks_obey_a_soft_request(self, net: Net, judge: dict[str, Any]) -> None:
        """`reject_unauthorized=False` means the same whether the server has hooks or not."""
        async with opened(net, STRANGER, **judge) as (_client, peer, _server):
            await peer.renegotiate(request_cert=True, reject_unauthorized=False)
            assert (peer.authorized, peer.authorization_error) == (False, "DEPTH_ZERO_SELF_SIGNED_CERT")

    async def test_a_context_that_rejects_nobody_stays_so(self, net: Net) -> None:
        """A request of the context's own strictness accepts what the context accepts."""
        async with opened(net, STRANGER, reject_unauthorized=False) as (_client, peer, _server):
            await peer.renegotiate(request_cert=True)
            await peer.renegotiate()
            assert peer.authorization_error == "DEPTH_ZERO_SELF_SIGNED_CERT"

    async def test_a_refused_request_changes_nothing(self, net: Net) -> None:
        """A client of TLS 1.3 that does not offer post-handshake authentication stays what it was."""
        if net.version == "TLSv1.2":
            return
        async with opened(net, {}) as (_client, peer, _server):
            with pytest.raises(tlsio.HandshakeError) as refused:
                await peer.renegotiate(request_cert=True)
            assert refused.value.code == "ERR_SSL_EXTENSION_NOT_RECEIVED"
            assert peer.authorization_error is None

    async def test_check_client_is_asked_about_each_handshake(self, net: Net) -> None:
        """Also when no certificate is requested, which TLS 1.2 allows."""
        asked: list[bool] = []
        async with opened(net, check_client=lambda certificate, _sock: asked.append(certificate is not None)) as (_client, peer, _server):
            await peer.renegotiate()
        assert asked == [False, net.version == "TLSv1.3"]

    async def test_a_resumed_client_keeps_its_error(self, net: Net) -> None:
        """What spoke against the certificate of the session speaks against the connection that resumes it."""
        if net.version == "TLSv1.2":
            return
        sessions: asyncio.Queue[bytes] = asyncio.Queue()
        peers: asyncio.Queue[tlsio.TLSSocket] = asyncio.Queue()
        async with net.serve(peers.put_nowait, **TRUST) as server:
            client = await net.connect(server, **STRANGER)
            peer = await peers.get()
            reading = asyncio.ensure_future(drain(client))
            await peer.renegotiate(request_cert=True, reject_unauthorized=False)
            client.on("session", sessions.put_nowait)
            session = await sessions.get()
            resumed = await net.connect(server, **STRANGER, session=session)
            second = await peers.get()
            assert second.is_session_reused()
            assert (second.authorized, second.authorization_error) == (False, "DEPTH_ZERO_SELF_SIGNED_CERT")
            for one in (client, peer, resumed, second):
                one.destroy()
            await reading


class TestEnds:
    """An end of either side in the middle."""

    @pytest.mark.parametrize("judge", ["check_client", "fetch_crl"])
    async def test_a_client_that_was_not_judged_is_not_authorized(self, net: Net, judge: str) -> None:
        """After `close` no hook is asked: the call raises, whoever has answered."""
        if net.version == "TLSv1.2":
            return
        asked: list[object] = []

        def refuse(certificate: object, _sock: object) -> None:
            if certificate is not None:
                asked.append(certificate)
                raise tlsio.HandshakeError("no", code="ERR_NO")

        option: dict[str, Any] = {"check_client": refuse} if judge == "check_client" else {"fetch_crl": "require"}
        async with opened(net, **option) as (_client, peer, _server):
            asking = asyncio.ensure_future(peer.renegotiate(request_cert=True))
            await asyncio.sleep(0)
            peer.close()
            with pytest.raises(tlsio.ConnectionLostError) as ended:
                await asking
            assert ended.value.code == "ERR_SOCKET_CLOSED"
            assert not peer.authorized
        assert asked == []

    @pytest.mark.parametrize("allow", [False, True])
    async def test_a_fin_answers_as_close_notify_does(self, net: Net, allow: bool) -> None:  # noqa: FBT001
        """Nothing will come any more, whether a truncated end counts as an end or not."""
        peers: asyncio.Queue[tlsio.TLSSocket] = asyncio.Queue()
        async with net.serve(peers.put_nowait, allow_truncation=allow, **TRUST) as server:
            client = await net.connect(server, **CLIENT)
            peer = await peers.get()
            reading = asyncio.ensure_future(drain(peer))
            asking = asyncio.ensure_future(peer.renegotiate(request_cert=True))
            await asyncio.sleep(0)
            with socket.socket(fileno=os.dup(client._fileno())) as below:
                below.shutdown(socket.SHUT_WR)
            with pytest.raises(tlsio.HandshakeError) as ended:
                await asking
            assert ended.value.code == "ERR_TLS_HANDSHAKE_UNANSWERED"
            client.destroy()
            await reading

    async def test_a_client_can_refuse_renegotiation(self, net: Net) -> None:
        """`disable_renegotiation` holds for the server's request too; no certificate is shown."""
        if net.version == "TLSv1.3":
            return
        async with opened(net) as (client, peer, _server):
            client.disable_renegotiation()
            with pytest.raises(tlsio.TLSError):
                await peer.renegotiate(request_cert=True)
            assert not peer.authorized
            with pytest.raises(tlsio.PeerError) as told:
                await client.read()
            assert told.value.code == "ERR_TLS_RENEGOTIATION_DISABLED"


class TestOwnHooks:
    """Hooks that take their time."""

    @pytest.mark.slow  # its timeout is longer than a busy machine needs for a handshake
    async def test_a_slow_hook_is_not_a_peer_that_does_not_answer(self, net: Net) -> None:
        """`handshake_timeout` bounds the peer, `hook_timeout` the hook."""
        keeper = Gatekeeper()
        async with opened(net, request_cert=True, check_client=keeper, handshake_timeout=0.5) as (_client, peer, server):
            asking = asyncio.ensure_future(peer.renegotiate())
            await keeper.reached.wait()
            await asyncio.sleep(0.7)
            keeper.go.set()
            await asking
            assert server.stats().connections_failed == {}

    async def test_close_waits_for_the_hook(self, net: Net) -> None:
        """Output that our hook holds back is not the peer's failure to read."""
        keeper = Gatekeeper()
        async with opened(net, request_cert=True, check_client=keeper, close_timeout=0.2) as (_client, peer, server):
            asking = asyncio.ensure_future(peer.renegotiate())
            await keeper.reached.wait()
            peer.close()
            await asyncio.sleep(0.4)
            keeper.go.set()
            await peer.wait_closed()
            with suppress(tlsio.ConnectionLostError):
                await asking
            assert server.stats().connections_failed == {}

    async def test_a_second_call_while_the_hook_is_asked(self, net: Net) -> None:
        """The first was cancelled and its handshake is not done: that is a mistake of use, not of the client."""
        keeper = Gatekeeper()
        async with opened(net, request_cert=True, check_client=keeper) as (_client, peer, _server):
            asking = asyncio.ensure_future(peer.renegotiate())
            await keeper.reached.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            with pytest.raises(tlsio.UsageError):
                await peer.renegotiate()
            keeper.go.set()

    async def test_a_request_follows_the_client_s_own_handshake(self, net: Net) -> None:
        """Also when that one waits for the hook."""
        if net.version == "TLSv1.3":
            return
        keeper = Gatekeeper()
        async with opened(net, request_cert=True, check_client=keeper, allow_renegotiation=True) as (client, peer, _server):
            own = asyncio.ensure_future(client.renegotiate())
            await keeper.reached.wait()
            asking = asyncio.ensure_future(peer.renegotiate())
            await asyncio.sleep(0)
            keeper.go.set()
            await asyncio.gather(own, asking)
            assert len(keeper.asked) == 3


class Endless:
    """A source of ticket keys that never answers."""

    clock = staticmethod(time.monotonic)

    async def refresh(self) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()

    def snapshot(self, _now: float) -> Any:
        """Return nothing: it is never asked."""


class TestUpgraded:
    """The engine's limits over streams."""

    async def test_upgraded_sockets_count_where_connections_are_accepted(self) -> None:
        """`max_connections` is one limit for both."""
        who = pki.localhost()
        async with tlsio.serve(lambda _sock: None, 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem, max_connections=1) as server:
            dropped: list[object] = []
            server.on("drop", dropped.append)
            ours, theirs = socket.socketpair()
            upgrading = asyncio.ensure_future(server.upgrade(theirs))
            client = await tlsio.connect(socket=ours, servername="localhost", **TRUST)
            await upgrading
            with pytest.raises(tlsio.ConnectionLostError):
                await tlsio.connect(server.port, "127.0.0.1", servername="localhost", **TRUST)
            assert (server.connections, len(dropped), server.stats().dropped) == (1, 1, 1)
            client.destroy()

    async def test_max_handshake_bytes_over_a_stream(self, net: Net) -> None:
        """A hello beyond the limit ends the handshake, on each side of the limit as it should."""
        who = pki.localhost()
        options: dict[str, Any] = {"cert": who.cert_pem, "key": who.key_pem}
        for limit, names in ((4096, [f"protocol-{number:05}" for number in range(1000)]), (32768, None)):
            ours, theirs = socket.socketpair()
            server = tlsio.TLSSocket(theirs, is_server=True, max_handshake_bytes=limit, **options)
            shaking = asyncio.ensure_future(server.handshake())
            connecting = asyncio.ensure_future(
                tlsio.connect(
                    socket=ours, servername="localhost", min_version=net.version, max_version=net.version, alpn_protocols=names, **TRUST
                )
            )
            if names:
                with pytest.raises(tlsio.HandshakeError) as refused:
                    await shaking
                assert refused.value.code == "ERR_TLS_HANDSHAKE_TOO_LARGE"
                with suppress(tlsio.TLSError):  # in TLS 1.3 the client may be done before
                    await drain(await connecting)
            else:
                (await connecting).destroy()
                await shaking
            server.destroy()

    async def test_close_ends_calls_that_wait_for_ticket_keys(self) -> None:
        """A source that never answers holds up neither `listen` nor `upgrade`."""
        who = pki.localhost()
        server = tlsio.create_server(cert=who.cert_pem, key=who.key_pem, ticket_keys=Endless())
        ours, theirs = socket.socketpair()
        calls = [asyncio.ensure_future(server.listen(0, "127.0.0.1")), asyncio.ensure_future(server.upgrade(theirs))]
        await asyncio.sleep(0)
        server.close(0)
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [getattr(error, "code", error) for error in ended] == ["ERR_SERVER_NOT_RUNNING"] * 2
        await server.wait_closed()
        ours.close()
