"""Files that were changed or cut anywhere: an error of ours, or a result; never an exception of another library."""

from __future__ import annotations

import contextlib
import hashlib
import random
import time
from functools import cache

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

import asn1
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


DATA = bytes.fromhex("06092a864886f70d010701")  # the OID of plain data
MAX_ITERATIONS = 5_000_000


def pfx_with(*parts: bytes, mac: int | None = None, algorithm: bytes = b"") -> bytes:
    """Return a PKCS#12 of these ContentInfos, with a MAC of so many iterations."""
    safe = der.make(der.SEQUENCE, DATA, der.make(0xA0, der.make(der.OCTET_STRING, der.make(der.SEQUENCE, *parts))))
    sha256 = algorithm or der.make(der.SEQUENCE, bytes.fromhex("0609608648016503040201"), der.make(5))
    digest = der.make(der.SEQUENCE, sha256, der.make(der.OCTET_STRING, bytes(32)))
    macs = [] if mac is None else [der.make(der.SEQUENCE, digest, der.make(der.OCTET_STRING, bytes(8)), der.make_integer(mac))]
    return der.make(der.SEQUENCE, der.make_integer(3), safe, *macs)


def encrypted(algorithm: bytes) -> bytes:
    """Return a ContentInfo that is encrypted."""
    content = der.make(der.SEQUENCE, DATA, algorithm, der.make(0x80, bytes(16)))
    data = der.make(der.SEQUENCE, der.make_integer(0), content)
    return der.make(der.SEQUENCE, bytes.fromhex("06092a864886f70d010706"), der.make(0xA0, data))


def with_key(algorithm: bytes, *, depth: int = 0) -> bytes:
    """Return a ContentInfo with an encrypted key, in bags within bags."""
    key = der.make(der.SEQUENCE, algorithm, der.make(der.OCTET_STRING, bytes(16)))
    bags = der.make(der.SEQUENCE, der.make(der.SEQUENCE, bytes.fromhex("060b2a864886f70d010c0a0102"), der.make(0xA0, key)))
    for _ in range(depth):
        bags = der.make(der.SEQUENCE, der.make(der.SEQUENCE, bytes.fromhex("060b2a864886f70d010c0a0106"), der.make(0xA0, bags)))
    return der.make(der.SEQUENCE, DATA, der.make(0xA0, der.make(der.OCTET_STRING, bags)))


def derivation(oid: str, *numbers: int) -> bytes:
    """Return the AlgorithmIdentifier of a derivation with these parameters after its salt."""
    parameters = der.make(der.SEQUENCE, der.make(der.OCTET_STRING, bytes(8)), *map(der.make_integer, numbers))
    return der.make(der.SEQUENCE, asn1.oid(oid), parameters)


def scheme(oid: str, derived: bytes) -> bytes:
    """Return PBES2 or PBMAC1 with a derivation, and AES-256 or HMAC."""
    other = der.make(der.SEQUENCE, asn1.oid("2.16.840.1.101.3.4.1.42"), der.make(der.OCTET_STRING, bytes(16)))
    return der.make(der.SEQUENCE, asn1.oid(oid), der.make(der.SEQUENCE, derived, other))


def costly_pfx(count: int) -> dict[str, bytes]:
    """Return a PKCS#12 for each place that has a number of iterations."""
    old, pbkdf2 = derivation("1.2.840.113549.1.12.1.3", count), derivation("1.2.840.113549.1.5.12", count)
    pbes2, pbmac1 = scheme("1.2.840.113549.1.5.13", pbkdf2), scheme("1.2.840.113549.1.5.14", pbkdf2)
    scrypt = scheme("1.2.840.113549.1.5.13", derivation("1.3.6.1.4.1.11591.4.11", 2, 1, count // 8))
    half = derivation("1.2.840.113549.1.5.12", count // 2)
    return {
        "MAC": pfx_with(mac=count),
        "PBMAC1": pfx_with(mac=1, algorithm=pbmac1),
        "3DES": pfx_with(encrypted(old)),
        "PBES2": pfx_with(encrypted(pbes2)),
        "scrypt": pfx_with(encrypted(scrypt)),
        "key": pfx_with(with_key(pbes2)),
        "nested key": pfx_with(with_key(pbes2, depth=3)),
        "sum": pfx_with(encrypted(scheme("1.2.840.113549.1.5.13", half)), mac=count // 2),
    }


@pytest.mark.parametrize("place", costly_pfx(0))
@pytest.mark.parametrize("count", [MAX_ITERATIONS + 8, 2**31 - 2, -(2**31) - 2, pytest.param(2**20_000, id="beyond any")])
def test_pfx_with_too_many_iterations_is_refused(place: str, count: int) -> None:
    """The writer chooses their number, and OpenSSL would be occupied for hours, also by a negative one: it takes the low 32 bits."""
    data = costly_pfx(count)[place]
    uses = (certs.inspect, certs.read, certs.verify, lambda data: certs.match_key(data, pki.localhost().cert_pem), serve)
    for use in uses:
        with pytest.raises(tlsio.ConfigError, match="more than 5,000,000 iterations") as caught:
            use(data)
        assert caught.value.code == "ERR_TLS_TOO_MANY_ITERATIONS"
        assert caught.value.hint


def serve(data: bytes) -> None:
    """Use a PKCS#12 for connections."""
    tlsio.create_secure_context(pfx=data)


def test_pfx_whose_content_is_damaged_is_told_from_a_wrong_passphrase() -> None:
    """The list of its parts has a part that is none. The MAC of the parts is not even looked at."""
    with pytest.raises(tlsio.ConfigError, match=r"Cannot open the PKCS#12 of options\.pfx") as caught:
        serve(pfx_with(der.make(der.OCTET_STRING), mac=1))
    assert caught.value.hint == "It is damaged: get it again from its source."


def test_a_key_within_an_encrypted_part_is_counted() -> None:
    """It is seen only after that part was decrypted, and counted together with it."""
    for count, problem in ((MAX_ITERATIONS, "ERR_TLS_TOO_MANY_ITERATIONS"), (1, None)):
        inner = with_key(scheme("1.2.840.113549.1.5.13", derivation("1.2.840.113549.1.5.12", count)))
        [_, wrapped] = der.read(inner).children()
        data = pfx_with(encrypted_by_passphrase(der.read(wrapped.content).content))
        for use in (
            lambda data: certs.read(data, passphrase="sample"),
            lambda data: tlsio.create_secure_context(pfx=data, passphrase="sample"),
        ):
            with pytest.raises(tlsio.ConfigError) as caught:
                use(data)
            assert (caught.value.code == "ERR_TLS_TOO_MANY_ITERATIONS") == (problem is not None)


def encrypted_by_passphrase(content: bytes) -> bytes:
    """Return a ContentInfo that is encrypted with AES-256 and one iteration, for the passphrase "sample"."""
    key = hashlib.pbkdf2_hmac("sha1", b"sample", bytes(8), 1, 32)
    padded = content + bytes([16 - len(content) % 16]) * (16 - len(content) % 16)
    made = Cipher(AES256(key), CBC(bytes(16))).encryptor().update(padded)
    algorithm = scheme("1.2.840.113549.1.5.13", derivation("1.2.840.113549.1.5.12", 1))
    part = der.make(der.SEQUENCE, DATA, algorithm, der.make(0x80, made))
    return der.make(der.SEQUENCE, asn1.oid("1.2.840.113549.1.7.6"), der.make(0xA0, der.make(der.SEQUENCE, der.make_integer(0), part)))


@pytest.mark.slow
@pytest.mark.parametrize("place", costly_pfx(0))
def test_pfx_at_the_bound_is_opened(place: str) -> None:
    """OpenSSL says what is wrong with it."""
    with pytest.raises(tlsio.ConfigError) as caught:
        certs.read(costly_pfx(MAX_ITERATIONS)[place], passphrase="wrong")
    assert caught.value.code not in {"ERR_TLS_TOO_MANY_ITERATIONS", "ERR_TLS_UNREADABLE_FILE"}


@pytest.mark.parametrize("depth", [6, 2000])
def test_pfx_in_nested_pieces_is_refused(depth: int) -> None:
    """BER allows an OCTET STRING in pieces, in pieces of pieces and so on; OpenSSL reads five levels."""
    pieces = der.make(der.OCTET_STRING)
    for _ in range(depth):
        pieces = der.make(0x24, pieces)
    data = der.make(der.SEQUENCE, der.make_integer(3), der.make(der.SEQUENCE, DATA, der.make(0xA0, pieces)))
    for use in (certs.inspect, certs.read, certs.verify):
        with pytest.raises(tlsio.ConfigError, match="Cannot read the PKCS#12"):
            use(data)


def test_pfx_with_nested_bags_is_refused() -> None:
    """They may hold bags of bags; OpenSSL reads thirty levels of anything."""
    with pytest.raises(tlsio.ConfigError, match="Cannot read the PKCS#12"):
        certs.inspect(pfx_with(with_key(derivation("1.2.840.113549.1.12.1.3", 1), depth=31)))


@pytest.mark.parametrize("algorithm", [der.make(der.SEQUENCE), der.make(der.SEQUENCE, asn1.oid("1.2.840.113549.1.5.13"))])
def test_pfx_with_an_empty_algorithm_is_refused(algorithm: bytes) -> None:
    """Of the certificates or of the key."""
    for part in (encrypted(algorithm), with_key(algorithm)):
        look(pfx_with(part))
