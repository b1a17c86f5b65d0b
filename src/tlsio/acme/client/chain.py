"""The chain of a new certificate, read from the authority's answer and checked (RFC 8555 §7.4)."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tlsio.acme.client.problem import invalid_answer
from tlsio.certs.chain_order import is_self_issued
from tlsio.certs.contents import find_pem
from tlsio.certs.unreadable import UNREADABLE
from tlsio.model.errors import ACMEError, UsageError
from tlsio.model.instants import print_instant
from tlsio.trust.certificate import parse
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from tlsio.trust.certificate import PeerCertificate

__all__ = ["CLOCK_TOLERANCE", "Chain", "read_chain"]

_MAX_CERTIFICATES = 10  # public authorities send two to four
CLOCK_TOLERANCE = timedelta(minutes=5)  # between the authority's clock and ours


@dataclass(frozen=True)
class Chain:
    """Certificates, the leaf first; each one has signed the one before.

    Attributes:
        certificates: As many as the authority sent.
        url: Where they came from.
    """

    certificates: tuple[PeerCertificate, ...]
    url: str

    @property
    def leaf(self) -> PeerCertificate:
        """The certificate itself."""
        return self.certificates[0]

    @cached_property
    def pem(self) -> bytes:
        """All of them, and nothing else of what was sent."""
        return b"".join(x509.load_der_x509_certificate(one.raw).public_bytes(Encoding.PEM) for one in self.certificates)

    @property
    def root_name(self) -> str | None:
        """The common name of the root above, which is usually not sent; None if it has none."""
        top = self.certificates[-1]
        return next(iter(top.issuer_name.values("CN")), None)

    def check(self, spki: bytes, names: Collection[str], now: datetime) -> None:
        """Check that this is what was ordered.

        Args:
            spki: The key of the request, a SubjectPublicKeyInfo.
            names: DNS names as A-labels in lower case, and addresses as text.
            now: For the dates.

        Raises:
            ACMEError: it is for another key or other names, is not in date, or is a CA
                (`ERR_ACME_WRONG_CERTIFICATE`).
        """
        leaf = self.leaf
        found = {str(one.ip) if one.ip else one.text.lower() for one in leaf.general_names}
        if leaf.spki != spki:
            raise self._wrong("it is for another key than that of the request")
        if found != set(names):
            shown = printable(", ".join(sorted(found)), 200) or "no names"
            raise self._wrong(f"it is for {shown} instead of {printable(', '.join(sorted(names)), 200)}")
        if leaf.is_ca:
            raise self._wrong("it is the certificate of a CA")
        begin, end = leaf.not_before, leaf.not_after
        if begin is None or end is None or not begin - CLOCK_TOLERANCE <= now < end:
            dates = f"from {print_instant(begin)} to {print_instant(end)}"
            raise self._wrong(f"it is valid {dates}, and it is {print_instant(now)}", hint="Is this machine's clock right?")

    def _wrong(self, why: str, *, hint: str | None = None) -> ACMEError:
        return ACMEError(
            f"The certificate of {self.url} was refused: {why}",
            code="ERR_ACME_WRONG_CERTIFICATE",
            hint=hint or "The authority is at fault, or another server answers in its place.",
            url=self.url,
        )


def read_chain(body: bytes, url: str) -> Chain:
    """Read PEM with certificates, the leaf first.

    Raises:
        ACMEError: it has anything else, or the certificates are not in order
            (`ERR_ACME_INVALID_RESPONSE`).
    """
    certificates = tuple(_read_certificates(body, url))
    if not certificates:
        raise invalid_answer(url, "it has no certificate in PEM")
    for one, above in pairwise(certificates):
        if not _has_signed(above, one):
            raise invalid_answer(url, f'its certificate "{one.title}" is not followed by that of its issuer')
    if len(certificates) > 1 and is_self_issued(certificates[0]):
        raise invalid_answer(url, "its first certificate is a root")
    return Chain(certificates, url)


def _read_certificates(body: bytes, url: str) -> Iterator[PeerCertificate]:
    for number, (label, content) in enumerate(find_pem(body)):
        # RFC 8555 §11.4: a private key in the answer would end up in a server's file.
        if label != b"CERTIFICATE" or content is None or number >= _MAX_CERTIFICATES:
            raise invalid_answer(url, f"it has more than 1 to {_MAX_CERTIFICATES} certificates in PEM, or is cut off")
        try:
            data = b64decode(b"".join(content.split()), validate=True)
            certificate = x509.load_der_x509_certificate(data)
            _ = certificate.extensions, certificate.public_key()  # parsed when they are asked for
            yield parse(data)
        except (*UNREADABLE, UsageError):
            raise invalid_answer(url, "it has a certificate that cannot be read") from None


def _has_signed(issuer: PeerCertificate, certificate: PeerCertificate) -> bool:
    try:
        return certificate.is_issued_by(issuer) and certificate.signed.is_by(issuer.spki)
    except ValueError:
        return False
