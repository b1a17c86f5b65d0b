"""What an application sends, checked for the wire: what both versions of HTTP refuse alike."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["NO_CONTENT", "check_body", "check_status", "count_down", "find_control", "has_body"]

NO_CONTENT = 204
_STATUSES = range(200, 600)  # RFC 9110, section 15: others are invalid, or not the response itself
_WITHOUT_BODY = frozenset({NO_CONTENT, 304})
find_control = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]").search  # RFC 9110, section 5.5: all but the tab


def check_status(status: Any) -> int:
    """Return the status of a response.

    Raises:
        RuntimeError: it cannot be one.
    """
    if not isinstance(status, int) or status not in _STATUSES:
        raise RuntimeError(f"{status!r} is not the status of a response")
    return status


def has_body(status: int) -> bool:
    """Whether a response with this status may have a body (RFC 9110, section 6.4.1)."""
    return status not in _WITHOUT_BODY


def check_body(body: Any) -> bytes | memoryview:
    """Return a part of a body, or a message of a WebSocket, whose `len` is its number of bytes.

    An object whose items are wider would be framed with the number of its items: the client would
    take the rest for what follows. And what is not bytes fails only after its frame was begun.

    Raises:
        RuntimeError: it is something else.
    """
    if isinstance(body, bytes):
        return body
    if body is None:
        return b""
    try:
        view = memoryview(body)
    except TypeError:
        raise RuntimeError(f"The application sent {type(body).__name__!r} in place of bytes") from None
    return view.cast("B") if view.nbytes and view.c_contiguous else bytes(view)


def count_down(left: int, size: int, *, more: bool) -> int:
    """Return what is left of a response's content-length after a part of its body.

    Raises:
        RuntimeError: the body is longer or shorter. An application that goes on must find the same
            number left: the part was not sent.
    """
    if size > left:
        raise RuntimeError("The response's body is longer than its content-length")
    if size < left and not more:
        raise RuntimeError("The response's body is shorter than its content-length")
    return left - size
