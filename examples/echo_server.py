"""An echo server: python echo_server.py PORT CERTIFICATE KEY (0: a free port; PEM files)."""

import asyncio
import sys
from pathlib import Path

import tlsio


async def echo(socket: tlsio.TLSSocket) -> None:
    """Send back what the client sends; the socket is closed on return."""
    async for chunk in socket:
        await socket.send(chunk)


async def main(port: int, cert: Path, key: Path) -> None:
    """Serve until Ctrl-C, then wait a while for open connections to end."""
    async with tlsio.serve(echo, port, "localhost", cert=cert, key=key) as server:
        server.on("tls_client_error", lambda error, socket: print(f"{socket.remote_address}: {error}"))
        print("listening on port", server.port, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
    except KeyboardInterrupt:
        print()
