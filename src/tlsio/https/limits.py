"""What a server of HTTPS lets strangers use."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from tlsio.model.checks import check_int, check_seconds
from tlsio.model.options.option import option

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Limits"]


def _check_headers(label: str, value: object) -> int:
    return check_int(label, value, 1, 10_000)


def _check_header_bytes(label: str, value: object) -> int:
    return check_int(label, value, 256, 2**24)


def _check_streams(label: str, value: object) -> int:
    return check_int(label, value, 1, 10_000)


def _check_rate(label: str, value: object) -> int | None:
    return None if value is None else check_int(label, value, 1, 2**31)


def _check_body(label: str, value: object) -> int | None:
    return None if value is None else check_int(label, value, 0, 2**62)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of each connection and request. Times are in seconds; None: no limit.

    The times and the rate are those of Apache's mod_reqtimeout; nginx's `keepalive_timeout`.

    Attributes:
        header_timeout: For the head of a request, from its first byte, or from the end of the
            handshake, to its last.
        keep_alive_timeout: Between requests.
        min_rate: Bytes per second at which a client must send a body or read a response, while the
            server waits for it.
        rate_grace: Seconds of waiting before `min_rate` counts.
        max_headers: Headers of one request, trailers included.
        max_header_bytes: Bytes of one request's head.
        max_body_bytes: Bytes of one request's body.
        max_streams: Requests at a time on one connection of HTTP/2.
    """

    header_timeout: float | None = option(check_seconds, default=20.0)
    keep_alive_timeout: float | None = option(check_seconds, default=75.0)
    min_rate: int | None = option(_check_rate, default=500)
    rate_grace: float | None = option(check_seconds, default=20.0)
    max_headers: int = option(_check_headers, default=100)
    max_header_bytes: int = option(_check_header_bytes, default=65536)
    max_body_bytes: int | None = option(_check_body)
    max_streams: int = option(_check_streams, default=100)

    def __post_init__(self) -> None:
        """Check each value."""
        for item in fields(self):
            value: Any = item.metadata["check"](item.name, getattr(self, item.name))
            object.__setattr__(self, item.name, value)
