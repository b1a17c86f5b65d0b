"""Answers `get_extra_info` of a transport: asyncio's names for facts that a TLSSocket knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsio.connection.drivers.borrowed import borrow_socket
from tlsio.connection.socket.tls_socket import internals_of

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Mapping

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.trust.certificate import PeerCertificate
    from tlsio.trust.names import Name

__all__ = ["SSLObject", "TransportSocket", "find_extra_info"]


def find_extra_info(sock: TLSSocket, name: str, default: Any) -> Any:
    """Return the fact called `name`, or `default` if there is none."""
    find = _FINDERS.get(name)
    found = None if find is None else find(sock)
    return default if found is None else found


class TransportSocket:
    """The kernel's socket of a connection, for options and addresses only.

    It has the methods of `asyncio.trsock.TransportSocket` that do not move data.
    """

    __slots__ = ("fileno",)

    def __init__(self, fileno: Callable[[], int]) -> None:
        """Show the descriptor that `fileno` returns; -1 once it is closed."""
        self.fileno = fileno

    def _borrow(self, use: Callable[[_socket.socket], Any]) -> Any:
        with borrow_socket(self.fileno()) as borrowed:
            return use(borrowed)

    @property
    def family(self) -> int:
        """The address family."""
        return int(self._borrow(lambda one: one.family))

    @property
    def type(self) -> int:
        """SOCK_STREAM."""
        return int(self._borrow(lambda one: one.type))

    @property
    def proto(self) -> int:
        """The protocol's number."""
        return int(self._borrow(lambda one: one.proto))

    def getsockname(self) -> Any:
        """Return our address."""
        return self._borrow(lambda one: one.getsockname())

    def getpeername(self) -> Any:
        """Return the peer's address."""
        return self._borrow(lambda one: one.getpeername())

    def getsockopt(self, *args: Any) -> Any:
        """Read an option of the socket."""
        return self._borrow(lambda one: one.getsockopt(*args))

    def setsockopt(self, *args: Any) -> None:
        """Set an option of the socket."""
        self._borrow(lambda one: one.setsockopt(*args))

    def dup(self) -> _socket.socket:
        """Return a duplicate, which keeps the connection open in the kernel until it is closed."""
        duplicate: _socket.socket = self._borrow(lambda one: one.dup())
        return duplicate

    def gettimeout(self) -> float:
        """Return 0.0: the socket never blocks."""
        return 0.0


class SSLObject:
    """The methods of `ssl.SSLObject` by which libraries ask about a connection."""

    __slots__ = ("_sock",)

    def __init__(self, sock: TLSSocket) -> None:
        self._sock = sock

    @property
    def context(self) -> Any:
        """The SecureContext in use."""
        return internals_of(self._sock).context

    @property
    def server_side(self) -> bool:
        """Whether we are the server."""
        return internals_of(self._sock).side.is_server

    @property
    def server_hostname(self) -> str | None:
        """The name that the client sent (SNI)."""
        return self._sock.servername

    @property
    def session_reused(self) -> bool:
        """Whether an earlier session was resumed."""
        return self._sock.is_session_reused()

    def version(self) -> str | None:
        """Return the protocol, such as "TLSv1.3"."""
        return self._sock.get_protocol()

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher's name, the protocol it was defined in, and its secret bits."""
        found = self._sock.get_cipher()
        return None if found is None else (found["name"], found["version"], _bits(found["name"]))

    def compression(self) -> None:
        """Return None: TLS compression is not supported."""

    def selected_alpn_protocol(self) -> str | None:
        """Return the protocol that both sides agreed on, or None."""
        return self._sock.alpn_protocol

    def getpeercert(self, binary_form: bool = False) -> dict[str, Any] | bytes | None:  # noqa: FBT001, FBT002  (ssl's)
        """Return the peer's certificate as DER, or in `ssl`'s form; {} if it was not verified."""
        found = self._sock.get_peer_certificate()
        if found is None:
            return None
        if binary_form:
            return found.raw
        return _to_ssl_form(found) if self._sock.authorized else {}

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """Return what identifies this connection to protocols above it."""
        return self._sock.get_channel_binding(cb_type)


def _bits(cipher: str) -> int:
    """Return the secret bits of a cipher by its OpenSSL name."""
    if "NULL" in cipher:
        return 0
    if any(name in cipher for name in ("256", "CHACHA20")) and "128" not in cipher:
        return 256
    return 112 if "3DES" in cipher or "DES-CBC3" in cipher else 128


# OpenSSL's long names, which `ssl` shows.
_LONG_NAMES = {
    "CN": "commonName",
    "C": "countryName",
    "ST": "stateOrProvinceName",
    "L": "localityName",
    "O": "organizationName",
    "OU": "organizationalUnitName",
    "DC": "domainComponent",
    "UID": "userId",
    "SN": "surname",
    "GN": "givenName",
    "street": "streetAddress",
    "jurisdictionC": "jurisdictionCountryName",
    "jurisdictionL": "jurisdictionLocalityName",
    "jurisdictionST": "jurisdictionStateOrProvinceName",
}


def _to_ssl_form(certificate: PeerCertificate) -> dict[str, Any]:
    """Return the main fields of a certificate in the form of `ssl.SSLSocket.getpeercert()`."""
    form = {
        "subject": _name_in_ssl_form(certificate.subject_name),
        "issuer": _name_in_ssl_form(certificate.issuer_name),
        "version": certificate.version,
        "serialNumber": certificate["serial_number"],
        "notBefore": certificate["valid_from"],
        "notAfter": certificate["valid_to"],
    }
    if certificate.general_names:
        form["subjectAltName"] = tuple(
            (one.kind, one.text if one.name is None else _name_in_ssl_form(one.name)) for one in certificate.general_names
        )
    return form


def _name_in_ssl_form(name: Name) -> tuple[tuple[tuple[str, str], ...], ...]:
    return tuple(tuple((_LONG_NAMES.get(one.short_name, one.short_name), one.text or "") for one in group) for group in name.relative)


_FINDERS: Mapping[str, Callable[[TLSSocket], Any]] = {
    "peername": lambda sock: internals_of(sock).addresses()[1],
    "sockname": lambda sock: internals_of(sock).addresses()[0],
    "socket": lambda sock: TransportSocket(internals_of(sock).fileno) if internals_of(sock).fileno() >= 0 else None,
    "sslcontext": lambda sock: internals_of(sock).context,
    "ssl_object": SSLObject,
    "peercert": lambda sock: SSLObject(sock).getpeercert(),
    "cipher": lambda sock: SSLObject(sock).cipher(),
    "tls_socket": lambda sock: sock,
}
