"""What the server answers in place of the application, alike in both versions of HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BODY_TOO_LARGE", "HEAD_TOO_LARGE", "INVALID", "LATE", "NOT_ALONE", "NOT_A_HANDSHAKE", "NOT_IMPLEMENTED", "OTHER_PROTOCOL", "OTHER_VERSION",
    "SERVER_ERROR", "STOPPING", "TOO_MANY_HEADERS", "UNKNOWN_CODING", "Refusal", "RefusedError",
]  # fmt: skip


class Refusal(NamedTuple):
    """An answer of the server.

    Attributes:
        status: Its status.
        text: Its body.
    """

    status: int
    text: str


INVALID = Refusal(400, "This is not a valid request of HTTP/1.1.\n")
NOT_A_HANDSHAKE = Refusal(400, "This is not a valid handshake of a WebSocket.\n")
NOT_ALONE = Refusal(400, "A WebSocket cannot begin before the earlier requests are answered.\n")
LATE = Refusal(408, "The request took too long.\n")
BODY_TOO_LARGE = Refusal(413, "The body of the request is too large.\n")
HEAD_TOO_LARGE = Refusal(431, "The head of the request is too large.\n")
TOO_MANY_HEADERS = Refusal(431, "The request has too many headers.\n")
SERVER_ERROR = Refusal(500, "Internal Server Error")
UNKNOWN_CODING = Refusal(501, "The transfer coding of the request is not supported.\n")
NOT_IMPLEMENTED = Refusal(501, "The method is not supported.\n")
OTHER_PROTOCOL = Refusal(501, "The protocol of the request is not supported.\n")
STOPPING = Refusal(503, "The server is stopping.\n")
OTHER_VERSION = Refusal(505, "Only HTTP/1.1 and HTTP/1.0 are supported here.\n")


class RefusedError(Exception):
    """A request that is answered without the application.

    Attributes:
        refusal: The answer.
        headers: Of the answer, besides those about the body.
    """

    def __init__(self, refusal: Refusal, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Answer with this."""
        super().__init__(refusal.text.rstrip())
        self.refusal = refusal
        self.headers = headers
