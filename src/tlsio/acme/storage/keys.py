"""The keys of a storage: checked here, so that no backend meets one that leaves its place."""

from __future__ import annotations

import hashlib
import re

from tlsio.model.checks import check_bytes, check_text, out_of_range, wrong_value

from .storage import MAX_VALUE_BYTES

__all__ = ["CHALLENGES", "check_key", "check_prefix", "check_value", "key_segment"]

CHALLENGES = "challenges/"  # below it are values of a single validation
# A segment may become the name of a file (255 bytes on all common file systems). One that begins
# with a period would be hidden, or lead to another folder; the storages use such names themselves.
_KEY = re.compile(r"(?:[A-Za-z0-9_@-][A-Za-z0-9._@-]{0,254}/)*[A-Za-z0-9_@-][A-Za-z0-9._@-]{0,254}")
_MAX_KEY = 1024
_HINT = "A key is up to 1024 characters: segments of letters, digits and . _ @ - that are joined by / and do not begin with a period."
# `certificates/<issuer>/<segment>`, `status/<segment>.json`: room for an ending. Only names of more
# than 200 characters lose their readable end.
_MAX_SEGMENT, _KEPT, _DIGITS = 200, 160, 32


def check_key(key: object, label: str = "key") -> str:
    """Accept a key.

    Raises:
        UsageError: it is not a str, or not of the form that `keys` describes.
    """
    text = check_text(label, key)
    if len(text) > _MAX_KEY or _KEY.fullmatch(text) is None:
        raise wrong_value(label, f"is {text!r:.100}", hint=_HINT)
    return text


def check_prefix(prefix: object) -> str:
    """Accept a folder of keys, or the empty text for all.

    Raises:
        UsageError: it is not a str, or not of the form of a key.
    """
    return "" if prefix == "" else check_key(prefix, "prefix")


def check_value(value: object) -> bytes:
    """Accept a value.

    Raises:
        UsageError: it is not bytes, or longer than 1 MiB.
    """
    data = check_bytes("value", value)
    if len(data) > MAX_VALUE_BYTES:
        raise out_of_range("value", f"up to {MAX_VALUE_BYTES} bytes", len(data))
    return data


def key_segment(name: str) -> str:
    """Return a name or an address as one segment of a key.

    In lower case, without a final period; `*` becomes `_wildcard`, and a colon of an IPv6 address
    `_`. An underscore of a name becomes `@`, which no name has: different names have different
    segments.

    Args:
        name: An A-label such as `*.example.com`, or an IP address.

    Raises:
        UsageError: it contains other characters.
    """
    text = check_text("name", name).lower().removesuffix(".")
    plain = text.replace("_", "@").replace(":", "_")
    segment = "_wildcard" + plain[1:] if plain.startswith("*.") else plain
    if len(segment) > _MAX_SEGMENT:
        segment = f"{segment[:_KEPT]}_{hashlib.sha256(segment.encode()).hexdigest()[:_DIGITS]}"
    if "@" in text or "/" in segment or _KEY.fullmatch(segment) is None:
        raise wrong_value("name", f"must be a host name as A-label or an IP address, got {text!r:.80}")
    return segment
