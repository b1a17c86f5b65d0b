"""Files that were cut or changed on their way: each gets an error of ours, whatever `cryptography` raises."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

import tlsio
from seeds import new_seed
from tlsio.certs import Authority, create_request, generate_key, key_pem, load_key, load_request, request_faults

if TYPE_CHECKING:
    from collections.abc import Callable

AUTHORITY = Authority.create(permitted=["example.com"])


def sign(data: bytes) -> None:
    """Judge a request and sign it."""
    request_faults(load_request(data))
    AUTHORITY.sign(data)


def load_authority(data: bytes) -> None:
    """Read the certificate of an authority and issue."""
    Authority.load(cert=data, key=AUTHORITY.key).server("example.com")


READERS: dict[str, tuple[Callable[[], bytes], Callable[[bytes], Any]]] = {
    "key": (lambda: key_pem(generate_key()), load_key),
    "encrypted key": (lambda: key_pem(generate_key(), "a secret"), lambda data: load_key(data, "a secret")),
    "request in DER": (lambda: create_request("example.com", key=generate_key()).public_bytes(Encoding.DER), sign),
    "request in PEM": (lambda: create_request("example.com", key=generate_key()).public_bytes(Encoding.PEM), sign),
    "certificate": (lambda: AUTHORITY.certificate.public_bytes(Encoding.DER), load_authority),
    "OCSP request": (
        lambda: (
            x509.ocsp.OCSPRequestBuilder()
            .add_certificate(AUTHORITY.certificate, AUTHORITY.certificate, hashes.SHA256())
            .add_extension(x509.OCSPNonce(bytes(16)), critical=False)
            .build()
            .public_bytes(Encoding.DER)
        ),
        lambda data: AUTHORITY.ocsp(AUTHORITY.certificate, request=data),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_a_cut_file_is_refused(name: str) -> None:
    """Wherever it was cut."""
    make, read = READERS[name]
    data = make()
    for size in range(1, len(data) - 2, 5):
        with pytest.raises(tlsio.TLSError):
            read(data[:size])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # of serial numbers below 1
@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_raises_nothing_but_our_errors(name: str) -> None:
    """One byte, anywhere, with a printed seed; some changes do not matter."""
    make, read = READERS[name]
    chance = random.Random(new_seed())  # noqa: S311 - where to change a byte
    data = make()
    for _ in range(2000):
        changed = bytearray(data)
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        with suppress(tlsio.TLSError):
            read(bytes(changed))


def test_a_name_of_an_unknown_kind_is_refused() -> None:
    """`cryptography` has an error of its own for an x400Address."""
    unknown = x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("3002a300"))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(unknown, critical=False)
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    with pytest.raises(tlsio.ConfigError):
        load_request(request.public_bytes(Encoding.DER))
