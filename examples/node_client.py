"""Node's example of `tls.connect()`, line by line: python node_client.py [PORT] < text."""

import asyncio
import sys
from pathlib import Path

import tlsio

options = {
    # Necessary only if the server requests a client certificate.
    "key": Path("client-key.pem"),
    "cert": Path("client-cert.pem"),
    # Necessary only if the server's certificate is self-signed.
    "ca": [Path("server-cert.pem")],
    # Necessary only if the certificate is not for localhost. None accepts.
    "check_server_identity": lambda _host, _cert: None,
}


async def main(port: int) -> None:
    """Send what is typed, print what the server sends."""
    socket = await tlsio.connect(port, **options)
    print("client connected", "authorized" if socket.authorized else "unauthorized")
    socket.on("data", lambda data: print(data.decode(), end=""))
    socket.on("end", lambda: print("server ends connection"))
    while line := await asyncio.to_thread(sys.stdin.readline):
        socket.write(line.encode())
    socket.end()
    await socket.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 8000))
