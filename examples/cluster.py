"""Processes that share a port and, through Redis, ticket keys: each resumes the others' sessions.

python cluster.py redis://localhost:6379 [processes] [visits]       # pip install 'tlsio[redis]'
"""

import asyncio
import multiprocessing
import os
import secrets
import socket
import sys
from typing import Any

from certificates import Authority, Identity

import tlsio


async def serve(port: int, url: str, secret: str, own: Identity, ready: Any) -> None:
    """Run one of the processes: send each client the process id."""
    async with tlsio.RedisTicketKeys(url, secret=secret) as keys:
        server = tlsio.create_server(lambda sock: sock.end(b"%d" % os.getpid()), cert=own.cert, key=own.key, ticket_keys=keys)
        await server.listen(port, "127.0.0.1", reuse_port=True)
        ready.wait()
        await server.serve_forever()


async def visit(port: int, authority: Authority, visits: int) -> None:
    """Connect several times as one client."""
    cache, reached, resumed = tlsio.ClientSessionCache(), set(), 0
    for _ in range(visits):
        async with tlsio.connect(port, "127.0.0.1", servername="localhost", ca=authority.cert, session_cache=cache) as sock:
            reached.add(await sock.read())
            resumed += sock.is_session_reused()
    print(f"{resumed} of {visits} visits were resumed, at {len(reached)} processes")


def main(url: str, processes: int = 4, visits: int = 100) -> None:
    """Start the processes and connect to them; they end with this one."""
    authority, secret, forking = Authority(), secrets.token_urlsafe(32), multiprocessing.get_context("fork")
    own, ready = authority.issue("localhost"), forking.Barrier(processes + 1)
    with socket.socket() as reserved:  # bound, not listening: reserves the port until all processes listen
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        for _ in range(processes):
            forking.Process(target=lambda: asyncio.run(serve(port, url, secret, own, ready)), daemon=True).start()
        ready.wait()
        asyncio.run(visit(port, authority, visits))


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: python cluster.py redis://localhost:6379 [processes] [visits]")
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
