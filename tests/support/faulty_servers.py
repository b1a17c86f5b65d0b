"""Servers with one fault each, for the doctor: ours with odd certificates, `openssl s_server` with odd settings, scripts of bytes.

Each is a context manager that gives its port, made anew by every call.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import subprocess
import tempfile
import threading
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

import pki
import tlsio
from foreign_peers import find, start
from ports import own_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

SERVERS, CLIENTS = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
LIFE = 90 * pki.DAY
# supported_versions with TLS 1.3 as the first of one to four (RFC 8446 section 4.2.1). Two bytes alone would also be found in random ones.
OFFERS_TLS_1_3 = re.compile(rb"\0\x2b\0[\x03\x05\x07\x09][\x02\x04\x06\x08]\x03\x04")


# ---- certificates ----


def leaf(*, names: Sequence[str] = ("localhost",), **fields: Any) -> pki.Identity:
    """Make a certificate as a public authority would today: by ca3, for servers, for 90 days."""
    usual = {"issuer": pki.ca3(), "usages": [SERVERS], "not_after": pki.NOW + LIFE}
    return pki.leaf(names[0] if names else "localhost", names=names, **usual | fields)


@cache
def good() -> pki.Identity:
    """Nothing is wrong with it."""
    return leaf()


@cache
def good_rsa() -> pki.Identity:
    """Nothing is wrong with it either; its key fits suites without ephemeral keys."""
    return leaf(key=pki.rsa_key())


@cache
def small_key() -> rsa.RSAPrivateKey:
    """An RSA key of 1024 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - the fault


@cache
def with_sha1() -> pki.Identity:
    """Signed by ca1 with SHA-1, which only the command line still does."""
    key = pki.rsa_key()
    request = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(pki.NameOID.COMMON_NAME, "localhost")]))
    pem = request.sign(key, pki.hashes.SHA256()).public_bytes(pki.PEM)
    with tempfile.TemporaryDirectory() as folder:
        authority, extensions = Path(folder, "ca.pem"), Path(folder, "extensions")
        authority.write_bytes(pki.ca1().cert_pem + pki.ca1().key_pem)
        extensions.write_text(
            "subjectAltName=DNS:localhost\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nextendedKeyUsage=serverAuth\n"
        )
        command = [
            "openssl",
            "x509",
            "-req",
            "-sha1",
            "-CA",
            str(authority),
            "-set_serial",
            "1",
            "-days",
            "20",
            "-extfile",
            str(extensions),
        ]
        made = subprocess.run(command, check=True, capture_output=True, input=pem)
    return pki.Identity(key, x509.load_pem_x509_certificate(made.stdout))


def pem(*certificates: pki.Identity) -> bytes:
    """Return certificates one after the other."""
    return b"".join(one.cert_pem for one in certificates)


# ---- servers ----


@asynccontextmanager
async def ours(who: pki.Identity | None = None, *, chain: bytes | None = None, page: bytes = b"", **options: Any) -> AsyncIterator[int]:
    """Serve with tlsio: an echo, or `page` for whoever asks for one."""
    who = who or good()

    async def listener(sock: tlsio.TLSSocket) -> None:
        async for chunk in sock:
            await sock.send(page or chunk)
            if page:
                return

    identity = {} if "pfx" in options else {"cert": who.chain_pem if chain is None else chain, "key": who.key_pem}
    async with tlsio.serve(listener, 0, "127.0.0.1", **{"request_cert": False, **identity, **options}) as server:
        yield server.port or 0


@asynccontextmanager
async def openssl(*settings: str, who: pki.Identity | None = None, chain: bytes | None = None) -> AsyncIterator[int]:
    """Serve with `openssl s_server`, one connection after the other."""
    who = who or good()
    with tempfile.TemporaryDirectory(prefix="tlsio-") as name:
        folder = Path(name)
        (folder / "cert").write_bytes(who.cert_pem)
        (folder / "chain").write_bytes(b"".join(one.public_bytes(pki.PEM) for one in who.intermediates) if chain is None else chain)
        (folder / "key").write_bytes(who.key_pem)
        files = ["-cert", str(folder / "cert"), "-key", str(folder / "key"), "-cert_chain", str(folder / "chain")]
        command = ["s_server", "-accept", "0", "-naccept", "99", "-rev", *files, *settings]
        with start(find("openssl", "openssl"), *command) as process:
            for line in process.stdout:
                if found := re.match(rb"ACCEPT .*:(\d+)", line):
                    readers = [threading.Thread(target=stream.read) for stream in (process.stdout, process.stderr)]
                    for reader in readers:
                        reader.start()
                    yield int(found[1])
                    process.kill()
                    for reader in readers:
                        reader.join()
                    return
            raise AssertionError(f"s_server did not start: {process.stderr.read()!r}")


@asynccontextmanager
async def script(
    answer: Callable[[bytes], bytes | None], *, greeting: bytes = b"", reset: bool = False, hold: bool = False
) -> AsyncIterator[int]:
    """Serve bytes: `answer` takes what the client said first; None says nothing. Then the connection ends, unless it is held."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(ConnectionError):
            writer.write(greeting)
            if data := answer(await reader.read(65536)):
                writer.write(data)
                await writer.drain()
            if reset:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif hold:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        if tasks:
            await asyncio.wait(tasks, timeout=5)


@asynccontextmanager
async def alternating(*ports: int) -> AsyncIterator[int]:
    """Pass each connection to the next of these servers: a load balancer."""
    turn = iter(range(10**6))
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", ports[next(turn) % len(ports)])
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        if tasks:
            await asyncio.wait(tasks, timeout=5)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


# ---- a server that answers hellos by hand ----


def server_hello(*, version: int = 0x0303, suite: int = 0xC02F, compression: int = 0, extensions: bytes = b"") -> bytes:
    """Return a ServerHello in a record, and ServerHelloDone after it."""
    body = version.to_bytes(2, "big") + bytes(32) + b"\0" + suite.to_bytes(2, "big") + bytes((compression,))
    body += len(extensions).to_bytes(2, "big") + extensions
    messages = b"\x02" + len(body).to_bytes(3, "big") + body + b"\x0e\x00\x00\x00"
    return b"\x16\x03\x03" + len(messages).to_bytes(2, "big") + messages


def alert(number: int) -> bytes:
    """Return a fatal alert in a record."""
    return bytes((0x15, 3, 3, 0, 2, 2, number))


@asynccontextmanager
async def intolerant() -> AsyncIterator[int]:
    """Serve TLS 1.2 after a device that drops every hello which offers TLS 1.3."""
    tasks: set[asyncio.Task[Any]] = set()

    async with ours(max_version="TLSv1.2") as inner:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task())  # type: ignore[arg-type]
            hello = await reader.read(65536)
            if OFFERS_TLS_1_3.search(hello):
                writer.close()
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", inner)
            far_writer.write(hello)
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            if tasks:
                await asyncio.wait(tasks, timeout=5)


@asynccontextmanager
async def unequal() -> AsyncIterator[int]:
    """Serve by two processes that do not share their ticket keys."""
    async with ours() as one, ours() as other, alternating(one, other) as port:
        yield port


@asynccontextmanager
async def nothing() -> AsyncIterator[int]:
    """Listen nowhere."""
    with own_port() as port:
        yield port


@asynccontextmanager
async def obeying() -> AsyncIterator[int]:
    """Serve SMTP with STARTTLS, and obey under TLS what was sent together with it in plaintext."""
    who = good()
    server = tlsio.create_server(cert=who.chain_pem, key=who.key_pem, request_cert=False)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(tlsio.TLSError, OSError):
            writer.write(b"220 mail\r\n")
            await reader.readline()
            writer.write(b"250-mail\r\n250 STARTTLS\r\n")
            _, _, kept = (await reader.read(1000)).partition(b"\r\n")
            writer.write(b"220 go ahead\r\n")
            async with await server.upgrade((reader, writer)) as sock:
                if kept:
                    await sock.send(b"250 done\r\n")
                await sock.read()

    below = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield below.sockets[0].getsockname()[1]
    finally:
        below.close()
        server.close(0)
        await server.wait_closed()
