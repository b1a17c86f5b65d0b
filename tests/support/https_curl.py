"""An HTTPS server of ours for a test, and curl as its client."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pki
from tlsio.https import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

VERSIONS = ["1.1", "2"]


@dataclass(frozen=True)
class Answer:
    """What curl got.

    Attributes:
        status: Such as 200.
        version: Of HTTP: "1.1" or "2".
        headers: By their names in lower case; all values of a name.
        body: As it came.
    """

    status: int
    version: str
    headers: dict[str, list[str]]
    body: bytes

    def __getitem__(self, name: str) -> str:
        """Return a header that came once."""
        [value] = self.headers[name]
        return value

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()


@dataclass(frozen=True)
class Site:
    """A server, and what a client needs for it."""

    server: Server
    folder: Path

    @property
    def port(self) -> int:
        """That of HTTPS."""
        return self.server.port or 0

    async def get(self, path: str = "/", *arguments: str, version: str = "1.1", host: str = "localhost") -> Answer:
        """Request a path by curl."""
        url = f"https://{host}:{self.port}{path}"
        to_here = f"{host}:{self.port}:127.0.0.1"
        return await curl(url, f"--http{version}", "--resolve", to_here, "--cacert", str(self.folder / "ca.pem"), *arguments)

    def as_client(self, who: pki.Identity) -> tuple[str, ...]:
        """Return curl's arguments for a client certificate."""
        cert, key = self.folder / "client.pem", self.folder / "client.key"
        cert.write_bytes(who.chain_pem)
        key.write_bytes(who.key_pem)
        return "--cert", str(cert), "--key", str(key)


@asynccontextmanager
async def serving(app: Any, *, who: pki.Identity | None = None, **options: Any) -> AsyncIterator[Site]:
    """Serve an application on 127.0.0.1."""
    identity = who or pki.localhost()
    server = Server(app, cert=identity.chain_pem, key=identity.key_pem, **options)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ca.pem").write_bytes(pki.ca1().cert_pem + identity.cert_pem)
        await server.start("127.0.0.1", 0)
        try:
            yield Site(server, folder)
        finally:
            await server.stop()


async def curl(url: str, *arguments: str, data: bytes | None = None) -> Answer:
    """Run curl, which must get an answer."""
    command = ["curl", "--silent", "--show-error", "--include", "--noproxy", "*", "--max-time", "20", "--path-as-is", *arguments, url]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = await process.communicate(data)
    assert process.returncode == 0, err.decode()
    status, headers, body = 100, {}, out
    while status < 200:
        head, _, body = body.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.lower(), []).append(value.strip())
    return Answer(status, first.split(" ")[0].removeprefix("HTTP/"), headers, body)
