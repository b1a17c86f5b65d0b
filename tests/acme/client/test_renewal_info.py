"""The name of a certificate for ARI, and the window that the authority suggests."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import pki
import tlsio
from tlsio.acme import RenewalInfo
from tlsio.acme.client.fields import Fields
from tlsio.acme.client.renewal_info import certificate_id, read_renewal_info

START, END = "2026-12-01T00:00:00Z", "2026-12-03T00:00:00Z"


def certificate(serial: int, key_id: bytes | None) -> bytes:
    """Make one with this serial number, and this identifier of the authority's key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, pki.NOW, pki.NOW + pki.DAY)
    if key_id is not None:
        builder = builder.add_extension(x509.AuthorityKeyIdentifier(key_id, None, None), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(pki.DER)


def read(document: Any, retry_after: float | None = None) -> RenewalInfo:
    """Read an answer."""
    return read_renewal_info(Fields.parse(json.dumps(document).encode(), "https://ca.example/ari/x", allow_http=False), retry_after)


def test_the_name_of_the_standards_example() -> None:
    """RFC 9773 §4.1: a serial number with its top bit set keeps its leading zero."""
    key_id = bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4")
    assert certificate_id(certificate(0x87654321, key_id)) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
    assert certificate_id(certificate(0x7F, key_id)).endswith(".fw")


def test_a_certificate_without_key_identifier_has_no_name() -> None:
    """One of a private authority, perhaps."""
    with pytest.raises(tlsio.ConfigError) as caught:
        certificate_id(certificate(1, None))
    assert caught.value.code == "ERR_ACME_CERTIFICATE_ID"
    with pytest.raises(tlsio.UsageValueError):
        certificate_id(b"no certificate")


def test_a_window_is_read() -> None:
    """With the page that explains it."""
    found = read({"suggestedWindow": {"start": START, "end": END}, "explanationURL": "https://ca.example/why"}, 21600.0)
    assert found == RenewalInfo(datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 3, tzinfo=UTC), "https://ca.example/why", 21600.0)


@pytest.mark.parametrize(("said", "used"), [(None, 21600.0), (0.0, 60.0), (59.0, 60.0), (61.0, 61.0), (86401.0, 86400.0)])
def test_the_pause_until_the_next_question_has_limits(said: float | None, used: float) -> None:
    """RFC 9773 §4.3.2: a minute to a day; six hours if the authority does not say."""
    assert read({"suggestedWindow": {"start": START, "end": END}}, said).retry_after == used


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"suggestedWindow": None},
        {"suggestedWindow": []},
        {"suggestedWindow": {"start": START}},
        {"suggestedWindow": {"start": END, "end": START}},
        {"suggestedWindow": {"start": START, "end": START}},
        {"suggestedWindow": {"start": 1, "end": 2}},
        {"suggestedWindow": {"start": "2026-12-01", "end": END}},
    ],
)
def test_a_window_that_is_none_is_an_invalid_response(document: Any) -> None:
    """RFC 9773 §4.2: as if there had been no answer."""
    with pytest.raises(tlsio.ACMEError) as caught:
        read(document)
    assert caught.value.code == "ERR_ACME_INVALID_RESPONSE"


def test_a_page_that_is_no_text_is_ignored() -> None:
    """It is only for people."""
    assert read({"suggestedWindow": {"start": START, "end": END}, "explanationURL": ["x"]}).explanation_url is None


SOON, LATER = datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    "values",
    [(SOON.replace(tzinfo=None), LATER, 60.0), (SOON, LATER.replace(tzinfo=None), 60.0), (SOON, "2026-12-03", 60.0), (LATER, SOON, 60.0),
     (SOON, SOON, 60.0), (SOON, LATER, -1.0), (SOON, LATER, "60")],
    ids=["naive start", "naive end", "text", "backwards", "empty", "negative", "wait as text"],
)  # fmt: skip
def test_a_window_of_a_users_issuer_is_checked(values: Any) -> None:
    """Where it is made, and not when it is compared with the time."""
    start, end, wait = values
    with pytest.raises(tlsio.UsageError):
        RenewalInfo(start, end, None, wait)
