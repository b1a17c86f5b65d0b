"""URIs as identities, such as SPIFFE IDs: `spiffe://example.org/billing`."""

import re

from tlsio.model.checks import check_filled_text, wrong_value

__all__ = ["MAX_URI", "check_identity"]

MAX_URI = 2048  # bytes; SPIFFE-ID §2.3, and more than other identities need

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
# SPIFFE-ID §2.1 and §2.2: a trust domain in lower case, and a path of segments.
_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+")


def check_identity(label: str, value: object) -> str:
    """Accept a URI that a certificate can have as its identity.

    It is compared exactly, so what could never match raises: a SPIFFE ID has a path (the trust
    domain alone is its authority), and neither port, query nor fragment.
    """
    text = check_filled_text(label, value)
    if not _URI.fullmatch(text) or len(text) > MAX_URI:
        raise wrong_value(
            label, f"must be a URI, got {text!r:.80}", hint="Such as spiffe://example.org/billing. A host name is given as host=."
        )
    if text[:7].lower() == "spiffe:" and not _SPIFFE.fullmatch(text):
        raise wrong_value(
            label,
            f"is not a SPIFFE ID: {text!r:.80}",
            hint="It has the form spiffe://TRUST-DOMAIN/PATH: the trust domain in lower case, without a port, and a path without a final slash.",
        )
    return text
