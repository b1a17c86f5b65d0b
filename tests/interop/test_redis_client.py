"""The connection class for redis-py that docs/how-to/frameworks.md shows, with a real Redis behind the standard library's TLS."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import redis.exceptions

import http_peers
import pki
import tlsio
from redis_server import RedisServer

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "frameworks.md"


def shown() -> dict[str, Any]:
    """Run the page's code; return what it defines."""
    (source,) = re.findall(r"^```python\n([^`]*class TLSConnection.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {}
    exec(source, found)  # noqa: S102 - of our own page
    return found


async def test_redis_client_over_our_tls() -> None:
    """Commands work, connections resume, and an untrusted server is refused."""
    visits: list[bool] = []
    with RedisServer() as server:
        port = int(server.url.split(":")[2].split("/")[0])

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            visits.append(writer.get_extra_info("ssl_object").session_reused)
            below, beyond = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(http_peers.copy(reader, beyond), http_peers.copy(below, writer))

        async with await asyncio.start_server(carry, "127.0.0.1", 0, ssl=http_peers.stdlib_context()) as front:
            where, make_client = front.sockets[0].getsockname()[1], shown()["make_client"]
            cache = tlsio.ClientSessionCache()
            for _ in range(2):
                async with make_client("localhost", where, ca=pki.ca1().cert_pem, session_cache=cache) as client:
                    await client.set("key", bytes(100_000))
                    assert await client.get("key") == bytes(100_000)
            assert visits == [False, True]
            async with make_client("localhost", where, ca=pki.ca2().cert_pem) as client:
                with pytest.raises(redis.exceptions.ConnectionError) as caught:
                    await client.get("key")
                assert isinstance(caught.value.__cause__, tlsio.CertificateError)
