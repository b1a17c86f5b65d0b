"""Temporary certificates for the examples, in memory files that disappear with the process.

Yours come from an authority and are on disk; tlsio takes them the same way, as `pathlib.Path`.
While the process runs, other programs of the same user can open these files by their path,
/proc/PID/fd/NUMBER (memfd_create(2)).
"""

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

# Strict clients, such as Python's ssl since 3.13, require it of an authority (RFC 5280 section 4.2.1.3).
_SIGNS = x509.KeyUsage(
    digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
    key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip


class Identity(NamedTuple):
    """The files of a certificate and its private key."""

    cert: Path
    key: Path


class Authority:
    """Issues certificates; peers that have its file `cert` as a root trust them."""

    def __init__(self, name: str = "temporary authority") -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.cert = _put(name, self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None), _SIGNS))

    def issue(self, *names: str) -> Identity:
        """Issue a certificate for DNS names and IP addresses, with a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        cert = self._sign(subject, key, x509.SubjectAlternativeName([_alternative(name) for name in names]))
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Identity(_put(f"{names[0]} certificate", cert), _put(f"{names[0]} key", secret))

    def respond(self, certificate: bytes, *, revoked: bool) -> bytes:
        """Make an OCSP response, in DER, about a certificate issued here, given in DER."""
        now, issuer = datetime.now(UTC), x509.load_pem_x509_certificate(self.cert.read_bytes())
        status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
        response = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                x509.load_der_x509_certificate(certificate), issuer, hashes.SHA256(), status,
                this_update=now, next_update=now + timedelta(days=1), revocation_time=now if revoked else None, revocation_reason=None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
        )  # fmt: skip
        return response.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=not isinstance(extension, x509.SubjectAlternativeName))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _put(name: str, content: bytes) -> Path:
    """Make a file in memory; it stays until the process ends."""
    descriptor = os.memfd_create(name)
    os.write(descriptor, content)
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")
