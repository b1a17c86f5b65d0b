"""Pre-shared keys: who gets in by one and who does not, with certificates and without, on both sides."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import once

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net

KEY = bytes(range(32))
KEYS = {"alice": KEY, "zoë": b"another key", "x" * 256: KEY}
NO_CERTIFICATE: dict[str, Any] = {"cert": None, "key": None}


def find(_socket: tlsio.TLSSocket, identity: str) -> bytes | None:
    """Return the key of those we know."""
    return KEYS.get(identity)


def come_as(identity: Any, key: Any = KEY) -> Callable[[str | None], Any]:
    """Return a client's function that is always the same one."""
    return lambda _hint: (identity, key)


def by_key(net: Net, **options: Any) -> dict[str, Any]:
    """Options of either side: up to TLS 1.2 the suites have to be named."""
    return ({} if net.version == "TLSv1.3" else {"ciphers": "PSK"}) | options


def serving(net: Net, **options: Any) -> dict[str, Any]:
    """A server's, without a certificate."""
    return by_key(net, **NO_CERTIFICATE, psk_callback=find) | options


async def end(sock: tlsio.TLSSocket) -> None:
    """Be done with it."""
    sock.destroy()
    await sock.wait_closed()


# --- who gets in ---


@pytest.mark.parametrize(("identity", "key"), [*KEYS.items()][:2])
async def test_key_opens_without_certificates(net: Net, identity: str, key: bytes) -> None:
    """A client knows its server by it; a server's `authorized` speaks of certificates."""
    async with net.serve(**serving(net)) as server:
        opened = once(server, "secure_connection")
        sock = await net.connect(server, **by_key(net, ca=None, psk_callback=come_as(identity, key)))
        peer = await opened
        peer.write(b"hello")
        assert await sock.read() == b"hello"
        assert (sock.authorized, sock.authorization_error, sock.get_peer_certificate()) == (True, None, None)
        assert (peer.authorized, peer.authorization_error, peer.get_peer_certificate()) == (False, None, None)
        assert sock.get_verified_chain() == peer.get_verified_chain() == ()
        assert ("PSK" in sock.get_cipher()["name"]) == (net.version == "TLSv1.2")
        await end(sock)


async def test_key_looks_like_a_resumed_session_in_tls_13(net: Net) -> None:
    """As in Node. It is counted as what it is, a full handshake."""
    async with net.serve(**serving(net)) as server:
        opened = once(server, "secure_connection")
        sock = await net.connect(server, **by_key(net, psk_callback=come_as("alice")))
        peer = await opened
        assert sock.is_session_reused() == peer.is_session_reused() == (net.version == "TLSv1.3")
        assert (server.stats().handshakes_full, server.stats().handshakes_resumed) == (1, 0)
        await end(sock)


@pytest.mark.parametrize(
    "suite", ["PSK-AES128-GCM-SHA256", "DHE-PSK-AES256-GCM-SHA384", "ECDHE-PSK-AES128-CBC-SHA256", "PSK-CHACHA20-POLY1305"]
)
@pytest.mark.parametrize("version", ["TLSv1.2"], indirect=True)
async def test_suites_of_tls_12(net: Net, suite: str) -> None:
    """With forward secrecy and without."""
    async with net.serve(**serving(net, ciphers=suite, dhparam="auto")) as server:
        sock = await net.connect(server, ciphers=suite, psk_callback=come_as("alice"))
        assert sock.get_cipher()["name"] == suite
        await end(sock)


@pytest.mark.parametrize("name", ["alice", "zoë"])
async def test_server_is_told_who_comes(net: Net, name: str) -> None:
    """With a socket that has an address and the hello already."""
    told: list[Any] = []

    def ask(socket: tlsio.TLSSocket, identity: str) -> bytes:
        told.append((identity, socket.remote_address, socket.client_hello is not None, socket.secure_connecting))
        return KEYS[identity]

    async with net.serve(**serving(net, psk_callback=ask)) as server:
        sock = await net.connect(server, **by_key(net, psk_callback=come_as(name, KEYS[name])))
        assert told == [(name, "127.0.0.1", True, True)]
        await end(sock)


@pytest.mark.parametrize("name", ["alice", "zoë"])
async def test_both_sides_know_the_identity_of_the_key(net: Net, name: str) -> None:
    """It is unknown before the handshake."""
    before: list[Any] = []

    def ask(socket: tlsio.TLSSocket, identity: str) -> bytes:
        before.append(socket.psk_identity)
        return KEYS[identity]

    async with net.serve(**serving(net, psk_callback=ask)) as server:
        opened = once(server, "secure_connection")
        sock = await net.connect(server, **by_key(net, psk_callback=come_as(name, KEYS[name])))
        peer = await opened
        assert (sock.psk_identity, peer.psk_identity, before) == (name, name, [None])
        await end(sock)


@pytest.mark.parametrize("version", ["TLSv1.3"], indirect=True)
async def test_client_that_names_an_identity_and_is_served_by_certificate_has_none(net: Net) -> None:
    """No key is used with a suite of another hash, so its binder was not checked either."""
    suite = {"ciphers": "TLS_AES_256_GCM_SHA384"}
    async with net.serve(psk_callback=find, **suite) as server:
        opened = once(server, "secure_connection")
        sock = await net.connect(server, **suite, psk_callback=come_as("alice", b"a wrong key"))
        assert (sock.psk_identity, (await opened).psk_identity) == (None, None)
        await end(sock)


@pytest.mark.parametrize("version", ["TLSv1.2"], indirect=True)
async def test_identity_of_a_failed_renegotiation_is_not_taken(net: Net) -> None:
    """The identity is known when its key was used, not when it was named."""
    names = iter(["alice", "zoë"])
    async with net.serve(**serving(net, allow_renegotiation=True)) as server:
        opened = once(server, "secure_connection")
        sock = await net.connect(server, **by_key(net, psk_callback=lambda _hint: (next(names), KEY)))  # which is not zoë's
        peer = await opened
        with pytest.raises(tlsio.TLSError):
            await sock.renegotiate()
        with pytest.raises(tlsio.TLSError):
            await peer.read()
        assert (sock.psk_identity, peer.psk_identity) == ("alice", "alice")
        await end(sock)


@pytest.mark.parametrize("where", ["another name", "another server", "a store"])
async def test_session_of_a_certificate_does_not_stand_for_a_key(net: Net, where: str) -> None:
    """Where only a key is accepted, a stranger could otherwise resume what any stranger gets elsewhere."""
    shared: dict[str, Any] = {"session_id_context": "one"}
    shared |= {"session_store": tlsio.MemorySessionStore()} if where == "a store" else {"ticket_keys": bytes(range(48))}
    suites = {"ciphers": "DEFAULT:PSK" if net.version == "TLSv1.2" else "TLS_AES_128_GCM_SHA256"}
    public = pki.localhost()
    keyed = {**NO_CERTIFICATE, **shared, **suites, "psk_callback": find}
    async with net.serve(**shared, **suites) as other, net.serve(**keyed) as closed_server:
        closed_server.add_context("public.example", {"cert": public.chain_pem, "key": public.key_pem})
        open_server = closed_server if where == "another name" else other
        name = "public.example" if where == "another name" else "localhost"
        sessions: asyncio.Queue[bytes] = asyncio.Queue()
        sock = await net.connect(
            open_server, servername=name, check_server_identity=lambda *_: None, on={"session": sessions.put_nowait}, **suites
        )
        open_server.on("secure_connection", lambda peer: peer.write(b"hello"))
        await sock.send(b"x")
        session = await sessions.get()
        await end(sock)
        error = (await net.refused(closed_server, session=session, **suites))[1]
        assert error.alert == "handshake_failure"


@pytest.mark.parametrize("hint", [None, "of the machine room", "Größe"])
async def test_client_is_told_the_hint(net: Net, hint: str | None) -> None:
    """TLS 1.3 has none."""
    hints: list[Any] = []

    def ask(told: str | None) -> tuple[str, bytes]:
        hints.append(told)
        return "alice", KEY

    async with net.serve(**serving(net, psk_identity_hint=hint)) as server:
        sock = await net.connect(server, **by_key(net, psk_callback=ask))
        assert hints == [hint if net.version == "TLSv1.2" else None]
        await end(sock)


async def test_key_may_be_any_bytes_like(net: Net) -> None:
    """And is not changed."""
    key = bytearray(KEY)
    async with net.serve(**serving(net, psk_callback=lambda *_: memoryview(key))) as server:
        sock = await net.connect(server, **by_key(net, psk_callback=come_as("alice", key)))
        assert sock.authorized
        assert key == KEY
        await end(sock)


async def test_callback_is_set_and_taken_away_by_on_and_off(net: Net) -> None:
    """Like every hook."""
    async with net.serve(**by_key(net)) as server:
        server.on("psk_callback", find)
        with pytest.raises(tlsio.UsageError, match="psk_callback is already set"):
            server.on("psk_callback", find)
        sock = await net.connect(server, **by_key(net, psk_callback=come_as("alice")))
        assert sock.authorized
        await end(sock)
        server.off("psk_callback", find)
        with pytest.raises(tlsio.TLSError):
            await net.connect(server, **by_key(net, ca=None, psk_callback=come_as("alice")))


async def test_callback_is_the_servers_under_every_name(net: Net) -> None:
    """A context chosen by name decides about certificates and ciphers, not who has a key; the hint stays too."""
    hints: list[Any] = []
    who = pki.localhost()
    options = serving(net, psk_identity_hint="hint", sni_callback=lambda _name, _socket: {"cert": who.cert_pem, "key": who.key_pem})
    async with net.serve(**options) as server:
        sock = await net.connect(server, **by_key(net, psk_callback=lambda hint: (hints.append(hint), ("alice", KEY))[1]))
        assert sock.authorized
        assert hints == (["hint"] if net.version == "TLSv1.2" else [None])
        await end(sock)


# --- with certificates ---


async def test_key_comes_before_the_certificate(net: Net) -> None:
    """Also where the suites with SHA-384, which keys do not go with in TLS 1.3, come first on both sides: the default."""
    both = {} if net.version == "TLSv1.3" else {"ciphers": "PSK:HIGH"}
    async with net.serve(**both, psk_callback=find) as server:
        sock = await net.connect(server, **both, ca=None, psk_callback=come_as("alice"))
        assert sock.authorized
        assert sock.get_peer_certificate() is None
        await end(sock)


async def test_clients_without_key_come_by_certificate(net: Net) -> None:
    """To the same server."""
    both = {} if net.version == "TLSv1.3" else {"ciphers": "PSK:HIGH"}
    async with net.serve(**both, psk_callback=find) as server:
        sock = await net.connect(server)
        assert sock.get_peer_certificate() is not None
        await end(sock)


async def test_certificate_instead_of_a_key_is_verified(net: Net) -> None:
    """Whoever has no key has to have a good certificate; the error says what has become of the key."""
    both = {} if net.version == "TLSv1.3" else {"ciphers": "PSK:HIGH"}
    async with net.serve() as server:
        sock = await net.connect(server, **both, psk_callback=come_as("alice"))
        assert sock.authorized
        assert sock.get_peer_certificate() is not None
        await end(sock)
        error, _ = (await net.refused(server, **both, ca=pki.ca2().cert_pem, psk_callback=come_as("alice")))[::-1]
        assert error.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
        assert any("did not use the pre-shared key" in note for note in error.__notes__)


async def test_check_of_the_name_still_holds_for_a_certificate(net: Net) -> None:
    """A key stands for the name only where it was used."""
    async with net.serve() as server:
        error = (await net.refused(server, servername="elsewhere.test", psk_callback=come_as("alice")))[1]
        assert error.code == "ERR_TLS_CERT_ALTNAME_INVALID"


@pytest.mark.parametrize("version", ["TLSv1.3"], indirect=True)
async def test_suite_with_sha384_alone_takes_no_key(net: Net) -> None:
    """RFC 8446 §4.2.11: an external key has a hash, SHA-256 unless agreed otherwise."""
    async with net.serve(ciphers="TLS_AES_256_GCM_SHA384", psk_callback=find) as server:
        error = (await net.refused(server, ca=pki.ca2().cert_pem, psk_callback=come_as("alice")))[1]
        assert any("SHA-256" in note for note in error.__notes__)


async def test_own_check_of_the_server_is_asked_with_no_certificate(net: Net) -> None:
    """In both versions, and what it says holds."""
    async with net.serve(**serving(net)) as server:
        asked: list[Any] = []

        async def check(host: str, certificate: Any) -> Exception | None:
            await asyncio.sleep(0)
            asked.append((host, certificate))
            return LookupError("not today") if len(asked) == 2 else None

        options = by_key(net, psk_callback=come_as("alice"), check_server_identity=check)
        sock = await net.connect(server, **options)
        assert sock.authorized
        await end(sock)
        with pytest.raises(tlsio.CertificateError, match="LookupError: not today"):
            await net.connect(server, **options)
        assert asked == [("localhost", None)] * 2


async def test_pins_want_a_certificate(net: Net) -> None:
    """A key does not stand for them; nothing is sent to a server that is refused."""
    async with net.serve(**serving(net)) as server:
        received: list[bytes] = []
        server.on("secure_connection", lambda sock: sock.on("data", received.append))
        with pytest.raises(tlsio.CertificateError) as caught:
            await net.connect(server, **by_key(net, pins=[bytes(32)], psk_callback=come_as("alice")))
        assert caught.value.code == "ERR_TLS_PIN_MISMATCH"
        assert "pre-shared key" in (caught.value.hint or "")
        assert not received


@pytest.mark.parametrize("ocsp", ["check", "require"])
async def test_a_key_needs_no_ocsp_response(net: Net, ocsp: str) -> None:
    """There is no certificate that could be revoked; the server's hook is not asked."""
    asked: list[Any] = []
    async with net.serve(**serving(net, ocsp_request=asked.append)) as server:
        sock = await net.connect(server, **by_key(net, ocsp=ocsp, psk_callback=come_as("alice")))
        assert sock.authorized
        assert not asked
        await end(sock)


async def test_server_asks_those_with_a_key_for_no_certificate(net: Net) -> None:
    """`request_cert` and `pins` are for those who come without; `check_client` sees everybody."""
    seen: list[Any] = []
    options = {"request_cert": True, "ca": pki.ca1().cert_pem, "pins": [bytes(32)], "check_client": lambda cert, _socket: seen.append(cert)}
    async with net.serve(**serving(net, **options)) as server:
        opened = once(server, "secure_connection")
        sock = await net.connect(server, **by_key(net, psk_callback=come_as("alice")))
        peer = await opened
        assert (peer.authorized, peer.authorization_error) == (False, None)
        assert seen == [None]
        await end(sock)


# --- who does not ---


async def test_unknown_identity_is_refused(net: Net) -> None:
    """TLS 1.3 has no alert for it: there is then no certificate to show either."""
    async with net.serve(**serving(net)) as server:
        error, alert = await net.refused(server, **by_key(net, psk_callback=come_as("mallory")))
        if net.version == "TLSv1.2":
            assert getattr(error, "code", None) == "ERR_SSL_PSK_IDENTITY_NOT_FOUND"
            assert alert.alert == "unknown_psk_identity"
        else:
            assert getattr(error, "code", None) == "ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM"
            assert alert.alert == "handshake_failure"
        assert "psk_callback returned None" in (error.hint or "")  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", [KEY[:-1], KEY + b"\0", b"x"])
async def test_wrong_key_is_refused(net: Net, key: bytes) -> None:
    """Both sides are told that the keys differ."""
    async with net.serve(**serving(net)) as server:
        error, alert = await net.refused(server, **by_key(net, psk_callback=come_as("alice", key)))
        wanted = "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC" if net.version == "TLSv1.2" else "ERR_SSL_BINDER_DOES_NOT_VERIFY"
        assert getattr(error, "code", None) == wanted
        assert isinstance(alert, tlsio.AlertReceived)
        assert "keys probably differ" in str(error)
        assert "keys probably differ" in str(alert)


async def test_wrong_key_of_the_server_is_refused(net: Net) -> None:
    """A server cannot pass for another one either."""
    async with net.serve(**serving(net, psk_callback=lambda *_: b"guessed")) as server:
        error, alert = await net.refused(server, **by_key(net, psk_callback=come_as("alice")))
        assert isinstance(error, tlsio.HandshakeError)
        assert isinstance(alert, tlsio.AlertReceived)


async def test_client_without_key_has_nobody_to_be(net: Net) -> None:
    """None from its function."""
    async with net.serve(**serving(net)) as server:
        _, error = await net.refused(server, **by_key(net, psk_callback=lambda _hint: None))
        assert error.code.startswith("ERR_SSL_PSK_IDENTITY_NOT_FOUND" if net.version == "TLSv1.2" else "ERR_SSL_")


@pytest.mark.parametrize("version", ["TLSv1.2"], indirect=True)
async def test_suites_have_to_be_named_up_to_tls_12(net: Net) -> None:
    """The usual list has none for keys; the hint says so on both sides."""
    for server_options, client_options in [({}, {"ciphers": "PSK"}), ({"ciphers": "PSK"}, {})]:
        async with net.serve(**NO_CERTIFICATE, psk_callback=find, **server_options) as server:
            error, alert = await net.refused(server, psk_callback=come_as("alice"), **client_options)
            assert getattr(error, "code", None) == "ERR_SSL_NO_SHARED_CIPHER"
            assert "include PSK suites" in (error.hint or "")  # type: ignore[attr-defined]
            assert "include PSK suites" in (alert.hint or "")


# --- limits and wrong answers ---


@pytest.mark.parametrize(("identity", "key"), [("x" * 256, KEY), ("alice", bytes(512)), ("alice", b"1")])
async def test_longest_and_shortest_are_taken(net: Net, identity: str, key: bytes) -> None:
    """What OpenSSL takes, and Node with it."""
    async with net.serve(**serving(net, psk_callback=lambda _socket, name: key if name == identity else None)) as server:
        sock = await net.connect(server, **by_key(net, psk_callback=come_as(identity, key)))
        assert sock.authorized
        await end(sock)


INVALID = [
    (("x" * 257, KEY), "ERR_INVALID_ARG_VALUE"),
    (("ä" * 129, KEY), "ERR_INVALID_ARG_VALUE"),
    (("", KEY), "ERR_INVALID_ARG_VALUE"),
    (("al\0ice", KEY), "ERR_INVALID_ARG_VALUE"),
    (("alice", bytes(513)), "ERR_INVALID_ARG_VALUE"),
    (("alice", b""), "ERR_INVALID_ARG_VALUE"),
    (("alice", "text"), "ERR_INVALID_ARG_TYPE"),
    ((b"alice", KEY), "ERR_INVALID_ARG_TYPE"),
    (("alice", None), "ERR_INVALID_ARG_TYPE"),
    (("alice", KEY, 3), "ERR_INVALID_ARG_TYPE"),
    ({"identity": "alice", "psk": KEY}, "ERR_INVALID_ARG_TYPE"),
    (KEY, "ERR_INVALID_ARG_TYPE"),
    (False, "ERR_INVALID_ARG_TYPE"),
]


@pytest.mark.node("tls-psk-alpn-callback-exception-handling")
@pytest.mark.parametrize(("answer", "code"), INVALID)
async def test_wrong_answer_of_a_client_fails_its_connection(net: Net, answer: Any, code: str) -> None:
    """And is never part of the message."""
    async with net.serve(**serving(net)) as server:
        _, error = await net.refused(server, **by_key(net, psk_callback=lambda _hint: answer))
        assert error.code == code
        assert isinstance(error, tlsio.UsageError)
        assert repr(KEY) not in repr(error)


@pytest.mark.node("tls-psk-alpn-callback-exception-handling")
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (bytes(513), "ERR_INVALID_ARG_VALUE"),
        (b"", "ERR_INVALID_ARG_VALUE"),
        ("secret", "ERR_INVALID_ARG_TYPE"),
        (1, "ERR_INVALID_ARG_TYPE"),
        (True, "ERR_INVALID_ARG_TYPE"),
        ({"psk": KEY}, "ERR_INVALID_ARG_TYPE"),
    ],
)
@pytest.mark.parametrize("certificate", [False, True])
async def test_wrong_answer_of_a_server_fails_the_handshake(net: Net, answer: Any, code: str, certificate: bool) -> None:  # noqa: FBT001
    """With internal_error: it does not fall back to a certificate."""
    options = by_key(net, ciphers="PSK:HIGH", psk_callback=lambda *_: answer) | ({} if certificate else NO_CERTIFICATE)
    if net.version == "TLSv1.3":
        del options["ciphers"]
    async with net.serve(**options) as server:
        error, alert = await net.refused(server, **by_key(net, psk_callback=come_as("alice")))
        assert getattr(error, "code", None) == code
        assert alert.alert == getattr(error, "alert", None) == "internal_error"
        assert "secret" not in repr(error)


@pytest.mark.node("tls-psk-alpn-callback-exception-handling")
async def test_exception_of_a_server_fails_the_handshake(net: Net) -> None:
    """It is told, as the cause if it is not ours; OpenSSL picks the alert."""
    mistakes = [LookupError("no such client"), tlsio.HandshakeError("no", alert="access_denied")]
    for mistake in mistakes:

        def fail(_socket: tlsio.TLSSocket, _identity: str, mistake: Exception = mistake) -> bytes:
            raise mistake

        async with net.serve(**serving(net, psk_callback=fail)) as server:
            error, alert = await net.refused(server, **by_key(net, psk_callback=come_as("alice")))
            assert mistake in (error, error.__cause__)
            assert alert.alert == getattr(error, "alert", None) == "internal_error"
    assert mistakes[1].alert == "internal_error"  # type: ignore[attr-defined]


@pytest.mark.node("tls-psk-alpn-callback-exception-handling")
@pytest.mark.parametrize("mistake", [LookupError("no key here"), asyncio.CancelledError()])
async def test_exception_of_a_client_fails_its_connection(net: Net, mistake: BaseException) -> None:
    """`connect` raises an error whose cause it is."""
    async with net.serve(**serving(net)) as server:

        def fail(_hint: str | None) -> tuple[str, bytes]:
            raise mistake

        told = once(server, "tls_client_error")
        with pytest.raises(tlsio.HandshakeError) as caught:
            await net.connect(server, **by_key(net, psk_callback=fail))
        assert caught.value.__cause__ is mistake
        assert caught.value.code == ("ERR_TLS_HOOK_FAILED" if isinstance(mistake, LookupError) else "ERR_TLS_HOOK_CANCELLED")
        await told


@pytest.mark.parametrize("role", ["server", "client"])
async def test_exception_that_cannot_be_printed_fails_the_handshake(net: Net, role: str) -> None:
    """No certificate is used in its place."""

    class UnreadableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def fail(*_args: Any) -> Any:
        raise UnreadableError

    hook = {"psk_callback": fail}
    async with net.serve(**serving(net, **(hook if role == "server" else {}))) as server:
        errors = await net.refused(server, **by_key(net, psk_callback=come_as("alice")) | (hook if role == "client" else {}))
        error: Any = errors[0 if role == "server" else 1]
        assert (error.code, type(error.__cause__)) == ("ERR_TLS_HOOK_FAILED", UnreadableError)


async def test_failure_that_cannot_be_reported_fails_the_handshake(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last net: what goes wrong in the report itself goes to `sys.unraisablehook`."""
    lost: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: lost.append(one.exc_type))
    monkeypatch.setattr("tlsio.connection.handshake.handshake.Handshake.fail_psk", lambda *_: 1 / 0)

    def fail(*_args: Any) -> Any:
        raise LookupError

    async with net.serve(**serving(net, psk_callback=fail)) as server:
        await net.refused(server, **by_key(net, psk_callback=come_as("alice")))
    assert ZeroDivisionError in lost


@pytest.mark.parametrize("role", ["server", "client"])
async def test_answer_to_wait_for_fails_the_handshake(net: Net, role: str) -> None:
    """OpenSSL cannot wait: said where the function is given, and where it shows only with the answer."""

    async def later(*_args: Any) -> Any:
        return None

    with pytest.raises(tlsio.UsageError, match="plain function"):
        tlsio.create_server(psk_callback=later)
    with pytest.raises(tlsio.UsageError, match="plain function"):
        tlsio.create_server().on("psk_callback", later)
    with pytest.raises(tlsio.UsageError, match="plain function"):
        tlsio.connect(1, psk_callback=later)  # type: ignore[arg-type]
    hidden = {"psk_callback": lambda *_args: later()}
    async with net.serve(**serving(net, **(hidden if role == "server" else {}))) as server:
        errors = await net.refused(server, **by_key(net, psk_callback=come_as("alice")) | (hidden if role == "client" else {}))
        error: Any = errors[0 if role == "server" else 1]
        assert error.code == "ERR_INVALID_ARG_TYPE"
        assert "cannot wait" in error.message


@pytest.mark.node("tls-psk-errors")
def test_hint_has_a_limit() -> None:
    """Told when the server is made, with Node's code, instead of to each client."""
    tlsio.create_server(psk_callback=find, psk_identity_hint="x" * 256)
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.create_server(psk_callback=find, psk_identity_hint="x" * 257)
    assert caught.value.code == "ERR_TLS_PSK_SET_IDENTITY_HINT_FAILED"
    for wrong in ("", "a\0b", b"bytes"):
        with pytest.raises(tlsio.UsageError):
            tlsio.create_server(psk_identity_hint=wrong)  # type: ignore[arg-type]


async def test_keys_are_in_no_words(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in errors nor in logs nor in how things print."""
    async with net.serve(**serving(net)) as server:
        caplog.set_level("DEBUG")
        errors = [
            await net.refused(server, **by_key(net, psk_callback=come_as(*pair)))
            for pair in [("alice", b"wrong key"), ("eve", b"wrong key")]
        ]
        sock = await net.connect(server, **by_key(net, psk_callback=come_as("alice")))
        words = f"{errors!r} {[vars(one) for pair in errors for one in pair]} {sock!r} {server!r} {caplog.text}"
        assert "wrong key" not in words
        assert repr(KEY)[2:-1] not in words
        await end(sock)


# --- beside sessions ---


async def test_session_made_with_a_key_is_not_resumed_without(net: Net) -> None:
    """A key is proved each time; the session of one stands for no certificate."""
    both = {} if net.version == "TLSv1.3" else {"ciphers": "PSK:HIGH"}
    async with net.serve(lambda sock: sock.end(b"x"), **both, psk_callback=find) as server:
        sock = await net.connect(server, **both, psk_callback=come_as("alice"))
        assert await sock.readexactly(1) == b"x"
        session = sock.get_session()
        await end(sock)
        again = await net.connect(server, **both, session=session)
        assert not again.is_session_reused()
        assert again.get_peer_certificate() is not None
        await end(again)


@pytest.mark.parametrize("version", ["TLSv1.3"], indirect=True)
async def test_key_used_instead_of_an_offered_session_is_a_key(net: Net) -> None:
    """Who was offered both and takes the key has shown no certificate: pins and the next session know that."""
    suite = {"ciphers": "TLS_AES_128_GCM_SHA256"}  # one hash, so that either could be taken
    async with net.serve(lambda sock: sock.end(b"x"), **suite, psk_callback=find) as server:
        first = await net.connect(server, **suite)
        assert await first.readexactly(1) == b"x"
        session = first.get_session()
        await end(first)
        resumed = await net.connect(server, **suite, session=session, psk_callback=come_as("alice"))
        assert resumed.is_session_reused()
        assert resumed.get_peer_certificate() is not None  # the ticket came first
        await end(resumed)
        server.set_ticket_keys([bytes(48)])
        sock = await net.connect(server, **suite, session=session, psk_callback=come_as("alice"))
        assert await sock.readexactly(1) == b"x"
        assert sock.is_session_reused()
        assert sock.get_peer_certificate() is None
        assert sock.authorized
        session = sock.get_session()
        await end(sock)
        last = await net.connect(server, **suite, session=session)
        assert not last.is_session_reused()
        await end(last)
