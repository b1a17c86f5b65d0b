"""OCSP stapling: a server sends along what its certificate's issuer says about it, and clients insist on that."""

import asyncio

from certificates import Authority

import tlsio


async def main() -> None:
    """Connect while the certificate is good, and when it was revoked."""
    authority, stolen = Authority(), set[str]()
    files = authority.issue("localhost")

    def staple(certificate: bytes, _issuer: bytes | None, _socket: tlsio.TLSSocket) -> bytes:
        # Where the certificate names a responder, stapling=True asks that one, ahead of the clients.
        return authority.respond(certificate, revoked="the key" in stolen)

    async with tlsio.serve(lambda socket: socket.end(), 0, "localhost", cert=files.cert, key=files.key, ocsp_request=staple) as server:
        for _ in range(2):
            try:
                async with tlsio.connect(server.port, "localhost", ca=authority.cert, ocsp="require"):
                    print("The issuer says that the certificate is good.")
            except tlsio.CertificateError as error:
                print(error)
            stolen.add("the key")


if __name__ == "__main__":
    asyncio.run(main())
