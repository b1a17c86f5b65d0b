"""Several identities at once: RSA and ECDSA, and who gets which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from tlsio.connection.context.secure_context import create_secure_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from net import Net

# Node's `test-tls-multi-key.js`: each identity has an intermediate, the roots are the client's.
ROOTS = {"ec": pki.ca5, "rsa": pki.ca2}


def keys_and_certs(*, swapped: bool = False, chained: bool = True) -> dict[str, Any]:
    """Return both as `cert` and `key`; `swapped`: the keys in the other order."""
    both = [pki.ec10(), pki.agent10()]
    certs = [who.chain_pem if chained else who.cert_pem for who in both]
    return {"cert": certs, "key": [who.key_pem for who in (both[::-1] if swapped else both)]}


def intermediates_from_ca() -> dict[str, Any]:
    """Return both without their chains, which are found in `ca`."""
    return keys_and_certs(chained=False) | {"ca": [pki.ca4().cert_pem, pki.ca6().cert_pem, pki.ca2().cert_pem, pki.ca5().cert_pem]}


def key_beside_pfx(in_pfx: Callable[[], pki.Identity], beside: Callable[[], pki.Identity]) -> dict[str, Any]:
    """Return one as PKCS#12, the other as `cert` and `key`."""
    return {"pfx": in_pfx().pfx(b"sample"), "passphrase": "sample", "cert": beside().chain_pem, "key": beside().key_pem}


WAYS: dict[str, Callable[[], dict[str, Any]]] = {
    "same order": keys_and_certs,
    "other order": lambda: keys_and_certs(swapped=True),
    "intermediates in ca": intermediates_from_ca,
    "ec in pfx": lambda: key_beside_pfx(pki.ec10, pki.agent10),
    "rsa in pfx": lambda: key_beside_pfx(pki.agent10, pki.ec10),
    "both in pfx": lambda: {"pfx": [{"buf": who.pfx(b"sample"), "passphrase": "sample"} for who in (pki.agent10(), pki.ec10())]},
}

# What makes a client take only one of them: the suite up to TLS 1.2, the signature in TLS 1.3.
WANTS = {
    ("TLSv1.2", "ec"): {"ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"},
    ("TLSv1.2", "rsa"): {"ciphers": "ECDHE-RSA-AES256-GCM-SHA384"},
    ("TLSv1.3", "ec"): {"sigalgs": "ecdsa_secp256r1_sha256"},
    ("TLSv1.3", "rsa"): {"sigalgs": "rsa_pss_rsae_sha256"},
}


@pytest.mark.node("tls-multi-key")
@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("way", WAYS)
async def test_client_gets_the_identity_it_can_verify(way: str, kind: str, net: Net) -> None:
    """Whatever way they were given, and with the intermediate of its own."""
    options = {"cert": None, "key": None} | WAYS[way]()
    wants = WANTS[net.version, kind] | {"ca": ROOTS[kind]().cert_pem, "servername": "agent10.example.com"}
    async with net.pair(server=options, client=wants) as (client, _peer, _server):
        certificate = client.get_peer_certificate()
        assert certificate is not None
        assert certificate["subject"]["CN"] == "agent10.example.com"
        assert client.get_verified_chain()[0].public_bytes(pki.PEM) == (pki.ec10() if kind == "ec" else pki.agent10()).cert_pem
        assert len(client.get_verified_chain()) == 3


async def test_client_that_can_do_both_gets_one_that_verifies(net: Net) -> None:
    """Which of the two is OpenSSL's choice."""
    options = keys_and_certs()
    wants = {"ca": [pki.ca2().cert_pem, pki.ca5().cert_pem], "servername": "agent10.example.com"}
    async with net.pair(server=options, client=wants) as (client, _peer, _server):
        assert client.authorized
        assert client.get_verified_chain()[0].public_bytes(pki.PEM) in {pki.ec10().cert_pem, pki.agent10().cert_pem}


def test_key_of_neither_is_refused() -> None:
    """Named by the option and its place."""
    both = keys_and_certs()
    with pytest.raises(tlsio.ConfigError, match=r"options\.key\[2\]") as caught:
        create_secure_context(cert=both["cert"], key=[*both["key"], pki.client().key_pem])
    assert caught.value.code == "ERR_OSSL_X509_KEY_VALUES_MISMATCH"


# --- certificate and key in one PEM ---


def combined(who: pki.Identity, *, passphrase: bool = False) -> bytes:
    """Return a chain with its private key in the middle, as other servers take it."""
    key = who.encrypted_key_pem() if passphrase else who.key_pem
    return who.cert_pem + key + b"".join(one.public_bytes(pki.PEM) for one in who.intermediates)


async def served(net: Net, server: tlsio.Server) -> bytes:
    """Return the certificate that a client sees, in PEM."""
    sock = await net.connect(server, ca=[pki.ca1().cert_pem, pki.ca5().cert_pem], check_server_identity=lambda *_: None)
    try:
        return sock.get_verified_chain()[0].public_bytes(pki.PEM)
    finally:
        sock.destroy()
        await sock.wait_closed()


@pytest.mark.parametrize("way", ["content", "file", "encrypted", "two"])
async def test_pem_with_its_key_needs_no_key_option(net: Net, tmp_path: Path, way: str) -> None:
    """As `load_cert_chain` of the standard library."""
    who = pki.chained()
    (tmp_path / "both.pem").write_bytes(combined(who))
    options: dict[str, Any] = {
        "content": {"cert": combined(who)},
        "file": {"cert": tmp_path / "both.pem"},
        "encrypted": {"cert": combined(who, passphrase=True), "passphrase": pki.PASSPHRASE},
        "two": {"cert": [pki.localhost_rsa().cert_pem, combined(who)], "key": pki.localhost_rsa().key_pem},
    }[way]
    async with net.serve(**{"key": None} | options) as server:
        assert await served(net, server) in ({who.cert_pem, pki.localhost_rsa().cert_pem} if way == "two" else {who.cert_pem})


async def test_key_option_replaces_an_encrypted_key_in_the_pem(net: Net) -> None:
    """Without the passphrase, which only the unused key would need."""
    who = pki.chained()
    async with net.serve(cert=combined(who, passphrase=True), key=who.key_pem) as server:
        assert await served(net, server) == who.cert_pem


def test_message_about_a_combined_pem_names_its_option() -> None:
    """`key=` was not given."""
    with pytest.raises(tlsio.ConfigError, match=r"options\.cert:") as caught:
        tlsio.create_secure_context(cert=combined(pki.chained(), passphrase=True))
    assert "options.key" not in str(caught.value)


def test_key_of_a_client_needs_a_certificate() -> None:
    """Otherwise the client would silently come without one."""
    key = pki.client().key_pem
    for options in ({"key": key}, {"secure_context": tlsio.create_secure_context(key=key)}):
        with pytest.raises(tlsio.ConfigError, match="key= was given without cert=") as caught:
            tlsio.connect(443, **options)
        assert caught.value.code == "ERR_TLS_KEY_WITHOUT_CERT"


def test_key_of_a_client_may_stand_beside_a_pfx() -> None:
    """The PKCS#12 has a certificate."""
    who = pki.client()
    tlsio.connect(443, pfx=who.pfx(), passphrase=pki.PASSPHRASE, key=who.key_pem).close()


def test_combined_pem_that_does_not_fit_is_named_once() -> None:
    """`key=` was not given, so it is not spoken of."""
    with pytest.raises(tlsio.ConfigError) as caught:
        tlsio.create_secure_context(cert=pki.chained().cert_pem + pki.localhost_rsa().key_pem)
    assert "No private key of options.cert fits the certificate of options.cert:" in str(caught.value)
    assert "key=" not in str(caught.value.hint)


async def test_client_may_have_both_in_one_pem(net: Net) -> None:
    """The certificate with which it authenticates."""
    async with net.serve(ca=pki.ca1().cert_pem, request_cert=True) as server:
        sock = await net.connect(server, cert=combined(pki.client()))
        assert sock.authorized
        sock.destroy()
        await sock.wait_closed()


async def test_reload_of_the_certificate_alone_keeps_the_key(net: Net) -> None:
    """Whether the key came as `key=` or within `cert=`; another certificate is refused, and the old one stays."""
    who = pki.chained()
    renewed = pki.leaf("localhost", issuer=pki.ca1(), key=who.key)
    for options in ({"cert": combined(who), "key": None}, {"cert": who.chain_pem, "key": who.key_pem}):
        async with net.serve(**options) as server:
            server.set_secure_context(cert=renewed.cert_pem)
            assert await served(net, server) == renewed.cert_pem
            with pytest.raises(tlsio.ConfigError) as caught:
                server.set_secure_context(cert=pki.localhost().cert_pem)
            assert caught.value.code == "ERR_OSSL_X509_KEY_VALUES_MISMATCH"
            assert await served(net, server) == renewed.cert_pem
            server.set_secure_context(cert=combined(pki.localhost()))  # brings its own key
            assert await served(net, server) == pki.localhost().cert_pem


def test_certificate_without_a_key_is_refused_at_the_call() -> None:
    """Also for a name, unless the server's key fits."""
    who = pki.localhost()
    with pytest.raises(tlsio.ConfigError, match="cert= was given without key=") as caught:
        tlsio.create_server(cert=who.cert_pem)
    assert caught.value.code == "ERR_TLS_CERT_WITHOUT_KEY"
    server = tlsio.create_server()
    with pytest.raises(tlsio.ConfigError):
        server.add_context("a.example", {"cert": who.cert_pem})
    with pytest.raises(tlsio.ConfigError):
        server.set_secure_context(cert=who.cert_pem)
    server.set_secure_context(key=who.key_pem)
    server.add_context("a.example", {"cert": who.cert_pem})


async def test_client_certificate_without_a_key_is_refused_before_connecting() -> None:
    """Nothing is dialled."""
    with pytest.raises(tlsio.ConfigError, match="cert= was given without key="):
        await tlsio.connect(1, "127.0.0.1", cert=pki.client().cert_pem)
