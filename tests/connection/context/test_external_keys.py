"""`key=` with objects that sign elsewhere: what is accepted, which certificate each belongs to, and what it says about itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import pki
import tlsio
from external_keys import Signer

if TYPE_CHECKING:
    from pathlib import Path

LEAF = pki.localhost()
RSA = pki.localhost_rsa()


class Known(Signer):
    """A signer that tells its public key."""

    def __init__(self, key: Any, public: Any = None) -> None:
        super().__init__(key)
        self.public_key = key.public_key() if public is None else public


def spki(key: Any, encoding: Encoding) -> bytes:
    """Return a public key."""
    return bytes(key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo))


PUBLIC_KEYS = {
    "object": LEAF.key.public_key(),
    "method": LEAF.key.public_key,
    "pem": spki(LEAF.key, Encoding.PEM),
    "text": spki(LEAF.key, Encoding.PEM).decode(),
    "der": spki(LEAF.key, Encoding.DER),
}


@pytest.mark.parametrize("form", PUBLIC_KEYS)
def test_public_key_in_any_form(form: str) -> None:
    """An attribute or a method."""
    tlsio.create_secure_context(cert=LEAF.cert_pem, key=Known(LEAF.key, PUBLIC_KEYS[form]))


def test_public_key_that_does_not_fit_is_refused() -> None:
    """At the door, not at the first signature."""
    with pytest.raises(tlsio.ConfigError, match=r"No private key of options.key fits the certificate") as caught:
        tlsio.create_secure_context(cert=LEAF.cert_pem, key=Known(pki.agent1().key))
    assert caught.value.code == "ERR_OSSL_X509_KEY_VALUES_MISMATCH"


def test_bytes_that_are_no_public_key() -> None:
    """A certificate for one."""
    with pytest.raises(tlsio.ConfigError, match=r"The public_key of options.key is not a public key") as caught:
        tlsio.create_secure_context(cert=LEAF.cert_pem, key=Known(LEAF.key, LEAF.cert_der))
    assert caught.value.code == "ERR_TLS_KEY_UNREADABLE"


@pytest.mark.parametrize("public", ["", "no PEM", b"", LEAF.cert_pem.decode()])
def test_text_that_is_no_public_key(public: Any) -> None:
    """It must be PEM."""
    with pytest.raises(tlsio.UsageValueError, match=r"options.key.public_key is not a public key"):
        tlsio.create_secure_context(cert=LEAF.cert_pem, key=Known(LEAF.key, public))


def test_public_key_of_another_type() -> None:
    """The value is not printed."""
    with pytest.raises(tlsio.UsageTypeError, match=r"options.key.public_key must be PEM .*, got int"):
        tlsio.create_secure_context(cert=LEAF.cert_pem, key=Known(LEAF.key, 7))


def test_async_public_key() -> None:
    """The door does not wait."""

    async def public_key() -> bytes:
        return b""

    with pytest.raises(tlsio.UsageValueError, match="must not be async"):
        tlsio.create_secure_context(cert=LEAF.cert_pem, key=Known(LEAF.key, public_key))


def test_one_key_here_and_one_elsewhere() -> None:
    """In any order; the one without a public key gets the certificate that is left."""
    for keys in ([LEAF.key_pem, Signer(RSA.key)], [Signer(LEAF.key), RSA.key_pem], [Signer(RSA.key), Known(LEAF.key)]):
        tlsio.create_secure_context(cert=[LEAF.cert_pem, RSA.cert_pem], key=keys)


def test_which_certificate_is_open() -> None:
    """Two objects, and neither tells its public key."""
    with pytest.raises(tlsio.ConfigError, match=r"open which certificate options.key\[0\] belongs to") as caught:
        tlsio.create_secure_context(cert=[LEAF.cert_pem, RSA.cert_pem], key=[Signer(LEAF.key), Signer(RSA.key)])
    assert caught.value.code == "ERR_TLS_KEY_WITHOUT_CERT"
    assert "public_key" in (caught.value.hint or "")


def test_key_without_a_certificate_left() -> None:
    """Each certificate has its key."""
    with pytest.raises(tlsio.ConfigError, match="has a key already"):
        tlsio.create_secure_context(cert=LEAF.cert_pem, key=[LEAF.key_pem, Signer(RSA.key)])


@pytest.mark.parametrize("signer", [Signer(LEAF.key), Known(LEAF.key)], ids=["unknown", "known"])
def test_key_without_cert(signer: Signer) -> None:
    """Its public key is in the certificate."""
    with pytest.raises(tlsio.ConfigError, match="signs elsewhere, and was given without cert=") as caught:
        tlsio.create_secure_context(key=signer)
    assert caught.value.code == "ERR_TLS_KEY_WITHOUT_CERT"


def test_rsa_key_exchange_is_off() -> None:
    """The key cannot decrypt."""
    with pytest.raises(tlsio.ConfigError, match="only signs") as caught:
        tlsio.create_secure_context(cert=RSA.cert_pem, key=Signer(RSA.key), ciphers="AES128-GCM-SHA256", max_version="TLSv1.2")
    assert caught.value.code == "ERR_SSL_NO_CIPHERS_AVAILABLE"
    tlsio.create_secure_context(cert=LEAF.cert_pem, key=Signer(LEAF.key), ciphers="AES128-GCM-SHA256:ECDHE+AESGCM")


@pytest.mark.parametrize("value", [Signer, SimpleNamespace(sign=1), object()], ids=["class", "number", "object"])
def test_other_objects(value: Any) -> None:
    """A class, or no function."""
    with pytest.raises(tlsio.UsageTypeError, match=r"options.key must be .*an object with sign\(scheme, message\)"):
        tlsio.create_secure_context(cert=LEAF.cert_pem, key=value)


def test_nothing_prints_the_object() -> None:
    """`Signer` raises if it is printed."""
    signer = Signer(LEAF.key)
    context = tlsio.create_secure_context(cert=LEAF.cert_pem, key=signer)
    assert "Signer" not in repr(context)
    assert "Signer" not in repr(context.options)


def test_copy_keeps_the_key() -> None:
    """And a new certificate may come with it."""
    context = tlsio.create_secure_context(cert=LEAF.cert_pem, key=Signer(LEAF.key))
    context.replace(alpn_protocols=["a"])
    context.replace(cert=LEAF.chain_pem)


async def test_certificate_in_a_file_and_key_elsewhere(tmp_path: Path) -> None:
    """A renewed certificate may keep the key."""
    (tmp_path / "cert.pem").write_bytes(LEAF.chain_pem)
    source = tlsio.FileSource(cert=tmp_path / "cert.pem", key=Signer(LEAF.key))
    await source.start()
    assert source.context_now().options.key is not None
