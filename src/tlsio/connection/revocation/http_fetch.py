"""A minimal HTTP client for OCSP responders and CRL distribution points.

Their answers are signed, and certificates name them by `http:` URLs, so neither TLS nor redirects
are needed. It speaks HTTP/1.0, as the openssl command and nginx do: a response ends by its length
or with the connection, and is never chunked.
"""

from __future__ import annotations

import asyncio
from errno import EMSGSIZE, EPROTO
from urllib.parse import urlsplit

__all__ = ["fetch"]

_MAX_HEAD = 16384  # bytes of status line and headers; the usual limit of servers
_OK = 200


async def fetch(url: str, body: bytes | None = None, *, content_type: str = "", max_bytes: int) -> bytes:
    """Fetch `url` by GET, or by POST if there is a `body`. The caller limits the time.

    Args:
        url: `http:` only.
        body: The request's content.
        content_type: The media type of `body`.
        max_bytes: A longer response is rejected.

    Raises:
        OSError: the connection failed, or the response cannot be used.
        Cancelled: the connection is closed.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
        raise OSError(EPROTO, f"not an http: URL: {url!r:.200}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = [
        f"{'GET' if body is None else 'POST'} {path} HTTP/1.0",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "Accept: */*",
        "Connection: close",
    ]
    if body is not None:
        head += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    reader, writer = await asyncio.open_connection(parts.hostname, 80 if parts.port is None else parts.port, limit=_MAX_HEAD)
    try:
        writer.write("\r\n".join([*head, "", ""]).encode("ascii") + (body or b""))
        return await _read_response(reader, max_bytes)
    finally:
        writer.transport.abort()  # the response is complete: do not wait for an orderly close


async def _read_response(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise OSError(EMSGSIZE, f"the headers of the response are longer than {_MAX_HEAD} bytes") from None
    except asyncio.IncompleteReadError as error:
        raise OSError(EPROTO, f"the response ends after {len(error.partial)} bytes, within its headers") from None
    status, _, lines = head.decode("latin-1").partition("\r\n")
    _check_status(status)
    length = _find_length(lines)
    if length is not None and length > max_bytes:
        raise OSError(EMSGSIZE, f"the response has {length} bytes, more than {max_bytes}")
    try:
        data = await reader.readexactly(max_bytes + 1 if length is None else length)
    except asyncio.IncompleteReadError as error:
        if length is not None:
            raise OSError(EPROTO, f"the response ends after {len(error.partial)} of {length} bytes") from None
        return error.partial
    if length is None:
        raise OSError(EMSGSIZE, f"the response has more than {max_bytes} bytes")
    return data


def _check_status(line: str) -> None:
    version, _, rest = line.partition(" ")
    number = rest[:3]
    if not version.startswith("HTTP/1.") or not number.isdecimal():
        raise OSError(EPROTO, f"the response is not HTTP: {line!r:.80}")
    if int(number) != _OK:
        raise OSError(EPROTO, f"the response has the status {rest!r:.80}")


def _find_length(lines: str) -> int | None:
    for line in lines.split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length" and value.strip().isdecimal():
            return int(value)
    return None
