"""The checks that options, defaults and arguments share.

Each takes the caller's name of the value (`"options.ciphers"`) and the value. It returns the value
in the form that the floors above use, or raises with Node's code. A message shows the value's type,
and the value itself only if it cannot be a secret.
"""

import inspect
import os
import re
import sys
from collections.abc import Callable, Collection
from difflib import get_close_matches
from enum import IntEnum
from typing import Any, TypeAlias

from tlsio.model.errors import UsageTypeError, UsageValueError

BytesLike: TypeAlias = bytes | bytearray | memoryview

# Oldest first. OpenSSL's default build no longer has SSLv3 and older.
PROTOCOL_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

# `ssl.TLSVersion` by the names of its members: importing `ssl` for its class would load a second
# OpenSSL.
_STDLIB_VERSIONS = {
    "MINIMUM_SUPPORTED": "TLSv1",
    "TLSv1": "TLSv1",
    "TLSv1_1": "TLSv1.1",
    "TLSv1_2": "TLSv1.2",
    "TLSv1_3": "TLSv1.3",
    "MAXIMUM_SUPPORTED": "TLSv1.3",
}

# No handshake needs an hour. A larger value is probably in milliseconds, such as Node's 120000.
MAX_HANDSHAKE_TIMEOUT = 3600.0
MAX_PORT = 65535
_MAX_PRINTED_BITS = 128


def wrong_type(label: str, expected: str, value: object, *, hint: str | None = None) -> UsageTypeError:
    """Return the error for a value of the wrong type."""
    found = "None" if value is None else type(value).__name__
    return UsageTypeError(f"{label} must be {expected}, got {found}", hint=hint)


def wrong_value(label: str, problem: str, *, hint: str | None = None) -> UsageValueError:
    """Return the error for an invalid value; `problem` continues the sentence begun by `label`."""
    return UsageValueError(f"{label} {problem}", hint=hint)


def out_of_range(label: str, expected: str, value: object, *, hint: str | None = None) -> UsageValueError:
    """Return the error for a number or a length outside its bounds."""
    # Python refuses to print an int of more than 4300 digits.
    found = f"an int of {value.bit_length()} bits" if isinstance(value, int) and abs(value) >> _MAX_PRINTED_BITS else value
    return UsageValueError(f"{label} must be {expected}, got {found}", code="ERR_OUT_OF_RANGE", hint=hint)


def check_bool(label: str, value: object) -> bool:
    """Accept only True and False: the meaning of `1`, `"yes"` or an empty list is unclear."""
    if not isinstance(value, bool):
        raise wrong_type(label, "True or False", value)
    return value


def check_text(label: str, value: object) -> str:
    """Accept a str."""
    if not isinstance(value, str):
        raise wrong_type(label, "a str", value)
    return value


def check_filled_text(label: str, value: object) -> str:
    """Accept a str that is not empty and has no null character, which would end it in C."""
    text = check_text(label, value)
    if not text:
        raise wrong_value(label, "must not be empty")
    if "\0" in text:
        raise wrong_value(label, "must not contain a null character")
    encode(label, text)
    return text


def encode(label: str, text: str) -> bytes:
    """Return text as UTF-8. Python's error is dropped: it contains the text, maybe a passphrase."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise wrong_value(label, "contains a lone surrogate, which cannot be encoded as UTF-8") from None


def check_bytes(label: str, value: object) -> bytes:
    """Accept a bytes-like object and copy it, so that later changes to it have no effect."""
    if not isinstance(value, BytesLike):
        raise wrong_type(label, "bytes-like", value)
    return bytes(value)


def check_text_or_bytes(label: str, value: object) -> bytes:
    """Accept a str (as UTF-8) or a bytes-like object."""
    if isinstance(value, str):
        return encode(label, value)
    if not isinstance(value, BytesLike):
        raise wrong_type(label, "a str or bytes-like", value)
    return bytes(value)


def check_path(label: str, value: object) -> str:
    """Accept the path of a file: a str or os.PathLike."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise wrong_type(label, "a str or os.PathLike", value)
    if not path or "\0" in path:
        raise wrong_value(label, "must not contain a null character" if path else "must not be empty")
    return path


def check_socket_path(label: str, value: object) -> str:
    """Accept the path of a Unix socket; abstract names begin with a null character (unix(7))."""
    return value if isinstance(value, str) and value.startswith("\0") else check_path(label, value)


def check_host(label: str, value: object) -> str:
    """Accept a name or an address that can be looked up.

    Non-ASCII names are checked when they are converted to A-labels.
    """
    text = check_filled_text(label, value)
    try:
        if text.isascii():
            text.encode("idna")
    except UnicodeError:
        raise wrong_value(label, f"must be a host name or an address, got {text!r:.80}") from None
    return text


def check_int(label: str, value: object, low: int, high: int) -> int:
    """Accept an int from `low` to `high`, both included, but no bool."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(label, "an int", value)
    if not low <= value <= high:
        raise out_of_range(label, f"from {low} to {high}", value)
    return int(value)


def check_port(label: str, value: object, low: int = 0) -> int:
    """Accept the number of a port. 0, if it may be that, is any free one."""
    return check_int(label, value, low, MAX_PORT)


def check_limit(label: str, value: object) -> int | None:
    """Accept a limit of 1 or more, or None for no limit. 0 raises: it could mean either extreme."""
    if value is None:
        return None
    if type(value) is int and value == 0:
        raise out_of_range(label, "1 or more", value, hint="Use None for no limit.")
    return check_int(label, value, 1, 2**32 - 1)


def check_seconds(label: str, value: object) -> float | None:
    """Accept a time limit in seconds above 0, or None for no limit."""
    if value is None:
        return None
    return check_duration(label, value, "a number of seconds or None", hint="Use None for no limit.")


def check_duration(label: str, value: object, expected: str = "a number of seconds", *, hint: str | None = None) -> float:
    """Accept a number of seconds above 0."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong_type(label, expected, value)
    if not 0 < value <= sys.float_info.max:
        raise out_of_range(label, "above 0 seconds", value, hint=hint)
    return float(value)


def check_handshake_timeout(label: str, value: object) -> float | None:
    """Accept a time limit in seconds, unless it is so large that milliseconds must be meant."""
    seconds = check_seconds(label, value)
    if seconds is not None and seconds > MAX_HANDSHAKE_TIMEOUT:
        raise out_of_range(label, "at most 3600 seconds", value, hint="Times are in seconds: write Node's 120000 milliseconds as 120.0.")
    return seconds


def check_function(label: str, value: object) -> Callable[..., Any]:
    """Accept any callable."""
    if not callable(value):
        raise wrong_type(label, "a function", value)
    return value


def check_plain_function(label: str, value: object) -> Callable[..., Any]:
    """Accept a function that returns its result directly."""
    function = check_function(label, value)
    if inspect.iscoroutinefunction(function):
        raise wrong_type(label, "a plain function, because it is called during the handshake and cannot be awaited", value)
    return function


def check_choice(label: str, value: object, choices: tuple[str, ...]) -> str:
    """Accept one of a few words."""
    text = check_text(label, value)
    if text not in choices:
        raise wrong_value(label, f"must be {' or '.join(map(repr, choices))}, got {text!r:.80}")
    return text


def check_version(label: str, value: object) -> str:
    """Accept a protocol version by Node's name, or a member of `ssl.TLSVersion`."""
    found = _STDLIB_VERSIONS.get(value.name) if isinstance(value, IntEnum) else value
    if not isinstance(found, str) or found not in PROTOCOL_VERSIONS:
        kind = UsageValueError if isinstance(value, str | IntEnum) else UsageTypeError
        raise kind(
            f"{label} must be one of {', '.join(map(repr, PROTOCOL_VERSIONS))} or an ssl.TLSVersion, got {value!r:.40}",
            code="ERR_TLS_INVALID_PROTOCOL_VERSION",
            hint=_hint_for_version(value),
        )
    return str(found)


def _hint_for_version(value: object) -> str:
    """Recognise `"1.2"`, `1.2`, `"TLS1.2"`, `"TLSv1_2"` and `ssl.PROTOCOL_TLSv1_2`."""
    text = value.name if isinstance(value, IntEnum) else str(value)
    number = re.sub(r"[^0-9.]", "", text.replace("_", "."))[-3:].removesuffix(".0").strip(".")
    name = f"TLSv{number}"
    if name in PROTOCOL_VERSIONS and "ssl" not in text.lower():
        return f"Write {name!r}."
    return "Write 'TLSv1.2' or 'TLSv1.3'; older versions are insecure, and SSL is not supported."


def to_snake_case(name: str) -> str:
    """Convert Node's spelling.

    `requestCert`, `ALPNProtocols` and `minDHSize` have three kinds of word boundaries.
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def to_camel_case(name: str) -> str:
    """Convert to Node's spelling, of names without abbreviations."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def explain_unknown_event(event: object, events: Collection[str]) -> str:
    """Return the hint for an event that does not exist: the one that was probably meant."""
    snake = to_snake_case(str(event))
    if snake in events:
        return f"It is spelled {snake!r}."
    close = get_close_matches(snake, events, n=1)
    return f"The closest name is {close[0]!r}." if close else f"The events are {', '.join(sorted(events))}."


def check_ciphers(label: str, value: object) -> str:
    """Accept an OpenSSL cipher list; TLS 1.3 suites and older ciphers may be mixed."""
    text = check_filled_text(label, value)
    if not text.replace(":", "").strip():
        raise wrong_value(label, f"contains no cipher: {text!r:.40}")
    return text
