"""Peers that are not ours: the standard library's TLS in a thread, and raw bytes. Both see what really leaves our side."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pki

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tlsio

ALERT = 21
FATAL = 2
TIMEOUT = 10.0


def client(
    identity: pki.Identity | None = None, *, version: str | None = None, ciphers: str | None = None, alpn: list[str] | None = None
) -> ssl.SSLContext:
    """Make a client of the standard library that trusts anybody; it shows `identity`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version.replace(".", "_")]
    if ciphers is not None:
        context.set_ciphers(ciphers)
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    if identity is not None:
        with tempfile.NamedTemporaryFile() as file:  # the standard library loads them from nowhere else
            file.write(identity.chain_pem + identity.key_pem)
            file.flush()
            context.load_cert_chain(file.name)
    return context


@dataclass
class Visit:
    """What a client of the standard library came back with."""

    error: ssl.SSLError | OSError | None = None
    data: bytes = b""
    session: ssl.SSLSession | None = None
    reused: bool = False
    certificate: bytes | None = None
    version: str | None = None
    cipher: str = ""
    alpn: str | None = None

    @property
    def reason(self) -> str:
        """OpenSSL's reason, such as "TLSV1_ALERT_UNKNOWN_CA"; the errno's text for a connection that was lost."""
        return getattr(self.error, "reason", None) or str(self.error or "")


async def visit(
    server: tlsio.Server, context: ssl.SSLContext, name: str | None = "localhost", *, session: ssl.SSLSession | None = None
) -> Visit:
    """Connect, send "hello", and read until the server ends; the server has to say something and end."""
    return await asyncio.to_thread(_visit, server.port, context, name, session)


def _visit(port: int, context: ssl.SSLContext, name: str | None, session: ssl.SSLSession | None) -> Visit:
    found = Visit()
    try:
        with (
            socket.create_connection(("127.0.0.1", port), TIMEOUT) as below,
            context.wrap_socket(below, server_hostname=name, session=session) as sock,
        ):
            cipher = sock.cipher()
            found.reused = bool(sock.session_reused)
            found.certificate = sock.getpeercert(binary_form=True)
            found.version, found.cipher, found.alpn = sock.version(), cipher[0] if cipher else "", sock.selected_alpn_protocol()
            sock.sendall(b"hello")
            while chunk := sock.recv(65536):
                found.data += chunk
            found.session = sock.session
    except OSError as error:  # ssl.SSLError is one
        found.error = error
    return found


@contextmanager
def dial(server: tlsio.Server) -> Iterator[socket.socket]:
    """Connect without TLS."""
    with socket.create_connection(("127.0.0.1", server.port or 0), TIMEOUT) as sock:
        yield sock


def shake_hands(raw: socket.socket) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """Do a client's handshake, except that its last flight is not sent yet: it waits in the last BIO for what is to follow it."""
    context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(into, out, server_hostname="localhost")
    while True:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            raw.sendall(out.read())
            into.write(raw.recv(65536))
        else:
            return client, into, out


async def send_raw(server: tlsio.Server, data: bytes, *, end: bool = False) -> bytes:
    """Send `data` and return all that comes until the server ends; `end`: with our own FIN behind it."""

    def run() -> bytes:
        found = b""
        with dial(server) as sock:
            sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
            try:
                while chunk := sock.recv(65536):
                    found += chunk
            except ConnectionResetError:
                found += b"(reset)"
        return found

    return await asyncio.to_thread(run)


async def pause(seconds: float) -> None:
    """Let time pass where only the clock of the engine brings the end of something."""
    await asyncio.sleep(seconds)


def alert_in(wire: bytes) -> int | None:
    """Return the number of the fatal alert that stands alone, in the clear, at the end of `wire`."""
    record = wire[-7:]
    plain = len(record) == 7 and record[0] == ALERT and record[3:5] == b"\0\2" and record[5] == FATAL
    return record[6] if plain else None
