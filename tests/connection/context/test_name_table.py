"""A name's context decides everything it sets: each setting by itself, judged by a foreign client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import pki
import stdlib_peer
import tlsio

if TYPE_CHECKING:
    from net import Net, Version

NAME = "other.example"


def greet(sock: tlsio.TLSSocket) -> None:
    """Say whom the server sees, and close."""
    sock.write(f"authorized={sock.authorized}".encode())
    sock.close()


async def visit(
    *, context: dict[str, Any], client: Any, server: dict[str, Any] | None = None, name: str = NAME
) -> tuple[stdlib_peer.Visit, list[str]]:
    """Serve `name` with `context`; return what `client` found, and the codes of failed handshakes."""
    who = pki.localhost()
    options = {"cert": who.cert_pem, "key": who.key_pem, **(server or {})}
    failed: list[str] = []
    async with tlsio.serve(greet, 0, "127.0.0.1", **options) as made:
        made.on("tls_client_error", lambda error, _sock: failed.append(error.code))
        made.add_context(NAME, context)
        found = await stdlib_peer.visit(made, client, name)
    return found, failed


async def test_trust_is_the_names(version: Version) -> None:
    """A client certificate of the name's authority gets in there, and nowhere else."""
    who, asked = pki.agent3(), {"request_cert": True, "ca": pki.ca1().cert_pem}
    found, _ = await visit(context={"ca": pki.ca2().cert_pem}, server=asked, client=stdlib_peer.client(who, version=version))
    assert found.data == b"authorized=True"
    found, failed = await visit(
        context={"ca": pki.ca2().cert_pem}, server=asked, client=stdlib_peer.client(who, version=version), name="localhost"
    )
    assert (found.data, failed) == (b"", ["UNABLE_TO_VERIFY_LEAF_SIGNATURE"])


async def test_certificate_is_demanded_by_the_name_alone(version: Version) -> None:
    """The server asks for none, the name insists."""
    context = {"ca": pki.ca1().cert_pem, "request_cert": True}
    found, failed = await visit(context=context, client=stdlib_peer.client(version=version))
    assert (found.data, failed) == (b"", ["ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"])
    found, _ = await visit(context=context, client=stdlib_peer.client(pki.client(), version=version))
    assert found.data == b"authorized=True"
    found, _ = await visit(context=context, client=stdlib_peer.client(version=version), name="localhost")
    assert found.data == b"authorized=False"


async def test_name_may_ask_for_less(version: Version) -> None:
    """The server insists, the name does not ask, or takes whoever comes."""
    server = {"ca": pki.ca1().cert_pem, "request_cert": True}
    found, _ = await visit(context={"request_cert": False}, server=server, client=stdlib_peer.client(version=version))
    assert found.data == b"authorized=False"
    soft = {"reject_unauthorized": False}
    found, _ = await visit(context=soft, server=server, client=stdlib_peer.client(pki.self_signed(), version=version))
    assert found.data == b"authorized=False"
    found, failed = await visit(context=soft, server=server, client=stdlib_peer.client(version=version), name="localhost")
    assert failed


@pytest.mark.parametrize("limit", ["min_version", "max_version"])
async def test_versions_may_be_narrower(limit: str) -> None:
    """The server speaks both, the name one of them."""
    only = {"min_version": "TLSv1.3", "max_version": "TLSv1.2"}[limit]
    other = {"TLSv1.3": "TLSv1.2", "TLSv1.2": "TLSv1.3"}[only]
    found, _ = await visit(context={limit: only}, client=stdlib_peer.client())
    assert found.version == only
    found, failed = await visit(context={limit: only}, client=stdlib_peer.client(version=other))
    assert (found.reason, failed) == ("TLSV1_ALERT_PROTOCOL_VERSION", ["ERR_SSL_UNSUPPORTED_PROTOCOL"])


@pytest.mark.parametrize(("server", "name"), [("TLSv1.2", "TLSv1.3"), ("TLSv1.3", "TLSv1.2")])
async def test_versions_may_be_wider(server: Version, name: Version) -> None:
    """The server speaks one version, the name another one."""
    only = {"min_version": server, "max_version": server}
    found, _ = await visit(context={"min_version": name, "max_version": name}, server=only, client=stdlib_peer.client(version=name))
    assert found.version == name
    found, failed = await visit(
        context={"min_version": name, "max_version": name}, server=only, client=stdlib_peer.client(version=name), name="localhost"
    )
    assert failed


async def test_ciphers_are_the_names(version: Version) -> None:
    """The suite that the name allows is used, also against the server's preference."""
    wanted = {"TLSv1.2": "ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.3": "TLS_CHACHA20_POLY1305_SHA256"}[version]
    found, _ = await visit(context={"ciphers": wanted}, client=stdlib_peer.client(version=version))
    assert found.cipher == wanted
    found, _ = await visit(context={"ciphers": wanted}, client=stdlib_peer.client(version=version), name="localhost")
    assert found.cipher != wanted


async def test_groups_are_the_names(version: Version) -> None:
    """A group that the client does not offer leaves nothing in common, at that name alone."""
    client = stdlib_peer.client(version=version)
    client.set_ecdh_curve("prime256v1")
    found, failed = await visit(context={"ecdh_curve": "secp384r1"}, client=client)
    assert found.error is not None
    assert failed in (["ERR_SSL_NO_SUITABLE_KEY_SHARE"], ["ERR_SSL_NO_SHARED_CIPHER"], ["ERR_SSL_NO_SUITABLE_GROUPS"])
    found, failed = await visit(context={"ecdh_curve": "secp384r1"}, client=client, name="localhost")
    assert failed == []
    found, failed = await visit(context={"ecdh_curve": "P-256"}, server={"ecdh_curve": "secp384r1"}, client=client)
    assert failed == []


async def test_groups_left_unset_are_the_servers(version: Version) -> None:
    """A name that only sets a certificate does not widen the groups."""
    client = stdlib_peer.client(version=version)
    client.set_ecdh_curve("prime256v1")
    _, failed = await visit(context={}, server={"ecdh_curve": "secp384r1"}, client=client)
    assert failed


async def test_signature_algorithms_are_the_names(version: Version) -> None:
    """A name whose algorithms do not fit its key signs nothing."""
    _, failed = await visit(context={"sigalgs": "RSA-PSS+SHA256"}, client=stdlib_peer.client(version=version))
    assert failed
    _, failed = await visit(context={"sigalgs": "ECDSA+SHA256"}, client=stdlib_peer.client(version=version))
    assert failed == []


async def test_alpn_is_the_names(version: Version) -> None:
    """Its protocols, and none where it sets none against a server that has some."""
    server = {"alpn_protocols": ["http/1.1"]}
    client = stdlib_peer.client(version=version, alpn=["h2", "http/1.1"])
    found, _ = await visit(context={"alpn_protocols": ["h2"]}, server=server, client=client)
    assert found.alpn == "h2"
    found, _ = await visit(context={}, server=server, client=client)
    assert found.alpn == "http/1.1"
    found, _ = await visit(context={"alpn_protocols": []}, server=server, client=client)
    assert found.alpn is None


async def test_alpn_callback_is_the_names(version: Version) -> None:
    """A name's own callback chooses, at that name alone."""
    client = stdlib_peer.client(version=version, alpn=["a", "b"])
    context = {"alpn_callback": lambda _name, protocols, _socket: protocols[1]}
    found, _ = await visit(context=context, server={"alpn_protocols": ["a"]}, client=client)
    assert found.alpn == "b"
    found, _ = await visit(context=context, server={"alpn_protocols": ["a"]}, client=client, name="localhost")
    assert found.alpn == "a"
    found, _ = await visit(context={"alpn_protocols": ["a"]}, server=context, client=client)
    assert found.alpn == "a"


async def test_revocation_is_the_names(version: Version) -> None:
    """With a CRL only there, the revoked client is refused there alone."""
    trust = {"ca": pki.ca2().cert_pem, "request_cert": True}
    client = stdlib_peer.client(pki.agent4(), version=version)
    found, failed = await visit(context={"crl": pki.ca2_crl()}, server=trust, client=client)
    assert (found.data, failed, found.reason) == (b"", ["CERT_REVOKED"], "SSLV3_ALERT_CERTIFICATE_REVOKED")
    found, _ = await visit(context={"crl": pki.ca2_crl()}, server=trust, client=client, name="localhost")
    assert found.data == b"authorized=True"


async def test_revocation_of_the_server_does_not_reach_a_name_with_its_own_trust(version: Version) -> None:
    """Verify flags are cleared before the name's are set."""
    server = {"ca": pki.ca2().cert_pem, "crl": pki.ca2_crl(), "request_cert": True}
    found, failed = await visit(
        context=tlsio.create_secure_context(ca=pki.ca1().cert_pem, crl=[]),
        server=server,
        client=stdlib_peer.client(pki.client(), version=version),
    )
    assert (found.data, failed) == (b"authorized=True", [])


async def test_partial_chains_are_the_names(version: Version) -> None:
    """An intermediate may be trusted by itself at one name."""
    trust = {"ca": pki.ca3().cert_pem, "request_cert": True}
    client = stdlib_peer.client(pki.agent6(), version=version)
    found, _ = await visit(context={"allow_partial_trust_chain": True}, server=trust, client=client)
    assert found.data == b"authorized=True"
    found, failed = await visit(context={"allow_partial_trust_chain": True}, server=trust, client=client, name="localhost")
    assert failed == ["UNABLE_TO_GET_ISSUER_CERT"]


async def test_pins_are_the_names(version: Version) -> None:
    """Clients may be pinned at one name."""
    trust = {"ca": pki.ca1().cert_pem, "request_cert": True}
    client = stdlib_peer.client(pki.client(), version=version)
    found, failed = await visit(context={"pins": [bytes(32)]}, server=trust, client=client)
    assert (found.data, failed) == (b"", ["ERR_TLS_PIN_MISMATCH"])
    found, _ = await visit(context={"pins": [pki.client().spki_sha256]}, server=trust, client=client)
    assert found.data == b"authorized=True"


async def test_options_are_the_names() -> None:
    """`secure_options` set at the name are set, those of the server alone are not."""
    no_13 = tlsio.constants.SSL_OP_NO_TLSv1_3
    found, _ = await visit(context={"secure_options": no_13}, client=stdlib_peer.client())
    assert found.version == "TLSv1.2"
    found, _ = await visit(context={"secure_options": 0}, server={"secure_options": no_13}, client=stdlib_peer.client())
    assert found.version == "TLSv1.3"


@pytest.mark.node("tls-empty-sni-context")
async def test_chosen_context_without_a_certificate_has_the_servers(version: Version) -> None:
    """Where there is none either, the handshake fails."""
    empty = tlsio.create_secure_context()
    who = pki.localhost()
    for identity in ({"cert": who.cert_pem, "key": who.key_pem}, {}):
        errors: list[tlsio.TLSError] = []
        async with tlsio.serve(greet, 0, "127.0.0.1", sni_callback=lambda *_: empty, max_version=version, **identity) as server:
            server.on("tls_client_error", lambda error, _sock, told=errors: told.append(error))
            found = await stdlib_peer.visit(server, stdlib_peer.client(version=version))
        if identity:
            assert found.certificate == who.cert_der
        else:
            assert "ALERT" in found.reason
            assert isinstance(errors[0], tlsio.ConfigError)


@pytest.mark.node("tls-empty-sni-context")
async def test_context_without_a_certificate_fails_with_a_sentence(version: Version) -> None:
    """Such a context is legal; the handshake says what is missing."""
    errors: list[tlsio.TLSError] = []
    async with tlsio.serve(greet, 0, "127.0.0.1", min_version=version, max_version=version) as server:
        server.on("tls_client_error", lambda error, _sock: errors.append(error))
        found = await stdlib_peer.visit(server, stdlib_peer.client(version=version))
    assert "ALERT" in found.reason
    assert isinstance(errors[0], tlsio.ConfigError)
    assert errors[0].code == {"TLSv1.2": "ERR_SSL_NO_SHARED_CIPHER", "TLSv1.3": "ERR_SSL_UNSUPPORTED_PROTOCOL"}[version]
    assert errors[0].hint == "Give cert= and key=."


@pytest.mark.parametrize("options", [{"ticket_keys": bytes(48)}, {"session_timeout": 60}], ids=["keys", "timeout"])
@pytest.mark.parametrize("given", ["options", "context"])
async def test_what_a_server_has_once_is_not_set_by_name(net: Net, given: str, options: dict[str, Any]) -> None:
    """It would be of no effect: it raises in `add_context`, and fails the handshake whose hook says it."""
    chosen: Any = options if given == "options" else tlsio.create_secure_context(**options)
    async with net.serve(sni_callback=lambda _name, _sock: chosen) as server:
        with pytest.raises(tlsio.UsageError, match=next(iter(options))) as caught:
            server.add_context("a.example.com", chosen)
        assert caught.value.code == "ERR_INCOMPATIBLE_OPTION_PAIR"
        ours, theirs = await net.refused(server)
    assert getattr(ours, "code", None) == "ERR_INCOMPATIBLE_OPTION_PAIR"
    assert theirs.alert == "internal_error"


async def test_what_a_server_has_once_may_be_repeated(net: Net) -> None:
    """A copy of the server's context, changed for the name, says the same."""
    who = pki.localhost()
    context = tlsio.create_secure_context(cert=who.cert_pem, key=who.key_pem, ticket_keys=bytes(48), session_timeout=60)
    other = pki.wildcard()
    async with net.serve(secure_context=context) as server:
        server.add_context("a.example.com", context.replace(cert=other.cert_pem, key=other.key_pem))
        sock = await net.connect(server, servername="a.example.com", min_version="TLSv1.2")
        assert sock.authorized
        sock.destroy()
        await sock.wait_closed()
