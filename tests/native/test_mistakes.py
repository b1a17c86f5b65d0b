"""What somebody gave in place of a certificate, key, CRL or PKCS#12 is recognised by labels and first bytes."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tlsio.model.content_hints import explain

CERTIFICATE = "a certificate"
KEY = "a private key"
CRL = "a certificate revocation list"
PFX = "PKCS#12"
DH = "Diffie-Hellman parameters"


def block(label: str) -> bytes:
    """Return a PEM block of which only the label counts."""
    return f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n".encode()


def openssh_ed25519() -> bytes:
    """Return a key as `ssh-keygen -t ed25519` writes it."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


@pytest.mark.parametrize(
    ("data", "wanted", "hint"),
    [
        (block("PRIVATE KEY"), CERTIFICATE, "It contains a private key, not a certificate. Were cert= and key= swapped?"),
        (block("ENCRYPTED PRIVATE KEY"), CERTIFICATE, "swapped"),
        (block("RSA PRIVATE KEY"), CRL, "Give it with key=."),
        (block("CERTIFICATE"), KEY, "It contains a certificate, not a private key. Were cert= and key= swapped?"),
        (block("TRUSTED CERTIFICATE"), CRL, "Give it with cert= or ca=."),
        (block("CERTIFICATE REQUEST"), CERTIFICATE, "Let a CA sign it"),
        (block("NEW CERTIFICATE REQUEST"), KEY, "Let a CA sign it"),
        (block("PUBLIC KEY"), KEY, "public key"),
        (block("OPENSSH PRIVATE KEY"), KEY, "Convert a copy, since the file is overwritten"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", KEY, "Convert a copy"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n!\n-----END OPENSSH PRIVATE KEY-----", KEY, "Convert a copy"),
        (openssh_ed25519(), KEY, "ssh-keygen cannot convert an ed25519 key"),
        (block("PGP PRIVATE KEY BLOCK"), KEY, "TLS cannot use OpenPGP keys"),
        (b"PuTTY-User-Key-File-3: ssh-rsa\n", KEY, "Export it from PuTTYgen"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me", KEY, "It contains an SSH public key"),
        (b"ecdsa-sha2-nistp256 AAAAE2VjZHNh", CERTIFICATE, "It contains an SSH public key"),
        (b"\xfe\xed\xfe\xed\0\0\0\2", CERTIFICATE, "keytool -importkeystore"),
        (b"\n<!DOCTYPE html><p>404", CERTIFICATE, "It contains an HTML page"),
        (block("PRIVATE KEY").decode().encode("utf-16"), KEY, "text in UTF-16"),
        (block("PRIVATE KEY").decode().encode("utf-16-le"), KEY, "text in UTF-16"),
        (block("PRIVATE KEY").replace(b"-----", "\u2014\u2013".encode()), KEY, "dashes are typographic"),
        (block("PRIVATE KEY").replace(b"\n", b"\\n"), KEY, 'text.replace("\\\\n", "\\n")'),
        (block("PRIVATE KEY").replace(b"\n", b" "), KEY, "The PEM is on one line"),
        (b'"' + block("PRIVATE KEY") + b'"', KEY, "must stand at the start of a line"),
        (block("PRIVATE KEY")[:30], KEY, "It was cut off"),
        (b"\x30\x82\x01\x00\x02\x01\x00", KEY, "It was cut off"),
        (b"\x30\x20\x02\x01\x00", KEY, "It was cut off"),
        (b"\x30", KEY, "It was cut off"),
        (b"MIGHAgEAMBMGByqGSM49" * 4, KEY, "put -----BEGIN PRIVATE KEY----- before it"),
        (b"/etc/ssl/private/key", KEY, "give a path as pathlib.Path"),
        (b"server.pem\n", CERTIFICATE, "give a path as pathlib.Path"),
        (b"\x00\x01garbage", KEY, "neither PEM nor DER: a private key is expected"),
        (block("PRIVATE KEY"), KEY, "damaged, or of an algorithm"),
        (b"\x30\x05\x02\x01\x03\x05\x00", PFX, "It is PKCS#12, but damaged"),
        (b"\x30\x05\x30\x03\xa0\x03\x02\x01\x02", KEY, "It contains a certificate, not a private key"),
        (b"\x30\x05\x30\x03\x02\x01\x00\x30\x00", CERTIFICATE, "Let a CA sign it"),
        (b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", CERTIFICATE, "-inform DER"),
        (block("X509 CRL"), CERTIFICATE, "Give it with crl=."),
        (block("PKCS7"), CERTIFICATE, "openssl pkcs7 -print_certs"),
        (block("X9.42 DH PARAMETERS"), KEY, "Give them with dhparam=."),
        (block("CERTIFICATE"), DH, "Give it with cert= or ca=."),
        (b"\x30\x82\x01\x00\x02\x01\x03", CERTIFICATE, "It contains PKCS#12, not a certificate. Give it with pfx="),
        (b"\x30\x05\x02\x01\x00", CERTIFICATE, "private key"),
        (b"\x30\x05\x02\x01\x01", CERTIFICATE, "private key"),
        (b" \n", KEY, "It is empty"),
        (b"", PFX, "It is empty"),
        (b"    " + block("CERTIFICATE"), CERTIFICATE, "textwrap.dedent"),
    ],
)
def test_explains(data: bytes, wanted: str, hint: str) -> None:
    """The hint says what it is, and what to do with it."""
    assert hint in (explain(data, wanted) or "")


@pytest.mark.parametrize("option", ["options.ca", "options.ca[1]", "options.extra_ca (a.pem)", "certs[0]"])
def test_key_as_an_authority_was_not_swapped(option: str) -> None:
    """Only `cert=` has a key next to it."""
    assert "ca= needs certificates" in (explain(block("PRIVATE KEY"), CERTIFICATE, option) or "")
    assert "openssl pkcs12 -cacerts -nokeys" in (explain(b"\x30\x05\x02\x01\x03\x05\x00", CERTIFICATE, option) or "")


def test_nothing_of_the_content_is_shown() -> None:
    """It may be a secret, whatever it looks like."""
    for form in (b"SECRET", b"/SECRET", b"SECRET.pem", block("PRIVATE KEY SECRET"), b"-----BEGIN PRIVATE KEY-----\nSECRET"):
        assert "SECRET" not in (explain(form, KEY) or "")


@pytest.mark.parametrize(("data", "wanted"), [(block("SOMETHING ELSE"), KEY), (b"\x30\x03\x04\x01\x00", KEY)])
def test_says_nothing_of_what_it_does_not_know(data: bytes, wanted: str) -> None:
    """No hint is better than a wrong one."""
    assert explain(data, wanted) is None
