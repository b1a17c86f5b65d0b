"""Files that were changed or cut anywhere: an error of ours, or a result; never an exception of another library."""

from __future__ import annotations

import contextlib
import random
import time
from functools import cache

import pytest

import pki
import responses
import tlsio
from tlsio import certs
from tlsio.session.client_session import ClientSession
from tlsio.trust import der

# `cryptography` warns of serial numbers that are not positive, as long as it reads such certificates.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
SEED = 20261129
KINDS = (
    "certificate", "certificate in PEM", "key", "encrypted key", "request", "crl", "OCSP response", "PKCS#12", "old PKCS#12", "PKCS#7",
    "session", "our session",
)  # fmt: skip


def ssl_session() -> bytes:
    """Return a session as OpenSSL writes it: version, version of TLS, suite, id, secret, time and timeout."""
    fields = [der.make_integer(1), der.make_integer(0x0304), *(der.make(der.OCTET_STRING, part) for part in (b"\x13\x02", b"", b"s" * 48))]
    fields += [der.make(0xA1, der.make_integer(1_800_000_000)), der.make(0xA2, der.make_integer(7200))]
    return der.make(der.SEQUENCE, *fields, der.make(0xA6, der.make(der.OCTET_STRING, b"localhost")))


def our_session() -> bytes:
    """Return a session as `socket.get_session()` does."""
    return ClientSession(
        name="localhost",
        trust=bytes(32),
        verified_at=1_800_000_000,
        valid_until=1_800_003_600,
        spki_digests=(pki.localhost().spki_sha256,),
        verify_errors=((18, 0),),
        objections=(("OCSP_RESPONSE_MISSING", "missing"),),
        data=ssl_session(),
    ).encode()


@cache
def contents() -> dict[str, bytes]:
    """Return one file of each kind."""
    who = pki.chained()
    bundle = certs.read(who.key_pem, who.chain_pem, pki.ca1().cert_pem)
    request = pki.x509.CertificateSigningRequestBuilder().subject_name(who.certificate.subject)
    made = (
        who.cert_der,
        who.cert_pem,
        who.key_der,
        who.encrypted_key_pem(),
        request.sign(who.key, pki.hashes.SHA256()).public_bytes(pki.DER),
        pki.revocation_list(pki.ca1(), revoked=[pki.revoked()], encoding=pki.DER),
        responses.respond(pki.localhost()),
        bundle.to_pfx(pki.PASSPHRASE),
        pki.legacy_pfx(),
        bundle.to_pkcs7(pem=False),
        ssl_session(),
        our_session(),
    )
    return dict(zip(KINDS, made, strict=True))


def look(data: bytes) -> None:
    """Do everything with a file; errors must be ours."""
    for passphrase in (None, pki.PASSPHRASE):
        try:
            for item in certs.inspect(data, passphrase=passphrase):
                assert all(line.isprintable() for line in item.lines())
                item.as_json()
        except tlsio.ConfigError as error:
            assert error.hint  # noqa: PT017 - most of them raise
    with contextlib.suppress(tlsio.ConfigError):
        certs.read(data, passphrase=pki.PASSPHRASE)
    with contextlib.suppress(tlsio.ConfigError):
        certs.verify(data, ca=pki.ca1().cert_pem, passphrase=pki.PASSPHRASE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [4, pytest.param(400, marks=pytest.mark.slow)])
def test_a_changed_byte(kind: str, count: int) -> None:
    """At random in each kind, from a fixed seed."""
    data, chance = contents()[kind], random.Random(SEED)  # noqa: S311
    for _ in range(count):
        at = chance.randrange(len(data))
        look(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file(kind: str) -> None:
    """As by a full disk."""
    data = contents()[kind]
    for size in range(1, len(data), max(1, len(data) // 8)):
        look(data[:size])


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_described(kind: str) -> None:
    """The kind is recognised from the content."""
    [item] = certs.inspect(contents()[kind], passphrase=pki.PASSPHRASE)
    wanted = kind.removesuffix(" in PEM").removeprefix("old ").removeprefix("our ")
    assert item.kind == {"key": "private key", "encrypted key": "private key"}.get(wanted, wanted)


def test_many_labels_without_an_end_are_refused_in_linear_time() -> None:
    """A quarter of a megabyte of them: a search from each label to the end of the file needs over half a minute."""
    began = time.process_time()
    with pytest.raises(tlsio.ConfigError):
        certs.inspect(b"-----BEGIN A-----\n" * 15_000)
    assert time.process_time() - began < 5
