"""Headers of requests and responses that a proxy passes on.

Those about the client are ours: those that a client sends itself are removed, in every spelling
that a backend might take for them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from tlsio.https.asgi import Scope
    from tlsio.https.tls.tls_extension import TLSExtension

    Headers = list[tuple[bytes, bytes]]

__all__ = ["forwarded_headers", "without_connection"]

# RFC 9110, section 7.6.1: headers of one connection alone.
_OF_CONNECTION = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)  # fmt: skip
_OURS = (b"x-forwarded", b"x-client-cert")
# The last two divide the path. gunicorn takes them from a proxy on its own machine
# (`forwarder_headers`), which is to set them, or to remove a client's.
_ALSO_OURS = frozenset({b"forwarded", b"x-real-ip", b"script-name", b"path-info"})
_NO_LETTER = re.compile(rb"[^a-z0-9]")
_VISIBLE = "".join(chr(one) for one in range(0x20, 0x7F) if one != ord("%")) + "%"


def forwarded_headers(scope: Scope) -> Headers:
    """Return a request's headers for the backend: the client's own, and ours about the client."""
    sent: Headers = without_connection(scope["headers"])
    headers = [one for one in sent if not _is_ours(one[0])]
    if scope["client"] is not None:
        headers.append((b"x-forwarded-for", scope["client"][0].encode()))
    headers.append((b"x-forwarded-proto", b"https"))
    headers += [(b"x-forwarded-host", value) for name, value in sent if name == b"host"]  # HTTP/1.0 may have none
    tls = scope["extensions"].get("tls")
    if tls is not None:
        headers += _certificate_headers(tls)
    return headers


def _certificate_headers(tls: TLSExtension) -> Headers:
    """Return the headers that name the client's certificate."""
    socket = tls.socket
    certificate = socket.get_peer_certificate()
    if certificate is None:
        return [(b"x-client-cert-verify", b"NONE")]
    verdict = "SUCCESS" if socket.authorized else f"FAILED:{socket.authorization_error}"
    # As Node prints them: what could be taken for two names is quoted (CVE-2021-44532).
    names = ", ".join(str(name) for name in certificate.general_names if name.name is None)
    found = {
        "x-client-cert-verify": verdict,
        "x-client-cert-subject": tls["client_cert_name"],
        "x-client-cert-serial": certificate["serial_number"],
        "x-client-cert-sha256": certificate["fingerprint256"].replace(":", "").lower(),
        "x-client-cert-san": names,
        "x-client-cert": quote(tls["client_cert_chain"][0]),
    }
    return [(name.encode(), _in_header(value)) for name, value in found.items() if value]


def _in_header(value: str) -> bytes:
    """Return text that a client may have chosen, with what no header may have as in URLs.

    A blank at the end would be lost: in a Name it gets its other form (RFC 4514, section 2.4).
    """
    text = quote(value, safe=_VISIBLE)
    if text.endswith(" "):
        text = text[:-1] + ("20" if text.endswith("\\ ") else "%20")
    return text.encode()


def _is_ours(name: bytes) -> bool:
    # CGI and WSGI take "_" for "-", and some servers any other character: X_Forwarded_For and
    # X.Forwarded.For would be X-Forwarded-For there.
    spelled = _NO_LETTER.sub(b"-", name)
    return spelled.startswith(_OURS) or spelled in _ALSO_OURS


def without_connection(headers: Headers) -> Headers:
    """Return headers without those of one connection, with names in lower case."""
    named = {word.strip().lower() for name, value in headers if name.lower() == b"connection" for word in value.split(b",")}
    dropped = (_OF_CONNECTION | named) - {b"host"}  # a client cannot take that one away
    return [(name.lower(), value) for name, value in headers if name.lower() not in dropped]
