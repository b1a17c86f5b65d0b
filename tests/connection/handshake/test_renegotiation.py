"""Another handshake on an open connection: renegotiation in TLS 1.2, client certificates asked for later in both versions."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import Net

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from net import Driver, Pair

CLIENT = {"cert": pki.client().cert_pem, "key": pki.client().key_pem}


@pytest.fixture
def net12(driver: Driver) -> Net:
    """TLS 1.2, of which alone clients can renegotiate."""
    return Net(driver, "TLSv1.2")


@pytest.mark.node("tls-server-verify")
async def test_server_asks_for_a_certificate_later(pair: Pair) -> None:
    """The client is nobody until it is asked, and authorized from then on."""
    async with pair(server={"ca": pki.ca1().cert_pem}, client=CLIENT) as (client, peer, _server):
        assert (peer.authorized, peer.get_peer_certificate()) == (False, None)
        reading = asyncio.ensure_future(client.read())
        await peer.renegotiate(request_cert=True)
        assert peer.authorized
        found = peer.get_peer_certificate()
        assert found is not None
        assert found["subject"]["CN"] == "client"
        await peer.send(b"after")
        assert await reading == b"after"


async def test_client_without_a_certificate_is_refused_later(pair: Pair) -> None:
    """Asked for one it does not have, it loses the connection, and both sides say why."""
    asking: dict[str, Any] = {"cert": pki.agent1().cert_pem, "key": pki.agent1().key_pem}
    async with pair(server={"ca": pki.ca2().cert_pem}, client=asking) as (client, peer, _server):
        reading = asyncio.ensure_future(client.read())
        with pytest.raises(tlsio.CertificateError) as refused:
            await peer.renegotiate(request_cert=True)
        assert refused.value.code in {"UNABLE_TO_VERIFY_LEAF_SIGNATURE", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"}
        with pytest.raises(tlsio.AlertReceived) as told:
            await reading
        assert told.value.alert == "unknown_ca"


@pytest.mark.node("tls-server-verify")
async def test_a_soft_request_lets_a_bad_certificate_in(pair: Pair) -> None:
    """`reject_unauthorized=False` records what is wrong, and goes on."""
    stranger: dict[str, Any] = {"cert": pki.agent1().cert_pem, "key": pki.agent1().key_pem}
    async with pair(server={"ca": pki.ca2().cert_pem}, client=stranger) as (client, peer, _server):
        reading = asyncio.ensure_future(client.read())
        await peer.renegotiate(request_cert=True, reject_unauthorized=False)
        assert not peer.authorized
        assert peer.authorization_error
        await peer.send(b"well")
        assert await reading == b"well"


async def test_a_soft_request_still_enforces_pins(pair: Pair) -> None:
    """A certificate that was accepted unverified must have a pinned key itself: one that is sent along does not count."""
    device, pinned = pki.self_signed(), pki.ca5()
    stranger = pki.Identity(device.key, device.certificate, (pinned.certificate,))
    shown = {"cert": stranger.chain_pem, "key": stranger.key_pem}
    async with pair(server={"pins": [pinned.spki_sha256], "request_cert": False}, client=shown) as (client, peer, _server):
        reading = asyncio.ensure_future(client.read())
        with pytest.raises(tlsio.CertificateError) as refused:
            await peer.renegotiate(request_cert=True, reject_unauthorized=False)
        assert refused.value.code == "ERR_TLS_PIN_MISMATCH"
        with pytest.raises(tlsio.AlertReceived, match="BAD_CERTIFICATE"):
            await reading


async def test_a_soft_request_accepts_a_pinned_key(pair: Pair) -> None:
    """The device is known by its key alone."""
    device = pki.self_signed()
    shown = {"cert": device.cert_pem, "key": device.key_pem}
    async with pair(server={"pins": [device.spki_sha256], "request_cert": False}, client=shown) as (client, peer, _server):
        reading = asyncio.ensure_future(client.read())
        await peer.renegotiate(request_cert=True, reject_unauthorized=False)
        assert peer.authorization_error == "DEPTH_ZERO_SELF_SIGNED_CERT"
        await peer.send(b"well")
        assert await reading == b"well"


async def test_check_client_is_asked_again(pair: Pair) -> None:
    """The hook sees no certificate first, and the client's later; its refusal ends the connection."""
    seen: list[object] = []

    def check(certificate: Any, _socket: tlsio.TLSSocket) -> Exception | None:
        seen.append(certificate and certificate["subject"]["CN"])
        return ValueError("not today") if certificate else None

    async with pair(server={"ca": pki.ca1().cert_pem, "check_client": check}, client=CLIENT) as (client, peer, _server):
        reading = asyncio.ensure_future(client.read())
        with pytest.raises(tlsio.CertificateError, match="ValueError: not today"):
            await peer.renegotiate(request_cert=True)
        assert seen == [None, "client"]
        with pytest.raises(tlsio.TLSError):
            await reading


async def test_data_behind_the_certificate_waits_for_check_client(driver: Driver) -> None:
    """TLS 1.3: what a client sends right behind its certificate reaches no listener before the answer, and none after a refusal."""
    answers: list[asyncio.Future[None]] = []

    async def check(certificate: object, _socket: tlsio.TLSSocket) -> None:
        if certificate is not None:
            answers.append(asyncio.get_running_loop().create_future())
            await answers[-1]

    options: dict[str, Any] = {"ca": pki.ca1().cert_pem, "check_client": check}
    for refused in (False, True):
        seen: list[bytes] = []
        answers.clear()
        async with Net(driver, "TLSv1.3").pair(server=options, client=CLIENT) as (client, peer, _server):
            peer.on("data", seen.append)
            for side in (client, peer):
                side.on("error", lambda _error: None)
            asking = asyncio.ensure_future(peer.renegotiate(request_cert=True))
            client.on("data", lambda _chunk: client.write(b"behind"))
            await asyncio.sleep(0)
            peer.write(b"go")
            while not answers:  # noqa: ASYNC110 - a hook's call is no event
                await asyncio.sleep(0)
            for _ in range(5):
                await asyncio.sleep(0)
            assert not seen
            if refused:
                answers[-1].set_exception(LookupError("not today"))
                with pytest.raises(tlsio.CertificateError, match="LookupError: not today"):
                    await asking
                await client.wait_closed()
                assert not seen
            else:
                answers[-1].set_result(None)
                await asking
                while not seen:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                assert seen == [b"behind"]


@pytest.mark.node("tls-disable-renegotiation")
async def test_other_certificate_is_refused_later(net12: Net) -> None:
    """A server that has a new one cannot renegotiate with a client that resumed an older session; the client says why."""

    async def ask(sock: tlsio.TLSSocket) -> None:
        await sock.readexactly(1)
        if sock.is_session_reused():
            with pytest.raises(tlsio.AlertReceived):
                await sock.renegotiate(request_cert=True, reject_unauthorized=False)

    cache = tlsio.ClientSessionCache()
    async with net12.serve(ask) as server:
        async with await net12.connect(server, session_cache=cache) as first:
            await first.send(b"x")
        server.set_secure_context(cert=pki.localhost_rsa().chain_pem, key=pki.localhost_rsa().key_pem)
        client = await net12.connect(server, session_cache=cache)
        assert client.is_session_reused()
        client.write(b"x")
        with pytest.raises(tlsio.CertificateError, match="renegotiated with a certificate other than the verified one") as refused:
            await client.read()
        assert refused.value.code == "ERR_TLS_CERTIFICATE_CHANGED"
        assert refused.value.hint is not None
        await client.wait_closed()


async def test_wrong_arguments_raise(pair: Pair) -> None:
    """Only bool and None are taken."""
    async with pair() as (_client, peer, _server):
        with pytest.raises(tlsio.UsageError) as wrong:
            await peer.renegotiate(request_cert="yes")  # type: ignore[arg-type]
        assert wrong.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.node("tls-client-renegotiation-limit")
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 10, 16])
async def test_client_renegotiates_as_often_as_allowed(net12: Net, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many times within the window; once more ends the connection with Node's code on the server."""
    monkeypatch.setattr(tlsio.defaults, "client_reneg_limit", limit)
    async with net12.pair(server={"allow_renegotiation": True}) as (client, peer, _server):
        reading = asyncio.ensure_future(peer.read())
        for _ in range(limit):
            await client.renegotiate()
        with pytest.raises(tlsio.AlertReceived) as told:
            await client.renegotiate()
        assert told.value.alert == "no_renegotiation"
        with pytest.raises(tlsio.PeerError) as ended:
            await reading
        assert ended.value.code == "ERR_TLS_SESSION_ATTACK"


@pytest.mark.node("tls-client-renegotiation-limit")
@pytest.mark.parametrize("options", [{}, {"allow_renegotiation": True}], ids=["not allowed", "limit 0"])
async def test_client_may_not_renegotiate_by_default(net12: Net, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL answers with a warning; the client gives up, the server's socket is told nothing worse than the end."""
    if options:
        monkeypatch.setattr(tlsio.defaults, "client_reneg_limit", 0)
    async with net12.pair(server=options) as (client, peer, _server):
        reading = asyncio.ensure_future(peer.read())
        with pytest.raises(tlsio.TLSError):
            await client.renegotiate()
        with pytest.raises(tlsio.TLSError):
            await reading


@pytest.mark.node("tls-disable-renegotiation")
@pytest.mark.parametrize("allowed", [True, False])
async def test_disabled_renegotiation_ends_the_connection(net12: Net, *, allowed: bool) -> None:
    """After `disable_renegotiation` the first attempt is one too many, also where there would have been a warning only."""
    async with net12.pair(server={"allow_renegotiation": allowed}) as (client, peer, _server):
        reading = asyncio.ensure_future(peer.read())
        if allowed:
            await client.renegotiate()
        peer.disable_renegotiation()
        with pytest.raises(tlsio.AlertReceived):
            await client.renegotiate()
        with pytest.raises(tlsio.PeerError) as ended:
            await reading
        assert ended.value.code == "ERR_TLS_RENEGOTIATION_DISABLED"


@pytest.mark.parametrize("asker", ["client", "server"])
async def test_both_sides_may_write_meanwhile(net12: Net, asker: str) -> None:
    """What either side has sent before the other one's handshake message arrives, and what it writes meanwhile, is not lost."""
    async with net12.pair(server={"allow_renegotiation": True}) as (client, peer, _server):
        done = asyncio.Event()

        async def write(sock: tlsio.TLSSocket) -> int:
            sent = 0
            while not done.is_set():
                await sock.send(b"x" * 30_000)
                sent += 30_000
            sock.end()
            return sent

        async def read(sock: tlsio.TLSSocket) -> int:
            return sum([len(chunk) async for chunk in sock])

        talks = [asyncio.ensure_future(way) for way in (write(client), read(peer), write(peer), read(client))]
        while not (client.bytes_read and peer.bytes_read):  # noqa: ASYNC110 - the first byte is no event
            await asyncio.sleep(0)
        try:
            await (client if asker == "client" else peer).renegotiate()
        finally:
            done.set()
        there, arrived, back, returned = await asyncio.gather(*talks)
        assert (arrived, returned) == (there, back)


@pytest.mark.parametrize("asker", ["client", "server"])
async def test_cancelled_call_goes_on_and_no_other_begins(net12: Net, asker: str) -> None:
    """A handshake whose caller has gone is finished first; until then another is refused, and what is written arrives."""
    async with net12.pair(server={"allow_renegotiation": True}) as (client, peer, _server):
        side, other = (client, peer) if asker == "client" else (peer, client)
        asking = asyncio.ensure_future(side.renegotiate())
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        with pytest.raises(tlsio.UsageError, match="in progress"):
            await side.renegotiate()
        for here, there in ((side, other), (other, side)):
            here.write(b"data")
            assert await there.readexactly(4) == b"data"
        reading = asyncio.ensure_future(other.read())
        await side.renegotiate()
        reading.cancel()


@pytest.mark.parametrize("ours", [False, True], ids=["lost", "destroyed"])
async def test_ended_connection_does_not_report_that_it_waits(pair: Pair, *, ours: bool) -> None:
    """After a cancelled call, what has ended the connection is raised; a program that tries again until it is done would never end."""
    async with pair(server={"ca": pki.ca1().cert_pem}, client=CLIENT) as (client, peer, _server):
        asking = asyncio.ensure_future(peer.renegotiate(request_cert=True))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        if ours:
            peer.destroy()
        client.destroy()
        with pytest.raises(tlsio.TLSError) as ended:
            await peer.read()
        with pytest.raises(tlsio.UsageError if ours else type(ended.value)) as caught:
            await peer.renegotiate(request_cert=True)
        assert "in progress" not in str(caught.value)


async def test_tls_1_3_asks_for_a_certificate_or_not_at_all(driver: Driver) -> None:
    """There is no other reason for another handshake: the mistake is the caller's, not the client's."""
    async with Net(driver, "TLSv1.3").pair() as (_client, peer, _server):
        with pytest.raises(tlsio.UsageError, match="request_cert=False") as wrong:
            await peer.renegotiate(request_cert=False)
        assert wrong.value.code == "ERR_INVALID_ARG_VALUE"


async def test_own_end_drops_a_request_that_was_not_sent(net12: Net) -> None:
    """The server ends while the client renegotiates by itself: the call fails at once, and the client's data still arrives."""
    options = {"allow_renegotiation": True, "allow_half_open": True, "ca": pki.ca1().cert_pem}
    dropped = 0
    for delay in range(1, 7):  # turns of the loop: after some of them the client's hello was answered, and its handshake is not done
        async with net12.pair(server=options, client={"allow_half_open": True, **CLIENT}) as (client, peer, _server):
            for side in (client, peer):
                side.on("error", lambda _error: None)
            own = asyncio.ensure_future(client.renegotiate())
            for _ in range(delay):
                await asyncio.sleep(0)
            asking = asyncio.ensure_future(peer.renegotiate(request_cert=True))
            await asyncio.sleep(0)
            peer.end()
            reading = asyncio.ensure_future(peer.readexactly(4))
            await asyncio.wait([own])  # the server is done before the client
            if asking.done() and "before the request could be sent" in str(asking.exception()):
                dropped += 1
                client.write(b"data")
                assert await reading == b"data"
            for task in (own, asking, reading):
                task.cancel()
            await asyncio.gather(own, asking, reading, return_exceptions=True)
    assert dropped


async def test_request_of_a_listener_during_the_client_s_renegotiation(net12: Net) -> None:
    """Begun by an event of the client's own handshake, the call does not take that handshake for the answer."""
    async with net12.pair(server={"allow_renegotiation": True, "ca": pki.ca1().cert_pem}) as (client, peer, _server):
        asked: list[tuple[Coroutine[Any, Any, None], asyncio.Future[None]]] = []

        def ask(_line: bytes) -> None:
            if not asked:
                call = peer.renegotiate(request_cert=True)
                asked.append((call, call.send(None)))  # like an eager task

        for side in (client, peer):
            side.on("error", lambda _error: None)
            side.on("data", lambda _chunk: None)
        peer.on("keylog", ask)
        with suppress(tlsio.TLSError):
            await client.renegotiate()
        ((call, waiter),) = asked
        waiter._asyncio_future_blocking = False
        await asyncio.wait([waiter])
        with pytest.raises((tlsio.CertificateError, tlsio.HandshakeError)):
            call.send(None)
        assert peer.closed


async def test_client_may_write_while_what_came_before_its_answer_is_unread(net12: Net) -> None:
    """A server asks for another handshake and goes on sending: the client's writes wait until it has read that."""
    async with net12.pair() as (client, peer, _server):
        asking = asyncio.ensure_future(peer.renegotiate())
        await asyncio.sleep(0)
        await peer.send(b"before")
        for _ in range(20):
            await asyncio.sleep(0)
        client.write(b"meanwhile")
        reading = asyncio.ensure_future(peer.read())
        assert await client.read() == b"before"
        client.on("data", lambda _chunk: None)
        await asking
        assert await reading == b"meanwhile"


@pytest.mark.parametrize("cancelled", [False, True], ids=["waiting", "cancelled"])
async def test_peer_that_ends_without_an_answer_is_an_error_at_once(pair: Pair, *, cancelled: bool) -> None:
    """What it sent before its end is read first; a call that was cancelled changes nothing about that."""
    async with pair(server={"ca": pki.ca1().cert_pem}, client=CLIENT) as (client, peer, _server):
        peer.write(b"unread")  # the request stands behind it, and the client never reads that
        asking = asyncio.ensure_future(peer.renegotiate(request_cert=True))
        await asyncio.sleep(0)
        if cancelled:
            asking.cancel()
        client.end(b"before")
        assert await peer.read() == b"before"
        with pytest.raises(tlsio.HandshakeError) as ended:
            await peer.read()
        assert ended.value.code == "ERR_TLS_HANDSHAKE_UNANSWERED"
        assert peer.closed
        with pytest.raises(asyncio.CancelledError if cancelled else tlsio.HandshakeError):
            await asking


@pytest.mark.parametrize("cancelled", [False, True], ids=["waiting", "cancelled"])
async def test_server_that_ends_without_an_answer_is_an_error_at_once(net12: Net, *, cancelled: bool) -> None:
    """TLS 1.2: what the client writes can then never leave; `drain` raises it."""
    async with net12.pair(server={"allow_renegotiation": True}, client={"high_water_mark": 0}) as (client, peer, _server):
        client.write(b"unread")
        asking = asyncio.ensure_future(client.renegotiate())
        await asyncio.sleep(0)
        if cancelled:
            asking.cancel()
        sending = asyncio.ensure_future(client.send(b"never"))
        await asyncio.sleep(0)
        peer.end()
        with pytest.raises(tlsio.HandshakeError) as ended:
            await sending
        assert ended.value.code == "ERR_TLS_HANDSHAKE_UNANSWERED"
        with pytest.raises(asyncio.CancelledError if cancelled else tlsio.HandshakeError):
            await asking


@pytest.mark.slow
@pytest.mark.parametrize("ended", [False, True], ids=["open", "ended"])
async def test_cancelled_request_is_bounded_while_it_holds_up_writes(pair: Pair, *, ended: bool) -> None:
    """The client does not answer. Until our end that breaks the connection in time; then nothing waits for the answer."""
    server = {"ca": pki.ca1().cert_pem, "handshake_timeout": 0.5}
    async with pair(server=server, client={**CLIENT, "allow_half_open": True}) as (client, peer, _server):
        peer.write(b"unread")
        asking = asyncio.ensure_future(peer.renegotiate(request_cert=True))
        await asyncio.sleep(0)
        asking.cancel()
        if ended:
            peer.end()
            await asyncio.sleep(0.8)
            client.end(b"late")
            assert await peer.read() == b"late"
            assert await peer.read() == b""
        else:
            with pytest.raises(tlsio.HandshakeTimeoutError):
                await peer.read()


async def test_answer_before_the_end_is_an_answer(pair: Pair) -> None:
    """The client ends right behind it: another handshake is done, and the end is an end."""
    async with pair(server={"ca": pki.ca1().cert_pem}, client=CLIENT) as (client, peer, _server):
        client.on("data", lambda _chunk: client.end())
        asking = asyncio.ensure_future(peer.renegotiate(request_cert=True))
        await asyncio.sleep(0)
        peer.write(b"go")
        await asking
        assert peer.authorized
        assert await peer.read() == b""


async def test_peer_that_has_ended_is_not_asked(pair: Pair) -> None:
    """The call fails, and our direction stays open."""
    async with pair(server={"ca": pki.ca1().cert_pem}, client=CLIENT) as (client, peer, _server):
        client.end()
        assert await peer.read() == b""
        with pytest.raises(tlsio.HandshakeError) as refused:
            await peer.renegotiate(request_cert=True)
        assert refused.value.code == "ERR_TLS_HANDSHAKE_UNANSWERED"
        await peer.send(b"still here")
        assert await client.read() == b"still here"


@pytest.mark.parametrize("writes", [False, True])
async def test_server_that_ends_within_its_own_renegotiation(net12: Net, *, writes: bool) -> None:
    """TLS 1.2: that is an end in order for a client that only ends too, and an error for one that writes."""
    async with net12.pair() as (client, peer, _server):
        client.write(b"unread")  # the client's hello stands behind it
        asking = asyncio.ensure_future(peer.renegotiate())
        await asyncio.sleep(0)
        reading = asyncio.ensure_future(client.read())
        for _ in range(20):
            await asyncio.sleep(0.001)  # until the request has reached the client
        peer.end()
        assert await reading == b""
        if writes:
            failed = asyncio.get_running_loop().create_future()
            client.on("error", failed.set_result)
            client.write(b"never")
            assert (await failed).code == "ERR_TLS_HANDSHAKE_UNANSWERED"
            assert client.closed
        else:
            closed: list[bool] = []
            client.on("close", closed.append)
            await client.aclose()
            assert closed == [False]
        peer.destroy()
        with pytest.raises(tlsio.TLSError):
            await asking


async def test_tls_1_3_has_no_renegotiation(driver: Driver) -> None:
    """A client is told so, with Node's code."""
    async with Net(driver, "TLSv1.3").pair() as (client, _peer, _server):
        with pytest.raises(tlsio.UsageError) as wrong:
            await client.renegotiate()
        assert wrong.value.code == "ERR_SSL_WRONG_SSL_VERSION"


async def test_client_that_offers_no_later_authentication_cannot_be_asked(driver: Driver) -> None:
    """TLS 1.3: without the extension the call fails and the connection goes on."""
    async with Net(driver, "TLSv1.3").pair(server={"ca": pki.ca1().cert_pem}) as (client, peer, _server):
        with pytest.raises(tlsio.HandshakeError) as refused:
            await peer.renegotiate(request_cert=True)
        assert refused.value.code == "ERR_SSL_EXTENSION_NOT_RECEIVED"
        await peer.send(b"still here")
        assert await client.read() == b"still here"


async def test_listener_need_not_catch_what_the_client_cannot_do(driver: Driver) -> None:
    """It ends that socket; the loop's handler, where the test's frame looks, is for the program's own mistakes."""
    closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def ask(sock: tlsio.TLSSocket) -> None:
        sock.on("close", closed.set_result)
        await sock.renegotiate(request_cert=True)

    net = Net(driver, "TLSv1.3")
    async with net.serve(ask, ca=pki.ca1().cert_pem) as server, await net.connect(server) as client:
        with suppress(tlsio.TLSError):
            await client.read()
        await closed


async def test_python_answers_post_handshake_authentication(tmp_path: Path) -> None:
    """A client of the standard library that offers it is asked, and found good."""
    context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
    context.post_handshake_auth = True
    (tmp_path / "client.pem").write_bytes(pki.client().key_pem + pki.client().cert_pem)
    context.load_cert_chain(tmp_path / "client.pem")
    names: list[object] = []

    async def ask(socket: tlsio.TLSSocket) -> None:
        await socket.renegotiate(request_cert=True)
        found = socket.get_peer_certificate()
        names.append(found and found["subject"]["CN"])
        await socket.send(b"ok")

    who = pki.localhost()
    async with tlsio.serve(ask, 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem, ca=pki.ca1().cert_pem) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context, server_hostname="localhost")
        assert await reader.readexactly(2) == b"ok"
        writer.close()
        await writer.wait_closed()
    assert names == ["client"]
