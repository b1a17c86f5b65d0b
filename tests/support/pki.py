"""The test keys and certificates: one function per shape, each made in memory on first use and kept for the process.

The cast is that of Node's test fixtures (ca1 to ca6, agent1 to agent10, ec10, ...), so that a test ported from there
finds everybody under the usual name; below it stand shapes of our own. Keys are EC P-256, which cost nothing to make,
and RSA 2048 where the shape is about RSA.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
import subprocess
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

PASSPHRASE = b"sample"
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER


@dataclass(frozen=True)
class Identity:
    """A private key with its certificate, and the intermediates that are sent after it."""

    key: PrivateKey
    certificate: x509.Certificate
    intermediates: tuple[x509.Certificate, ...] = ()

    @cached_property
    def cert_pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(PEM)

    @cached_property
    def cert_der(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(DER)

    @cached_property
    def chain_pem(self) -> bytes:
        """The certificate, then its intermediates: what a server's certificate file holds."""
        return b"".join(cert.public_bytes(PEM) for cert in (self.certificate, *self.intermediates))

    @cached_property
    def key_pem(self) -> bytes:
        """The private key, unencrypted PKCS#8."""
        return self._key_bytes(PEM, serialization.NoEncryption())

    @cached_property
    def key_der(self) -> bytes:
        """The private key, unencrypted PKCS#8."""
        return self._key_bytes(DER, serialization.NoEncryption())

    @cached_property
    def spki_sha256(self) -> bytes:
        """The pin of this certificate: 32 bytes, SHA-256 of SubjectPublicKeyInfo."""
        public = self.key.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(public).digest()

    def encrypted_key_pem(self, passphrase: bytes = PASSPHRASE) -> bytes:
        """Return the private key, encrypted under `passphrase`."""
        return self._key_bytes(PEM, serialization.BestAvailableEncryption(passphrase))

    def pfx(self, passphrase: bytes | None = PASSPHRASE) -> bytes:
        """Return key, certificate and intermediates as PKCS#12."""
        encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        return pkcs12.serialize_key_and_certificates(b"tlsio test", self.key, self.certificate, self.intermediates, encryption)

    def _key_bytes(self, encoding: serialization.Encoding, encryption: serialization.KeySerializationEncryption) -> bytes:
        return self.key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, encryption)


# --- Node's cast: authorities ---


@cache
def ca1() -> Identity:
    """A root."""
    return authority("ca1")


@cache
def ca2() -> Identity:
    """A root without basicConstraints; `ca2_crl` is its revocation list."""
    return authority("ca2", basic_constraints=False)


@cache
def ca3() -> Identity:
    """An intermediate under ca1."""
    return authority("ca3", issuer=ca1())


@cache
def ca4() -> Identity:
    """An intermediate under ca2."""
    return authority("ca4", issuer=ca2())


@cache
def ca5() -> Identity:
    """A root."""
    return authority("ca5")


@cache
def ca6() -> Identity:
    """An intermediate under ca5."""
    return authority("ca6", issuer=ca5())


@cache
def fake_cnnic_root() -> Identity:
    """A root with the name of a real one that was withdrawn."""
    return authority("Fake CNNIC Root")


@cache
def fake_startcom_root() -> Identity:
    """A root with the name of a real one that was withdrawn."""
    return authority("Fake StartCom Certification Authority")


@cache
def intermediate_ca() -> Identity:
    """The intermediate of the partial chain test; its root is ca1."""
    return authority("NodeJS-Test-Intermediate-CA", issuer=ca1())


@cache
def ca2_crl() -> bytes:
    """ca2's revocation list in PEM; it revokes agent4."""
    return revocation_list(ca2(), revoked=[agent4()])


# --- Node's cast: leaves ---


@cache
def agent1() -> Identity:
    """Issued by ca1, with OCSP and CA Issuers addresses."""
    places = [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ocsp.nodejs.org/")),
        x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.nodejs.org/ca.cert")),
    ]
    return leaf("agent1", issuer=ca1(), extensions=[x509.AuthorityInformationAccess(places)])


@cache
def agent2() -> Identity:
    """Self-signed, RSA."""
    return leaf("agent2", key=rsa_key())


@cache
def ec_agent2() -> Identity:
    """Self-signed, EC P-256, with agent2's name; Node's ec.pem."""
    return leaf("agent2")


@cache
def agent3() -> Identity:
    """Issued by ca2."""
    return leaf("agent3", issuer=ca2())


@cache
def agent4() -> Identity:
    """Issued by ca2 for clients only; revoked by `ca2_crl`."""
    return leaf("agent4", issuer=ca2(), usages=[ExtendedKeyUsageOID.CLIENT_AUTH])


@cache
def agent5() -> Identity:
    """Issued by ca2 for clients only, with a name beyond ASCII."""
    return leaf("Ádám Lippai", issuer=ca2(), usages=[ExtendedKeyUsageOID.CLIENT_AUTH])


@cache
def agent6() -> Identity:
    """Issued by ca3, which is sent along, with a name beyond ASCII."""
    return leaf("Ádám Lippai", issuer=ca3())


@cache
def agent7() -> Identity:
    """For localhost by the fake CNNIC root."""
    return leaf("localhost", issuer=fake_cnnic_root())


@cache
def agent8() -> Identity:
    """For localhost by the fake StartCom root."""
    return leaf("localhost", issuer=fake_startcom_root())


@cache
def agent9() -> Identity:
    """For localhost by the fake StartCom root, another one."""
    return leaf("localhost", issuer=fake_startcom_root())


@cache
def agent10() -> Identity:
    """RSA, issued by ca4, which is sent along."""
    return leaf("agent10.example.com", issuer=ca4(), key=rsa_key())


@cache
def ec10() -> Identity:
    """EC, issued by ca6, which is sent along."""
    return leaf("agent10.example.com", issuer=ca6())


@cache
def rsa_cert() -> Identity:
    """Self-signed, RSA, for localhost, with two organisational units."""
    units = ["Test TLS Certificate", "Engineering"]
    return leaf("localhost", key=rsa_key(), units=units)


@cache
def leaf_from_intermediate() -> Identity:
    """Issued by `intermediate_ca`, which is not sent along."""
    return replace(leaf("localhost", issuer=intermediate_ca(), names=["localhost"]), intermediates=())


@cache
def incorrect_san_correct_subject() -> Identity:
    """The right name in the subject, the wrong one among the alternative names."""
    return leaf("good.example.com", names=["evil.example.com"])


@cache
def irrelevant_san_correct_subject() -> Identity:
    """The right name in the subject, only an IP address among the alternative names."""
    return leaf("good.example.com", names=["1.2.3.4"])


@cache
def selfsigned_no_keycertsign() -> Identity:
    """Self-signed, its key usage without keyCertSign: not an authority, not even its own."""
    return leaf("localhost", extensions=[_key_usage(certificates=False)])


# --- our own shapes ---


@cache
def localhost() -> Identity:
    """The usual server: EC, issued by ca1, for localhost, 127.0.0.1 and ::1."""
    return leaf("localhost", issuer=ca1(), names=["localhost", "127.0.0.1", "::1"], usages=[ExtendedKeyUsageOID.SERVER_AUTH])


@cache
def localhost_rsa() -> Identity:
    """The usual server with an RSA key."""
    return leaf("localhost", issuer=ca1(), key=rsa_key(), names=["localhost", "127.0.0.1", "::1"])


@cache
def client() -> Identity:
    """The usual client: EC, issued by ca1, for clients only."""
    return leaf("client", issuer=ca1(), usages=[ExtendedKeyUsageOID.CLIENT_AUTH])


@cache
def chained() -> Identity:
    """A server for localhost under ca3, which is sent along; the root is ca1."""
    return leaf("localhost", issuer=ca3(), names=["localhost", "127.0.0.1"])


@cache
def missing_intermediate() -> Identity:
    """As `chained`, but the server forgot the intermediate."""
    return replace(chained(), intermediates=())


@cache
def wildcard() -> Identity:
    """For *.example.com, by ca1."""
    return leaf("*.example.com", issuer=ca1(), names=["*.example.com"])


@cache
def self_signed() -> Identity:
    """For localhost, by itself."""
    return leaf("localhost", names=["localhost", "127.0.0.1"])


@cache
def expired() -> Identity:
    """For localhost, by ca1, over since yesterday."""
    return leaf("localhost", issuer=ca1(), names=["localhost", "127.0.0.1"], not_before=NOW - 30 * DAY, not_after=NOW - DAY)


@cache
def not_yet_valid() -> Identity:
    """For localhost, by ca1, from tomorrow."""
    return leaf("localhost", issuer=ca1(), names=["localhost", "127.0.0.1"], not_before=NOW + DAY, not_after=NOW + 30 * DAY)


@cache
def name_in_cn_only() -> Identity:
    """For localhost, by ca1, without any alternative name."""
    return leaf("localhost", issuer=ca1())


@cache
def ip_only() -> Identity:
    """For 127.0.0.1 and ::1, by ca1, without a DNS name."""
    return leaf("127.0.0.1", issuer=ca1(), names=["127.0.0.1", "::1"])


@cache
def must_staple() -> Identity:
    """For localhost, by ca1, to be taken only with an OCSP response (RFC 7633)."""
    return leaf(
        "localhost", issuer=ca1(), names=["localhost", "127.0.0.1"], extensions=[x509.TLSFeature([x509.TLSFeatureType.status_request])]
    )


@cache
def revoked() -> Identity:
    """For localhost, by ca1; `ca1_crl` revokes it."""
    return leaf("localhost", issuer=ca1(), names=["localhost", "127.0.0.1"])


@cache
def ca1_crl() -> bytes:
    """ca1's revocation list in PEM; it revokes `revoked`."""
    return revocation_list(ca1(), revoked=[revoked()])


@cache
def legacy_pfx() -> bytes:
    """agent1 as PKCS#12 under RC2-40, which OpenSSL 3 reads only with its legacy provider; passphrase PASSPHRASE."""
    who = agent1()
    weak = ["-certpbe", "PBE-SHA1-RC2-40", "-keypbe", "PBE-SHA1-RC2-40"]
    command = ["openssl", "pkcs12", "-export", "-legacy", *weak, "-passout", f"pass:{PASSPHRASE.decode()}"]
    return subprocess.run(command, input=who.key_pem + who.cert_pem, check=True, capture_output=True).stdout


def with_settings(who: Identity, *settings: str) -> bytes:
    """Return a certificate as TRUSTED CERTIFICATE, with OpenSSL's settings, such as `-addreject serverAuth`."""
    command = ["openssl", "x509", "-trustout", *settings]
    return subprocess.run(command, input=who.cert_pem, check=True, capture_output=True).stdout


@cache
def pfx_without_mac(*options: str, passphrase: str = PASSPHRASE.decode()) -> bytes:
    """Return localhost as PKCS#12 without the MAC that tells a wrong passphrase."""
    who = localhost()
    command = ["openssl", "pkcs12", "-export", "-nomac", *options, "-passout", f"pass:{passphrase}"]
    return subprocess.run(command, input=who.key_pem + who.cert_pem, check=True, capture_output=True).stdout


@cache
def cert_without_key_pfx() -> bytes:
    """agent1's certificate as PKCS#12 without a key; passphrase PASSPHRASE."""
    encryption = serialization.BestAvailableEncryption(PASSPHRASE)
    return pkcs12.serialize_key_and_certificates(None, None, agent1().certificate, None, encryption)


# --- Diffie-Hellman parameters ---

# RFC 7919 appendix A: p = 2^b - 2^(b-64) + ([2^(b-130) e] + X) 2^64 - 1, with X by size.
FFDHE_X = {2048: 560316, 3072: 2625351}
# RFC 2409 §6.2, the Second Oakley Group.
OAKLEY_2 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
    16,
)
# A safe prime too small for any use.
SAFE_512 = int(
    "E10645F0D747DA5D5CFCEEB15FBACDA1977009441EE59F7CEC2D21737E6C205044A432F8E21145E5621ED837CD59DA992D6EB6EFD3A4E80B25E1DC69532CA05F", 16
)
DH_GARBAGE = b"-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n"


@cache
def dh_parameters(bits: int) -> bytes:
    """Return Diffie-Hellman parameters in PEM: 512, 1024, 2048 or 3072 bits, with generator 2.

    The DER is put together here: `cryptography` is about to drop these parameters.
    """
    if bits in FFDHE_X:
        prime = 2**bits - 2 ** (bits - 64) + (_floor_of_e_times_power_of_2(bits - 130) + FFDHE_X[bits]) * 2**64 - 1
    else:
        prime = {512: SAFE_512, 1024: OAKLEY_2}[bits]
    der = _der(0x30, _der_integer(prime) + _der_integer(2))
    return b"-----BEGIN DH PARAMETERS-----\n" + base64.encodebytes(der) + b"-----END DH PARAMETERS-----\n"


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:  # X.690 §8.1.3: one byte of length below 128, above it the count of length bytes first
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _der_integer(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _floor_of_e_times_power_of_2(exponent: int) -> int:
    """Return floor(e * 2**exponent), e summed as 1/0! + 1/1! + ... with 64 bits to spare."""
    term = total = 1 << (exponent + 64)
    k = 1
    while term:
        term //= k
        total += term
        k += 1
    return total >> 64


# --- how they are made ---


def authority(
    common_name: str, *, issuer: Identity | None = None, basic_constraints: bool = True, not_after: dt.datetime = NOW + 3650 * DAY
) -> Identity:
    """Make an authority: a root, or an intermediate when `issuer` is given."""
    # Without basicConstraints OpenSSL takes a certificate for an authority when its key usage says so.
    extensions: list[x509.ExtensionType] = [_key_usage(certificates=True)]
    if basic_constraints:
        extensions.append(x509.BasicConstraints(ca=True, path_length=None))
    return leaf(common_name, issuer=issuer, extensions=extensions, not_after=not_after)


def leaf(  # noqa: PLR0913 - each is one thing a certificate says, all by keyword
    common_name: str,
    *,
    issuer: Identity | None = None,
    key: PrivateKey | None = None,
    names: Sequence[str] = (),
    units: Sequence[str] = (),
    usages: Sequence[x509.ObjectIdentifier] = (),
    extensions: Iterable[x509.ExtensionType] = (),
    not_before: dt.datetime = NOW - DAY,
    not_after: dt.datetime = NOW + 3650 * DAY,
    serial_number: int | None = None,
) -> Identity:
    """Make a certificate as described; without `issuer` it is self-signed, without `key` it gets a new EC P-256 one.

    `names` become the alternative names, each an IP address when it reads as one. Intermediate issuers are kept to be sent along.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = _subject(common_name, units)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(serial_number or x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints | x509.KeyUsage))
    # RFC 5280 §4.2.1.1: a certificate without these is refused under OpenSSL's strict flag, Python's default since 3.13.
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    signer = issuer.key if issuer else key
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    certificate = builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return Identity(key, certificate, _sent_along(issuer))


def revocation_list(  # noqa: PLR0913 - each is one thing a list says, all by keyword
    issuer: Identity,
    *,
    revoked: Iterable[Identity],
    signer: Identity | None = None,
    last_update: dt.datetime = NOW - DAY,
    next_update: dt.datetime = NOW + 3650 * DAY,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    encoding: serialization.Encoding = PEM,
) -> bytes:
    """Return a revocation list of `issuer`; `extensions` each with whether it is critical."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject)
    builder = builder.last_update(last_update).next_update(next_update)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    for who in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(who.certificate.serial_number).revocation_date(NOW - DAY).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign((signer or issuer).key, hashes.SHA256()).public_bytes(encoding)


def rsa_key() -> rsa.RSAPrivateKey:
    """Make an RSA 2048 key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _subject(common_name: str, units: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tlsio tests")]
    attributes += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=certificates, crl_sign=certificates, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _sent_along(issuer: Identity | None) -> tuple[x509.Certificate, ...]:
    """Return the issuer and those above it up to, but without, the root."""
    if issuer is None or issuer.certificate.issuer == issuer.certificate.subject:
        return ()
    return (issuer.certificate, *issuer.intermediates)
