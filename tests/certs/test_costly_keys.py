"""Private keys that are encrypted with so many iterations that reading them would occupy a processor for hours."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

import asn1
import pki
import tlsio
from tlsio import certs
from tlsio.certs import pkcs12, private_key
from tlsio.trust import der

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.serialization import KeySerializationEncryption

    from tlsio.native._core import Work

MAX_ITERATIONS = 5_000_000
PBKDF2, SCRYPT, PBE = "1.2.840.113549.1.5.12", "1.3.6.1.4.1.11591.4.11", "1.2.840.113549.1.12.1.3"
USES: dict[str, Callable[[bytes], object]] = {
    "context": lambda data: tlsio.create_secure_context(cert=pki.localhost().cert_pem, key=data, passphrase="sample"),
    "context, with the certificate": lambda data: tlsio.create_secure_context(cert=pki.localhost().cert_pem + data, passphrase="sample"),
    "read": lambda data: certs.read(pki.localhost().cert_pem, data, passphrase="sample"),
    "inspect": lambda data: certs.inspect(data, passphrase="sample"),
    "match_key": lambda data: certs.match_key(data, pki.localhost().cert_pem, passphrase="sample"),
    "load_key": lambda data: certs.load_key(data, "sample"),
}


def derivation(oid: str, *numbers: int) -> bytes:
    """Return the AlgorithmIdentifier of a derivation with these parameters after its salt."""
    parameters = der.make(der.SEQUENCE, der.make(der.OCTET_STRING, bytes(8)), *map(der.make_integer, numbers))
    return der.make(der.SEQUENCE, asn1.oid(oid), parameters)


def pem(data: bytes, label: str = "ENCRYPTED PRIVATE KEY") -> bytes:
    """Return a PEM block."""
    text = b64encode(data).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode()


def key_with(oid: str, *numbers: int) -> bytes:
    """Return an EncryptedPrivateKeyInfo that nothing decrypts."""
    algorithm = derivation(oid, *numbers)
    if oid != PBE:
        cipher = der.make(der.SEQUENCE, asn1.oid("2.16.840.1.101.3.4.1.42"), der.make(der.OCTET_STRING, bytes(16)))
        algorithm = der.make(der.SEQUENCE, asn1.oid("1.2.840.113549.1.5.13"), der.make(der.SEQUENCE, algorithm, cipher))
    return der.make(der.SEQUENCE, algorithm, der.make(der.OCTET_STRING, bytes(16)))


def check_refused(data: bytes, uses: dict[str, Callable[[bytes], object]] = USES) -> None:
    """Try all uses."""
    for use in uses.values():
        with pytest.raises(tlsio.ConfigError, match="more than 5,000,000 iterations") as caught:
            use(data)
        assert caught.value.code == "ERR_TLS_TOO_MANY_ITERATIONS"
        assert caught.value.hint


@pytest.mark.parametrize(
    "parameters",
    [
        (PBKDF2, MAX_ITERATIONS + 1),
        (PBKDF2, 2**31 - 1),
        (PBKDF2, -(2**31) - 1),
        (PBE, MAX_ITERATIONS + 1),
        (SCRYPT, 2**20, 8, 1),
        (SCRYPT, 2, 1, MAX_ITERATIONS // 8 + 1),
        (SCRYPT, 2**14, 8, 2**25),
    ],
)
def test_too_many_iterations_are_refused(parameters: tuple[str, int]) -> None:
    """In PEM; and in DER where nothing else is in the file. A negative number is one of 32 bits for OpenSSL."""
    data = key_with(*parameters)
    check_refused(pem(data))
    check_refused(data, {name: use for name, use in USES.items() if "certificate" not in name})


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [(PBKDF2, MAX_ITERATIONS), (PBE, MAX_ITERATIONS), (SCRYPT, 2, 1, MAX_ITERATIONS // 8)])
def test_the_bound_itself_is_tried(parameters: tuple[str, int]) -> None:
    """The key cannot be decrypted, of course."""
    for use in (USES["context"], USES["read"]):
        with pytest.raises(tlsio.ConfigError) as caught:
            use(pem(key_with(*parameters)))
        assert caught.value.code == "ERR_OSSL_BAD_DECRYPT"


def test_the_file_and_the_option_are_named(tmp_path: Path) -> None:
    """So that the one among many is found."""
    path = tmp_path / "server.key"
    path.write_bytes(pem(key_with(PBKDF2, 2**31 - 1)))
    with pytest.raises(tlsio.ConfigError, match=r"options\.key \(.*server\.key\)"):
        tlsio.create_secure_context(cert=pki.localhost().cert_pem, key=path, passphrase="sample")
    for use in (certs.load_key, certs.inspect):
        with pytest.raises(tlsio.ConfigError, match=r"server\.key"):
            use(path, passphrase="sample")


@pytest.mark.parametrize(
    "data",
    [
        pem(key_with(PBKDF2, 2**31 - 1), "PRIVATE KEY"),
        pem(key_with(PBKDF2, 2**31 - 1)).replace(b"\n", b"").replace(b"-----END", b"\n-----END") + b"\n",
        pem(key_with(PBKDF2, 2**31 - 1)).replace(b"-----\n", b"-----\nComment: none\n\n", 1),
        key_with(PBKDF2, 2**31 - 1) + b"0",
    ],
    ids=["another label", "one line", "a header", "trailing data"],
)
def test_other_forms_of_a_costly_key_are_not_decrypted(data: bytes) -> None:
    """Some are refused as what they are, others as unreadable; the test's end comes within a day."""
    for use in USES.values():
        with pytest.raises(tlsio.ConfigError):
            use(data)


def test_keys_after_one_another_are_counted_together() -> None:
    """OpenSSL tries the next if one cannot be decoded, also after a block that it cannot read."""
    half = pem(key_with(PBKDF2, MAX_ITERATIONS // 2 + 1))
    check_refused(b"-----BEGIN X-----\n*\n-----END Y-----\n" + half + half, {"context": USES["context"]})


HIDDEN_KEYS = {
    "in a header": pem(key_with(PBKDF2, MAX_ITERATIONS + 1)).replace(b"-----\n", b"-----AAAA-----ENDx: y\n\n", 1),
    "in another block": b"-----BEGIN CERTIFICATE-----\n" + pem(key_with(PBKDF2, MAX_ITERATIONS + 1)),
    "in DER": key_with(PBKDF2, MAX_ITERATIONS + 1).replace(bytes(16), b"-----BEGIN X-----"[:16], 1),
    "in base64": b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\n-----ENDA\n-----END OPENSSH PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("data", HIDDEN_KEYS.values(), ids=HIDDEN_KEYS)
def test_only_what_was_counted_is_decrypted(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsers of PEM disagree about where a block ends, so `cryptography` does not get the file."""
    decrypted = []
    for name in ("load_pem_private_key", "load_der_private_key", "load_ssh_private_key"):
        monkeypatch.setattr(private_key, name, lambda data, _passphrase, **_options: decrypted.append(data))
    for name in ("read", "inspect", "match_key", "load_key"):
        with pytest.raises(tlsio.ConfigError):
            USES[name](data)
    assert not decrypted


@pytest.mark.parametrize("name", ["read", "inspect"])
def test_keys_of_a_file_are_counted_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte has room for thousands of them. Here decrypting one does nothing."""
    for loader in ("load_pem_private_key", "load_der_private_key"):
        monkeypatch.setattr(private_key, loader, lambda *_arguments, **_options: certs.load_key(pki.localhost().key))
    half = pem(key_with(PBKDF2, MAX_ITERATIONS // 2))
    assert USES["inspect"](half + half)
    check_refused(half + half + pem(key_with(PBKDF2, 1)), {name: USES[name]})


@pytest.mark.parametrize("use", [certs.read, certs.inspect, certs.verify])
def test_pfx_of_a_file_are_counted_together(use: Callable[[bytes], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without a passphrase, with which a MAC is computed."""
    counted = []

    def open_pfx(_material: object, work: Work, **_options: object) -> tuple[None, tuple[bytes, ...]]:
        work.add_iterations(MAX_ITERATIONS // 2)
        counted.append(work)
        return None, ()

    monkeypatch.setattr(pkcs12, "open_pfx", open_pfx)
    safe = der.make(der.SEQUENCE, asn1.oid("1.2.840.113549.1.7.1"), der.make(0xA0, der.make(der.OCTET_STRING, der.make(der.SEQUENCE))))
    block = pem(der.make(der.SEQUENCE, der.make_integer(3), safe), "PKCS12")
    check_refused(block * 3, {"": use})
    assert len(counted) == 2


@pytest.mark.parametrize("label", ["ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY"])
def test_blocks_without_an_end_are_read_once(label: str) -> None:
    """A search from each beginning to the end of the file would take minutes for these."""
    with pytest.raises(tlsio.ConfigError) as caught:
        certs.load_key(f"-----BEGIN {label}-----\n" * 20_000, "sample")
    assert caught.value.code == "ERR_CRYPTO_OPERATION_FAILED"


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """Return a key whose primes are multiples of three."""
    p = 3 * (1 << bits // 2 - 2 | 1)
    q = p + 6
    assert (p * q).bit_length() == bits
    return rsa.RSAPrivateNumbers(p, q, 3, 3, 3, 3, rsa.RSAPublicNumbers(3, p * q)).private_key(unsafe_skip_rsa_key_validation=True)


FORMS = {
    "PKCS#8": (PrivateFormat.PKCS8, NoEncryption()),
    "encrypted PKCS#8": (PrivateFormat.PKCS8, BestAvailableEncryption(b"sample")),
    "PKCS#1": (PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    "encrypted PKCS#1": (PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"sample")),
    "OpenSSH": (PrivateFormat.OpenSSH, NoEncryption()),
}


@pytest.mark.parametrize("bits", [16_386, 16_384])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_primes_of_a_large_key_are_not_tested(form: tuple[PrivateFormat, KeySerializationEncryption], bits: int) -> None:
    """That takes as long as the cube of their size. OpenSSL verifies no signatures of such keys."""
    data = rsa_key(bits).private_bytes(Encoding.PEM, *form)
    for name in ("read", "inspect", "match_key", "load_key"):
        with pytest.raises(tlsio.ConfigError) as caught:
            USES[name](data)
        assert ("too large" in str(caught.value)) is (bits > 16_384)
        assert (caught.value.code == "ERR_CRYPTO_UNSUPPORTED_OPERATION") is (bits > 16_384)


@pytest.mark.parametrize(("size", "is_refused"), [(2049, False), (2050, True)])
def test_the_public_key_of_large_parameters_is_not_computed(size: int, is_refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """PKCS#8 has only the private number of DSA."""
    loaded = []
    monkeypatch.setattr(private_key, "load_der_private_key", lambda data, _passphrase, **_options: loaded.append(data))
    prime = der.make(der.INTEGER, b"\x7f" * size)
    algorithm = der.make(der.SEQUENCE, asn1.oid("1.2.840.10040.4.1"), der.make(der.SEQUENCE, prime, der.make_integer(3), prime))
    data = der.make(der.SEQUENCE, der.make_integer(0), algorithm, der.make(der.OCTET_STRING, der.make_integer(5)))
    with pytest.raises(tlsio.ConfigError, match="too large" if is_refused else "cannot sign"):
        certs.load_key(data)
    assert bool(loaded) is not is_refused


def test_a_key_has_a_largest_size() -> None:
    """In bytes, whatever its kind: of DSA, the public key is computed."""
    for size, is_refused in ((12_288, False), (12_289, True)):
        with pytest.raises(tlsio.ConfigError) as caught:
            certs.load_key(der.make(der.SEQUENCE, der.make_integer(0), der.make(der.OCTET_STRING, bytes(size - 11))))
        assert ("too large" in str(caught.value)) is is_refused


@pytest.mark.parametrize(("rounds", "code"), [(501, "ERR_TLS_TOO_MANY_ITERATIONS"), (500, "ERR_OSSL_BAD_DECRYPT")])
def test_rounds_of_openssh_are_bounded(rounds: int, code: str) -> None:
    """Its keys are encrypted by bcrypt, of which each round is slow. This one has no keys."""

    def text(data: bytes) -> bytes:
        return len(data).to_bytes(4) + data

    options = text(bytes(16)) + rounds.to_bytes(4)
    data = b"openssh-key-v1\0" + text(b"aes256-ctr") + text(b"bcrypt") + text(options) + bytes(4)
    with pytest.raises(tlsio.ConfigError) as caught:
        certs.inspect(pem(data, "OPENSSH PRIVATE KEY"), passphrase="sample")
    assert caught.value.code == code


def openssl(*arguments: str) -> bytes:
    """Encrypt the key of "localhost"."""
    command = ["openssl", *arguments, "-passout", "pass:sample"]
    return subprocess.run(command, check=True, capture_output=True, input=pki.localhost().key_pem + pki.localhost().cert_pem).stdout


def check_accepted(data: bytes) -> None:
    """Try all uses."""
    for use in USES.values():
        assert use(data)


@pytest.mark.parametrize(
    ("fitting", "costly"),
    [
        (("-iter", "600000"), ("-iter", "5000001")),
        (("-scrypt",), ("-scrypt_N", "16384", "-scrypt_r", "8", "-scrypt_p", "10")),
        (("-v1", "PBE-SHA1-3DES", "-iter", "600000"), ("-v1", "PBE-SHA1-3DES", "-iter", "5000001")),
    ],
    ids=["PBKDF2", "scrypt", "3DES"],
)
@pytest.mark.slow
def test_keys_of_openssl(fitting: tuple[str, ...], costly: tuple[str, ...]) -> None:
    """What tools write and OWASP recommends is read; ten times as much is not."""
    check_accepted(openssl("pkcs8", "-topk8", *fitting))
    check_refused(openssl("pkcs8", "-topk8", *costly))


@pytest.mark.slow
def test_pfx_of_openssl() -> None:
    """The iterations of the MAC, the certificates and the key count together."""
    made = [openssl("pkcs12", "-export", "-iter", str(count)) for count in (1_000_000, 1_700_000)]
    assert certs.read(made[0], passphrase="sample").key
    assert tlsio.create_secure_context(pfx=made[0], passphrase="sample")
    uses: dict[str, Callable[[bytes], object]] = {
        "read": lambda data: certs.read(data, passphrase="sample"),
        "context": lambda data: tlsio.create_secure_context(pfx=data, passphrase="sample"),
    }
    check_refused(made[1], uses)
