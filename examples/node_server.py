"""Node's example of `tls.createServer()`, line by line: python node_server.py [PORT]."""

import asyncio
import sys
from pathlib import Path

import tlsio

options = {
    "key": Path("server-key.pem"),
    "cert": Path("server-cert.pem"),
    # Necessary only for client certificate authentication.
    "request_cert": True,
    # Necessary only if the client's certificate is self-signed.
    "ca": [Path("client-cert.pem")],
}


async def listener(socket: tlsio.TLSSocket) -> None:
    """Greet, and send back what the client sends."""
    print("server connected", "authorized" if socket.authorized else "unauthorized", flush=True)
    socket.write(b"welcome!\n")
    await socket.pipe(socket)


async def main(port: int) -> None:
    """Serve until Ctrl-C."""
    server = tlsio.create_server(listener, **options)
    await server.listen(port)
    print("server bound", server.port, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 8000))
    except KeyboardInterrupt:
        print()
