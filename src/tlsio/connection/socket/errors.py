"""Errors of reading and waiting; they also derive from asyncio's, for code written for streams."""

import asyncio

from tlsio.model.errors import ConnectionLostError, TLSError, UsageError
from tlsio.model.exported import exported

__all__ = ["CloseTimeoutError", "IdleTimeoutError", "IncompleteReadError", "LimitOverrunError"]


@exported
class IncompleteReadError(TLSError, asyncio.IncompleteReadError):
    """The stream ended before all requested bytes were received.

    Attributes:
        partial: The bytes received.
        expected: The number of bytes requested, None for a separator.
    """

    default_code = "ERR_TLS_INCOMPLETE_READ"

    def __init__(self, partial: bytes, expected: int | None) -> None:
        wanted = "the separator" if expected is None else f"{expected} bytes"
        hint = "The peer ended its direction earlier: see its log. The attribute partial has the bytes that came."
        TLSError.__init__(self, f"The stream ended after {len(partial)} bytes, before {wanted}", hint=hint)
        self.partial = partial
        self.expected = expected

    def __reduce__(self) -> tuple[type, tuple[bytes, int | None]]:
        return type(self), (self.partial, self.expected)


@exported
class LimitOverrunError(UsageError, asyncio.LimitOverrunError):
    """There is more data than a read may hold; all of it stays in the buffer for other reads.

    Attributes:
        consumed: The number of bytes that can be read without skipping the separator.
    """

    default_code = "ERR_TLS_LIMIT_OVERRUN"

    def __init__(self, message: str, consumed: int, hint: str = "Raise read_limit=, or use read().") -> None:
        TLSError.__init__(self, message, hint=hint)
        self.consumed = consumed

    def __reduce__(self) -> tuple[type, tuple[str, int, str]]:
        return type(self), (self.message, self.consumed, self.hint or "")


@exported
class IdleTimeoutError(ConnectionLostError, TimeoutError):
    """No data moved for the time given to `set_timeout`, and there was no `timeout` listener."""

    default_code = "ETIMEDOUT"
    default_message = "Nothing was sent or received within the idle timeout"


@exported
class CloseTimeoutError(ConnectionLostError, TimeoutError):
    """`close` could not deliver all data: the peer acknowledged nothing for `close_timeout`."""

    default_code = "ERR_TLS_CLOSE_TIMEOUT"
    default_message = "The peer acknowledged no data within close_timeout: data may be lost"
