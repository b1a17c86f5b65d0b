from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

import tlsio
from tlsio.certs import create_request, generate_key, key_pem, load_request, parse_names, request_facts, request_faults

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVERY_KIND = ["localhost", "*.example.com", "bücher.example", "192.0.2.1", "2001:db8::1", "ada@example.com", "spiffe://example.org/shop"]


def openssl_text(request: x509.CertificateSigningRequest) -> str:
    """What `openssl req` says about a request whose signature it has verified."""
    command = ["openssl", "req", "-text", "-noout", "-verify", "-nameopt", "RFC2253"]
    done = subprocess.run(command, input=request.public_bytes(Encoding.PEM), check=True, capture_output=True)
    assert b"verify OK" in done.stdout + done.stderr
    return done.stdout.decode()


def test_openssl_finds_every_name() -> None:
    """Of every kind, in the order given; IDNA as A-labels."""
    text = openssl_text(create_request(EVERY_KIND, key=generate_key()))
    names = re.search(r"Subject Alternative Name: critical\s+(.*)", text)
    assert names
    assert names[1].split(", ") == [
        "DNS:localhost", "DNS:*.example.com", "DNS:xn--bcher-kva.example", "IP Address:192.0.2.1", "IP Address:2001:DB8:0:0:0:0:0:1",
        "email:ada@example.com", "URI:spiffe://example.org/shop",
    ]  # fmt: skip


def test_openssl_finds_what_else_was_asked_for() -> None:
    """Subject, must-staple and challenge password."""
    text = openssl_text(
        create_request("localhost", key=generate_key(), subject="CN=gateway,O=Plant", must_staple=True, challenge_password="sesame")
    )
    assert "Subject: CN=gateway,O=Plant" in text
    assert "TLS Feature" in text
    assert re.search(r"challengePassword\s*:sesame", text)


def test_no_usage_is_asked_for_by_default() -> None:
    """Some public authorities refuse requests that do."""
    assert "Extended Key Usage" not in openssl_text(create_request("localhost", key=generate_key()))
    asking = create_request("localhost", key=generate_key(), usages=["server", "client"])
    assert request_facts(asking).usages == (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@pytest.mark.parametrize("kind", ["P-384", "Ed25519", "ML-DSA-65"])
def test_it_is_signed_with_every_kind_of_key(kind: str) -> None:
    """Each with the hash that belongs to it."""
    request = create_request("localhost", key=generate_key(kind))
    assert request_faults(request) == []
    assert kind != "P-384" or isinstance(request.signature_hash_algorithm, hashes.SHA384)


def test_certtool_reads_it() -> None:
    """GnuTLS, in any version."""
    pem = create_request(["localhost", "192.0.2.1", "spiffe://example.org/shop"], key=generate_key()).public_bytes(Encoding.PEM)
    said = subprocess.run(["certtool", "--crq-info"], input=pem, check=True, capture_output=True).stdout.decode()
    assert "DNSname: localhost" in said
    assert "IPAddress: 192.0.2.1" in said
    assert "spiffe://example.org/shop" in said


@pytest.mark.slow
def test_keytool_reads_it(tmp_path: Path) -> None:
    """Java's, in any version."""
    path = tmp_path / "request.csr"
    path.write_bytes(create_request(["localhost", "192.0.2.1"], key=generate_key(), subject="CN=gateway").public_bytes(Encoding.PEM))
    said = subprocess.run([str(shutil.which("keytool")), "-printcertreq", "-file", str(path)], check=True, capture_output=True, text=True)
    assert "DNSName: localhost" in said.stdout
    assert "CN=gateway" in said.stdout


def test_facts_are_what_was_given() -> None:
    """Read back."""
    request = create_request(EVERY_KIND, key=generate_key(), subject="CN=gateway", must_staple=True, challenge_password=b"sesame")
    facts = request_facts(request)
    assert list(facts.names) == parse_names(EVERY_KIND)
    assert (facts.subject.rfc4514_string(), facts.must_staple, facts.challenge_password, facts.usages) == ("CN=gateway", True, "sesame", ())


def test_a_subject_may_be_all() -> None:
    """Certificates of clients may have nothing else."""
    facts = request_facts(create_request(key=generate_key(), subject="CN=Ada"))
    assert (facts.names, facts.challenge_password, facts.must_staple) == ((), None, False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "names is empty"),
        ({"subject": "/CN=gateway/O=Plant"}, "subject"),
        ({"names": "localhost", "challenge_password": ""}, "challenge_password"),
        ({"names": "localhost", "challenge_password": "x" * 256}, "challenge_password"),
        ({"names": "localhost", "challenge_password": b"\xff"}, "UTF-8"),
        ({"names": "localhost", "usages": ["mail"]}, "usages"),
    ],
)
def test_a_wrong_wish_is_refused(options: dict[str, str], said: str) -> None:
    """Before anything is signed."""
    with pytest.raises(tlsio.UsageValueError, match=said):
        create_request(key=generate_key(), **options)  # type: ignore[arg-type]


def test_a_weak_key_is_refused() -> None:
    """One that no authority would certify."""
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - on purpose
    with pytest.raises(tlsio.UsageValueError, match="1024 bits"):
        create_request("localhost", key=weak)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_it_is_read_by_its_path(encoding: Encoding, tmp_path: Path) -> None:
    """In both forms."""
    request = create_request("localhost", key=generate_key())
    path = tmp_path / "request.csr"
    path.write_bytes(request.public_bytes(encoding))
    assert load_request(path) == request
    assert load_request(request) is request


@pytest.mark.parametrize("content", [b"nothing", b"\x30\x03\x02\x01\x00"])
def test_what_is_no_request_is_refused(content: bytes, tmp_path: Path) -> None:
    """With the file's name."""
    path = tmp_path / "request.csr"
    path.write_bytes(content)
    with pytest.raises(tlsio.ConfigError, match=r"request\.csr") as caught:
        load_request(path)
    assert caught.value.code == "ERR_CRYPTO_OPERATION_FAILED"


def test_a_key_given_as_request_is_recognised() -> None:
    """Without a word of the key."""
    with pytest.raises(tlsio.ConfigError) as caught:
        load_request(key_pem(generate_key()))
    assert "private key" in (caught.value.hint or "")


def built(
    change: Callable[[x509.CertificateSigningRequestBuilder], x509.CertificateSigningRequestBuilder], key: object = None
) -> list[str]:
    """Return the faults of a request that another program might have made."""
    builder = change(x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])))
    return request_faults(builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()))  # type: ignore[arg-type]


def named(*names: x509.GeneralName) -> Callable[[x509.CertificateSigningRequestBuilder], x509.CertificateSigningRequestBuilder]:
    """Ask for names, as they are."""
    return lambda builder: builder.add_extension(x509.SubjectAlternativeName(names), critical=False)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (x509.DNSName("*.com"), "no client accepts"),
        (x509.DNSName("localhost."), "preferred syntax"),
        (x509.DNSName("127.0.0.1"), "not a host name"),
        (x509.RFC822Name("nobody"), "e-mail"),
        (x509.RFC822Name("root@example.org\n"), "preferred syntax"),
        (x509.RFC822Name(" root@example.org"), "e-mail"),
        (x509.RFC822Name("root@example.org."), "preferred syntax"),
        (x509.UniformResourceIdentifier("spiffe://Example.org/"), "not a SPIFFE ID"),
        (x509.UniformResourceIdentifier("spiffe://example.org"), "not a SPIFFE ID"),
        (x509.UniformResourceIdentifier("spiffe://example.org/admin\n"), "preferred syntax"),
        (x509.UniformResourceIdentifier("spiffe://example.org/admin "), "preferred syntax"),
        (x509.UniformResourceIdentifier("https://a.example/\t"), "preferred syntax"),
        (x509.RegisteredID(x509.ObjectIdentifier("1.2.3")), "RegisteredID"),
    ],
)
def test_a_name_that_cannot_be_certified_is_a_fault(name: x509.GeneralName, said: str) -> None:
    """Each with its reason."""
    [fault] = built(named(name))
    assert said in fault


def test_hosts_may_have_capitals() -> None:
    """Clients compare them without regard to case."""
    assert not built(named(x509.DNSName("WWW.Example.org"), x509.RFC822Name("Ada@Example.org")))


def test_two_spiffe_ids_are_a_fault() -> None:
    """Verifiers accept exactly one URI; other URIs may be several."""
    shop, other = x509.UniformResourceIdentifier("spiffe://example.org/shop"), x509.UniformResourceIdentifier("https://example.org/")
    [fault] = built(named(shop, other))
    assert "exactly one" in fault
    assert not built(named(other, x509.UniformResourceIdentifier("https://example.com/")))


@pytest.mark.parametrize("text", ["admin\0.evil", "admin\r", "admin\x1b[2K", "admin\x7f"])
def test_control_characters_in_a_subject_are_a_fault(text: str) -> None:
    """A program would cut the name there, or show another one."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    [fault] = request_faults(builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()))
    assert "control characters" in fault
    with pytest.raises(tlsio.UsageValueError, match="control characters"):
        create_request("localhost", key=generate_key(), subject=subject)


def test_every_fault_is_told() -> None:
    """Not only the first one."""
    faults = built(
        lambda builder: builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True),
        rsa.generate_private_key(65537, 1024),  # noqa: S505 - on purpose
    )
    assert [("1024" in one, "no name" in one, "authority" in one) for one in faults] == [
        (True, False, False), (False, True, False), (False, False, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "said"),
    [(lambda: ec.generate_private_key(ec.SECP256K1()), "secp256k1"), (lambda: rsa.generate_private_key(3, 2048), "exponent")],
)
def test_an_odd_key_is_a_fault(key: Callable[[], object], said: str) -> None:
    """TLS peers would refuse it."""
    [fault] = built(named(x509.DNSName("localhost")), key())
    assert said in fault


def test_a_forged_signature_is_a_fault() -> None:
    """The sender may not have the key."""
    der = bytearray(create_request("localhost", key=generate_key("Ed25519")).public_bytes(Encoding.DER))
    der[-1] ^= 1
    assert "its signature is not by the key in it" in request_faults(load_request(bytes(der)))


def test_sha1_is_a_fault() -> None:
    """Requests of old appliances."""
    config = [
        "openssl",
        "req",
        "-new",
        "-sha1",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=old",
        "-addext",
        "subjectAltName=DNS:old",
    ]
    pem = subprocess.run([*config, "-keyout", "/dev/null"], check=True, capture_output=True).stdout
    [fault] = request_faults(load_request(pem))
    assert "sha1" in fault
