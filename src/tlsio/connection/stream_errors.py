"""Errors of reading by size or separator: ours, and asyncio's too, so that code written for streams keeps working."""

import asyncio

from tlsio.model.errors import TLSError, UsageError

__all__ = ["IncompleteReadError", "LimitOverrunError"]


class IncompleteReadError(TLSError, asyncio.IncompleteReadError):
    """The stream ended before all that was asked for had come.

    Attributes:
        partial: What there was. `expected`: how many bytes were asked for, None for a separator.
    """

    def __init__(self, partial: bytes, expected: int | None) -> None:
        wanted = "the separator" if expected is None else f"{expected} bytes"
        TLSError.__init__(self, f"The stream ended after {len(partial)} bytes, before {wanted}", code="ERR_TLS_INCOMPLETE_READ")
        self.partial = partial
        self.expected = expected


class LimitOverrunError(UsageError, asyncio.LimitOverrunError):
    """No separator within `read_limit`; what was read is kept.

    Attributes:
        consumed: How many bytes may be read without missing the separator.
    """

    def __init__(self, message: str, consumed: int) -> None:
        TLSError.__init__(self, message, code="ERR_TLS_LIMIT_OVERRUN", hint="Raise read_limit, or read in pieces.")
        self.consumed = consumed
