"""OpenSSL's own client or server in memory, by ctypes, and the wires that carry its bytes to a socket of ours.

The standard library's `ssl` can neither send a KeyUpdate nor renegotiate, and it decides itself when to write. Here each
call of OpenSSL is one call of the test, and no byte moves before the test moves it.

`WirePeer` is the TLS endpoint. `TcpWire` and `StreamWire` carry bytes: the first over a TCP connection on the loopback, the
second through a byte stream that `TLSSocket` wraps. Both take and give any number of bytes, end with FIN, and break with RST.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import ssl
import struct
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import anyio
from cryptography.hazmat.primitives.asymmetric import rsa

import pki

if TYPE_CHECKING:
    from net import Version

# The numbers of OpenSSL's headers (ssl.h, evp.h, prov_ssl.h).
_SET_MODE, _SET_TLSEXT_HOSTNAME, _ADD_CHAIN, _SET_DH_AUTO, _SET_MIN, _SET_MAX = 33, 55, 89, 118, 123, 124
_MOVING_BUFFER = 2
_ALLOW_CLIENT_RENEGOTIATION, _NO_TICKET = 1 << 8, 1 << 14
_VERIFY_PEER = 1
_ERROR_SSL, _WANT_READ, _WANT_WRITE, _ZERO_RETURN = 1, 2, 3, 6
_SENT_SHUTDOWN, _RECEIVED_SHUTDOWN = 1, 2
_RSA, _EC = 6, 408
_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}

_VERIFIED = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
_CHUNK = 65536


def _find_library() -> str:
    """Return the libssl that is loaded already, so that one process does not hold two of them."""
    assert ssl.OPENSSL_VERSION  # the standard library's module has loaded one
    with open("/proc/self/maps", encoding="utf-8") as maps:  # noqa: PTH123 - not a file on a disk
        found = [line.split()[-1] for line in maps if "/libssl" in line]
    return found[0] if found else "libssl.so.3"


@cache
def _library() -> Any:
    """Load libssl and say what its functions take and return. Symbols of libcrypto are found through it."""
    lib = ctypes.CDLL(_find_library())
    pointer, text, number, long = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_long
    size_out = ctypes.POINTER(ctypes.c_size_t)
    for name, result, arguments in (
        ("TLS_client_method", pointer, ()),
        ("TLS_server_method", pointer, ()),
        ("SSL_CTX_new", pointer, (pointer,)),
        ("SSL_CTX_ctrl", long, (pointer, number, long, pointer)),
        ("SSL_CTX_set_options", ctypes.c_uint64, (pointer, ctypes.c_uint64)),
        ("SSL_CTX_use_certificate_ASN1", number, (pointer, number, text)),
        ("SSL_CTX_use_PrivateKey_ASN1", number, (number, pointer, text, long)),
        ("SSL_CTX_set_post_handshake_auth", None, (pointer, number)),
        ("SSL_set_verify", None, (pointer, number, pointer)),
        ("SSL_CTX_set_session_id_context", number, (pointer, text, ctypes.c_uint)),
        ("SSL_CTX_set_security_level", None, (pointer, number)),
        ("d2i_X509", pointer, (pointer, pointer, long)),
        ("SSL_new", pointer, (pointer,)),
        ("SSL_certs_clear", None, (pointer,)),
        ("SSL_use_certificate_ASN1", number, (pointer, text, number)),
        ("SSL_use_PrivateKey_ASN1", number, (number, pointer, text, long)),
        ("SSL_free", None, (pointer,)),
        ("SSL_set_connect_state", None, (pointer,)),
        ("SSL_set_accept_state", None, (pointer,)),
        ("SSL_ctrl", long, (pointer, number, long, pointer)),
        ("SSL_set_bio", None, (pointer, pointer, pointer)),
        ("SSL_do_handshake", number, (pointer,)),
        ("SSL_read_ex", number, (pointer, pointer, ctypes.c_size_t, size_out)),
        ("SSL_write_ex", number, (pointer, pointer, ctypes.c_size_t, size_out)),
        ("SSL_get_error", number, (pointer, number)),
        ("SSL_key_update", number, (pointer, number)),
        ("SSL_renegotiate", number, (pointer,)),
        ("SSL_verify_client_post_handshake", number, (pointer,)),
        ("SSL_new_session_ticket", number, (pointer,)),
        ("SSL_shutdown", number, (pointer,)),
        ("SSL_set_shutdown", None, (pointer, number)),
        ("SSL_in_init", number, (pointer,)),
        ("SSL_renegotiate_pending", number, (pointer,)),
        ("SSL_state_string_long", text, (pointer,)),
        ("SSL_get1_session", pointer, (pointer,)),
        ("SSL_set_session", number, (pointer, pointer)),
        ("SSL_SESSION_free", None, (pointer,)),
        ("BIO_s_mem", pointer, ()),
        ("BIO_new", pointer, (pointer,)),
        ("BIO_read", number, (pointer, pointer, number)),
        ("BIO_write", number, (pointer, text, number)),
        ("ERR_clear_error", None, ()),
        ("ERR_get_error", ctypes.c_ulong, ()),
        ("ERR_reason_error_string", text, (ctypes.c_ulong,)),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


@_VERIFIED
def _accept_anybody(_good: int, _store: int | None) -> int:
    return 1


_contexts: dict[tuple[object, ...], int] = {}


def _context(version: Version, identity: pki.Identity | None, *, is_server: bool, tickets: bool) -> int:
    """Make an SSL_CTX once for all peers of a kind."""
    name = (version, id(identity), is_server, tickets)  # identities are made once and kept
    if name not in _contexts:
        _contexts[name] = _make_context(version, identity, is_server=is_server, tickets=tickets)
    return _contexts[name]


def _make_context(version: Version, identity: pki.Identity | None, *, is_server: bool, tickets: bool) -> int:
    lib = _library()
    context: int = lib.SSL_CTX_new(lib.TLS_server_method() if is_server else lib.TLS_client_method())
    lib.SSL_CTX_set_security_level(context, 0)
    for control, number in ((_SET_MIN, _VERSIONS[version]), (_SET_MAX, _VERSIONS[version]), (_SET_MODE, _MOVING_BUFFER), (_SET_DH_AUTO, 1)):
        lib.SSL_CTX_ctrl(context, control, number, None)
    lib.SSL_CTX_set_options(context, _ALLOW_CLIENT_RENEGOTIATION | (0 if tickets else _NO_TICKET))
    if is_server:
        lib.SSL_CTX_set_session_id_context(context, b"peer", 4)
    else:
        lib.SSL_CTX_set_post_handshake_auth(context, 1)
    if identity is not None:
        kind = _RSA if isinstance(identity.key, rsa.RSAPrivateKey) else _EC
        assert lib.SSL_CTX_use_certificate_ASN1(context, len(identity.cert_der), identity.cert_der) == 1
        assert lib.SSL_CTX_use_PrivateKey_ASN1(kind, context, identity.key_der, len(identity.key_der)) == 1
        for one in identity.intermediates:
            der = one.public_bytes(pki.DER)
            at = ctypes.c_char_p(der)
            made = lib.d2i_X509(None, ctypes.byref(at), len(der))
            assert lib.SSL_CTX_ctrl(context, _ADD_CHAIN, 0, made) == 1
    return context


class WirePeer:
    """One SSL over two memory BIOs. `give` and `take` are the wire; everything else is a call of OpenSSL.

    Attributes:
        received: Plaintext so far. `wrote`: plaintext that OpenSSL has taken.
        failed: OpenSSL's reason for a fatal error, "" for none.
        ended: The other side's close_notify has come. `done`: the first handshake is.
    """

    def __init__(
        self,
        version: Version,
        *,
        is_server: bool = False,
        identity: pki.Identity | None = None,
        name: str = "localhost",
        tickets: bool = True,
        session: int | None = None,
    ) -> None:
        self._lib = lib = _library()
        self._ssl: int = lib.SSL_new(_context(version, identity, is_server=is_server, tickets=tickets))
        self._in: int = lib.BIO_new(lib.BIO_s_mem())
        self._out: int = lib.BIO_new(lib.BIO_s_mem())
        lib.SSL_set_bio(self._ssl, self._in, self._out)
        self.is_server = is_server
        if is_server:
            lib.SSL_set_accept_state(self._ssl)
        else:
            lib.SSL_set_connect_state(self._ssl)
            lib.SSL_ctrl(self._ssl, _SET_TLSEXT_HOSTNAME, 0, ctypes.cast(ctypes.c_char_p(name.encode()), ctypes.c_void_p))
            if session is not None:
                lib.SSL_set_session(self._ssl, session)
        self._queue = bytearray()  # plaintext that OpenSSL has not taken yet
        self._buffer = ctypes.create_string_buffer(_CHUNK)
        self.received = bytearray()
        self.wrote = 0
        self.failed = ""
        self.done = self.ended = self.end_sent = False
        self._end_due = False

    # ---- the wire

    def give(self, data: bytes) -> None:
        """Let the peer have bytes of the wire, and do all it can do with them."""
        if self._ssl and data:
            self._lib.BIO_write(self._in, data, len(data))

    def take(self) -> bytes:
        """Return all that the peer wants to send."""
        found = b""
        while self._ssl and (n := self._lib.BIO_read(self._out, self._buffer, _CHUNK)) > 0:
            found += self._buffer.raw[:n]
        return found

    # ---- what OpenSSL does

    def handshake(self) -> None:
        """Go on with the first handshake."""
        if not self.done and not self.failed and self._step(self._lib.SSL_do_handshake, self._ssl):
            self.done = True

    def read(self, limit: int = 1 << 30) -> int:
        """Read at most `limit` bytes of plaintext; answers questions of the protocol on the way. Returns how many there were."""
        got, total = ctypes.c_size_t(), 0
        while total < limit and not self.ended and not self.failed and self.done:
            if not self._step(self._lib.SSL_read_ex, self._ssl, self._buffer, min(_CHUNK, limit - total), ctypes.byref(got)):
                break
            self.received += self._buffer.raw[: got.value]
            total += got.value
        return total

    def write(self, data: bytes) -> None:
        """Write plaintext; what OpenSSL does not take now is kept for `push`."""
        if not self.end_sent and not self._end_due:
            self._queue += data
            self.push()

    def push(self) -> None:
        """Give OpenSSL what it has not taken yet, then the end if that is due."""
        took = ctypes.c_size_t()
        while self._queue and self.done and not self.failed and not self.end_sent:
            data = bytes(self._queue[: 1 << 20])
            if not self._step(self._lib.SSL_write_ex, self._ssl, data, len(data), ctypes.byref(took)):
                return
            del self._queue[: took.value]
            self.wrote += took.value
        if self._end_due and not self.end_sent and self.done and not self.failed:
            self._lib.ERR_clear_error()
            self.end_sent = self._lib.SSL_shutdown(self._ssl) >= 0

    def end(self) -> None:
        """Send close_notify, behind what was written."""
        self._end_due = True
        self.push()

    def update_key(self, *, requested: bool) -> None:
        """Send a KeyUpdate (TLS 1.3), with a wish for the other side's."""
        if self.done and not self.failed and not self.end_sent and self._lib.SSL_key_update(self._ssl, int(requested)) == 1:
            self._step(self._lib.SSL_do_handshake, self._ssl)

    def renegotiate(self) -> None:
        """Begin another handshake (TLS 1.2)."""
        able = self.done and not self.failed and not self.end_sent and not self.is_shaking
        if able and self._lib.SSL_renegotiate(self._ssl) == 1:
            self._step(self._lib.SSL_do_handshake, self._ssl)

    def ask_certificate(self) -> None:
        """Ask the client for its certificate after the handshake (TLS 1.3 servers)."""
        self._lib.ERR_clear_error()
        if self.is_server and self.done and not self.failed and not self.end_sent:
            self._lib.SSL_set_verify(self._ssl, _VERIFY_PEER, ctypes.cast(_accept_anybody, ctypes.c_void_p))
            if self._lib.SSL_verify_client_post_handshake(self._ssl) == 1:
                self._step(self._lib.SSL_do_handshake, self._ssl)

    def send_ticket(self) -> None:
        """Send one more session ticket (TLS 1.3 servers)."""
        self._lib.ERR_clear_error()
        if self.is_server and self.done and not self.failed and not self.end_sent and self._lib.SSL_new_session_ticket(self._ssl) == 1:
            self._step(self._lib.SSL_do_handshake, self._ssl)

    @property
    def is_shaking(self) -> bool:
        """Whether a handshake is under way. Asked for another one then, OpenSSL would wait for a message that nobody owes it."""
        return bool(self._ssl and (self._lib.SSL_in_init(self._ssl) or self._lib.SSL_renegotiate_pending(self._ssl)))

    def state(self) -> str:
        """Return where OpenSSL's state machine stands, for messages."""
        return str(self._lib.SSL_state_string_long(self._ssl).decode()) if self._ssl else ""

    def session(self) -> int | None:
        """Return the newest session, for another peer's `session`; `forget` frees it."""
        found: int | None = self._lib.SSL_get1_session(self._ssl) if self._ssl else None
        return found

    @staticmethod
    def forget(session: int) -> None:
        """Free a session."""
        _library().SSL_SESSION_free(session)

    def show(self, identity: pki.Identity | None) -> None:
        """Show another certificate, or none, from now on."""
        self._lib.SSL_certs_clear(self._ssl)
        if identity is not None:
            kind = _RSA if isinstance(identity.key, rsa.RSAPrivateKey) else _EC
            assert self._lib.SSL_use_certificate_ASN1(self._ssl, identity.cert_der, len(identity.cert_der)) == 1
            assert self._lib.SSL_use_PrivateKey_ASN1(kind, self._ssl, identity.key_der, len(identity.key_der)) == 1

    def _step(self, call: Any, *args: Any) -> bool:
        """Call OpenSSL once, and note what it says of an end or a failure."""
        self._lib.ERR_clear_error()
        result = call(*args)
        if result > 0:
            return True
        reason = self._lib.SSL_get_error(self._ssl, result)
        if reason == _ZERO_RETURN:
            self.ended = True
        elif reason not in (_WANT_READ, _WANT_WRITE):
            found = self._lib.ERR_reason_error_string(self._lib.ERR_get_error())
            self.failed = (found or b"unknown").decode()
        return False

    def free(self) -> None:
        """Free it. OpenSSL forbids to resume the session of a connection that was not shut down."""
        if self._ssl:
            self._lib.SSL_set_shutdown(self._ssl, _SENT_SHUTDOWN | _RECEIVED_SHUTDOWN)
            self._lib.SSL_free(self._ssl)
            self._ssl = 0


class TcpWire:
    """A TCP connection that the test reads and writes; neither ever waits."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)  # noqa: FBT003
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self.eof = self.broken = False  # the other side has ended; the connection is lost

    def send(self, data: bytes) -> int:
        """Send what the kernel takes; return how much that is."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.broken = True
            return len(data)

    def receive(self, limit: int) -> bytes:
        """Return what is there, b"" for nothing; `eof` and `broken` tell why nothing comes any more."""
        if self.eof:
            return b""
        try:
            data = self._socket.recv(limit)
        except BlockingIOError:
            return b""
        except OSError:
            self.broken = self.eof = True
            return b""
        self.eof = not data
        return data

    def fin(self) -> None:
        """End our direction."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Close."""
        self._socket.close()


class StreamWire:
    """An anyio byte stream with the test at the other end: `receive`, `send`, `send_eof` and `aclose` are the socket's.

    Attributes:
        room: Bytes that `send` puts down before it waits until the test has taken some.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._to_socket = bytearray()
        self._to_test = bytearray()
        self._end_given = self._end_got = self._closed = False
        self._reset = False
        self._news: asyncio.Event = asyncio.Event()
        self.stream = _Stream(self)

    @property
    def eof(self) -> bool:
        """The socket has ended, and all it sent was received."""
        return self._end_got and not self._to_test

    @property
    def broken(self) -> bool:
        """The stream is closed or was reset."""
        return self._closed or self._reset

    def send(self, data: bytes) -> int:
        """Let the socket receive it."""
        if not self.broken:
            self._to_socket += data
            self._wake()
        return len(data)

    def receive(self, limit: int) -> bytes:
        """Return what the socket has sent, b"" for nothing."""
        data = bytes(self._to_test[:limit])
        del self._to_test[: len(data)]
        if data:
            self._wake()
        return data

    def fin(self) -> None:
        """End our direction."""
        self._end_given = True
        self._wake()

    def reset(self) -> None:
        """Break the stream: both directions of the socket raise."""
        self._reset = True
        self._to_test.clear()
        self._wake()

    def close(self) -> None:
        """Nothing more comes, nothing more is taken."""
        if not self.eof:
            self.reset()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # ---- the socket's side

    async def receive_by_socket(self, limit: int) -> bytes:
        """Wait for bytes of the test's."""
        while True:
            if self._reset or self._closed:
                raise anyio.BrokenResourceError
            if self._to_socket:
                data = bytes(self._to_socket[:limit])
                del self._to_socket[: len(data)]
                return data
            if self._end_given:
                raise anyio.EndOfStream
            await self._news.wait()

    async def send_by_socket(self, data: bytes) -> None:
        """Wait until the test has taken so much that the rest fits."""
        if self.broken or self._end_got:
            raise anyio.BrokenResourceError
        at = 0
        while at < len(data):
            step = data[at : at + max(0, self._room - len(self._to_test))]
            self._to_test += step
            at += len(step)
            if at < len(data):
                await self._news.wait()
                if self.broken:
                    raise anyio.BrokenResourceError
        await asyncio.sleep(0)
        if self._reset:  # what was put down is gone: a stream that returned now would have said that it was taken
            raise anyio.BrokenResourceError

    def end_by_socket(self, *, closed: bool) -> None:
        """End, or close."""
        self._end_got = True
        self._closed = self._closed or closed
        self._wake()


class _Stream:
    """What `TLSSocket` is given."""

    def __init__(self, wire: StreamWire) -> None:
        self._wire = wire

    async def receive(self, max_bytes: int = _CHUNK) -> bytes:
        """Some bytes."""
        return await self._wire.receive_by_socket(max_bytes)

    async def send(self, item: bytes) -> None:
        """Send all of it."""
        await self._wire.send_by_socket(item)

    async def send_eof(self) -> None:
        """End."""
        self._wire.end_by_socket(closed=False)

    async def aclose(self) -> None:
        """Close."""
        self._wire.end_by_socket(closed=True)
