"""Errors of reading and waiting: ours, and Python's own too, so that code written for streams keeps working."""

import asyncio

from tlsio.model.errors import ConnectionLostError, TLSError, UsageError

__all__ = ["CloseTimeoutError", "IdleTimeoutError", "IncompleteReadError", "LimitOverrunError"]


class IncompleteReadError(TLSError, asyncio.IncompleteReadError):
    """The stream ended before all that was asked for had come.

    Attributes:
        partial: What there was.
        expected: How many bytes were asked for, None for a separator.
    """

    default_code = "ERR_TLS_INCOMPLETE_READ"

    def __init__(self, partial: bytes, expected: int | None) -> None:
        wanted = "the separator" if expected is None else f"{expected} bytes"
        TLSError.__init__(self, f"The stream ended after {len(partial)} bytes, before {wanted}")
        self.partial = partial
        self.expected = expected

    def __reduce__(self) -> tuple[type, tuple[bytes, int | None]]:
        return type(self), (self.partial, self.expected)


class LimitOverrunError(UsageError, asyncio.LimitOverrunError):
    """No separator within `read_limit`; what was read is kept.

    Attributes:
        consumed: How many bytes may be read without missing the separator.
    """

    default_code = "ERR_TLS_LIMIT_OVERRUN"

    def __init__(self, message: str, consumed: int) -> None:
        TLSError.__init__(self, message, hint="Raise read_limit, or read in pieces.")
        self.consumed = consumed

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (self.message, self.consumed)


class IdleTimeoutError(ConnectionLostError, TimeoutError):
    """Nothing moved for as long as `set_timeout` allows, and no `timeout` listener wanted to decide about it."""

    default_code = "ETIMEDOUT"
    default_message = "Nothing was sent or received within the idle timeout"


class CloseTimeoutError(ConnectionLostError, TimeoutError):
    """`close` could not deliver what was written: the peer acknowledged nothing for the whole of `close_timeout`."""

    default_code = "ERR_TLS_CLOSE_TIMEOUT"
    default_message = "The peer has acknowledged no byte within close_timeout: data may not have arrived"
