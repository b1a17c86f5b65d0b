"""Facts about a TLS connection under the names that Apache's mod_ssl gives them.

Source: "Apache Module mod_ssl", version 2.4, "Environment Variables".
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tlsio.trust.roots import to_pem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.trust.certificate import PeerCertificate
    from tlsio.trust.names import Name

__all__ = ["describe", "print_name"]

# mod_ssl's names of attributes, where OpenSSL's short names differ.
_ATTRIBUTES = {"title": "T", "initials": "I", "GN": "G", "SN": "S", "description": "D", "emailAddress": "Email"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_KNOWN = frozenset({"C", "ST", "L", "O", "OU", "CN", "UID", *_ATTRIBUTES})
_ALTERNATIVE_NAMES = {"DNS": "DNS", "email": "Email", "URI": "URI"}  # mod_ssl has no URI; SPIFFE needs it


def describe(socket: TLSSocket, chain: Sequence[str]) -> dict[str, str]:
    """Return mod_ssl's variables, as WSGI has texts: bytes of UTF-8, decoded as Latin-1.

    Args:
        socket: A connection whose handshake is done.
        chain: The certificates that the client sent, leaf first, PEM.
    """
    cipher = socket.get_cipher()
    found = {
        "HTTPS": "on",
        "SSL_PROTOCOL": socket.get_protocol() or "",
        "SSL_CIPHER": cipher["name"] if cipher else "",
        "SSL_SESSION_RESUMED": "Resumed" if socket.is_session_reused() else "Initial",
        "SSL_CLIENT_VERIFY": "NONE",
    }
    if socket.servername:
        found["SSL_TLS_SNI"] = socket.servername
    own = socket.get_certificate()
    if own is not None:
        found.update(_certificate("SSL_SERVER", own))
    peer = socket.get_peer_certificate()
    if peer is not None:
        found["SSL_CLIENT_VERIFY"] = "SUCCESS" if socket.authorized else f"FAILED:{socket.authorization_error}"
        found.update(_certificate("SSL_CLIENT", peer))
        if peer.not_after is not None:
            found["SSL_CLIENT_V_REMAIN"] = str(max(0, (peer.not_after - datetime.now(UTC)).days))
        found.update((f"SSL_CLIENT_CERT_CHAIN_{number}", pem) for number, pem in enumerate(chain[1:]))
    return {name: value.encode("utf-8", "replace").decode("latin-1") for name, value in found.items()}


def print_name(name: Name) -> str:
    r"""Return a name as RFC 4514 writes it, with control characters as `\0A` (section 2.4).

    A name with a line break would be two lines of a log, or two headers.
    """
    return _CONTROL.sub(lambda found: "".join(f"\\{byte:02X}" for byte in found[0].encode()), name.rfc2253())


def _certificate(prefix: str, certificate: PeerCertificate) -> Iterator[tuple[str, str]]:
    yield f"{prefix}_M_VERSION", str(certificate.version)
    yield f"{prefix}_M_SERIAL", certificate["serial_number"] or ""
    yield f"{prefix}_V_START", certificate["valid_from"]
    yield f"{prefix}_V_END", certificate["valid_to"]
    yield from _name(f"{prefix}_S_DN", certificate.subject_name)
    yield from _name(f"{prefix}_I_DN", certificate.issuer_name)
    count = Counter[str]()
    for name in certificate.general_names:
        kind = _ALTERNATIVE_NAMES.get(name.kind)
        if kind is not None:
            yield f"{prefix}_SAN_{kind}_{count[kind]}", name.text
            count[kind] += 1
        elif name.text.startswith("UPN:") and name.kind == "othername":
            yield f"{prefix}_SAN_OTHER_msUPN_{count['UPN']}", name.text.removeprefix("UPN:")
            count["UPN"] += 1
    yield f"{prefix}_CERT", to_pem([certificate.raw])[0]


def _name(prefix: str, name: Name) -> Iterator[tuple[str, str]]:
    """Yield a name and its attributes: the second of a kind has `_1` at its end."""
    yield prefix, print_name(name)
    count = Counter[str]()
    for attribute in name.attributes():
        if attribute.short_name in _KNOWN and attribute.text is not None:
            key = _ATTRIBUTES.get(attribute.short_name, attribute.short_name)
            yield f"{prefix}_{key}{f'_{count[key]}' if count[key] else ''}", attribute.text
            count[key] += 1
