"""Two servers of a cluster: a client that was at one resumes its session at the other.

python cluster.py                           # the servers share a store in memory: both are in this process
python cluster.py redis://localhost:6379    # they share Redis, and could be on two machines; pip install 'tlsio[redis]'
"""

import asyncio
import secrets
import sys

from certificates import Authority

import tlsio


async def main(url: str | None) -> None:
    """Start two servers with the same options, visit one, then the other."""
    authority = Authority()
    own = authority.issue("localhost")
    memory = tlsio.MemorySessionStore()
    secret = secrets.token_urlsafe(32)  # in a real cluster from a vault, the same on all nodes
    stores = [tlsio.RedisSessionStore(url, secret=secret) for _ in range(2)] if url else [memory, memory]

    def greet(socket: tlsio.TLSSocket) -> None:
        socket.end(b"resumed\n" if socket.is_session_reused() else b"new here\n")

    sessions: list[bytes] = []
    for name, store in zip(("one", "two"), stores, strict=True):
        async with tlsio.serve(greet, 0, "localhost", cert=own.cert, key=own.key, session_store=store) as server:
            session = sessions[-1] if sessions else None
            async with tlsio.connect(server.port, ca=authority.cert, session=session, on={"session": sessions.append}) as socket:
                print(f"server {name}: {(await socket.read()).decode().strip()}")
        print(f"its store: {store.stats().hits} found, {store.stats().errors} errors")
        if isinstance(store, tlsio.RedisSessionStore):
            await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:] or [None]))
