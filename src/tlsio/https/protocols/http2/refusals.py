"""Answers of the server in place of the application, with the texts that HTTP/1.1 has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlsio.https.protocols.http2.engine import Header

__all__ = [
    "BODY_TOO_LARGE", "HEAD_TOO_LARGE", "NOT_A_HANDSHAKE", "NOT_IMPLEMENTED", "OTHER_PROTOCOL", "SERVER_ERROR", "TOO_MANY_HEADERS",
    "RefusedError",
]  # fmt: skip

NOT_A_HANDSHAKE = (400, "This is not a valid handshake of a WebSocket.\n")
BODY_TOO_LARGE = (413, "The body of the request is too large.\n")
HEAD_TOO_LARGE = (431, "The head of the request is too large.\n")
TOO_MANY_HEADERS = (431, "The request has too many headers.\n")
SERVER_ERROR = (500, "Internal Server Error")
NOT_IMPLEMENTED = (501, "The method is not supported.\n")
OTHER_PROTOCOL = (501, "The protocol of the request is not supported.\n")


class RefusedError(Exception):
    """A request that is answered without the application.

    Attributes:
        status: Of the answer.
        text: The body of the answer.
        headers: Of the answer, besides those about the body.
    """

    def __init__(self, refusal: tuple[int, str], headers: list[Header] | None = None) -> None:
        """Answer with this."""
        self.status, self.text = refusal
        super().__init__(self.text.rstrip())
        self.headers = headers or []
