"""One small thing over plain HTTP: what OCSP responders and CRL distribution points are asked for.

They sign what they say, and a certificate names them by `http:` addresses, so neither TLS nor redirections are needed. Asked by
HTTP/1.0, as OpenSSL's command and nginx ask: the answer ends with its length or with the connection, and has no chunks.
"""

from __future__ import annotations

import asyncio
from errno import EMSGSIZE, EPROTO
from urllib.parse import urlsplit

__all__ = ["fetch"]

_MAX_HEAD = 16384  # bytes of status line and headers; what servers themselves take at most, mostly
_OK = 200


async def fetch(url: str, body: bytes | None = None, *, content_type: str = "", max_bytes: int) -> bytes:
    """Fetch what is at `url`: by GET, with a `body` by POST. How long it may take is the caller's to say.

    Args:
        url: `http:` only.
        body: The question.
        content_type: What `body` is.
        max_bytes: A longer answer is refused.

    Raises:
        OSError: no connection, or no answer that can be used.
        Cancelled: the connection is closed.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
        raise OSError(EPROTO, f"not an http: address: {url!r:.200}")
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
        return await _read_answer(reader, max_bytes)
    finally:
        writer.transport.abort()  # all was said; nobody has to wait for a slow goodbye


async def _read_answer(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise OSError(EMSGSIZE, f"the head of the answer is longer than {_MAX_HEAD} bytes") from None
    except asyncio.IncompleteReadError as error:
        raise OSError(EPROTO, f"the answer ends after {len(error.partial)} bytes, before it has begun") from None
    status, _, lines = head.decode("latin-1").partition("\r\n")
    _check_status(status)
    length = _find_length(lines)
    if length is not None and length > max_bytes:
        raise OSError(EMSGSIZE, f"the answer has {length} bytes, more than {max_bytes}")
    try:
        data = await reader.readexactly(max_bytes + 1 if length is None else length)
    except asyncio.IncompleteReadError as error:
        if length is not None:
            raise OSError(EPROTO, f"the answer ends after {len(error.partial)} of {length} bytes") from None
        return error.partial
    if length is None:
        raise OSError(EMSGSIZE, f"the answer has more than {max_bytes} bytes")
    return data


def _check_status(line: str) -> None:
    version, _, rest = line.partition(" ")
    number = rest[:3]
    if not version.startswith("HTTP/1.") or not number.isdecimal():
        raise OSError(EPROTO, f"this is no HTTP: {line!r:.80}")
    if int(number) != _OK:
        raise OSError(EPROTO, f"the answer is {rest!r:.80}")


def _find_length(lines: str) -> int | None:
    for line in lines.split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length" and value.strip().isdecimal():
            return int(value)
    return None
