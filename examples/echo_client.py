"""Send lines to an echo server: python echo_client.py PORT CA < text (CA: a PEM file)."""

import asyncio
import sys
from pathlib import Path

import tlsio


async def main(port: int, ca: Path) -> None:
    """Connect to localhost, the name that the server's certificate must have."""
    try:
        async with tlsio.connect(port, "localhost", ca=ca, timeout=10.0) as socket:
            print(f"connected to {socket.remote_address} with {socket.get_protocol()}")
            for line in sys.stdin:
                await socket.send(line.encode())
                print(await socket.readline())
    except tlsio.TLSError as error:
        sys.exit(f"{error}\n{error.hint or ''}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
