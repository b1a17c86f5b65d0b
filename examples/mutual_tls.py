"""Mutual TLS: who has a certificate of our authority is greeted by name, who has none is refused."""

import asyncio

from certificates import Authority

import tlsio


async def greet(socket: tlsio.TLSSocket) -> None:
    """Only clients who were verified come here."""
    await socket.send(f"Hello, {socket.get_peer_certificate()['subject']['CN']}!\n".encode())


async def main() -> None:
    """Serve, come with a certificate, and come without."""
    authority = Authority()
    server_files, alice = authority.issue("localhost"), authority.issue("Alice")
    options = {"cert": server_files.cert, "key": server_files.key, "ca": authority.cert, "request_cert": True}
    async with tlsio.serve(greet, 0, "localhost", **options) as server:
        server.on("tls_client_error", lambda error, _socket: print("server:", error))

        async with tlsio.connect(server.port, "localhost", ca=authority.cert, cert=alice.cert, key=alice.key) as socket:
            print("Alice:", (await socket.readline()).decode().rstrip())

        try:
            async with tlsio.connect(server.port, "localhost", ca=authority.cert) as socket:
                await socket.read()  # a TLS 1.3 client is done before the server has judged it: the refusal comes here
        except tlsio.AlertReceived as error:
            print(f"nobody: {error}\n        {error.hint}")


if __name__ == "__main__":
    asyncio.run(main())
