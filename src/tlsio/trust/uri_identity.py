"""Compares certificates with a URI, such as a SPIFFE ID, instead of a host name.

URIs are compared exactly, without wildcards. (RFC 6125 §6.5 would ignore the path; for workloads
the path is the identity.)
"""

from tlsio.model.errors import CertificateAltNameError
from tlsio.model.uri_identity import check_identity

from .certificate import PeerCertificate
from .identity import AnyCertificate, as_certificate
from .names import printable

__all__ = ["check_uri_identity"]

_SPIFFE = "spiffe://"
_KEY_USAGE = "2.5.29.15"
_SIGNS = 0x06  # keyCertSign and cRLSign, in the first octet
_MAX_SHOWN = 5


def check_uri_identity(identity: str, cert: AnyCertificate) -> CertificateAltNameError | None:
    """Check whether a certificate has a URI as its identity.

    For a SPIFFE ID the rules of an X.509-SVID apply too: the certificate has exactly one URI, and
    is not a CA's.

    Args:
        identity: The URI, such as `spiffe://example.org/billing`.
        cert: What `get_peer_certificate()` returns or `check_client` receives, or a certificate of
            `cryptography`.

    Returns:
        None if the certificate has this identity, otherwise an error to raise or return.

    Raises:
        UsageTypeError: `identity` is not a str, or `cert` is not a certificate.
        UsageValueError: `identity` is not a URI, or not a valid SPIFFE ID.
    """
    wanted = check_identity("identity", identity)
    certificate = as_certificate(cert)
    reason = _find_reason(wanted, certificate)
    return None if reason is None else CertificateAltNameError(reason, wanted, cert, hint=_hint(certificate))


def _find_reason(wanted: str, certificate: PeerCertificate) -> str | None:
    uris = certificate.uris
    if wanted not in uris:
        shown = ", ".join(map(printable, uris[:_MAX_SHOWN])) or "none"
        return f"URI: {wanted} is not in the cert's list: {shown}"
    if not wanted.startswith(_SPIFFE):
        return None
    # X509-SVID §2: "An X.509 SVID MUST contain exactly one URI SAN"; §4.1 and §4.3: the leaf's "cA
    # field ... MUST be set to false", and it must not set keyCertSign or cRLSign.
    if len(uris) > 1:
        return f"URI: {wanted} is one of {len(uris)} URIs of the cert, and a SPIFFE certificate has exactly one"
    if certificate.is_ca or _may_sign(certificate):
        return f"URI: {wanted} is the URI of a CA, and a SPIFFE certificate must not be one"
    return None


def _may_sign(certificate: PeerCertificate) -> bool:
    try:
        usage = certificate.extension(_KEY_USAGE)
        return usage is not None and bool(usage.bits()[:1] and usage.bits()[0] & _SIGNS)
    except ValueError:
        return True  # malformed: whether it may sign is unknown


def _hint(certificate: PeerCertificate) -> str:
    if not certificate.uris:
        return "The certificate has no URI: check whether the right server answered, and whether it uses the certificate of its workload."
    return "If one of its URIs is the peer that you meant, give that as identity=; otherwise another peer answered."
