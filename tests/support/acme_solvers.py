"""Small solvers for Pebble, of each type of challenge, that count what they are asked for."""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pebble import Pebble
    from tlsio.acme import Challenge

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737 §6.1


class Recorder:
    """What every solver here does: it remembers what it presented, and what it still presents."""

    type = "none"

    def __init__(self) -> None:
        self.seen: list[Challenge] = []
        self.presented: list[Challenge] = []

    def can_solve(self, identifier: str, *, is_wildcard: bool, is_ip: bool) -> bool:
        """Everything but wildcards."""
        return not is_wildcard

    async def present(self, challenge: Challenge) -> None:
        """Remember it."""
        self.seen.append(challenge)
        self.presented.append(challenge)

    async def clean_up(self, challenge: Challenge) -> None:
        """Forget it."""
        self.presented.remove(challenge)


class Web(Recorder):
    """http-01: a server of plain HTTP on the port where Pebble validates."""

    type = "http-01"

    @asynccontextmanager
    async def listen(self, port: int) -> AsyncIterator[Web]:
        """Listen during the block."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", port, reuse_address=True)
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            line = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
            body = next((one.key_authorization for one in self.presented if line.endswith(f"/{one.token}")), None)
            status = "200 OK" if body else "404 Not Found"
            text = body or "nothing here"
            writer.write(f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


class Names(Recorder):
    """dns-01: records of Pebble's own name server."""

    type = "dns-01"

    def __init__(self, pebble: Pebble) -> None:
        super().__init__()
        self._pebble = pebble

    def can_solve(self, identifier: str, *, is_wildcard: bool, is_ip: bool) -> bool:
        """Everything but addresses."""
        return not is_ip

    async def present(self, challenge: Challenge) -> None:
        """Publish."""
        await super().present(challenge)
        await asyncio.to_thread(self._pebble.set_txt, f"_acme-challenge.{challenge.identifier}", challenge.dns_value)

    async def clean_up(self, challenge: Challenge) -> None:
        """Remove, unless another challenge of the name is under way."""
        await super().clean_up(challenge)
        if all(one.identifier != challenge.identifier for one in self.presented):
            await asyncio.to_thread(self._pebble.clear_txt, f"_acme-challenge.{challenge.identifier}")


class Alpn(Recorder):
    """tls-alpn-01: a server of TLS on the port where Pebble validates."""

    type = "tls-alpn-01"

    @asynccontextmanager
    async def listen(self, port: int) -> AsyncIterator[Alpn]:
        """Listen during the block."""

        def choose(name: str | None, socket: tlsio.TLSSocket) -> tlsio.SecureContext | None:
            found = next((one for one in self.presented if _sni(one) == name), None)
            return None if found is None else _context(found)

        who = pki.localhost()
        options: dict[str, Any] = {"cert": who.chain_pem, "key": who.key_pem, "alpn_protocols": ["acme-tls/1"]}
        async with tlsio.serve(_close, port, "127.0.0.1", sni_callback=choose, **options):
            yield self


async def _close(socket: tlsio.TLSSocket) -> None:
    socket.end()


def _sni(challenge: Challenge) -> str:
    return ipaddress.ip_address(challenge.identifier).reverse_pointer if challenge.is_ip else challenge.identifier


def _context(challenge: Challenge) -> tlsio.SecureContext:
    key = ec.generate_private_key(ec.SECP256R1())
    nobody = x509.Name([])
    name = x509.IPAddress(ipaddress.ip_address(challenge.identifier)) if challenge.is_ip else x509.DNSName(challenge.identifier)
    made = (
        x509.CertificateBuilder(nobody, nobody, key.public_key(), x509.random_serial_number(), pki.NOW - pki.DAY, pki.NOW + pki.DAY)
        .add_extension(x509.SubjectAlternativeName([name]), critical=True)
        .add_extension(x509.UnrecognizedExtension(ACME_IDENTIFIER, b"\x04\x20" + challenge.digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    return tlsio.create_secure_context(cert=made.public_bytes(pki.PEM), key=key, alpn_protocols=["acme-tls/1"])
