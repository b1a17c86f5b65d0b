"""One node of a cluster: python support/cluster_node.py PORT REDIS CERT KEY; it prints a line when it listens."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import tlsio
from redis_server import SECRET


async def main(port: str, url: str, cert: str, key: str) -> None:
    """Serve until killed, with ticket keys that change each minute."""
    async with tlsio.RedisTicketKeys(url, secret=SECRET, interval=60.0, overlap=120.0) as keys:
        server = tlsio.create_server(lambda sock: sock.end(b"hello"), cert=Path(cert), key=Path(key), ticket_keys=keys)
        await server.listen(int(port), "127.0.0.1", reuse_port=True)
        print("listening", flush=True)  # noqa: T201
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
