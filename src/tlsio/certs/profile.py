"""What a certificate says, whoever issues it: its life, its extensions, and name constraints."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from tlsio.certs.names import describe_name, is_within, meets, parse_constraint
from tlsio.certs.request import USAGES
from tlsio.certs.subject import common_name_of
from tlsio.model.checks import out_of_range, wrong_type, wrong_value
from tlsio.model.errors import ConfigError, UsageStateError, UsageTypeError
from tlsio.model.instants import print_instant
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tlsio.certs.keys import PublicKey
    from tlsio.certs.request import Usage

__all__ = [
    "LEAF_DAYS",
    "MAX_LEAF_DAYS",
    "add_leaf_extensions",
    "begin",
    "check_arguments",
    "check_days",
    "check_instant",
    "check_leaf_life",
    "check_room_below",
    "find_room_below",
    "key_usage",
    "make_constraints",
    "make_life",
    "may_issue",
    "names_outside",
    "spki",
    "system_clock",
    "title_of",
]

MAX_LEAF_DAYS = 398  # CA/Browser Forum SC-31; Apple's platforms refuse longer ones of public authorities
LEAF_DAYS = 365
_MAX_DAYS = 36525  # a hundred years
# RFC 5280 §4.1.2.5: UTCTime begins in 1950. The end leaves room for `_MAX_DAYS` in a datetime.
_FIRST_YEAR, _LAST_YEAR = 1950, 9899
# The clock of a client may be slow. Let's Encrypt dates back by an hour too.
_BACKDATED = timedelta(hours=1)
# A constraint says nothing about names of other kinds (RFC 5280 §4.2.1.10). To permit none of a
# kind, all addresses are excluded, and of hosts only those below a name that never exists are
# permitted (RFC 6761 §6.4).
_NO_ADDRESSES = ("0.0.0.0/0", "::/0")
_NO_HOSTS = ("DNS:invalid", "email:@invalid", "URI:invalid")
_LOOKS_LIKE_DNS = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")


def system_clock() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


def begin(subject: x509.Name, issuer: x509.Name, key: PublicKey, life: tuple[datetime, datetime]) -> x509.CertificateBuilder:
    """Begin a certificate; its serial number has 159 random bits (RFC 5280 §4.1.2.2: 20 octets)."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(life[0])
        .not_valid_after(life[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def add_leaf_extensions(
    builder: x509.CertificateBuilder, subject: x509.Name, names: Sequence[x509.GeneralName], usages: Iterable[Usage], *, must_staple: bool
) -> x509.CertificateBuilder:
    """Add what certificates of servers and clients have."""
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(key_usage(issues=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([USAGES[one] for one in usages]), critical=False)
    if names:
        # "If the subject field contains an empty sequence, then the issuing CA MUST include a
        # subjectAltName extension that is marked as critical." (RFC 5280 §4.2.1.6)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not subject.rdns)
    if must_staple:
        builder = builder.add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
    return builder


def key_usage(*, issues: bool) -> x509.KeyUsage:
    """Return the key usage of an authority, or of a leaf, which signs handshakes only."""
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=issues, crl_sign=issues, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def make_life(
    now: datetime,
    days: float | None,
    not_before: datetime | None,
    not_after: datetime | None,
    *,
    default: int,
    issuer: x509.Certificate | None = None,
) -> tuple[datetime, datetime]:
    """Return the first and the last second of a life, which ends with the issuer's at the latest.

    Raises:
        UsageError: a time is wrong, or later than the end of the issuer.
        ConfigError: the issuer has expired.
    """
    if days is not None and not_after is not None:
        raise UsageTypeError("days and not_after exclude each other", code="ERR_INCOMPATIBLE_OPTION_PAIR")
    now = check_instant("clock()", now)
    start = check_instant("not_before", not_before) if not_before else now - _BACKDATED
    # RFC 5280 §4.1.2.5: the period "inclusive".
    end = (
        check_instant("not_after", not_after)
        if not_after
        else start + check_days("days", default if days is None else days) - timedelta(seconds=1)
    )
    last = issuer.not_valid_after_utc if issuer else None
    if issuer and last and last < now:
        raise ConfigError(f'The authority "{title_of(issuer)}" has expired on {print_instant(last)}', hint="Make a new one, or renew it.")
    if issuer and last and end > last:
        if days is not None or not_after is not None:
            raise out_of_range("not_after", f"at most {print_instant(last)}, when the authority ends", print_instant(end))
        end = last
    if end <= start:
        raise out_of_range("not_after", f"after {print_instant(start)}, when the life begins", print_instant(end))
    return start, end


def check_leaf_life(start: datetime, end: datetime) -> None:
    """Refuse a life of a leaf that platforms refuse."""
    if end - start >= timedelta(days=MAX_LEAF_DAYS):
        days = (end - start).total_seconds() / 86400
        raise out_of_range(
            "days",
            f"at most {MAX_LEAF_DAYS}",
            round(days, 1),
            hint="Browsers refuse longer ones. Renew, and let the authority live longer.",
        )


def check_instant(label: str, value: datetime) -> datetime:
    """Return an aware datetime in UTC, to the second, as certificates have it."""
    if not isinstance(value, datetime):
        raise wrong_type(label, "a datetime", value)
    if value.tzinfo is None:
        raise wrong_value(label, "has no time zone", hint="Write datetime(..., tzinfo=UTC).")
    instant = value.astimezone(UTC) if _FIRST_YEAR <= value.year < _LAST_YEAR else None
    if instant is None or not _FIRST_YEAR <= instant.year < _LAST_YEAR:
        raise out_of_range(label, f"from {_FIRST_YEAR} to {_LAST_YEAR - 1} in UTC", value)
    return instant.replace(microsecond=0)


def check_arguments(call: str, given: Iterable[str], known: type) -> None:
    """Refuse keyword arguments that a call does not have.

    Args:
        call: Its name.
        given: The names of its keyword arguments.
        known: A TypedDict of those that there are.
    """
    for name in given:
        if name not in known.__annotations__:
            hint = f"There are {', '.join(f'{one}=' for one in known.__annotations__)}."
            raise UsageTypeError(f"{call} has no argument {name!r:.80}", code="ERR_TLS_UNKNOWN_OPTION", hint=hint)


def check_days(label: str, value: object) -> timedelta:
    """Return a length of time that is given in days."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong_type(label, "a number of days", value)
    if not 0 < value <= _MAX_DAYS:
        raise out_of_range(label, f"above 0 and at most {_MAX_DAYS}", value)
    return timedelta(days=value)


def make_constraints(
    permitted: Sequence[str | x509.GeneralName], excluded: Sequence[str | x509.GeneralName]
) -> x509.NameConstraints | None:
    """Return the name constraints of an authority, None if there are none."""
    allowed, denied = [parse_constraint(one) for one in permitted], [parse_constraint(one) for one in excluded]
    if allowed:
        kinds = {type(one) for one in allowed}
        allowed += [none for one in _NO_HOSTS if type(none := parse_constraint(one)) not in kinds]
        denied += [none for one in _NO_ADDRESSES if type(none := parse_constraint(one)) not in kinds]
    return x509.NameConstraints(allowed or None, denied or None) if allowed or denied else None


def names_outside(subject: x509.Name, names: Sequence[x509.GeneralName], chain: Iterable[x509.Certificate]) -> list[str]:
    """Return a sentence for each name of a leaf that a constraint in the chain forbids."""
    constraints = [found for one in chain if (found := _constraints_of(one))]
    return [
        f'"{describe_name(name)}" is outside the name constraints of the authority'
        for name in (*names, *_names_in_subject(subject, names))
        if not all(_allows(one, name) for one in constraints)
    ]


def _names_in_subject(subject: x509.Name, names: Sequence[x509.GeneralName]) -> Iterator[x509.GeneralName]:
    """Yield what OpenSSL compares with constraints as well, because some clients read it as a name.

    These are e-mail addresses and, if there are no DNS names, common names that look like one
    (OpenSSL's NAME_CONSTRAINTS_check and NAME_CONSTRAINTS_check_CN).
    """
    for one in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        yield x509.RFC822Name(str(one.value))
    if not any(isinstance(name, x509.DNSName) for name in names):
        for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME):
            if _LOOKS_LIKE_DNS.fullmatch(str(one.value)):
                yield x509.DNSName(str(one.value).lower())


def _constraints_of(certificate: x509.Certificate) -> x509.NameConstraints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def _allows(constraints: x509.NameConstraints, name: x509.GeneralName) -> bool:
    permitted = [one for one in constraints.permitted_subtrees or () if type(one) is type(name)]
    if any(meets(name, one) for one in constraints.excluded_subtrees or ()):
        return False
    return not permitted or any(is_within(name, one) for one in permitted)


def check_room_below(chain: Sequence[x509.Certificate], path_length: int) -> None:
    """Refuse an authority below a chain that allows none, or fewer below it than it says."""
    room = find_room_below(chain)
    if room is None:
        return
    if room < 1:
        raise UsageStateError(
            f'The authority "{title_of(chain[0])}" may not have authorities below it',
            hint="Make it, and each authority above it, with a path_length= that counts all that follow.",
        )
    if path_length >= room:
        raise out_of_range("path_length", f"at most {room - 1}, which is what the authorities above leave", path_length)


def find_room_below(chain: Sequence[x509.Certificate]) -> int | None:
    """Return how many authorities may follow below the first of a chain; None for any number.

    Below 0, the chain itself has too many. "maximum number of non-self-issued intermediate
    certificates that may follow this certificate" (RFC 5280 §4.2.1.9).
    """
    rooms, following = [], 0
    for one in chain:
        try:
            length = one.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        except x509.ExtensionNotFound:  # in roots of version 1
            length = None
        if length is not None:
            rooms.append(length - following)
        following += one.subject != one.issuer
    return min(rooms, default=None)


def may_issue(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate is that of an authority (RFC 5280 §4.2.1.3 and 9)."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and usage.key_cert_sign


def title_of(certificate: x509.Certificate) -> str:
    """Return what messages call a certificate: its subject, or its first alternative name."""
    return printable(common_name_of(certificate.subject) or certificate.subject.rfc4514_string() or _first_name(certificate))


def _first_name(certificate: x509.Certificate) -> str:
    try:
        return describe_name(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value[0])
    except (x509.ExtensionNotFound, IndexError):
        return "(an empty name)"


def spki(key: PublicKey) -> bytes:
    """Return the SubjectPublicKeyInfo in DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
