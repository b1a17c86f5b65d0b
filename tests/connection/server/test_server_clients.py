"""Mutual TLS: who is let in, who is authorized, and what a refused client hears."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import pki
import stdlib_peer
import tlsio
from net import once, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net, Version

# Node's appendix D: clients against servers; A authorized, U let in, R rejected.
CLIENTS: dict[str, Callable[[], pki.Identity | None]] = {
    "agent1": pki.agent1,
    "agent2": pki.agent2,
    "agent3": pki.agent3,
    "agent4": pki.agent4,
    "none": lambda: None,
}
MATRIX: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"request_cert": False, "ca": "ca1"}, {"agent1": "U", "agent2": "U", "agent3": "U", "none": "U"}),
    ({"request_cert": True, "reject_unauthorized": False, "ca": "ca1"}, {"agent1": "A", "agent2": "U", "agent3": "U", "none": "U"}),
    ({"request_cert": True, "ca": "ca2", "crl": True}, {"agent1": "R", "agent2": "R", "agent3": "A", "agent4": "R", "none": "R"}),
]
CASES = [(server, client, result) for server, results in MATRIX for client, result in results.items()]
AUTHORITIES = {"ca1": pki.ca1, "ca2": pki.ca2}


def show(who: pki.Identity | None) -> dict[str, Any]:
    """Return a client's options to show that certificate."""
    return {} if who is None else {"cert": who.chain_pem, "key": who.key_pem}


async def greet(sock: tlsio.TLSSocket) -> None:
    """Say whether the client is authorized, and why not."""
    await sock.send(f"{sock.authorized} {sock.authorization_error}".encode())


@pytest.mark.node("tls-server-verify")
@pytest.mark.parametrize(("options", "client", "result"), CASES, ids=[f"{number}-{client}" for number, (_, client, _) in enumerate(CASES)])
async def test_matrix(net: Net, options: dict[str, Any], client: str, result: str) -> None:
    """`request_cert` and `reject_unauthorized` against good, unknown, revoked and missing certificates."""
    given = options | {"ca": AUTHORITIES[options["ca"]]().cert_pem}
    if "crl" in given:
        given["crl"] = pki.ca2_crl()
    async with net.serve(greet, **given) as server:
        if result == "R":
            await net.refused(server, **show(CLIENTS[client]()))
        else:
            sock = await net.connect(server, **show(CLIENTS[client]()))
            said = (await sock.read()).decode()
            assert said.startswith("True None" if result == "A" else "False ")
            sock.destroy()
            await sock.wait_closed()


@pytest.mark.parametrize(
    ("client", "error"),
    [
        (pki.agent2, "DEPTH_ZERO_SELF_SIGNED_CERT"),
        (pki.agent3, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        (pki.expired, "CERT_HAS_EXPIRED"),
        (lambda: None, "UNABLE_TO_GET_ISSUER_CERT"),
        (pki.client, "None"),
    ],
)
async def test_authorization_error_says_what_speaks_against_a_client(net: Net, client: Callable[[], pki.Identity], error: str) -> None:
    """Node's codes."""
    async with net.serve(greet, ca=pki.ca1().cert_pem, request_cert=True, reject_unauthorized=False) as server:
        sock = await net.connect(server, **show(client()))
        assert (await sock.read()).decode() == f"{error == 'None'} {error}"
        sock.destroy()
        await sock.wait_closed()


@pytest.mark.parametrize(
    ("client", "code", "alert"),
    [
        (pki.agent2, "DEPTH_ZERO_SELF_SIGNED_CERT", "unknown_ca"),
        (pki.agent1, "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "unknown_ca"),
        (pki.agent4, "CERT_REVOKED", "certificate_revoked"),
        (
            lambda: pki.leaf("late", issuer=pki.ca2(), not_before=pki.NOW - 9 * pki.DAY, not_after=pki.NOW - pki.DAY),
            "CERT_HAS_EXPIRED",
            "certificate_expired",
        ),
        (
            lambda: pki.leaf("server", issuer=pki.ca2(), usages=[pki.ExtendedKeyUsageOID.SERVER_AUTH]),
            "INVALID_PURPOSE",
            "unsupported_certificate",
        ),
    ],
    ids=["self-signed", "unknown authority", "revoked", "expired", "for servers"],
)
async def test_refused_client_gets_the_fitting_alert(net: Net, client: Callable[[], pki.Identity], code: str, alert: str) -> None:
    """And the server's error has Node's code, the alert, a class that names the guilty side and a mend."""
    revocations = {"crl": pki.ca2_crl()} if code == "CERT_REVOKED" else {}
    async with net.serve(greet, ca=pki.ca2().cert_pem, request_cert=True, **revocations) as server:
        ours, theirs = await net.refused(server, **show(client()))
        assert isinstance(ours, tlsio.CertificateError)
        assert (ours.code, ours.alert) == (code, alert)
        assert ours.hint
        assert isinstance(theirs, tlsio.AlertReceived)
        assert theirs.alert == alert
        assert theirs.hint
        assert dict(server.stats().handshakes_failed) == {code: 1}


async def test_missing_client_certificate_is_told_to_both(net: Net) -> None:
    """TLS 1.2 has no alert for it: the client says by itself what the server wanted."""
    async with net.serve(greet, ca=pki.ca1().cert_pem, request_cert=True) as server:
        ours, theirs = await net.refused(server)
        alert = {"TLSv1.2": "handshake_failure", "TLSv1.3": "certificate_required"}[net.version]
        assert isinstance(ours, tlsio.CertificateError)
        assert (ours.code, ours.alert, theirs.alert) == ("ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE", alert, alert)
        assert "requires a client certificate" in theirs.message
        assert "cert= and key=" in (theirs.hint or "")


@pytest.mark.parametrize("how", ["with a listener", "counted only"])
async def test_refused_clients_are_counted_by_code(version: Version, how: str) -> None:
    """The same code whether a socket was made or not."""
    options = {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, "ca": pki.ca1().cert_pem, "request_cert": True}
    async with tlsio.serve(greet, 0, "127.0.0.1", **options, pins=[bytes(32)]) as server:
        if how == "with a listener":
            server.on("tls_client_error", lambda *_args: None)
        for who in (pki.agent3(), pki.client(), None):
            await stdlib_peer.visit(server, stdlib_peer.client(who, version=version))
        await until(lambda: not server.connections)
        assert dict(server.stats().handshakes_failed) == {
            "UNABLE_TO_VERIFY_LEAF_SIGNATURE": 1,
            "ERR_TLS_PIN_MISMATCH": 1,
            "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE": 1,
        }


@pytest.mark.parametrize("option", ["request_cert", "reject_unauthorized"])
@pytest.mark.parametrize("value", [1, 0, "yes", []])
def test_options_take_bool_only(option: str, value: Any) -> None:
    """Node takes 1 for no."""
    with pytest.raises(TypeError):
        tlsio.create_server(**{option: value})


# --- check_client ---


SECRET = b"what only friends may read"


async def tell(sock: tlsio.TLSSocket) -> None:
    """Say what no stranger may hear."""
    await sock.send(SECRET)


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (LookupError("unknown client"), "SSLV3_ALERT_BAD_CERTIFICATE"),
        (tlsio.HandshakeError(alert="access_denied"), "TLSV1_ALERT_ACCESS_DENIED"),
        (tlsio.HandshakeError(alert="certificate_unknown"), "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
    ],
)
@pytest.mark.parametrize("how", ["returned", "raised", "later"])
async def test_refused_client_hears_the_alert_and_nothing_else(version: Version, how: str, refusal: Exception, reason: str) -> None:
    """Judged by a foreign client: no byte of the application, no session, no listener called."""

    def check(_certificate: Any, _sock: Any) -> Any:
        if how == "returned":
            return refusal
        raise refusal

    async def check_later(_certificate: Any, _sock: Any) -> Any:
        await asyncio.sleep(0)
        raise refusal

    options = {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, "ca": pki.ca1().cert_pem, "request_cert": True}
    async with tlsio.serve(tell, 0, "127.0.0.1", **options, check_client=check_later if how == "later" else check) as server:
        opened: list[Any] = []
        server.on("secure_connection", opened.append)
        told = once(server, "tls_client_error")
        found = await stdlib_peer.visit(server, stdlib_peer.client(pki.client(), version=version))
        assert (found.data, found.reason, opened) == (b"", reason, [])
        error, _sock = await told
        assert refusal in (error, error.__cause__)
        assert isinstance(error, tlsio.TLSError)
        assert server.stats().handshakes_full == 0


async def test_client_is_judged_by_its_certificate(net: Net) -> None:
    """The hook sees it parsed, and the socket's addresses; what it accepts is served, with tickets that resume."""

    def check(certificate: Any, sock: tlsio.TLSSocket) -> Exception | None:
        assert sock.remote_address == "127.0.0.1"
        return None if certificate["subject"]["CN"] == "client" else LookupError(certificate["subject"]["CN"])

    async with net.serve(tell, ca=[pki.ca1().cert_pem], request_cert=True, check_client=check) as server:
        sock = await net.connect(server, **show(pki.client()))
        assert await sock.read() == SECRET
        sock.destroy()
        await sock.wait_closed()
        ours, theirs = await net.refused(server, **show(pki.agent1()))
        assert (str(ours.__cause__), theirs.alert) == ("agent1", "bad_certificate")


async def test_check_runs_on_resumed_connections_too(version: Version) -> None:
    """Who was a friend may not be one any more."""
    friends = {"client"}

    def check(certificate: Any, _sock: Any) -> Exception | None:
        return None if certificate["subject"]["CN"] in friends else LookupError()

    options = {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, "ca": pki.ca1().cert_pem, "request_cert": True}
    async with tlsio.serve(tell, 0, "127.0.0.1", **options, check_client=check) as server:
        client = stdlib_peer.client(pki.client(), version=version)
        first = await stdlib_peer.visit(server, client)
        again = await stdlib_peer.visit(server, client, session=first.session)
        assert (first.data, again.data, again.reused) == (SECRET, SECRET, version == "TLSv1.3")
        friends.clear()
        last = await stdlib_peer.visit(server, client, session=again.session or first.session)
        assert (last.data, last.reason) == (b"", "SSLV3_ALERT_BAD_CERTIFICATE")


async def test_check_does_not_replace_the_chain(net: Net) -> None:
    """Whom the chain refuses the hook is not asked about; with `reject_unauthorized=False` it decides alone."""
    asked: list[Any] = []

    def check(certificate: Any, _sock: Any) -> None:
        asked.append(certificate["subject"]["CN"])

    async with net.serve(tell, ca=pki.ca1().cert_pem, request_cert=True, check_client=check) as server:
        ours, _theirs = await net.refused(server, **show(pki.agent3()))
        assert (getattr(ours, "code", None), asked) == ("UNABLE_TO_VERIFY_LEAF_SIGNATURE", [])
        server.set_secure_context(reject_unauthorized=False)
        sock = await net.connect(server, **show(pki.agent3()))
        assert (await sock.read(), asked) == (SECRET, ["agent3"])
        sock.destroy()
        await sock.wait_closed()


# --- pins ---


@pytest.mark.parametrize("pinned", [pki.client, pki.ca1], ids=["leaf", "root"])
async def test_pinned_client_is_let_in(net: Net, pinned: Callable[[], pki.Identity]) -> None:
    """Any certificate of the verified chain, one of several pins."""
    async with net.serve(greet, ca=pki.ca1().cert_pem, request_cert=True, pins=[bytes(32), pinned().spki_sha256]) as server:
        sock = await net.connect(server, **show(pki.client()))
        assert await sock.read() == b"True None"
        sock.destroy()
        await sock.wait_closed()


async def test_client_known_only_by_its_pin(net: Net) -> None:
    """With `reject_unauthorized=False` the pin of a client's own certificate decides; a client may come without one."""
    device = pki.self_signed()
    async with net.serve(greet, request_cert=True, reject_unauthorized=False, ca=[], pins=[device.spki_sha256]) as server:
        for shown, found in ((show(device), b"False DEPTH_ZERO_SELF_SIGNED_CERT"), ({}, b"False UNABLE_TO_GET_ISSUER_CERT")):
            sock = await net.connect(server, **shown)
            assert await sock.read() == found
            sock.destroy()
            await sock.wait_closed()


@pytest.mark.parametrize("check", [False, True], ids=["", "check_client"])
async def test_wrong_pin_refuses_an_unverified_client(net: Net, check: bool) -> None:  # noqa: FBT001
    """A certificate that the pins do not name is refused, even if a pinned one is sent along."""
    device, pinned = pki.self_signed(), pki.client()
    stranger = pki.Identity(device.key, device.certificate, (pinned.certificate,))
    options: dict[str, Any] = {"check_client": lambda _certificate, _socket: None} if check else {}
    async with net.serve(greet, request_cert=True, reject_unauthorized=False, pins=[pinned.spki_sha256], **options) as server:
        ours, theirs = await net.refused(server, **show(stranger))
        assert isinstance(ours, tlsio.CertificateError)
        assert (ours.code, ours.alert, theirs.alert) == ("ERR_TLS_PIN_MISMATCH", "bad_certificate", "bad_certificate")


async def test_unheard_pin_mismatch_is_counted_by_its_code(net: Net) -> None:
    """The count names the pins although the chain failed too."""
    async with net.serve(greet, request_cert=True, reject_unauthorized=False, pins=[bytes(32)]) as server:
        with pytest.raises(tlsio.TLSError):
            await (await net.connect(server, **show(pki.self_signed()))).read()
        await until(lambda: not server.connections)
        assert dict(server.stats().handshakes_failed) == {"ERR_TLS_PIN_MISMATCH": 1}


async def test_unpinned_client_is_refused(net: Net) -> None:
    """With bad_certificate; a pinned certificate that only is sent along proves nothing."""
    known, sent = pki.client(), pki.agent1()
    stranger = pki.Identity(sent.key, sent.certificate, (known.certificate,))
    async with net.serve(greet, ca=pki.ca1().cert_pem, request_cert=True, pins=[known.spki_sha256]) as server:
        ours, theirs = await net.refused(server, **show(stranger))
        assert (getattr(ours, "code", None), theirs.alert) == ("ERR_TLS_PIN_MISMATCH", "bad_certificate")
        assert isinstance(ours, tlsio.CertificateError)
        assert ours.alert == "bad_certificate"
