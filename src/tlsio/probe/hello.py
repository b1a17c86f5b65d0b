"""A ClientHello made by hand, and what the server answers, up to the point where keys are needed.

OpenSSL refuses to offer what is no longer secure, and so cannot tell whether a server still takes
it. This module offers anything: it makes no keys and ends the connection after the server's first
flight. Numbers are IANA's; messages are those of RFC 8446 §4 and RFC 5246 §7.4. What a server may
send is bounded, and nothing in its answer is trusted or kept but what `Answer` lists.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from tlsio.model.codes import alert_name

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator

__all__ = ["SSL3", "TLS1", "TLS11", "TLS12", "TLS13", "VERSIONS", "Answer", "Offer", "ask"]

SSL3, TLS1, TLS11, TLS12, TLS13 = range(0x0300, 0x0305)
VERSIONS = {SSL3: "SSLv3", TLS1: "TLSv1", TLS11: "TLSv1.1", TLS12: "TLSv1.2", TLS13: "TLSv1.3"}

# A server's first flight: the longest real chains have about 20,000 bytes.
_MAX_FLIGHT = 131_072
_CHUNK = 16_384
_MAX_RECORD = 16_384 + 2048  # RFC 5246 §6.2.3

_ALERT, _HANDSHAKE = 21, 22
_SERVER_HELLO, _KEY_EXCHANGE, _CERTIFICATE_REQUEST, _HELLO_DONE = 2, 12, 13, 14

_NAME, _GROUPS, _POINTS, _SIGNATURES, _EMS, _TICKET = 0, 10, 11, 13, 23, 35
_SUPPORTED, _MODES, _KEY_SHARE, _RENEGOTIATION = 43, 45, 51, 0xFF01
_RENEGOTIATION_SUITE = 0x00FF  # RFC 5746 §3.3
_NAMED_CURVE = 3

# What browsers offer, and SHA-1 at the end for servers of TLS 1.2 that have nothing else.
SIGNATURES = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0807, 0x0203, 0x0201)
GROUPS = (0x001D, 0x0017, 0x0018, 0x0019)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a hello offers.

    Attributes:
        version: The newest version; TLS 1.3 is offered alone.
        suites: Numbers.
        groups: Numbers. In TLS 1.3 no key share is sent, so the server answers with the group that
            it wants.
        server_name: A-label; None sends no SNI.
    """

    version: int
    suites: tuple[int, ...]
    groups: tuple[int, ...] = GROUPS
    server_name: str | None = None

    def encode(self) -> bytes:
        """Return the record with the message."""
        extensions = b"".join(_extension(kind, content) for kind, content in self._extensions())
        suites = b"".join(number.to_bytes(2, "big") for number in self._suites())
        body = min(self.version, TLS12).to_bytes(2, "big") + secrets.token_bytes(32) + _vector(secrets.token_bytes(32), 1)
        # RFC 8446 §4.1.2: "this vector MUST contain exactly one byte, set to zero"; older versions
        # also get an offer of DEFLATE, to see who takes it.
        body += _vector(suites, 2) + _vector(b"\x00" if self.version == TLS13 else b"\x01\x00", 1)
        if self.version > SSL3:
            body += _vector(extensions, 2)
        message = b"\x01" + _vector(body, 3)
        # RFC 8446 §5.1: the first hello's record has the version 0x0301 for compatibility.
        return bytes((_HANDSHAKE,)) + min(self.version, TLS1).to_bytes(2, "big") + _vector(message, 2)

    def _suites(self) -> tuple[int, ...]:
        # SSL 3.0 has no extensions, so it gets the number that stands for this one.
        return (*self.suites, _RENEGOTIATION_SUITE) if self.version < TLS13 else self.suites

    def _extensions(self) -> Iterator[tuple[int, bytes]]:
        if self.server_name is not None:
            yield _NAME, _vector(b"\0" + _vector(self.server_name.encode("ascii"), 2), 2)
        yield _GROUPS, _numbers(self.groups)
        yield _SIGNATURES, _numbers(SIGNATURES)
        if self.version == TLS13:
            yield _SUPPORTED, _vector(TLS13.to_bytes(2, "big"), 1)
            yield _MODES, _vector(b"\x01", 1)
            yield _KEY_SHARE, _vector(b"", 2)
        else:
            yield _POINTS, _vector(b"\0", 1)
            yield _EMS, b""
            yield _TICKET, b""


def _vector(content: bytes, size: int) -> bytes:
    return len(content).to_bytes(size, "big") + content


def _numbers(values: Iterable[int]) -> bytes:
    return _vector(b"".join(value.to_bytes(2, "big") for value in values), 2)


def _extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _vector(content, 2)


Kind: TypeAlias = Literal["hello", "alert", "closed", "reset", "silent", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answers to a hello.

    Attributes:
        kind: "hello": it goes on. "alert", "closed", "reset", "silent": it does not. "other": it
            does not speak TLS, or breaks the protocol.
        version: The chosen version.
        suite: The chosen suite.
        group: The chosen group, if the first flight says.
        dh_bits: The size of a Diffie-Hellman prime, if one was used.
        compression: The chosen compression; 0 is none.
        secure_renegotiation: RFC 5746 is supported.
        extended_master_secret: RFC 7627 is supported.
        requests_certificate: The client is asked for a certificate (up to TLS 1.2).
        alert: The alert's name.
        first_bytes: The first bytes of the answer, at most 16.
    """

    kind: Kind
    version: int | None = None
    suite: int | None = None
    group: int | None = None
    dh_bits: int | None = None
    compression: int = 0
    secure_renegotiation: bool = False
    extended_master_secret: bool = False
    requests_certificate: bool = False
    alert: str | None = None
    first_bytes: bytes = b""


async def ask(sock: socket.socket, offer: Offer, *, patience: float) -> Answer:
    """Send a hello, and read the server's first flight.

    Args:
        sock: Connected and non-blocking; it is not closed.
        offer: What to offer.
        patience: Seconds for the whole flight. A limit for each read would never end for a server
            that sends one byte at a time.

    Raises:
        Cancelled: the socket is left as it is; close it.
    """
    loop = asyncio.get_running_loop()
    flight = _Flight()
    try:
        async with asyncio.timeout(patience):
            await loop.sock_sendall(sock, offer.encode())
            while not flight.is_complete:
                data = await loop.sock_recv(sock, _CHUNK)
                if not data:
                    return flight.answer("closed")
                flight.feed(data)
    except TimeoutError:
        return flight.answer("silent")
    except OSError:
        return flight.answer("reset")
    except (ValueError, IndexError):
        return flight.answer("other")
    return flight.answer("hello")


class _Flight:
    """Collects the messages of a server's first flight."""

    def __init__(self) -> None:
        self._records = b""
        self._messages = b""
        self._size = 0
        self._first = b""
        self._facts: dict[str, object] = {}
        self._kind: Kind | None = None
        self.is_complete = False

    def answer(self, end: Kind) -> Answer:
        """Return what was found; `end` is how the connection ended, or "hello"."""
        kind = self._kind or end
        if kind in {"closed", "reset", "silent"} and self._first and "version" not in self._facts:
            kind = "other"
        elif "version" in self._facts and kind != "alert":
            kind = "hello"
        return Answer(kind=kind, first_bytes=self._first, **self._facts)  # type: ignore[arg-type]

    def feed(self, data: bytes) -> None:
        """Read records and messages.

        Raises:
            ValueError: this is not TLS, or too long.
        """
        self._first = (self._first + data)[:16]
        self._size += len(data)
        if self._size > _MAX_FLIGHT:
            raise ValueError("too long")
        self._records += data
        while len(self._records) >= 5 and not self.is_complete:  # noqa: PLR2004 - type, version, length
            kind, major, size = self._records[0], self._records[1], int.from_bytes(self._records[3:5], "big")
            if major != SSL3 >> 8 or kind not in {_ALERT, _HANDSHAKE} or not 0 < size <= _MAX_RECORD:
                raise ValueError("not TLS")
            if len(self._records) < 5 + size:
                return
            content, self._records = self._records[5 : 5 + size], self._records[5 + size :]
            if kind == _ALERT:
                self._read_alert(content)
            else:
                self._messages += content
                self._read_messages()

    def _read_alert(self, content: bytes) -> None:
        # A warning, such as unrecognized_name, is followed by the ServerHello.
        if len(content) == 2 and content[0] == 2:  # noqa: PLR2004 - level fatal, description
            self._facts["alert"] = alert_name(content[1])
            self._kind = "alert"
            self.is_complete = True

    def _read_messages(self) -> None:
        while len(self._messages) >= 4 and not self.is_complete:  # noqa: PLR2004 - type, length
            size = int.from_bytes(self._messages[1:4], "big")
            if len(self._messages) < 4 + size:
                return
            kind, body = self._messages[0], self._messages[4 : 4 + size]
            self._messages = self._messages[4 + size :]
            if kind == _SERVER_HELLO:
                self._read_hello(body)
            elif kind == _KEY_EXCHANGE:
                self._read_key_exchange(body)
            elif kind == _CERTIFICATE_REQUEST:
                self._facts["requests_certificate"] = True
            if kind == _HELLO_DONE:
                self.is_complete = True

    def _read_hello(self, body: bytes) -> None:
        version = int.from_bytes(body[:2], "big")
        session_end = 35 + body[34]
        self._facts["suite"] = int.from_bytes(body[session_end : session_end + 2], "big")
        self._facts["compression"] = body[session_end + 2]
        extensions = dict(_read_extensions(body[session_end + 5 :]))
        if _SUPPORTED in extensions:
            version = int.from_bytes(extensions[_SUPPORTED][:2], "big")
            self.is_complete = True  # all that follows is encrypted
        if version not in VERSIONS:
            raise ValueError("a version that was not offered")
        if _KEY_SHARE in extensions:
            self._facts["group"] = int.from_bytes(extensions[_KEY_SHARE][:2], "big")
        self._facts["version"] = version
        self._facts["secure_renegotiation"] = _RENEGOTIATION in extensions
        self._facts["extended_master_secret"] = _EMS in extensions

    def _read_key_exchange(self, body: bytes) -> None:
        """Read the group: its number for elliptic curves, the size of the prime for others."""
        suite = self._facts.get("suite")
        if isinstance(suite, int) and suite in DHE_SUITES:
            prime = body[2 : 2 + int.from_bytes(body[:2], "big")]
            self._facts["dh_bits"] = int.from_bytes(prime, "big").bit_length()
        elif body[:1] == bytes((_NAMED_CURVE,)):
            self._facts["group"] = int.from_bytes(body[1:3], "big")


def _read_extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:  # noqa: PLR2004 - kind, length
        kind, size = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        yield kind, data[4 : 4 + size]
        data = data[4 + size :]


# ---- suites, by kind (IANA's registry) -----------------------------------------------------------

TLS13_SUITES = (0x1301, 0x1302, 0x1303)
# ECDHE with AES-GCM or ChaCha20-Poly1305: what RFC 9325 §4.2 recommends.
MODERN_SUITES = (0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8)
ECDHE_CBC_SUITES = (0xC009, 0xC013, 0xC00A, 0xC014, 0xC023, 0xC027, 0xC024, 0xC028)
DHE_SUITES = (0x009E, 0x009F, 0xCCAA, 0x0033, 0x0039, 0x0067, 0x006B, 0x0016, 0x0015, 0x0014)
RSA_SUITES = (0x009C, 0x009D, 0x002F, 0x0035, 0x003C, 0x003D)
# RC4, 3DES, DES, export, NULL, and without authentication.
WEAK_SUITES = {
    0x0005: "RC4", 0x0004: "RC4", 0xC011: "RC4", 0xC007: "RC4",
    0x000A: "3DES", 0xC012: "3DES", 0xC008: "3DES", 0x0016: "3DES",
    0x0009: "DES", 0x0015: "DES",
    0x0003: "export", 0x0006: "export", 0x0008: "export", 0x0014: "export",
    0x0001: "NULL", 0x0002: "NULL", 0x003B: "NULL", 0xC010: "NULL", 0xC006: "NULL",
    0x0018: "anonymous", 0x0034: "anonymous", 0x003A: "anonymous", 0x006C: "anonymous", 0x00A6: "anonymous", 0xC018: "anonymous",
    0xC019: "anonymous",
}  # fmt: skip
ALL_OLD_SUITES = (*ECDHE_CBC_SUITES, *DHE_SUITES, *RSA_SUITES, *WEAK_SUITES)
# The groups that every client of the web has, and those that some servers are limited to.
USUAL_GROUPS = (0x001D, 0x0017)
ALL_GROUPS = (0x001D, 0x0017, 0x0018, 0x0019, 0x001E, 0x001A, 0x001B, 0x001C, 0x0016, 0x0015, 0x0013, 0x0100, 0x0101, 0x0102)
GROUP_NAMES = {
    0x0013: "P-192", 0x0015: "P-224", 0x0016: "secp256k1", 0x0017: "P-256", 0x0018: "P-384", 0x0019: "P-521", 0x001A: "brainpoolP256r1", 0x001B: "brainpoolP384r1",
    0x001C: "brainpoolP512r1", 0x001D: "X25519", 0x001E: "X448", 0x0100: "ffdhe2048", 0x0101: "ffdhe3072", 0x0102: "ffdhe4096",
}  # fmt: skip
