"""When an authority wants a certificate renewed (ARI, RFC 9773)."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from tlsio.acme.client.problem import invalid_answer
from tlsio.model.checks import check_duration, wrong_value
from tlsio.model.errors import ConfigError
from tlsio.trust import der
from tlsio.trust.certificate import parse
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from tlsio.acme.client.fields import Fields

__all__ = ["RenewalInfo", "certificate_id", "read_renewal_info"]

_POLL, _MIN_POLL, _MAX_POLL = 6 * 3600.0, 60.0, 86400.0  # seconds; six hours are what authorities usually say
_MAX_URL = 300  # characters, for people


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

    def __post_init__(self) -> None:
        """Check the values, which an issuer of a user has made.

        Raises:
            UsageError: an instant is not an aware datetime, the window is empty, or a value has
                another type.
        """
        for name in ("start", "end"):
            value = getattr(self, name)
            if not isinstance(value, datetime) or value.tzinfo is None:
                hint = "Give aware instants, such as datetime.now(UTC) + timedelta(days=1)."
                raise wrong_value(name, f"must be a datetime with a time zone, got {value!r:.80}", hint=hint)
        if self.end <= self.start:
            raise wrong_value("end", "must be later than start")
        check_duration("retry_after", self.retry_after)


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


def read_renewal_info(fields: Fields, retry_after: float | None) -> RenewalInfo:
    """Read the authority's answer.

    Raises:
        ACMEError: it has no window, or one that ends before it begins
            (`ERR_ACME_INVALID_RESPONSE`).
    """
    window = fields.object("suggestedWindow")
    start, end = window.optional_instant("start"), window.optional_instant("end")
    # §4.2: one that does not end after its start is invalid, and counts as no response.
    if start is None or end is None or end <= start:
        raise invalid_answer(fields.url, "its window is missing, or ends before it begins")
    page = fields.raw("explanationURL")
    explanation = printable(page, _MAX_URL) if isinstance(page, str) and page else None
    # §4.3.2: values under a minute and over a day may be treated as those.
    return RenewalInfo(start, end, explanation, min(max(_POLL if retry_after is None else retry_after, _MIN_POLL), _MAX_POLL))


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
