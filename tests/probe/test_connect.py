"""What one connection shows."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import pki
import tlsio
from faulty_servers import good_rsa, leaf, openssl, ours, pem
from responses import respond
from tlsio import probe

CA = pki.ca1().cert_pem


async def look(port: int, host: str = "localhost", **options: Any) -> probe.Look:
    """Look, and close."""
    async with probe.connect(host, port, **{"ca": CA} | options) as seen:
        return seen


async def test_connect_is_awaited_or_entered() -> None:
    """As `tlsio.connect` is; `with` is refused with the right way."""
    async with ours() as port:
        seen = await probe.connect("localhost", port, ca=CA)
        await seen.aclose()
        async with probe.connect("localhost", port, ca=CA) as seen:
            assert seen.socket is not None
            assert not seen.socket.closed
        assert seen.socket.closed
        with pytest.raises(tlsio.UsageTypeError) as caught, probe.connect("localhost", port):
            pass
    assert caught.value.hint == "async with tlsio.probe.connect(...) as ...: ..."


async def test_what_was_negotiated() -> None:
    """In TLS 1.3."""
    async with ours(alpn_protocols=["x"], ecdh_curve="X25519") as port:
        seen = await look(port, alpn_protocols=["x"])
    assert (seen.version, seen.suite, seen.group, seen.signature) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519", "ECDSA+SHA256")
    assert (seen.alpn, seen.server_name, seen.address) == ("x", "localhost", "127.0.0.1")
    assert (seen.verdict.authorized, seen.verdict.reasons) == (True, ())
    assert seen.certificate_request is None


async def test_what_was_negotiated_in_tls_1_2() -> None:
    """There, two properties are the server's choice."""
    async with openssl("-tls1_2", "-cipher", "ECDHE", who=good_rsa()) as port:
        seen = await look(port)
    assert (seen.version, seen.signature, seen.chain[0].key) == ("TLSv1.2", "RSA-PSS+SHA256", "RSA 2048")
    assert seen.secure_renegotiation
    assert seen.extended_master_secret
    async with openssl("-tls1_2", "-cipher", "AES128-GCM-SHA256", who=good_rsa()) as port:
        seen = await look(port, ciphers="AES128-GCM-SHA256")
    assert (seen.group, seen.signature) == (None, None)


async def test_the_chain_is_a_path_to_the_root() -> None:
    """Each certificate with where it came from; what does not belong to it is apart."""
    async with openssl(chain=pem(pki.ca6(), pki.ca3())) as port:
        seen = await look(port)
    assert [(one.subject.split(",")[0], one.sent) for one in seen.chain] == [("CN=localhost", True), ("CN=ca3", True), ("CN=ca1", False)]
    assert [one.subject.split(",")[0] for one in seen.unused] == ["CN=ca6"]
    assert seen.sent_order == (0, None, 1)
    assert seen.missing_issuer is None
    assert (seen.chain[0].key, seen.chain[0].signature, seen.chain[0].names) == ("EC P-256", "sha256", ("DNS:localhost",))


async def test_a_refused_server_is_described_and_closed() -> None:
    """Every reason stands at its certificate, and in the verdict."""
    who = leaf(names=["other.test"])
    async with ours(who, chain=who.cert_pem) as port:
        seen = await look(port)
    assert seen.socket is None
    assert not seen.verdict.authorized
    assert "ERR_TLS_CERT_ALTNAME_INVALID" in seen.verdict.reasons
    assert "UNABLE_TO_VERIFY_LEAF_SIGNATURE" in seen.verdict.reasons
    assert seen.chain[0].reasons
    assert seen.missing_issuer == "CN=ca3,O=tlsio tests"


async def test_a_refused_server_stays_open_when_asked_for() -> None:
    """By the option that says so."""
    async with ours(pki.self_signed()) as port, await probe.connect("localhost", port, reject_unauthorized=False) as seen:
        assert seen.socket is not None
        await seen.socket.send(b"x")
        assert await seen.socket.readexactly(1) == b"x"


async def test_a_request_for_a_certificate_is_shown() -> None:
    """With the authorities that the server names."""
    async with ours(request_cert=True, reject_unauthorized=False, ca=CA) as port:
        seen = await look(port)
    assert seen.certificate_request is not None
    assert seen.certificate_request.authorities == ("CN=ca1,O=tlsio tests",)
    assert "ECDSA+SHA256" in seen.certificate_request.signatures


async def test_a_server_that_refuses_the_client_later_is_described() -> None:
    """In TLS 1.3 the alert comes after the handshake: no fact is lost, and no error is unhandled."""
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    async with ours(request_cert=True, ca=CA) as port:
        async with probe.connect("localhost", port, ca=CA) as seen:
            assert seen.verdict.authorized
        refused = await look(port, ca=pki.self_signed().cert_pem)
    assert seen.refusal is not None
    assert "requires a client certificate" in seen.refusal
    assert seen.group == refused.group
    assert seen.group in {"X25519", "X25519MLKEM768"}  # the second since OpenSSL 3.5
    assert not unhandled


async def test_signatures_are_named_once_and_without_a_missing_hash() -> None:
    """The two PSS algorithms of each hash have one name, and EdDSA has no hash."""
    async with ours(request_cert=True, reject_unauthorized=False, ca=CA) as port:
        seen = await look(port)
    assert seen.certificate_request is not None
    signatures = seen.certificate_request.signatures
    assert len(set(signatures)) == len(signatures)
    assert "Ed25519" in signatures
    assert not [name for name in signatures if "UNDEF" in name]


async def test_a_name_only_in_the_subject_is_a_warning() -> None:
    """The server is accepted, as by Node; an identity replaces the name."""
    who = pki.leaf("localhost", names=[], issuer=pki.ca1())
    async with ours(who) as port:
        seen = await look(port)
        other = await look(port, check_server_identity=lambda *_: None)
    assert seen.verdict.authorized
    assert '"localhost" is only in the subject' in (seen.verdict.warning or "")
    assert other.verdict.warning is None
    async with ours() as port:
        assert (await look(port)).verdict.warning is None


async def test_a_stapled_response_is_shown() -> None:
    """Judged, with its times."""
    who = leaf(issuer=pki.ca1())
    async with ours(who, ocsp_request=lambda *_: respond(who)) as port:
        seen = await look(port)
    assert seen.staple is not None
    assert (seen.staple.is_good, seen.staple.code) == (True, None)
    assert seen.staple.next_update == pki.NOW + 24 * pki.DAY / 24


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], {"TLSv1.2": (True, "ticket", True), "TLSv1.3": (True, "ticket", True)}),
        (["-no_ticket", "-tls1_2"], {"TLSv1.2": (True, "session id", True), "TLSv1.3": (False, None, None)}),
    ],
)
async def test_resumption_is_tried_when_asked_for(settings: list[str], expected: dict[str, Any]) -> None:
    """For both versions."""
    async with openssl(*settings) as port:
        seen = await look(port, resumption=True)
    assert seen.resumption is not None
    assert {version: (one.supported, one.offer, one.resumed) for version, one in seen.resumption.items()} == expected


async def test_all_of_it_is_plain_data() -> None:
    """For JSON, without the socket."""
    async with ours() as port, await probe.connect("localhost", port, ca=CA, resumption=True) as seen:
        data = json.loads(json.dumps(seen.as_json()))
        assert seen.socket is not None
    assert "socket" not in data
    assert data["chain"][0]["subject"].startswith("CN=localhost")
    assert data["chain"][0]["not_after"].endswith("+00:00")


async def test_failures_raise_as_those_of_connect() -> None:
    """There is nothing to look at."""
    async with ours(alpn_protocols=["x"]) as port:
        with pytest.raises(tlsio.AlertReceived):
            await look(port, alpn_protocols=["y"])
    with pytest.raises(ConnectionRefusedError):
        await look(1)
    with pytest.raises(tlsio.UsageError):
        await look(1, starttls="gopher")


async def test_pins_are_compared_with_the_whole_chain() -> None:
    """As `tlsio.connect` does; a server with another key is described, and its connection closed."""
    async with ours() as port:
        pins = [one.pin for one in (await look(port)).chain]
        for pin in pins:
            assert (await look(port, pins=[pin])).verdict.authorized
        seen = await look(port, pins=["sha256/" + "A" * 43 + "="])
        assert (seen.verdict.authorized, seen.verdict.code, seen.socket) == (False, "ERR_TLS_PIN_MISMATCH", None)
        with pytest.raises(tlsio.CertificateError):  # nothing goes to a server with another key
            await look(port, pins=["sha256/" + "A" * 43 + "="], reject_unauthorized=False)
