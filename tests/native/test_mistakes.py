"""What somebody gave in place of a certificate, key, CRL or PKCS#12 is recognised by labels and first bytes."""

from __future__ import annotations

import pytest

from tlsio.model.content_hints import explain

CERTIFICATE = "a certificate"
KEY = "a private key"
CRL = "a certificate revocation list"
PFX = "PKCS#12"
DH = "Diffie-Hellman parameters"


def block(label: str) -> bytes:
    """Return a PEM block of which only the label counts."""
    return f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n".encode()


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
        (block("OPENSSH PRIVATE KEY"), KEY, "ssh-keygen -p"),
        (block("X509 CRL"), CERTIFICATE, "Give it with crl=."),
        (block("PKCS7"), CERTIFICATE, "openssl pkcs7 -print_certs"),
        (block("X9.42 DH PARAMETERS"), KEY, "Give them with dhparam=."),
        (block("CERTIFICATE"), DH, "Give it with cert= or ca=."),
        (b"\x30\x82\x01\x00\x02\x01\x03", CERTIFICATE, "It contains PKCS#12, not a certificate. Give it with pfx="),
        (b"\x30\x05\x02\x01\x00", CERTIFICATE, "private key"),
        (b"\x30\x05\x02\x01\x01", CERTIFICATE, "private key"),
        (b" \n", KEY, "It is empty."),
        (b"", PFX, "It is empty."),
        (b"    " + block("CERTIFICATE"), CERTIFICATE, "textwrap.dedent"),
    ],
)
def test_explains(data: bytes, wanted: str, hint: str) -> None:
    """The hint says what it is, and what to do with it."""
    assert hint in (explain(data, wanted) or "")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (block("CERTIFICATE"), CERTIFICATE),
        (block("PRIVATE KEY") + block("CERTIFICATE"), CERTIFICATE),
        (block("SOMETHING ELSE"), KEY),
        (b"garbage", KEY),
        (b"\x30", KEY),
        (b"\x30\x03\x04\x01\x00", KEY),
        (b"\x30\x05\x02\x01\x03", PFX),
    ],
)
def test_says_nothing_of_what_it_does_not_know(data: bytes, wanted: str) -> None:
    """No hint is better than a wrong one: the right kind may be spoilt, another kind unknown."""
    assert explain(data, wanted) is None
