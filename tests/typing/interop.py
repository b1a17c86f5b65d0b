"""What a user's type checker accepts of the clients of other libraries."""

from pathlib import Path

import aiohttp
import httpx

import tlsio
from tlsio.interop.aiohttp import Connector
from tlsio.interop.fetch import Fetcher, Response, fetch
from tlsio.interop.httpx import Transport


async def by_httpx() -> str:
    """A client with every kind of option."""
    transport = Transport(
        http2=True, proxy="http://proxy.example:3128", ca=Path("ca.pem"), pins=[bytes(32)], session_cache=tlsio.ClientSessionCache()
    )
    async with httpx.AsyncClient(transport=transport) as client:
        return (await client.get("https://api.example/")).text


async def by_aiohttp() -> str:
    """The same for aiohttp."""
    connector = Connector(limit=10, cert=Path("client.pem"), key=Path("client.key"), min_version="TLSv1.3")
    async with aiohttp.ClientSession(connector=connector) as session, session.get("https://api.example/") as response:
        return await response.text()


async def by_fetch() -> Response:
    """The HTTP client of ours."""
    async with Fetcher(proxy="http://proxy.example:3128", pins=[bytes(32)], timeout=None) as fetcher:
        await fetcher.fetch("https://api.example/", method="POST", headers=[("A", "b")], body=b"", max_redirects=1)
    return await fetch("https://api.example/", headers={"A": "b"}, ca=Path("ca.pem"))


Transport(unknown=True)  # type: ignore[call-arg]
Connector(ca=5)  # type: ignore[arg-type]
