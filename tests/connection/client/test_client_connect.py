"""`connect`: where to, as whom, how long; and that nothing is left when it fails."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import once
from ports import own_port

if TYPE_CHECKING:
    from pathlib import Path

    from net import Net

CLIENT: dict[str, Any] = {"ca": pki.ca1().cert_pem}


def options(**more: Any) -> dict[str, Any]:
    """Return the options of the usual server."""
    return {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, **more}


async def greet(sock: tlsio.TLSSocket) -> None:
    """Say which name was asked for."""
    await sock.send(repr(sock.servername).encode())


async def silent(port_of: asyncio.Future[int], stop: asyncio.Event) -> None:
    """Accept and say nothing."""

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stop.wait()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        port_of.set_result(server.sockets[0].getsockname()[1])
        await stop.wait()


@pytest.mark.node("internet/tls-autoselectfamily-servername")
@pytest.mark.parametrize(
    ("host", "more", "sent"),
    [
        ("localhost", {}, b"'localhost'"),
        ("127.0.0.1", {}, b"None"),  # RFC 6066 §3: no addresses in SNI
        ("127.0.0.1", {"servername": "localhost"}, b"'localhost'"),
        ("127.0.0.1", {"servername": "LocalHost."}, b"'localhost'"),
        ("localhost", {"servername": ""}, b"None"),
    ],
)
async def test_server_name_is_sent(host: str, more: dict[str, Any], sent: bytes) -> None:
    """Unless it is an address, or turned off; Node sends none by itself."""
    async with tlsio.serve(greet, 0, None, **options()) as server, tlsio.connect(server.port, host, **CLIENT, **more) as sock:
        assert await sock.read() == sent


@pytest.mark.node("tls-connect-simple")
async def test_awaiting_entering_and_making_a_task_of_it() -> None:
    """Three ways to the same socket."""
    async with tlsio.serve(greet, 0, None, **options()) as server:
        sock = await tlsio.connect(server.port, **CLIENT)
        await sock.aclose()
        async with tlsio.connect(server.port, **CLIENT) as entered:
            assert entered.authorized
        assert entered.closed
        made = await asyncio.create_task(tlsio.connect(server.port, **CLIENT))
        await made.aclose()


async def test_leaving_by_an_exception_destroys() -> None:
    """As with any socket."""
    async with tlsio.serve(greet, 0, None, **options()) as server:
        with pytest.raises(LookupError):
            async with tlsio.connect(server.port, **CLIENT) as sock:
                raise LookupError
        assert sock.closed


@pytest.mark.node("tls-connect-simple")
async def test_listeners_are_there_before_the_handshake() -> None:
    """`on=` misses nothing."""
    heard: list[str] = []
    listeners = {"secure": lambda: heard.append("secure"), "secure_connect": lambda: heard.append("secure_connect")}
    async with tlsio.serve(greet, 0, None, **options()) as server, tlsio.connect(server.port, **CLIENT, on=listeners):
        assert heard == ["secure", "secure_connect"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"port": "localhost", "host": 443}, "ERR_INVALID_ARG_TYPE"),
        ({"port": 65536}, "ERR_SOCKET_BAD_PORT"),
        ({"port": -1}, "ERR_SOCKET_BAD_PORT"),
        ({"port": True}, "ERR_INVALID_ARG_TYPE"),
        ({"port": 443, "host": 1}, "ERR_INVALID_ARG_TYPE"),
        ({}, "ERR_MISSING_ARGS"),
        ({"port": 443, "path": "/tmp/x"}, "ERR_MISSING_ARGS"),  # noqa: S108
        ({"path": "/tmp/x"}, "ERR_TLS_INVALID_STATE"),  # noqa: S108 - and no name to check
        ({"port": 443, "servername": "127.0.0.1"}, "ERR_INVALID_ARG_VALUE"),
        ({"port": 443, "timeout": 0}, "ERR_OUT_OF_RANGE"),
        ({"port": 443, "on": []}, "ERR_INVALID_ARG_TYPE"),
        ({"port": 443, "on": {"sekure": print}}, "ERR_TLS_UNKNOWN_EVENT"),
        ({"port": 443, "on": {"secure": None}}, "ERR_INVALID_ARG_TYPE"),
        ({"port": 443, "secure_context": {}}, "ERR_TLS_INVALID_CONTEXT"),
        ({"port": 443, "requestCert": True}, "ERR_TLS_UNKNOWN_OPTION"),
        ({"port": 443, "host": "exa mple.com"}, "ERR_INVALID_ARG_VALUE"),
    ],
)
def test_arguments_are_checked_at_the_call(arguments: dict[str, Any], code: str) -> None:
    """Not when it is awaited."""
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.connect(**arguments)
    assert caught.value.code == code


def test_host_and_port_swapped_raise_with_a_hint() -> None:
    """Python's usual order is the other one."""
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.connect("example.com", 443)  # type: ignore[arg-type]
    assert caught.value.hint == "connect takes the port first: connect(443, 'example.com')."


@pytest.mark.node("tls-connect-pipe")
async def test_path_needs_a_name_even_localhost(unix_path: Path) -> None:
    """Said aloud, it is one."""
    async with tlsio.serve(greet, path=unix_path, **options()):
        async with tlsio.connect(path=unix_path, host="localhost", **CLIENT) as sock:
            assert await sock.read() == b"'localhost'"
        async with tlsio.connect(path=str(unix_path), reject_unauthorized=False) as sock:
            assert await sock.read() == b"None"


@pytest.mark.node("tls-connect-address-family")
async def test_address_family_and_local_address() -> None:
    """`family`, `local_address` and `local_port` are honoured."""
    async with tlsio.serve(greet, 0, None, **options()) as server:
        async with tlsio.connect(server.port, "localhost", family=4, local_address="127.0.0.9", **CLIENT) as sock:
            assert (sock.local_address, sock.remote_family) == ("127.0.0.9", "IPv4")
        async with tlsio.connect(server.port, "::1", family=6, servername="localhost", **CLIENT) as sock:
            assert sock.remote_family == "IPv6"
        with pytest.raises(OSError, match=r"local_address|bind|assign") as caught:
            await tlsio.connect(server.port, "127.0.0.1", local_address="192.0.2.1", **CLIENT)
        assert isinstance(caught.value, OSError)


@pytest.mark.node("sequential/tls-connect")
@pytest.mark.parametrize(("host", "hint"), [("127.0.0.1", "nothing listens"), ("no-such.invalid", "spelling")])
async def test_failures_before_tls_are_pythons(host: str, hint: str) -> None:
    """With a note that says what to do."""
    with own_port() as port, pytest.raises((ConnectionRefusedError, socket.gaierror)) as caught:
        await tlsio.connect(port, host)
    assert not isinstance(caught.value, tlsio.TLSError)
    assert any(hint in note for note in caught.value.__notes__)


@pytest.mark.node("tls-connect-timeout-option")
async def test_timeout_is_over_the_whole() -> None:
    """Here over a server that never answers."""
    port, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
    task = asyncio.create_task(silent(port, stop))
    with pytest.raises(tlsio.HandshakeTimeoutError) as caught:
        await tlsio.connect(await port, "127.0.0.1", timeout=0.05)
    assert caught.value.code == "ERR_TLS_CONNECT_TIMEOUT"
    assert "0.05 seconds" in caught.value.message
    assert caught.value.hint
    with pytest.raises(tlsio.HandshakeTimeoutError) as caught:
        await tlsio.connect(await port, "127.0.0.1", handshake_timeout=0.05)
    assert caught.value.code == "ERR_TLS_HANDSHAKE_TIMEOUT"
    stop.set()
    await task


async def test_timeout_of_somebody_else_is_left_alone(net: Net) -> None:
    """A TimeoutError that the user's check raises is the user's: the cause of a refusal, and no timeout of ours."""
    mistake = TimeoutError("my own")

    def check(*_args: Any) -> None:
        raise mistake

    async with net.serve(greet) as server:
        with pytest.raises(tlsio.CertificateError) as caught:
            await net.connect(server, check_server_identity=check, timeout=5, handshake_timeout=5)
        assert caught.value.__cause__ is mistake


@pytest.mark.node("tls-connect-abort-controller")
@pytest.mark.parametrize("turns", range(12))
async def test_cancelling_leaves_nothing(turns: int) -> None:
    """At whatever moment: lookup, connection, handshake, or just done."""
    async with tlsio.serve(greet, 0, None, **options()) as server:
        task = asyncio.create_task(tlsio.connect(server.port, **CLIENT))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        [result] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(result, tlsio.TLSSocket):
            result.destroy()


@pytest.mark.node("tls-wrap-econnreset", "tls-wrap-econnreset-socket")
async def test_server_that_hangs_up_is_told_as_in_node(net: Net) -> None:
    """Before the handshake is done: ECONNRESET, with Node's sentence."""

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as below:
        port = below.sockets[0].getsockname()[1]
        if net.is_native:
            connecting = tlsio.connect(port, "127.0.0.1")
        else:
            sock = socket.socket()
            sock.settimeout(0)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            connecting = tlsio.connect(socket=sock, servername="localhost")
        with pytest.raises(tlsio.ConnectionLostError) as caught:
            await connecting
        assert caught.value.code == "ECONNRESET"
        assert isinstance(caught.value, ConnectionError)


@pytest.mark.parametrize("option", ["servername", "host"])
async def test_pattern_is_no_server(option: str) -> None:
    """A star belongs into certificates: nothing is dialled."""
    with pytest.raises(tlsio.UsageError, match="it has a star"):
        await tlsio.connect(1, **{option: "*.example.test"})


# --- identity and pins ---


@pytest.mark.parametrize(
    ("server", "policy", "code"),
    [
        (pki.localhost, "node", None),
        (pki.localhost, "rfc9525", None),
        (pki.name_in_cn_only, "node", None),
        (pki.name_in_cn_only, "rfc9525", "ERR_TLS_CERT_ALTNAME_INVALID"),
        (pki.wildcard, "node", "ERR_TLS_CERT_ALTNAME_INVALID"),
        (pki.self_signed, "node", "DEPTH_ZERO_SELF_SIGNED_CERT"),
    ],
)
async def test_identity_policy(net: Net, server: Any, policy: str, code: str | None) -> None:
    """Node's table, or the stricter RFC."""
    who = server()
    async with net.serve(greet, cert=who.cert_pem, key=who.key_pem) as made:
        if code is None:
            sock = await net.connect(made, identity_policy=policy)
            assert sock.authorized
            sock.destroy()
            await sock.wait_closed()
        else:
            with pytest.raises(tlsio.CertificateError) as caught:
                await net.connect(made, identity_policy=policy)
            assert caught.value.code == code


@pytest.mark.parametrize("pinned", ["leaf", "intermediate", "root", "one of two"])
async def test_any_certificate_of_the_verified_chain_may_be_pinned(net: Net, pinned: str) -> None:
    """Several pins: old and new while a key is exchanged."""
    who = pki.chained()
    pins = {
        "leaf": [who.spki_sha256],
        "intermediate": [pki.ca3().spki_sha256],
        "root": [pki.ca1().spki_sha256],
        "one of two": [bytes(32), who.spki_sha256],
    }
    async with net.serve(greet, cert=who.chain_pem, key=who.key_pem) as server:
        sock = await net.connect(server, pins=pins[pinned])
        assert sock.authorized
        sock.destroy()
        await sock.wait_closed()


async def test_unpinned_server_is_refused(net: Net) -> None:
    """Before a byte of ours is sent; the error shows the pins that were found, the server hears the alert."""
    async with net.serve(greet) as server:
        ours, theirs = await net.refused(server, pins=[bytes(32)])
        assert isinstance(theirs, tlsio.CertificateError)
        assert theirs.code == "ERR_TLS_PIN_MISMATCH"
        assert theirs.alert == "bad_certificate"
        assert "sha256/" in theirs.message
        assert isinstance(ours, tlsio.AlertReceived)
        assert ours.alert == "bad_certificate"


async def test_server_known_only_by_its_pin(net: Net) -> None:
    """With `reject_unauthorized=False` the pin of the leaf decides; the failed chain is only reported."""
    who = pki.self_signed()
    async with net.serve(greet, cert=who.cert_pem, key=who.key_pem) as server:
        sock = await net.connect(server, pins=[who.spki_sha256], reject_unauthorized=False, servername="another.example")
        assert (sock.authorized, sock.authorization_error) == (False, "DEPTH_ZERO_SELF_SIGNED_CERT")
        sock.destroy()
        await sock.wait_closed()


@pytest.mark.parametrize("pin", [bytes(32), pki.ca1], ids=["another", "sent along"])
async def test_wrong_pin_refuses_although_the_chain_is_not_judged(net: Net, pin: Any) -> None:
    """A pin is enforced with `reject_unauthorized=False` too, and a certificate that is only sent along proves nothing."""
    who = pki.self_signed()
    chain = pki.Identity(who.key, who.certificate, (pki.ca1().certificate,))
    pins = [pin if isinstance(pin, bytes) else pin().spki_sha256]
    async with net.serve(greet, cert=chain.chain_pem, key=who.key_pem) as server:
        ours, theirs = await net.refused(server, pins=pins, reject_unauthorized=False)
        assert isinstance(theirs, tlsio.CertificateError)
        assert (theirs.code, theirs.alert) == ("ERR_TLS_PIN_MISMATCH", "bad_certificate")
        assert "DEPTH_ZERO_SELF_SIGNED_CERT" in theirs.reasons
        assert getattr(ours, "alert", None) == "bad_certificate"


async def test_unauthorized_server_may_be_accepted(net: Net) -> None:
    """`authorized` and `authorization_error` say what it was."""
    async with net.serve(greet) as server:
        sock = await net.connect(server, servername="elsewhere.org", reject_unauthorized=False)
        assert (sock.authorized, sock.authorization_error) == (False, "ERR_TLS_CERT_ALTNAME_INVALID")
        sock.destroy()
        await sock.wait_closed()


async def test_certificate_is_shown_when_asked_for(net: Net) -> None:
    """And not before the server was found good."""
    who = pki.client()
    async with net.serve(greet, ca=pki.ca1().cert_pem, request_cert=True) as server:
        opened = once(server, "secure_connection")
        sock = await net.connect(server, cert=who.cert_pem, key=who.key_pem)
        peer = await opened
        assert peer.authorized
        assert peer.get_peer_certificate()["subject"]["CN"] == "client"
        sock.destroy()
        await sock.wait_closed()
