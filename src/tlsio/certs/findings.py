"""What is wrong with one certificate, and what will be, without its chain.

The chain is judged by `verify`. Here stands what a look at the certificate alone shows, for whoever
has just been given it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tlsio.certs.chain_order import is_self_issued
from tlsio.certs.item import Finding
from tlsio.certs.public_key import describe_spki
from tlsio.certs.strict_faults import find_strict_errors
from tlsio.model.codes import x509_text
from tlsio.model.errors import ConfigError
from tlsio.model.instants import print_instant
from tlsio.trust.advice import allows_role
from tlsio.trust.identity import check_rfc9525, warn_of_common_name
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tlsio.certs.inspect import Usage
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["find_faults"]

_MIN_RSA = 2048  # NIST SP 800-57 part 1; OpenSSL's security level 2, the default of most systems
_MIN_EC = 256  # CA/Browser Forum, Baseline Requirements §6.1.5
# CA/Browser Forum, Baseline Requirements §6.3.2 until March 2026, which browsers enforce.
_MAX_LIFE = timedelta(days=398)
# Apple's limit for any CA, also one that a user has added (support.apple.com/103769).
_MAX_PRIVATE_LIFE = timedelta(days=825)
# Let's Encrypt's advice: renew when a third of the life is left, of a short one the half.
_SHORT_LIFE = timedelta(days=10)
_WEAK_HASHES = {"md5": "MD5", "sha1": "SHA-1"}
_MAX_NAMES = 5


def find_faults(certificate: PeerCertificate, *, usage: Usage | None, now: datetime) -> Iterator[Finding]:
    """Yield what is wrong with a certificate, errors of validity first.

    Args:
        certificate: Leaf or CA.
        usage: What it is wanted for; None: whatever it allows.
        now: The instant for which it is judged.
    """
    yield from _find_validity(certificate, now)
    yield from _find_weakness(certificate)
    yield from _find_strict_faults(certificate)
    if certificate.is_ca:
        yield from _find_server_name_of_ca(certificate)
        return
    serves = usage == "server" or (usage is None and allows_role(certificate, "server"))
    if serves:
        yield from _find_names(certificate)
        yield from _find_long_life(certificate)
    yield from _find_usage(certificate, usage)
    if certificate.requires_staple:
        yield Finding(
            code="must_staple",
            level="note",
            text="Its server must staple an OCSP response (must-staple), or clients refuse it",
            remedy="Configure stapling (in tlsio: stapling=True), and check that the CA still runs an OCSP responder: many have ended theirs.",
        )


def _find_validity(certificate: PeerCertificate, now: datetime) -> Iterator[Finding]:
    start, end = certificate.not_before, certificate.not_after
    if start is None or end is None:
        yield Finding(code="bad_time", level="error", text="Its validity is malformed", remedy="Have it reissued.")
    elif now > end:
        yield Finding(code="expired", level="error", text=f"It expired on {print_instant(end)}", remedy="Renew it.", when=end)
    elif now < start:
        yield Finding(
            code="not_yet_valid",
            level="error",
            text=f"It is valid only from {print_instant(start)} on",
            remedy="Wait, or check the clocks of this machine and of the CA.",
            when=start,
        )
    elif end - now < (end - start) / (2 if end - start < _SHORT_LIFE else 3):
        yield Finding(
            code="expires_soon",
            level="warning",
            text=f"It expires on {print_instant(end)}, and most of its life is over",
            remedy="Renew it now, and automate that.",
            when=end,
        )


def _find_weakness(certificate: PeerCertificate) -> Iterator[Finding]:
    key = describe_spki(certificate.spki)
    if key.bits is not None and key.bits < (_MIN_EC if key.algorithm == "EC" else _MIN_RSA):
        yield Finding(
            code="weak_key",
            level="error",
            text=f"Its key, {key}, is too small",
            remedy="Have it reissued for a new key: EC P-256, or RSA with 2048 bits.",
        )
    try:
        name = certificate.signed.hash_name
    except ValueError:
        name = None
    # Nobody checks the signature of a root: it is trusted as it is.
    if name in _WEAK_HASHES and not is_self_issued(certificate):
        yield Finding(
            code="weak_signature",
            level="error",
            text=f"It is signed with {_WEAK_HASHES[name]}, which can be forged",
            remedy="Have it reissued; the CA must sign with SHA-256.",
        )


def _find_strict_faults(certificate: PeerCertificate) -> Iterator[Finding]:
    try:
        numbers = find_strict_errors(certificate)
    except ConfigError as error:
        yield Finding(
            code="unreadable",
            level="error",
            text=f"OpenSSL cannot read it: {error.reason}",
            remedy="Get it again from its source, or have it reissued.",
        )
        return
    for number in numbers:
        yield Finding(
            code="strict",
            level="warning",
            text=f"Strict clients refuse it, such as Python's since 3.13: {x509_text(number)}",
            remedy="Have it reissued: RFC 5280 forbids that.",
        )


def _find_names(certificate: PeerCertificate) -> Iterator[Finding]:
    names, common_names = certificate.names, certificate.names.common_names
    if not names.is_readable:
        yield Finding(code="bad_names", level="error", text="Its list of names (subjectAltName) is malformed", remedy="Have it reissued.")
        return
    if not certificate.general_names:
        in_subject = f", only the common name {_quote(common_names)}, which clients ignore" if common_names else ""
        yield Finding(
            code="no_subject_alt_name",
            level="error",
            text=f"It has no names (subjectAltName){in_subject}",
            remedy="Have it reissued with the names of the server as subjectAltName.",
        )
        return
    ignored = [name for name in common_names if "." in name and check_rfc9525(name.replace("*", "x"), certificate)]
    if ignored:
        yield Finding(
            code="common_name_ignored",
            level="warning",
            text=f"The name {_quote(ignored)} is only the common name, which clients ignore",
            remedy="If the server needs this name, have it reissued with it as subjectAltName.",
        )
    addresses = [name for name in names.dns if name.replace(".", "").isdecimal() or ":" in name]
    if addresses:
        yield Finding(
            code="address_as_name",
            level="warning",
            text=f"The address {_quote(addresses)} is written as a DNS name, and matches nothing",
            remedy="Have it reissued with the address as IP address in subjectAltName.",
        )


def _find_server_name_of_ca(certificate: PeerCertificate) -> Iterator[Finding]:
    """Recognise what `openssl req -x509 -subj /CN=localhost` makes for a server: a CA."""
    names = [name for name in certificate.names.common_names if "." in name or name == "localhost"]
    found = [name for name in names if warn_of_common_name(name, certificate)]
    if found and not certificate.general_names and is_self_issued(certificate):
        yield Finding(
            code="common_name_ignored",
            level="note",
            text=f"The name {_quote(found)} is only the common name, which most clients ignore",
            remedy="If it is for a server of this name, make it again with the name as subjectAltName.",
        )


def _find_long_life(certificate: PeerCertificate) -> Iterator[Finding]:
    start, end = certificate.not_before, certificate.not_after
    if start is None or end is None or end - start <= _MAX_LIFE:
        return
    days = (end - start).days
    if end - start > _MAX_PRIVATE_LIFE:
        text = f"It is valid for {days} days: Apple's systems refuse more than 825, whatever the CA"
    else:
        text = f"It is valid for {days} days: browsers refuse more than 398 of a public CA"
    yield Finding(
        code="long_life", level="warning", text=text, remedy="Issue certificates for shorter times, and renew them automatically."
    )


def _find_usage(certificate: PeerCertificate, usage: Usage | None) -> Iterator[Finding]:
    if usage is None or allows_role(certificate, usage):
        return
    if usage == "client":
        yield Finding(
            code="no_client_auth",
            level="error",
            text="Its extendedKeyUsage does not allow clientAuth, so servers refuse it from a client",
            remedy="Public CAs do not issue certificates for clients any more: issue it with a CA of your own.",
        )
    else:
        yield Finding(
            code="no_server_auth",
            level="error",
            text="Its extendedKeyUsage does not allow serverAuth, so clients refuse it from a server",
            remedy="Have it reissued for servers.",
        )


def _quote(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f'"{printable(name)}"' for name in names[:_MAX_NAMES])
