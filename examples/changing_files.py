"""A server and a client whose files change while they run, by tlsio.FileSource."""

import asyncio
import tempfile
from pathlib import Path

from certificates import Authority

import tlsio


async def greet(socket: tlsio.TLSSocket) -> None:
    """Say hello, and end."""
    await socket.send(b"hello\n")


async def main() -> None:
    """Connect, let another authority issue the server's certificate, and connect again."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def renew() -> None:
            authority = Authority()
            issued = authority.issue("localhost")
            for name, file in {"ca.pem": authority.cert, "server.pem": issued.cert, "server.key": issued.key}.items():
                (folder / name).write_bytes(file.read_bytes())

        renew()
        own = tlsio.FileSource(cert=folder / "server.pem", key=folder / "server.key")
        trusted = tlsio.FileSource(ca=folder / "ca.pem")
        async with tlsio.serve(greet, 0, "localhost", secure_context=own) as server:
            for _ in range(2):
                async with tlsio.connect(server.port, "localhost", secure_context=trusted) as socket:
                    print(await socket.readline(), "under", (socket.get_peer_certificate() or {})["serial_number"])
                renew()
                await asyncio.gather(own.reload(), trusted.reload())  # or wait a second: the next connection looks


if __name__ == "__main__":
    asyncio.run(main())
