"""The certificate of a tls-alpn-01 challenge (RFC 8737 §3, RFC 8738 §6)."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tlsio.connection.context.secure_context import create_secure_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.acme.client.challenge import Challenge
    from tlsio.connection.context.secure_context import SecureContext

__all__ = ["ACME_TLS", "make_certificate", "make_context", "read_identifier", "server_name_of"]

ACME_TLS = "acme-tls/1"
_ACME_IDENTIFIER = "1.3.6.1.5.5.7.1.31"  # RFC 8737 §6.1
_OCTET_STRING_OF_32 = b"\x04\x20"
# RFC 8737 says nothing of the validity; an hour before, for clocks that are behind.
_BEFORE, _AFTER = timedelta(hours=1), timedelta(days=7)
_REVERSE = {".in-addr.arpa": 4, ".ip6.arpa": 32}


def make_certificate(challenge: Challenge, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> bytes:
    """Return a self-signed certificate with its key, in PEM, key first.

    RFC 8737 §3: "The subjectAltName extension MUST contain a single dNSName entry where the value
    is the domain name being validated", and an acmeIdentifier extension, which is critical, "MUST
    contain the SHA-256 digest of the key authorization". Addresses: "a single iPAddress" (RFC 8738
    §6).
    """
    from cryptography import x509  # noqa: PLC0415 - a server that is never asked need not load it
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    # Not the identifier: a common name has at most 64 characters.
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ACME challenge")])
    identifier = challenge.identifier
    name = x509.IPAddress(ipaddress.ip_address(identifier)) if challenge.is_ip else x509.DNSName(identifier)
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(_ACME_IDENTIFIER), _OCTET_STRING_OF_32 + challenge.digest)
    time = now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(time - _BEFORE)
        .not_valid_after(time + _AFTER)
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(extension, critical=True)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)


def make_context(pem: bytes) -> SecureContext:
    """Return a context that has this certificate, and offers `acme-tls/1` alone.

    Raises:
        ConfigError: it is not a key with its certificate.
    """
    return create_secure_context(cert=pem, key=pem, alpn_protocols=[ACME_TLS])


def server_name_of(challenge: Challenge) -> str:
    """Return what the authority sends as server name.

    RFC 8738 §6: for an address "the IN-ADDR.ARPA or IP6.ARPA reverse mapping".
    """
    return ipaddress.ip_address(challenge.identifier).reverse_pointer if challenge.is_ip else challenge.identifier.lower()


def read_identifier(server_name: str) -> str:
    """Return the name or address that a server name is for, the inverse of `server_name_of`."""
    for ending, count in _REVERSE.items():
        labels = server_name.lower().removesuffix(ending).split(".")[::-1]
        if server_name.lower().endswith(ending) and len(labels) == count:
            joined = ".".join(labels) if ending == ".in-addr.arpa" else ":".join("".join(labels[at : at + 4]) for at in range(0, count, 4))
            try:
                return str(ipaddress.ip_address(joined))
            except ValueError:
                return server_name
    return server_name
