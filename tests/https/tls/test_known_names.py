"""Names that `tlsio serve` has served before: handshake threads choose their certificates without the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pki
from served import replace
from tlsio import certs
from tlsio.acme import AuthorityIssuer, Manager, MemoryStorage
from tlsio.https import Server
from tlsio.https.process.settings import Settings, Site
from visits import visit, visit_blocked

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = (pki.leaf(name, names=[name]) for name in ("first.example", "*.second.example"))


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer nothing."""
    raise NotImplementedError


def site(folder: Path, name: str, who: pki.Identity) -> Site:
    """Write the files of a certificate."""
    replace(folder / f"{name}.key", who.key_pem)
    replace(folder / f"{name}.pem", who.chain_pem)
    return Site(cert=folder / f"{name}.pem", key=folder / f"{name}.key")


async def test_certificates_in_files(tmp_path: Path) -> None:
    """An exact name, a wildcard, a name that no certificate has, and none."""
    sites = site(tmp_path, "first", FIRST), site(tmp_path, "second", SECOND)
    settings = Settings(app="a:b", sites=sites, handshake_threads=1, lifespan="off", access_log="off")
    server = Server(app, **settings.server_options())
    await server.start("127.0.0.1", 0)
    try:
        for name, who in {"first.example": FIRST, "a.second.example": SECOND, "other.example": FIRST, "": FIRST}.items():
            assert [await visit(server, name), await visit_blocked(server, name)] == [who.cert_der] * 2
    finally:
        await server.stop()


async def test_automatic_certificates() -> None:
    """Each of the names, and none."""
    manager = Manager(["first.example", "second.example"], MemoryStorage(), [AuthorityIssuer(certs.Authority.create("here"))])
    obtained: list[Any] = []
    both = asyncio.Event()
    manager.on("obtained", lambda status: (obtained.append(status), both.set() if len(obtained) == 2 else None))
    server = Server(app, secure_context=manager, handshake_threads=1, lifespan="off")
    async with manager:
        await server.start("127.0.0.1", 0)
        try:
            await both.wait()
            found = {}
            for name in ("first.example", "second.example", ""):
                found[name] = await visit(server, name)
                assert await visit_blocked(server, name) == found[name]
            assert found["first.example"] == found[""] != found["second.example"]
        finally:
            await server.stop()
