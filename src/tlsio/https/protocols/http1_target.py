"""The target of a request of HTTP/1.1: its path, and the host of one in absolute form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlsio.https.protocols.http1_response import Headers

__all__ = ["take_authority"]

_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE)


def take_authority(url: bytes, method: bytes, headers: Headers) -> bytes | None:
    """Return the path of a target that does not begin with one, and put its host into the headers.

    RFC 9112, section 3.2.2: "the origin server MUST ignore the received Host header field (if any)
    and instead use the host information of the request-target". A request without exactly one Host
    stays an error.

    Returns:
        The path with its query; None: the target is not valid.
    """
    is_options = method == b"OPTIONS"
    if url == b"*" and is_options:
        return url
    found = _ABSOLUTE.fullmatch(url)
    if found is None:
        return None
    host, path = found.groups()
    places = [place for place, (name, _) in enumerate(headers) if name == b"host"]
    if len(places) == 1:
        headers[places[0]] = (b"host", host)
    if not path and is_options:
        return b"*"  # RFC 9112, section 3.2.4
    # uvicorn takes the target of a WebSocket as a path, whatever its form.
    return path if path.startswith(b"/") else b"/" + path
