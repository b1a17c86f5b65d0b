"""Mutual TLS: the server greets clients with a certificate by name, and rejects the others."""

import asyncio

from certificates import Authority

import tlsio


async def greet(socket: tlsio.TLSSocket) -> None:
    """Greet a client. The server calls this for verified clients only."""
    await socket.send(f"Hello, {socket.get_peer_certificate()['subject']['CN']}!\n".encode())


async def main() -> None:
    """Serve, connect with a certificate, and connect without one."""
    authority = Authority()
    server_files, alice = authority.issue("localhost"), authority.issue_client("Alice")
    options = {"cert": server_files.cert, "key": server_files.key, "ca": authority.cert, "request_cert": True}
    async with tlsio.serve(greet, 0, "localhost", **options) as server:
        server.on("tls_client_error", lambda error, _socket: print("server:", error))

        async with tlsio.connect(server.port, "localhost", ca=authority.cert, cert=alice.cert, key=alice.key) as socket:
            print("Alice:", (await socket.readline()).decode().rstrip())

        try:
            async with tlsio.connect(server.port, "localhost", ca=authority.cert) as socket:
                await socket.read()  # a TLS 1.3 client connects before the server verifies it: the alert arrives here
        except tlsio.AlertReceived as error:
            print(f"no certificate: {error}\n        {error.hint}")


if __name__ == "__main__":
    asyncio.run(main())
