"""An aiohttp client over tlsio: it pins the server's key, and says why it refuses another one."""

import asyncio

import aiohttp
from certificates import Authority
from pinning import pin

import tlsio
from tlsio.interop.aiohttp import Connector


async def answer(socket: tlsio.TLSSocket) -> None:
    """Answer one request."""
    await socket.readuntil(b"\r\n\r\n")
    await socket.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nHello")


async def main() -> None:
    """Serve with the pinned key, then with another one."""
    authority = Authority()
    pinned, other = authority.issue("localhost"), authority.issue("localhost")
    async with tlsio.serve(answer, 0, "localhost", cert=pinned.cert, key=pinned.key) as server:
        connector = Connector(ca=authority.cert, pins=[pin(pinned.cert)])
        async with aiohttp.ClientSession(f"https://localhost:{server.port}", connector=connector) as session:
            async with session.get("/") as response:
                print(response.status, await response.text())
            server.set_secure_context(cert=other.cert, key=other.key)
            try:
                await session.get("/")
            except aiohttp.ClientConnectorCertificateError as error:
                print("refused:", error.__cause__)


if __name__ == "__main__":
    asyncio.run(main())
