"""The subject of a certificate or request: X.500 names from text."""

from __future__ import annotations

import re
import unicodedata

from cryptography import x509
from cryptography.x509.oid import NameOID

from tlsio.model.checks import check_filled_text, wrong_type, wrong_value
from tlsio.trust.names import printable

__all__ = ["MAX_COMMON_NAME", "common_name_of", "is_same_subject", "named", "parse_subject", "subject_faults"]

# Blanks around the signs of a name, which openssl prints; RFC 4514 §3 has none.
_BLANKS = re.compile(r"(?:^|(?<!\\)\s*([,+]))\s*([A-Za-z][A-Za-z0-9-]*|[0-9.]+)\s*=\s*")
MAX_COMMON_NAME = 64  # RFC 5280 appendix A.1, ub-common-name


def parse_subject(subject: str | x509.Name | None) -> x509.Name:
    """Return the X.500 name that a text means; None is the empty name.

    Args:
        subject: `"CN=gateway,O=Plant,C=DE"` (RFC 4514, the most specific part first); blanks
            around the signs do not count. Or a name of `cryptography`, which is returned
            unchanged.

    Raises:
        UsageTypeError: neither text nor a name.
        UsageValueError: not in that form, a part of it is too long or has control characters.
    """
    if subject is None:
        return x509.Name([])
    if isinstance(subject, x509.Name):
        return _checked(subject)
    if not isinstance(subject, str):
        raise wrong_type("subject", "a str or an x509.Name", subject)
    text = check_filled_text("subject", subject)
    try:
        found = x509.Name.from_rfc4514_string(_BLANKS.sub(r"\1\2=", text.strip()))
    except ValueError:
        hint = "Write CN=gateway,O=Plant, with commas." if text.startswith("/") else "Write CN=gateway,O=Plant,C=DE (RFC 4514)."
        raise wrong_value("subject", f"cannot be read as a name: {text!r:.80}", hint=hint) from None
    return _checked(found)


def named(common_name: str) -> x509.Name:
    """Return the subject that has only a common name."""
    text = check_filled_text("common_name", common_name)
    if len(text) > MAX_COMMON_NAME:
        raise wrong_value(
            "common_name", f"has {len(text)} characters, and X.509 allows {MAX_COMMON_NAME}", hint="Give a longer name in names= only."
        )
    return _checked(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]))


def subject_faults(subject: x509.Name) -> list[str]:
    """Return the reason why a subject should not be certified, if there is one.

    Programs cut a name at a null character, and show another name where a control character
    deletes or moves text.
    """
    values = (one.value for one in subject if isinstance(one.value, str))
    return [
        f'the subject has control characters: "{printable(one)}"' for one in values if any(unicodedata.category(c) == "Cc" for c in one)
    ]


def is_same_subject(one: x509.Name, other: x509.Name) -> bool:
    """Compare names as verifiers do, without regard to case and extra blanks (RFC 5280 §7.1)."""
    return _compared(one) == _compared(other)


def _compared(name: x509.Name) -> list[frozenset[tuple[x509.ObjectIdentifier, str | bytes]]]:
    return [frozenset((part.oid, _fold(part.value)) for part in rdn) for rdn in name.rdns]


def _fold(value: str | bytes) -> str | bytes:
    """Prepare text for a comparison (RFC 4518 §2): case folded, blanks trimmed and compressed."""
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split()) if isinstance(value, str) else value


def _checked(subject: x509.Name) -> x509.Name:
    if faults := subject_faults(subject):
        raise wrong_value("subject", f"cannot be certified: {'; '.join(faults)}")
    return subject


def common_name_of(name: x509.Name) -> str | None:
    """Return the most specific common name of a subject, None if it has none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else None
