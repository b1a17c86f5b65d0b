"""The subject of a certificate or request: X.500 names from text."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID

from tlsio.model.checks import check_filled_text, wrong_type, wrong_value

__all__ = ["MAX_COMMON_NAME", "common_name_of", "named", "parse_subject"]

MAX_COMMON_NAME = 64  # RFC 5280 appendix A.1, ub-common-name


def parse_subject(subject: str | x509.Name | None) -> x509.Name:
    """Return the X.500 name that a text means; None is the empty name.

    Args:
        subject: `"CN=gateway,O=Plant,C=DE"` (RFC 4514, the most specific part first), or a name of
            `cryptography`, which is returned unchanged.

    Raises:
        UsageTypeError: neither text nor a name.
        UsageValueError: not in that form, or a part of it is too long.
    """
    if subject is None:
        return x509.Name([])
    if isinstance(subject, x509.Name):
        return subject
    if not isinstance(subject, str):
        raise wrong_type("subject", "a str or an x509.Name", subject)
    text = check_filled_text("subject", subject)
    try:
        return x509.Name.from_rfc4514_string(text)
    except ValueError:
        hint = "Write CN=gateway,O=Plant, with commas." if text.startswith("/") else "Write CN=gateway,O=Plant,C=DE (RFC 4514)."
        raise wrong_value("subject", f"cannot be read as a name: {text!r:.80}", hint=hint) from None


def named(common_name: str) -> x509.Name:
    """Return the subject that has only a common name."""
    text = check_filled_text("common_name", common_name)
    if len(text) > MAX_COMMON_NAME:
        raise wrong_value(
            "common_name", f"has {len(text)} characters, and X.509 allows {MAX_COMMON_NAME}", hint="Give a longer name in names= only."
        )
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def common_name_of(name: x509.Name) -> str | None:
    """Return the most specific common name of a subject, None if it has none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else None
