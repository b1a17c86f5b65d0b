"""The plaintext dialogs before TLS: SMTP, IMAP, POP3, FTP, LDAP, PostgreSQL, MySQL, XMPP.

Each dialog asks for TLS and returns after the server's consent; it sends nothing else and never
falls back to plaintext. What a server may send before TLS is bounded in all, and nothing that came
after the consent survives: such bytes were injected, and the upgrade is refused (CVE-2011-0411).
The caller bounds the time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from tlsio.model.checks import check_choice
from tlsio.model.errors import ConnectionLostError, HandshakeError
from tlsio.trust.names import printable

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["PIPELINED", "PROTOCOLS", "ask_for_tls", "check_protocol"]

# Everything that a server may send before TLS. A greeting and a list of capabilities have a few
# hundred bytes; XMPP's features, the longest, a few thousand.
_MAX_PLAIN = 32_768
# RFC 5321 §4.5.3.1.5 allows 512 bytes for a reply's line, RFC 7162 §4 recommends 8192 for IMAP.
_MAX_LINE = 8192
_CHUNK = 4096

# RFC 4511 §4.14.1: ExtendedRequest [APPLICATION 23] with requestName 1.3.6.1.4.1.1466.20037, as
# message 1. The response is [APPLICATION 24] and begins with resultCode (§4.1.9).
_LDAP_REQUEST = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
_LDAP_RESPONSE, _ENUMERATED, _SEQUENCE, _INTEGER = 0x78, 0x0A, 0x30, 0x02
# PostgreSQL, "Message Formats", SSLRequest: length 8, code 80877103.
_POSTGRES_REQUEST = bytes.fromhex("0000000804d2162f")
# MySQL, "Protocol::SSLRequest": capabilities (CLIENT_PROTOCOL_41, CLIENT_SSL and
# CLIENT_SECURE_CONNECTION), maximum packet, character set 45 (utf8mb4), 23 bytes of zero.
_CLIENT_SSL = 0x0800
_MYSQL_REQUEST = (0x0200 | _CLIENT_SSL | 0x8000).to_bytes(4, "little") + (2**24).to_bytes(4, "little") + b"\x2d" + bytes(23)
_MYSQL_PROTOCOL, _MYSQL_ERROR = 10, 0xFF
_MYSQL_FIXED = 4 + 8 + 1  # connection id, the first part of the challenge, filler


class _Talk:
    """A conversation over a socket, bounded in bytes."""

    def __init__(self, sock: socket.socket, protocol: str, trailing: bytes) -> None:
        self._socket = sock
        self._trailing = trailing
        self._protocol = protocol
        self._buffer = b""
        self._left = _MAX_PLAIN

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def send_last(self, command: bytes) -> None:
        """Send the command after which TLS begins."""
        await self.send(command + self._trailing)

    async def until(self, end: bytes, limit: int = _MAX_PLAIN) -> bytes:
        """Read up to and with `end`."""
        while end not in self._buffer:
            if len(self._buffer) > limit:
                raise self.too_long()
            await self._receive()
        taken, found, self._buffer = self._buffer.partition(end)
        return taken + found

    async def line(self) -> bytes:
        """Read a line, without its end."""
        return (await self.until(b"\n", _MAX_LINE)).rstrip(b"\r\n")

    async def exactly(self, size: int) -> bytes:
        """Read `size` bytes."""
        if size > _MAX_PLAIN:
            raise self.too_long()
        while len(self._buffer) < size:
            await self._receive()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    async def _receive(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._socket, _CHUNK)
        if not data:
            raise ConnectionLostError(
                f"The server closed the connection before TLS, during {self._protocol}'s dialog",
                hint="Check that this port speaks the protocol, and whether the server accepts connections from here. If it uses TLS from the start, leave starttls= out.",
            )
        self._left -= len(data)
        if self._left < 0:
            raise self.too_long()
        self._buffer += data

    def check_empty(self) -> None:
        """Refuse what the server sent after its consent: it could look like protected data."""
        if self._buffer:
            raise HandshakeError(
                f"The server sent {len(self._buffer)} bytes in plaintext after it had agreed to TLS",
                code="ERR_TLS_STARTTLS_INJECTION",
                hint="Someone between injects commands or answers, or the server violates the protocol: do not trust this connection.",
            )

    def too_long(self) -> HandshakeError:
        return HandshakeError(
            f"The server sent more before TLS than {self._protocol} needs",
            code="ERR_TLS_STARTTLS_LIMIT",
            hint="Check that this port speaks the protocol.",
        )

    def unexpected(self, answer: bytes) -> HandshakeError:
        return HandshakeError(
            f"The server does not speak {self._protocol} here: it sent {_show(answer)}",
            code="ERR_TLS_STARTTLS_PROTOCOL",
            hint="Check the port and the protocol; a port with TLS from the start needs no starttls.",
        )

    def missing(self) -> HandshakeError:
        return HandshakeError(
            f"The server does not offer TLS in {self._protocol}",
            code="ERR_TLS_STARTTLS_MISSING",
            hint="Configure its certificate and enable STARTTLS. If the server does offer it, someone between removes the offer.",
        )

    def refused(self, answer: bytes) -> HandshakeError:
        return HandshakeError(
            f"The server refused TLS in {self._protocol}: {_show(answer)}",
            code="ERR_TLS_STARTTLS_REFUSED",
            hint="See the server's log: often its certificate or key could not be loaded.",
        )


def _show(answer: bytes) -> str:
    """Print a server's bytes for a message: the first ones, without control characters."""
    return repr(printable(answer[:80].decode("utf-8", "replace")))


def check_protocol(value: str | None) -> str | None:
    """Check the name of a dialog.

    Raises:
        UsageError: there is no such dialog.
    """
    return None if value is None else check_choice("starttls", value, tuple(PROTOCOLS))


async def ask_for_tls(sock: socket.socket, protocol: str, host: str, *, trailing: bytes = b"") -> None:
    """Ask the server to start TLS; afterwards its handshake may begin.

    Args:
        sock: Connected and non-blocking.
        protocol: One of `PROTOCOLS`.
        host: The server's name, which XMPP sends.
        trailing: Sent together with the last command: a server must forget it.

    Raises:
        HandshakeError: the server does not offer TLS, refuses it, or breaks the protocol.
        OSError: the connection failed.
        Cancelled: the socket is left as it is; close it.
    """
    name, dialog = _DIALOGS[protocol]
    talk = _Talk(sock, name, trailing)
    await dialog(talk, host)
    talk.check_empty()


async def _reply(talk: _Talk, expected: bytes) -> bytes:
    """Read a reply of SMTP or FTP, which may have several lines: "250-...", then "250 ..."."""
    lines = [await talk.line()]
    code = lines[0][:3]
    if not code.isdigit():
        raise talk.unexpected(lines[0])
    while lines[-1][:4] not in {code, code + b" "}:
        lines.append(await talk.line())
    if code != expected:
        raise talk.unexpected(lines[0]) if expected == b"220" and len(lines) == 1 and code[:1] not in b"45" else talk.refused(lines[0])
    return b"\n".join(lines)


async def _smtp(talk: _Talk, _host: str) -> None:
    """RFC 3207."""
    await _reply(talk, b"220")
    await talk.send(b"EHLO tlsio.invalid\r\n")
    offered = [line[4:].strip().upper() for line in (await _reply(talk, b"250")).split(b"\n")[1:]]
    if b"STARTTLS" not in offered:
        raise talk.missing()
    await talk.send_last(b"STARTTLS\r\n")
    await _reply(talk, b"220")


async def _ftp(talk: _Talk, _host: str) -> None:
    """RFC 4217 §4."""
    await _reply(talk, b"220")
    await talk.send_last(b"AUTH TLS\r\n")
    await _reply(talk, b"234")


async def _imap(talk: _Talk, _host: str) -> None:
    """RFC 9051 §6.2.1."""
    greeting = await talk.line()
    if greeting.upper().startswith(b"* PREAUTH"):
        raise talk.refused(greeting)  # STARTTLS is not possible any more: a known way to prevent it
    if not greeting.upper().startswith(b"* OK"):
        raise talk.unexpected(greeting)
    await talk.send(b"a CAPABILITY\r\n")
    offered: set[bytes] = set()
    while not (line := await talk.line()).upper().startswith(b"A "):
        if line.upper().startswith(b"* CAPABILITY "):
            offered |= set(line.upper().split())
    if b"STARTTLS" not in offered:
        raise talk.missing()
    await talk.send_last(b"b STARTTLS\r\n")
    while not (line := await talk.line()).upper().startswith(b"B "):
        pass
    if not line.upper().startswith(b"B OK"):
        raise talk.refused(line)


async def _pop3(talk: _Talk, _host: str) -> None:
    """RFC 2595 §4."""
    greeting = await talk.line()
    if not greeting.startswith(b"+OK"):
        raise talk.unexpected(greeting)
    await talk.send(b"CAPA\r\n")
    if (await talk.line()).startswith(b"+OK"):  # old servers do not know the command
        offered = set()
        while (line := await talk.line()) != b".":
            offered.add(line.strip().upper())
        if b"STLS" not in offered:
            raise talk.missing()
    await talk.send_last(b"STLS\r\n")
    if not (line := await talk.line()).startswith(b"+OK"):
        raise talk.refused(line)


async def _ldap(talk: _Talk, _host: str) -> None:
    """RFC 4511 §4.14."""
    await talk.send(_LDAP_REQUEST)
    message = await _ber(talk, _SEQUENCE, await talk.exactly(2))
    if message[:3] != bytes((_INTEGER, 1, 1)) or message[3:4] != bytes((_LDAP_RESPONSE,)):
        raise talk.unexpected(message)
    content = message[5 + max(0, message[4] - 0x80) :] if len(message) > 5 else b""  # noqa: PLR2004
    if content[:2] != bytes((_ENUMERATED, 1)):
        raise talk.unexpected(message)
    if content[2:3] != b"\0":
        raise talk.refused(f"resultCode {content[2]}".encode() if len(content) > 2 else content)  # noqa: PLR2004


async def _ber(talk: _Talk, tag: int, header: bytes) -> bytes:
    """Read one element's content; its length may have the long form."""
    if header[0] != tag:
        raise talk.unexpected(header)
    size = header[1]
    if size & 0x80:
        size = int.from_bytes(await talk.exactly(size & 0x7F), "big")
    return await talk.exactly(size)


async def _postgres(talk: _Talk, _host: str) -> None:
    """PostgreSQL, "SSL Session Encryption"."""
    await talk.send(_POSTGRES_REQUEST)
    answer = await talk.exactly(1)
    if answer == b"N":
        raise talk.missing()
    if answer != b"S":
        raise talk.unexpected(answer)


async def _mysql(talk: _Talk, _host: str) -> None:
    """MySQL, "Connection Phase"."""
    header = await talk.exactly(4)
    packet = await talk.exactly(int.from_bytes(header[:3], "little"))
    if packet[:1] == bytes((_MYSQL_ERROR,)):
        raise talk.refused(packet[3:])
    version, _, rest = packet[1:].partition(b"\0")
    if header[3] != 0 or packet[:1] != bytes((_MYSQL_PROTOCOL,)) or len(rest) < _MYSQL_FIXED + 2:
        raise talk.unexpected(header + version)
    if not int.from_bytes(rest[_MYSQL_FIXED : _MYSQL_FIXED + 2], "little") & _CLIENT_SSL:
        raise talk.missing()
    await talk.send(len(_MYSQL_REQUEST).to_bytes(3, "little") + b"\x01" + _MYSQL_REQUEST)


async def _xmpp(talk: _Talk, host: str) -> None:
    """RFC 6120 §5.4. The answers are searched, not parsed: an XML parser would be a larger risk."""
    to = quoteattr(host)
    await talk.send(
        f"<?xml version='1.0'?><stream:stream to={to} version='1.0' xmlns='jabber:client' "
        "xmlns:stream='http://etherx.jabber.org/streams'>".encode()
    )
    start = await talk.until(b">")
    if b"<?xml" not in start and b"<stream:stream" not in start:
        raise talk.unexpected(start)
    features = b""
    while not features.endswith((b"</stream:features>", b"<stream:features/>")):
        features += await talk.until(b">")
        if features.endswith(b"</stream:error>"):
            raise talk.refused(features)
    if b"urn:ietf:params:xml:ns:xmpp-tls" not in features:
        raise talk.missing()
    await talk.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    answer = await talk.until(b">")
    if not answer.strip().startswith(b"<proceed"):
        raise talk.refused(answer)


_DIALOGS: Mapping[str, tuple[str, Callable[[_Talk, str], Awaitable[None]]]] = {
    "smtp": ("SMTP", _smtp),
    "imap": ("IMAP", _imap),
    "pop3": ("POP3", _pop3),
    "ldap": ("LDAP", _ldap),
    "postgres": ("PostgreSQL", _postgres),
    "mysql": ("MySQL", _mysql),
    "ftp": ("FTP", _ftp),
    "xmpp": ("XMPP", _xmpp),
}
PROTOCOLS = tuple(_DIALOGS)
"""The names that `starttls=` accepts."""

PIPELINED = {"smtp": b"NOOP\r\n", "ftp": b"NOOP\r\n", "imap": b"c NOOP\r\n", "pop3": b"NOOP\r\n"}
"""A harmless command that a faulty server may take over into TLS, by protocol."""
