"""The connection options, which servers and clients share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from tlsio.model.checks import (
    check_bool,
    check_handshake_timeout,
    check_int,
    check_path,
    check_seconds,
    out_of_range,
)
from tlsio.model.constants import defaults
from tlsio.model.options.context import ContextOptions
from tlsio.model.options.option import option, take_as_given

if TYPE_CHECKING:
    import os


__all__ = ["HIGH_WATER_MARK", "READ_LIMIT", "STREAM_HIGH_WATER_MARK", "ConnectionOptions", "ConnectionOptionsDict"]

# asyncio's default for its streams.
READ_LIMIT = 65536

# The engine collects as much for one send. With Node's 64 KiB there would be four sends instead,
# which costs a download 1.15 times the CPU time.
HIGH_WATER_MARK = 262144
# The default over a byte stream: the size of one receive, and asyncio's own high-water mark.
STREAM_HIGH_WATER_MARK = 65536

# Linux accepts at most this many seconds as TCP_KEEPIDLE (MAX_TCP_KEEPIDLE).
MAX_KEEP_ALIVE_DELAY = 32767


def _check_read_limit(label: str, value: object) -> int:
    return check_int(label, value, 1, 2**31 - 1)


def _check_high_water_mark(label: str, value: object) -> int:
    return check_int(label, value, 0, 2**31 - 1)


def _check_initial_delay(label: str, value: object) -> float:
    if type(value) in (int, float) and value == 0:
        return 0.0
    seconds = check_seconds(label, value)
    if seconds is not None and seconds > MAX_KEEP_ALIVE_DELAY:
        raise out_of_range(label, f"at most {MAX_KEEP_ALIVE_DELAY} seconds", value)
    return seconds or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """The options that servers and client connections share.

    Times are in seconds; None for a time means no limit.

    Attributes:
        context: The context options among the given ones; empty if `secure_context` is given.
        secure_context: A SecureContext or a context source; `connection`, which has the classes,
            checks it.
    """

    context: ContextOptions = ContextOptions()
    secure_context: object | None = option(take_as_given)
    fetch_crl: object | None = option(take_as_given)
    handshake_timeout: float | None = option(
        check_handshake_timeout, default_factory=lambda: defaults.handshake_timeout, none_is_no_limit=True
    )
    hook_timeout: float | None = option(check_seconds, default=30.0, none_is_no_limit=True)
    close_timeout: float | None = option(check_seconds, default=5.0, none_is_no_limit=True)
    partial_record_timeout: float | None = option(check_seconds, default=60.0, none_is_no_limit=True)
    read_limit: int = option(_check_read_limit, default=READ_LIMIT)
    allow_half_open: bool = option(check_bool, default=False)
    allow_truncation: bool = option(check_bool, default=False)
    no_delay: bool = option(check_bool, default=True)
    keep_alive: bool = option(check_bool, default=False)
    keep_alive_initial_delay: float = option(_check_initial_delay, default=0.0)
    high_water_mark: int | None = option(_check_high_water_mark)  # None: the driver's default
    keylog_file: str | None = option(check_path)
    enable_trace: bool = option(check_bool, default=False)


class ConnectionOptionsDict(TypedDict, total=False):
    """The options that servers and client connections share, for `Unpack`."""

    secure_context: object | None
    fetch_crl: object | None
    handshake_timeout: float | None
    hook_timeout: float | None
    close_timeout: float | None
    partial_record_timeout: float | None
    read_limit: int | None
    allow_half_open: bool | None
    allow_truncation: bool | None
    no_delay: bool | None
    keep_alive: bool | None
    keep_alive_initial_delay: float | None
    high_water_mark: int | None
    keylog_file: "str | os.PathLike[str] | None"
    enable_trace: bool | None
