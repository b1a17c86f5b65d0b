"""The properties of a socket's connection: the peer, the negotiated parameters, the addresses.

They stay readable after the close: the engine's connection lives as long as the socket.
"""

from __future__ import annotations

import socket as _socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tlsio.connection.context.secure_context import SecureContext, parse_context
from tlsio.connection.drivers.borrowed import borrow_socket
from tlsio.connection.emitter import Emitter
from tlsio.connection.handshake.diagnostics import warn_of_trace
from tlsio.connection.socket.channel_binding import find_binding, invalid_state
from tlsio.model.checks import check_bytes, check_int, check_text, encode, out_of_range
from tlsio.model.client_hello import parse_client_hello
from tlsio.model.codes import alert_name
from tlsio.model.errors import UsageStateError, UsageTypeError, UsageValueError
from tlsio.native._core import ASK_STATUS
from tlsio.trust.certificate import link, parse

if TYPE_CHECKING:
    import asyncio
    from typing import Self, TextIO

    from cryptography.x509 import Certificate

    from tlsio.connection.drivers.portable import PortableDriver
    from tlsio.connection.handshake.handshake import Handshake
    from tlsio.connection.handshake.side import HandshakeSide
    from tlsio.connection.socket.owner import SocketOwner
    from tlsio.model.checks import BytesLike
    from tlsio.model.client_hello import ClientHello
    from tlsio.model.errors import TLSError
    from tlsio.model.options.context import ContextOptionsDict
    from tlsio.native._core import Connection
    from tlsio.trust.certificate import PeerCertificate


__all__ = ["SocketFacts"]

_RECORD = 16384  # RFC 8446 §5.1: the largest plaintext of one record


class SocketFacts(Emitter):
    """The part of a TLSSocket that moves no data."""

    __slots__ = (
        "_address",
        "_connection",
        "_driver",
        "_handshake",
        "_loop",
        "_owner",
        "_side",
        "_trace_file",
    )

    _address: tuple[Any, Any] | None  # local and remote, if the engine does not know them
    _connection: Connection
    _driver: PortableDriver | None  # None: the loop's reactor has the descriptor, or there is none
    _handshake: Handshake
    _loop: asyncio.AbstractEventLoop | None
    _owner: SocketOwner | None  # the server that it belongs to
    _trace_file: TextIO | None
    _side: HandshakeSide

    if TYPE_CHECKING:

        @property
        def _closed(self) -> bool:
            """Whether the connection is closed."""

    # ---- the peer

    @property
    def authorized(self) -> bool:
        """Whether the peer was authenticated and accepted (Node: `authorized`)."""
        return self._handshake.is_done and self._side.is_authorized(self._handshake)

    @property
    def authorization_error(self) -> str | None:
        """The code of the reason against the peer, or None (Node: `authorizationError`)."""
        return self._side.find_error(self._handshake)

    def get_peer_certificate(self, detailed: bool = False) -> PeerCertificate | None:  # noqa: FBT001, FBT002  (Node's)
        """Return the peer's certificate, None if it sent none.

        With `detailed` it has `issuer_certificate`, up to the root.
        """
        own = self._connection.peer_certificate
        if own is None:
            return None
        return link(self._connection.peer_chain or (own,), self._connection.verified_chain) if detailed else parse(own)

    def get_certificate(self) -> PeerCertificate | None:
        """Return our own certificate, or None."""
        own = self._connection.certificate
        return None if own is None else parse(own)

    def get_peer_x509_certificate(self) -> Certificate | None:
        """Return the peer's certificate as an object of `cryptography`, or None."""
        found = self.get_peer_certificate()
        return None if found is None else found.x509

    def get_x509_certificate(self) -> Certificate | None:
        """Return our own certificate as an object of `cryptography`, or None."""
        found = self.get_certificate()
        return None if found is None else found.x509

    def get_verified_chain(self) -> tuple[Certificate, ...]:
        """Return the verified chain, leaf first; () if the peer is not authorized."""
        if not self.authorized:
            return ()
        return tuple(parse(one).x509 for one in self._connection.verified_chain)

    def _find_failure(self) -> TLSError:
        """Return the connection's error: our reason to refuse the peer, or the engine's fault."""
        fault = self._connection.fault()
        error = self._handshake.refused or self._side.explain(self._handshake, fault)
        if error.alert is None and fault.alert_sent >= 0:
            error.alert = alert_name(fault.alert_sent)
        return error

    def _asked(self, question: int) -> None:
        if question == ASK_STATUS and not self._side.is_server:
            self._emit("ocsp_response", self._connection.stapled)
            if self._handshake.is_over:  # a listener closed the connection
                return
        self._handshake.answer(self._side, question, self)

    def _find_key(self, given: bytes | None) -> tuple[bytes, bytes] | None:
        """Return identity and pre-shared key, or None; called inside OpenSSL.

        `given` is the client's identity, or the server's hint.
        """
        return self._side.find_key(self, given)

    def _key_failed(self, error: BaseException) -> None:
        """Record the exception of `_find_key`, which fails the handshake."""
        self._handshake.fail_psk(error)

    # ---- negotiated parameters

    @property
    def secure_connecting(self) -> bool:
        """Whether the handshake is not done yet."""
        return not self._handshake.is_done and not self._closed

    @property
    def encrypted(self) -> bool:
        """Always True, as in Node."""
        return True

    @property
    def alpn_protocol(self) -> str | None:
        """The protocol negotiated by ALPN, or None (Node: `alpnProtocol`, false for none)."""
        name = self._connection.alpn_protocol
        return None if name is None else name.decode("latin-1")

    @property
    def npn_protocol(self) -> str | None:
        """The protocol negotiated by NPN, ALPN's predecessor, or None (Node v4: `npnProtocol`)."""
        name = self._connection.npn_protocol
        return None if name is None else name.decode("latin-1")

    @property
    def servername(self) -> str | None:
        """The server name in the ClientHello, a lower-case A-label, or None."""
        return self._connection.server_name

    def get_protocol(self) -> str | None:
        """Return the version, such as "TLSv1.3"; None before the handshake."""
        return self._connection.protocol if self._handshake.is_done else None

    def get_cipher(self) -> dict[str, str] | None:
        """Return the cipher suite; None before the handshake.

        `name` and `version` are OpenSSL's, `standard_name` is the RFCs'.
        """
        cipher = self._connection.cipher if self._handshake.is_done else None
        return None if cipher is None else dict(zip(("name", "standard_name", "version"), cipher, strict=True))

    @property
    def psk_identity(self) -> str | None:
        """The identity of the pre-shared key that authenticates this connection; None: none does.

        On a server: a client that named an identity, but came by a certificate, has none.
        """
        return self._connection.psk_identity if self._handshake.is_done else None

    def is_session_reused(self) -> bool:
        """Tell whether an earlier session was resumed; then no certificate was sent."""
        return self._connection.session_reused

    def get_session(self) -> bytes | None:
        """Return the present session, for `session=` of a later connection. It is a secret.

        None before the handshake. (Node: `getSession`.) In TLS 1.3 it cannot be resumed until the
        server has sent a ticket: listen to `session`. On a server it is the data that `new_session`
        gets.
        """
        data = self._connection.session if self._handshake.is_done else None
        return None if data is None else self._side.export_session(self._handshake, data)

    def get_tls_ticket(self) -> bytes | None:
        """Return the session's ticket as the server sent it. It is a secret.

        None on servers, and before the handshake. (Node: `getTLSTicket`.)
        """
        return self._connection.ticket if self._handshake.is_done and not self._side.is_server else None

    def get_ephemeral_key_info(self) -> dict[str, str | int] | None:
        """Return the ephemeral key exchange, also on servers; None before the handshake.

        `{}` if there was no ephemeral key; otherwise `type` is "DH" with `size`, "ECDH" with `name`
        and `size`, or "TLSGroup" with `name` if the group is not a curve, such as X25519MLKEM768.
        """
        if not self._handshake.is_done:
            return None
        found = self._connection.key_info
        if found is None:
            return {}
        kind, name, bits = found
        info: dict[str, str | int] = {"type": kind}
        if name is not None:
            info["name"] = name
        if bits:
            info["size"] = bits
        return info

    def get_shared_sigalgs(self) -> list[str]:
        """Return the signature algorithms that both sides support (such as "ECDSA+SHA256").

        They are in order of preference. The peer's are those in the ClientHello, or in the server's
        CertificateRequest: a client without such a request has none.
        """
        return self._connection.shared_sigalgs

    def get_finished(self) -> bytes | None:
        """Return the Finished message we sent last; None before the handshake."""
        return self._connection.finished[0] if self._handshake.is_done else None

    def get_peer_finished(self) -> bytes | None:
        """Return the Finished message the peer sent last; None before the handshake."""
        return self._connection.finished[1] if self._handshake.is_done else None

    def export_keying_material(self, length: int, label: str, context: BytesLike | None = None) -> bytes:
        """Derive a secret that only the two ends of this connection share.

        Source: RFC 5705, RFC 8446 §7.5.

        Args:
            length: The number of bytes.
            label: The purpose, the same at both ends: registered with IANA, or private and then
                "EXPERIMENTAL...".
            context: Mixed into the secret. Before TLS 1.3, None and an empty context differ.

        Raises:
            UsageStateError: before the handshake (ERR_TLS_INVALID_STATE).
            UsageError: an argument has a wrong type, or OpenSSL rejects it.
        """
        _check_integer("length", length, 1, _MAX_EXPORT)
        purpose = encode("label", check_text("label", label))
        given = None if context is None else check_bytes("context", context)
        if not self._handshake.is_done:
            raise invalid_state("Keying material cannot be exported before the handshake")
        return self._connection.export_keying_material(length, purpose, given)

    def get_channel_binding(self, type: str = "tls-exporter") -> bytes:  # noqa: A002  (Python's name for it)
        """Return bytes that identify this connection, equal at both ends.

        Protocols such as SCRAM-PLUS use them.

        Args:
            type: "tls-exporter" (RFC 9266), "tls-server-end-point" (RFC 5929: the server's
                certificate, so it is the same for all connections to this server), "tls-unique"
                (RFC 5929, up to TLS 1.2).

        Raises:
            UsageStateError: this type does not exist for this connection (ERR_TLS_INVALID_STATE).
            UsageValueError: there is no such type.
        """
        return find_binding(self, self._connection, type)

    def set_max_send_fragment(self, size: int = _RECORD) -> bool:
        """Put at most `size` bytes of plaintext into one record.

        The peer can read small records sooner; large ones have less overhead.

        Returns:
            Whether the size was accepted: 512 to 16384.
        """
        _check_integer("size", size, -(2**31), 2**31 - 1)
        return self._connection.set_max_send_fragment(size)

    @property
    def client_hello(self) -> ClientHello | None:
        """The client's ClientHello, on a server's socket: within hooks and later.

        None before it was received, and on clients.

        Raises:
            UsageStateError: it was not recorded, since the server has no hook and no
                `client_hello=True`.
        """
        message = self._connection.offer
        if message is not None:
            return parse_client_hello(message)
        if self._handshake.is_done and self._side.is_server:
            raise UsageStateError("The ClientHello was not recorded", hint="Give the server client_hello=True.")
        return None

    # ---- settings before the handshake

    def set_key_cert(self, context: SecureContext | ContextOptionsDict) -> None:
        """Replace the certificates, with their keys and chains, in this connection of a server.

        Versions, trust, ALPN and the rest do not change. (Node also replaces the trust.) Call it
        before the handshake, or within `sni_callback` or `alpn_callback`; it overrides the context
        they choose.

        Raises:
            UsageStateError: it is too late, or this is a client.
            UsageError: `context` is not a context, or an option is wrong.
            ConfigError: `context` has no certificate, or OpenSSL rejects one.
        """
        given = parse_context(context)
        made = given if isinstance(given, SecureContext) else SecureContext(given)
        if not self._side.is_server:
            raise invalid_state(
                "set_key_cert() is for servers: a client cannot change its certificate", hint="Give cert= and key= to connect()."
            )
        if self._closed or not self._connection.set_identity(made.native):
            raise invalid_state(
                "It is too late to change the certificate", hint="Call it before the handshake, or in sni_callback or alpn_callback."
            )

    # ---- diagnostics

    def enable_trace(self, file: TextIO | None = None) -> None:
        """Write OpenSSL's trace of all further TLS messages. It exposes sensitive data.

        The format may change.

        Args:
            file: A text file; None: `sys.stderr`.

        Raises:
            UsageStateError: OpenSSL was built without tracing.
        """
        self._connection.record(trace=True)
        self._trace_file = file
        warn_of_trace()

    def _traced(self, text: bytes) -> None:
        try:
            (self._trace_file or sys.stderr).write(text.decode("utf-8", "replace"))
        except Exception as error:  # noqa: BLE001  (the user's file)
            self._listener_failed(error)

    def _listeners_changed(self, event: str) -> None:
        if event == "keylog":
            self._connection.record(keys=True)
        elif event == "session" and not self._side.is_server:
            self._connection.want_sessions()

    def _session_made(self, data: bytes, lifetime: int) -> None:
        self._emit("session", self._side.export_session(self._handshake, data, lifetime))

    def _keylogged(self, lines: bytes) -> None:
        self._side.diagnostics.write_keys(lines)
        for line in lines.splitlines(keepends=True):
            self._emit("keylog", line)
            if self._owner is not None:
                self._owner.keylogged(line, self)

    # ---- amounts of data

    @property
    def truncated(self) -> bool:
        """Whether the peer's FIN came without close_notify: data may be missing."""
        return self._connection.truncated

    @property
    def writable_length(self) -> int:
        """Bytes written but not yet sent."""
        return self._connection.writable_length

    @property
    def bytes_read(self) -> int:
        """Bytes of plaintext received."""
        return self._connection.bytes_read

    @property
    def bytes_written(self) -> int:
        """Bytes of plaintext encrypted; those that wait are in `writable_length`."""
        return self._connection.bytes_written

    @property
    def wire_bytes_read(self) -> int:
        """Bytes received, including TLS overhead.

        (Node v4: `CryptoStream.bytesWritten` of the other side.)
        """
        return self._connection.wire_bytes_read

    @property
    def wire_bytes_written(self) -> int:
        """Bytes sent, including TLS overhead."""
        return self._connection.wire_bytes_written

    # ---- addresses and socket options

    def _addresses(self) -> tuple[Any, Any]:
        if self._address is not None:
            return self._address
        return self._connection.local_address, self._connection.peer_address

    @property
    def local_address(self) -> str | None:
        """Our IP address; None for a Unix socket, or a stream without addresses."""
        return _host(self._addresses()[0])

    @property
    def local_port(self) -> int | None:
        """Our port."""
        return _port(self._addresses()[0])

    @property
    def local_family(self) -> str | None:
        """Ours: "IPv4" or "IPv6"."""
        return _family(self._addresses()[0])

    @property
    def remote_address(self) -> str | None:
        """The peer's IP address."""
        return _host(self._addresses()[1])

    @property
    def remote_port(self) -> int | None:
        """The peer's port."""
        return _port(self._addresses()[1])

    @property
    def remote_family(self) -> str | None:
        """The peer's: "IPv4" or "IPv6"."""
        return _family(self._addresses()[1])

    def address(self) -> dict[str, Any]:
        """Return our `address`, `family` and `port`; {} if there is no IP address."""
        local = self._addresses()[0]
        return {"address": local[0], "family": _family(local), "port": local[1]} if _is_internet(local) else {}

    def set_no_delay(self, enable: bool = True) -> Self:  # noqa: FBT001, FBT002  (Node's)
        """Send small writes at once (TCP_NODELAY). Ignored without TCP."""
        self._set_option(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, int(_checked_bool(enable)))
        return self

    def set_keep_alive(self, enable: bool = True, initial_delay: float = 0.0) -> Self:  # noqa: FBT001, FBT002
        """Probe an idle peer (SO_KEEPALIVE), first after `initial_delay` seconds.

        Below one second, the system's default delay applies. Ignored without TCP.
        """
        if isinstance(initial_delay, bool) or not isinstance(initial_delay, int | float):
            raise UsageTypeError(f"initial_delay must be a number, got {type(initial_delay).__name__}")
        if not 0 <= initial_delay < _MAX_KEEP_ALIVE:
            raise UsageValueError(f"initial_delay must be 0 to {_MAX_KEEP_ALIVE} seconds, got {initial_delay}", code="ERR_OUT_OF_RANGE")
        self._set_option(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, int(_checked_bool(enable)))
        if enable and initial_delay >= 1:
            self._set_option(_socket.IPPROTO_TCP, _socket.TCP_KEEPIDLE, int(initial_delay))
        return self

    def _fileno(self) -> int:
        """Return the descriptor of the transport, -1 if there is none or it is closed."""
        if self._closed:
            return -1
        return self._connection.fileno if self._driver is None else self._driver.fileno()

    def _set_option(self, level: int, name: int, value: int) -> None:
        descriptor = self._fileno()
        if descriptor >= 0:
            with borrow_socket(descriptor) as borrowed, suppress(OSError):  # a Unix socket has no such options
                borrowed.setsockopt(level, name, value)


_MAX_EXPORT = 65535  # RFC 8446 §7.1: HkdfLabel has two bytes for the length
_MAX_KEEP_ALIVE = 32768  # tcp(7): MAX_TCP_KEEPIDLE is 32767


def _checked_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageTypeError(f"enable must be a bool, got {type(value).__name__}")
    return value


def _check_integer(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, float):  # Node, whose numbers are floats, reports 1.5 and NaN as out of range
        raise out_of_range(name, "an integer", value)
    check_int(name, value, low, high)


def _is_internet(address: object) -> bool:
    return isinstance(address, tuple)


def _host(address: Any) -> str | None:
    return str(address[0]) if _is_internet(address) else None


def _port(address: Any) -> int | None:
    return int(address[1]) if _is_internet(address) else None


def _family(address: Any) -> str | None:
    if not _is_internet(address):
        return None
    return "IPv6" if ":" in address[0] else "IPv4"
