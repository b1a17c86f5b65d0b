"""Revocation lists (CRLs, RFC 5280 §5) that were fetched: whether one can be relied on, and whether a certificate is in it.

`cryptography` reads the list and checks the signature; what follows is decided here. The time is an argument, nothing is fetched.
The lists given by the option `crl` are OpenSSL's business.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from tlsio.model.errors import CertificateError

from .certificate import PeerCertificate

__all__ = ["RevocationList", "read_list"]

_SKEW = timedelta(minutes=5)  # as for OCSP
_UNREADABLE = (TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list that its issuer has signed and that counts now.

    Attributes:
        next_update: The end of its time.
    """

    next_update: datetime
    _crl: x509.CertificateRevocationList

    def find(self, certificate: PeerCertificate) -> CertificateError | None:
        """Return what the list says against a certificate of its issuer."""
        entry = self._crl.get_revoked_certificate_by_serial_number(certificate.x509.serial_number)
        if entry is None:
            return None
        return CertificateError(
            f'The certificate "{certificate.subject_name.describe()}" was revoked on {entry.revocation_date_utc:%Y-%m-%d}: '
            "its issuer's list says so",
            code="CERT_REVOKED",
            alert="certificate_revoked",
            hint="Nobody should trust it any more. Whoever it belongs to needs a new certificate with a new key.",
        )


def read_list(data: bytes, url: str, issuer: PeerCertificate, *, for_ca: bool, now: datetime) -> RevocationList:
    """Read a list and check that it is the one that was looked for (RFC 5280 §6.3.3).

    Args:
        data: DER.
        url: Where it was fetched. A list that belongs to another place may not know the certificate.
        issuer: Of the certificates in question.
        for_ca: The certificate in question is an authority's.
        now: Aware.

    Raises:
        ValueError: it cannot be relied on; why.
    """
    try:
        crl = x509.load_der_x509_crl(data)
        if crl.issuer != issuer.x509.subject:
            raise ValueError("it is of another issuer")
        if not issuer.may_sign_lists or not crl.is_signature_valid(issuer.x509.public_key()):  # type: ignore[arg-type]  # TypeError for others
            raise ValueError("the issuer has not signed it")
        start, end = crl.last_update_utc, crl.next_update_utc
        if start > now + _SKEW or end is None or end < now - _SKEW:
            raise ValueError(f"it counts from {start:%Y-%m-%d %H:%M} to {end or start:%Y-%m-%d %H:%M} UTC only")
        _check_scope(crl.extensions, url, for_ca=for_ca)
    except _UNREADABLE as error:
        raise ValueError(f"it cannot be read: {error}") from None
    return RevocationList(end, crl)


def _check_scope(extensions: x509.Extensions, url: str, *, for_ca: bool) -> None:
    """Refuse lists of something else: of another place, of other certificates, of some reasons, of changes only."""
    for extension in extensions:
        scope = extension.value
        if isinstance(scope, x509.IssuingDistributionPoint):
            places = [str(name.value) for name in scope.full_name or () if isinstance(name, x509.UniformResourceIdentifier)]
            left_out = scope.only_contains_user_certs if for_ca else scope.only_contains_ca_certs
            if (
                left_out
                or scope.only_contains_attribute_certs
                or scope.only_some_reasons
                or scope.indirect_crl
                or (places and url not in places)
            ):
                raise ValueError("it is about other certificates")
        elif extension.critical:
            raise ValueError(f"it has an extension that is not known here ({extension.oid.dotted_string})")
