"""The checks that options, defaults and arguments share."""

import math
import os
import ssl
import sys
from pathlib import Path

import pytest

from tlsio.model import checks
from tlsio.model.errors import UsageError, UsageTypeError, UsageValueError


class BytesPath(os.PathLike):  # type: ignore[type-arg]
    """A path of bytes, which asyncio and the engine are not given."""

    def __fspath__(self) -> bytes:
        """Return it."""
        return b"a.log"


@pytest.mark.parametrize(
    ("check", "value", "result"),
    [
        (checks.check_bool, False, False),
        (checks.check_text, "", ""),
        (checks.check_filled_text, "x", "x"),
        (checks.check_bytes, bytearray(b"ab"), b"ab"),
        (checks.check_bytes, memoryview(b"ab"), b"ab"),
        (checks.check_text_or_bytes, "é", "é".encode()),
        (checks.check_text_or_bytes, b"\xe9", b"\xe9"),
        (checks.check_path, "a.log", "a.log"),
        (checks.check_path, Path("a.log"), "a.log"),
        (checks.check_socket_path, "a.sock", "a.sock"),
        (checks.check_socket_path, "\0abstract", "\0abstract"),
        (checks.check_host, "bücher.example", "bücher.example"),
        (checks.check_host, "fe80::1%lo", "fe80::1%lo"),
        (checks.check_limit, 1, 1),
        (checks.check_limit, 2**32 - 1, 2**32 - 1),
        (checks.check_limit, None, None),
        (checks.check_seconds, 1, 1.0),
        (checks.check_seconds, 0.5, 0.5),
        (checks.check_seconds, sys.float_info.max, sys.float_info.max),
        (checks.check_seconds, None, None),
        (checks.check_handshake_timeout, 3600, 3600.0),
        (checks.check_handshake_timeout, None, None),
        (checks.check_function, len, len),
        (checks.check_version, "TLSv1.2", "TLSv1.2"),
        (checks.check_version, ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        (checks.check_version, ssl.TLSVersion.MINIMUM_SUPPORTED, "TLSv1"),
        (checks.check_version, ssl.TLSVersion.MAXIMUM_SUPPORTED, "TLSv1.3"),
        (checks.check_ciphers, "ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0", "ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"),
    ],
)
def test_good_values_pass(check: object, value: object, result: object) -> None:
    """What passes comes back in the form the floors above use."""
    assert check("options.x", value) == result
    assert type(check("options.x", value)) is type(result)


@pytest.mark.parametrize(
    ("check", "value", "code"),
    [
        (checks.check_bool, 1, "ERR_INVALID_ARG_TYPE"),
        (checks.check_bool, None, "ERR_INVALID_ARG_TYPE"),
        (checks.check_text, b"x", "ERR_INVALID_ARG_TYPE"),
        (checks.check_filled_text, "", "ERR_INVALID_ARG_VALUE"),
        (checks.check_filled_text, "a\0b", "ERR_INVALID_ARG_VALUE"),
        (checks.check_filled_text, "\udcff", "ERR_INVALID_ARG_VALUE"),
        (checks.check_text_or_bytes, "\udcff", "ERR_INVALID_ARG_VALUE"),
        (checks.check_path, "", "ERR_INVALID_ARG_VALUE"),
        (checks.check_path, "a\0b", "ERR_INVALID_ARG_VALUE"),
        (checks.check_path, b"a.log", "ERR_INVALID_ARG_TYPE"),
        (checks.check_path, BytesPath(), "ERR_INVALID_ARG_TYPE"),
        (checks.check_path, 1, "ERR_INVALID_ARG_TYPE"),
        (checks.check_socket_path, "a\0b", "ERR_INVALID_ARG_VALUE"),
        (checks.check_socket_path, b"\0abstract", "ERR_INVALID_ARG_TYPE"),
        (checks.check_host, "a..b", "ERR_INVALID_ARG_VALUE"),
        (checks.check_host, "a" * 64, "ERR_INVALID_ARG_VALUE"),
        (checks.check_host, 7, "ERR_INVALID_ARG_TYPE"),
        (checks.check_bytes, "x", "ERR_INVALID_ARG_TYPE"),
        (checks.check_text_or_bytes, 5, "ERR_INVALID_ARG_TYPE"),
        (checks.check_limit, 0, "ERR_OUT_OF_RANGE"),
        (checks.check_limit, -1, "ERR_OUT_OF_RANGE"),
        (checks.check_limit, 2**32, "ERR_OUT_OF_RANGE"),
        (checks.check_limit, False, "ERR_INVALID_ARG_TYPE"),
        (checks.check_limit, 1.5, "ERR_INVALID_ARG_TYPE"),
        (checks.check_seconds, 0, "ERR_OUT_OF_RANGE"),
        (checks.check_seconds, -1, "ERR_OUT_OF_RANGE"),
        (checks.check_seconds, math.inf, "ERR_OUT_OF_RANGE"),
        (checks.check_seconds, math.nan, "ERR_OUT_OF_RANGE"),
        (checks.check_seconds, 10**400, "ERR_OUT_OF_RANGE"),
        (checks.check_seconds, True, "ERR_INVALID_ARG_TYPE"),
        (checks.check_seconds, "5", "ERR_INVALID_ARG_TYPE"),
        (checks.check_handshake_timeout, 3600.1, "ERR_OUT_OF_RANGE"),
        (checks.check_handshake_timeout, "x", "ERR_INVALID_ARG_TYPE"),
        (checks.check_function, True, "ERR_INVALID_ARG_TYPE"),
        (checks.check_version, "TLSv1.4", "ERR_TLS_INVALID_PROTOCOL_VERSION"),
        (checks.check_version, 3, "ERR_TLS_INVALID_PROTOCOL_VERSION"),
        (checks.check_version, [], "ERR_TLS_INVALID_PROTOCOL_VERSION"),
        (checks.check_version, ssl.TLSVersion.SSLv3, "ERR_TLS_INVALID_PROTOCOL_VERSION"),
        (checks.check_ciphers, 1, "ERR_INVALID_ARG_TYPE"),
        (checks.check_ciphers, ":", "ERR_INVALID_ARG_VALUE"),
        (checks.check_ciphers, "HIGH\0:!aNULL", "ERR_INVALID_ARG_VALUE"),
    ],
)
def test_bad_values_raise_with_nodes_code(check: object, value: object, code: str) -> None:
    """The message names the option; a wrong type is a TypeError, a wrong value a ValueError."""
    with pytest.raises(UsageError, match=r"^options\.x ") as caught:
        check("options.x", value)
    assert caught.value.code == code
    assert isinstance(caught.value, UsageTypeError | UsageValueError)


@pytest.mark.parametrize(("value", "good"), [(1, True), (3, True), (0, False), (4, False)])
def test_bounds_are_included(value: int, good: bool) -> None:  # noqa: FBT001  (a column of the table)
    """Both bounds pass, one beyond raises."""
    if good:
        assert checks.check_int("n", value, 1, 3) == value
        return
    with pytest.raises(UsageValueError, match="n must be from 1 to 3, got"):
        checks.check_int("n", value, 1, 3)


def test_choice_names_the_choices() -> None:
    """The message lists what would do."""
    assert checks.check_choice("n", "a", ("a", "b")) == "a"
    with pytest.raises(UsageValueError, match=r"n must be 'a' or 'b', got 'c'"):
        checks.check_choice("n", "c", ("a", "b"))


def test_a_long_value_is_cut() -> None:
    """Whoever gives a file's content for a word is not shown all of it again."""
    with pytest.raises(UsageValueError) as caught:
        checks.check_choice("n", "c" * 10_000, ("a", "b"))
    assert len(str(caught.value)) < 200


def test_text_that_cannot_be_encoded_is_not_shown() -> None:
    """Python's own error has it in its message and its attributes, and it may be a passphrase."""
    with pytest.raises(UsageValueError) as caught:
        checks.check_text_or_bytes("options.passphrase", "secret\udcff")
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_milliseconds_are_told() -> None:
    """Node's 120000 gets the hint that times are seconds."""
    with pytest.raises(UsageValueError) as caught:
        checks.check_handshake_timeout("options.handshake_timeout", 120000)
    assert "seconds" in str(caught.value.hint)


def test_int_that_python_refuses_to_print_is_out_of_range() -> None:
    """It has more than 4300 digits."""
    with pytest.raises(UsageValueError, match=r"^port must be from 1 to 65535, got an int of 16610 bits "):
        checks.check_int("port", 10**5000, 1, 65535)
