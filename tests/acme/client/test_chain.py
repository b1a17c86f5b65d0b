"""Chains as an authority sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509

import pki
import tlsio
from tlsio.acme.client.chain import read_chain

if TYPE_CHECKING:
    from datetime import datetime

URL = "https://ca.example/certificate/1"
NAMES = ["ca.example.test", "192.0.2.7", "2001:db8::7"]


def leaf_of(issuer: pki.Identity, **options: object) -> pki.Identity:
    """Make a certificate for `NAMES`."""
    return pki.leaf("x", issuer=issuer, names=NAMES, **options)  # type: ignore[arg-type]


def spki_of(who: pki.Identity) -> bytes:
    """Return its public key."""
    return who.key.public_key().public_bytes(pki.DER, pki.serialization.PublicFormat.SubjectPublicKeyInfo)


def test_a_chain_is_written_anew() -> None:
    """Without what stood between the certificates; the root may be missing or sent."""
    who, root = leaf_of(pki.ca1()), pki.ca1()
    for sent in (who.cert_pem, who.cert_pem + b"\r\n" + root.cert_pem):
        chain = read_chain(sent, URL)
        assert chain.pem.replace(b"\n", b"") == sent.replace(b"\n", b"").replace(b"\r", b"")
        assert chain.root_name == "ca1"
        chain.check(spki_of(who), NAMES, pki.NOW)


def test_text_between_certificates_is_left_out() -> None:
    """It would end up in a server's file."""
    who = leaf_of(pki.ca1())
    chain = read_chain(b"Comment: \x1b[31m\n" + who.cert_pem + b"more\n" + pki.ca1().cert_pem, URL)
    assert chain.pem == who.cert_pem + pki.ca1().cert_pem


@pytest.mark.parametrize("case", ["stranger", "root-first", "reversed"])
def test_certificates_that_are_no_chain(case: str) -> None:
    """Each one must have signed the one before."""
    who, root = leaf_of(pki.ca1()), pki.ca1()
    sent = {"stranger": who.cert_pem + pki.ca2().cert_pem, "root-first": root.cert_pem * 2, "reversed": root.cert_pem + who.cert_pem}[case]
    with pytest.raises(tlsio.ACMEError) as caught:
        read_chain(sent, URL)
    assert caught.value.code == "ERR_ACME_INVALID_RESPONSE"


def test_ten_certificates_and_one_more() -> None:
    """The limit."""
    issuers = [pki.ca1()]
    for number in range(10):
        issuers.append(pki.authority(f"step {number}", issuer=issuers[-1]))
    pems = [one.cert_pem for one in reversed(issuers)]
    assert len(read_chain(b"".join(pems[1:]), URL).certificates) == 10
    with pytest.raises(tlsio.ACMEError, match="1 to 10"):
        read_chain(b"".join(pems), URL)


def test_the_certificate_of_a_ca_is_refused() -> None:
    """Even for our key and names."""
    who = leaf_of(pki.ca1(), extensions=[x509.BasicConstraints(ca=True, path_length=None)])
    with pytest.raises(tlsio.ACMEError, match="of a CA") as caught:
        read_chain(who.cert_pem, URL).check(spki_of(who), NAMES, pki.NOW)
    assert caught.value.code == "ERR_ACME_WRONG_CERTIFICATE"


@pytest.mark.parametrize(
    ("now", "is_good"),
    [
        (pki.NOW - pki.DAY - 5 * pki.DAY / 1440, True),
        (pki.NOW - pki.DAY - 6 * pki.DAY / 1440, False),
        (pki.NOW + 3650 * pki.DAY - pki.DAY / 86400, True),
        (pki.NOW + 3650 * pki.DAY, False),
    ],
    ids=["5-minutes-early", "6-minutes-early", "last-second", "expired"],
)
def test_the_dates_have_five_minutes_of_tolerance_at_the_begin(now: datetime, *, is_good: bool) -> None:
    """Clocks differ; at the end there is no reason for any."""
    who = leaf_of(pki.ca1())
    chain = read_chain(who.cert_pem, URL)
    if is_good:
        chain.check(spki_of(who), NAMES, now)
        return
    with pytest.raises(tlsio.ACMEError) as caught:
        chain.check(spki_of(who), NAMES, now)
    assert "clock" in (caught.value.hint or "")
