"""One port, many names: a table for known names, a function for names that are looked up."""

import asyncio

from certificates import Authority

import tlsio


def greet(socket: tlsio.TLSSocket) -> None:
    """Send the name that the client requested, and end."""
    socket.end(f"Welcome to {socket.servername}\n".encode())


async def main() -> None:
    """Serve three kinds of names and connect to each."""
    authority = Authority()
    default, shop = authority.issue("localhost"), authority.issue("shop.example")

    async def choose(servername: str, _socket: tlsio.TLSSocket) -> tlsio.SecureContext | None:
        if not servername.endswith(".tenants.example"):
            return None  # the table, then the server's default
        if servername.startswith("closed."):
            raise tlsio.HandshakeError("that tenant has left", alert="unrecognized_name")
        await asyncio.sleep(0)  # a database query: only this handshake waits
        tenant = authority.issue(servername)
        return tlsio.create_secure_context(cert=tenant.cert, key=tenant.key)

    async with tlsio.serve(greet, 0, "localhost", cert=default.cert, key=default.key, sni_callback=choose) as server:
        server.add_context("shop.example", {"cert": shop.cert, "key": shop.key})
        for name in ("localhost", "shop.example", "a.tenants.example", "closed.tenants.example"):
            try:
                async with tlsio.connect(server.port, "localhost", servername=name, ca=authority.cert) as socket:
                    print(name, await socket.readline())
            except tlsio.AlertReceived as error:
                print(name, "is refused with the alert", error.alert)


if __name__ == "__main__":
    asyncio.run(main())
