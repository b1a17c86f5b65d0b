"""A device that makes its own key: an authority signs its request, and later revokes the certificate."""

import asyncio

import tlsio
from tlsio import certs


async def greet(socket: tlsio.TLSSocket) -> None:
    """Greet a device by the name in its certificate."""
    certificate = socket.get_peer_certificate()
    name = certificate["subject"]["CN"] if certificate else "stranger"
    await socket.send(f"hello, {name}".encode())


async def main() -> None:
    """Certify, connect, revoke, and be refused."""
    authority = certs.Authority.create("Plant CA", permitted=["plant.example", "127.0.0.1", "localhost"])
    gateway = authority.server("gateway.plant.example", "localhost")

    key = certs.generate_key()  # on the device; only the request leaves it
    request = certs.create_request("press-4.plant.example", key=key, subject="CN=press 4")
    device = authority.sign(request, usage="client")

    files = {"cert": gateway.chain_pem, "key": gateway.key, "ca": authority.cert_pem, "request_cert": True}
    for revoked in ([], [device]):
        async with tlsio.serve(greet, 0, "localhost", crl=authority.crl(*revoked), **files) as server:
            connection = tlsio.connect(server.port, "localhost", ca=authority.cert_pem, cert=device.chain_pem, key=key)
            try:
                async with connection as socket:
                    print((await socket.read_all()).decode())
            except tlsio.AlertReceived as error:
                print("refused:", error.alert)


if __name__ == "__main__":
    asyncio.run(main())
