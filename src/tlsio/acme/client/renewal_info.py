"""When an authority wants a certificate renewed (ARI, RFC 9773)."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlsio.model.errors import ConfigError
from tlsio.trust import der
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["RenewalInfo", "certificate_id"]


@dataclass(frozen=True, slots=True)
class RenewalInfo:
    """The suggested window (RFC 9773 §4.2).

    Attributes:
        start: Begin of the window, aware UTC. A window of the past: renew now.
        end: Its end, later than `start`.
        explanation_url: A page that says why; None if there is none. It is for people.
        retry_after: Seconds until the authority wants to be asked again, a minute to a day.
    """

    start: datetime
    end: datetime
    explanation_url: str | None
    retry_after: float


def certificate_id(certificate: bytes) -> str:
    """Return what names a certificate to its authority (RFC 9773 §4.1).

    Args:
        certificate: DER.

    Raises:
        UsageValueError: it is not a certificate.
        ConfigError: it has no key identifier of its authority (`ERR_ACME_CERTIFICATE_ID`).
    """
    found = parse(certificate)
    try:
        serial = found.serial
    except ValueError:
        serial = None
    if found.authority_key_id is None or serial is None:
        raise ConfigError(
            "The certificate has no readable serial number or identifier of its authority's key, which ARI needs",
            code="ERR_ACME_CERTIFICATE_ID",
            hint="No public authority has issued it, or it is damaged.",
        )
    # §4.1: the content of the DER INTEGER, with the leading zero of a number with the top bit set.
    return f"{_encode(found.authority_key_id)}.{_encode(der.read(der.make_integer(serial)).content)}"


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
