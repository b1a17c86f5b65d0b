"""OCSP stapling: a server sends the OCSP response about its certificate, and clients require it."""

import asyncio

from certificates import Authority

import tlsio


async def main() -> None:
    """Connect while the certificate is good, and after it was revoked."""
    authority, revoked = Authority(), set[str]()
    files = authority.issue("localhost")

    def staple(certificate: bytes, _issuer: bytes | None, _socket: tlsio.TLSSocket) -> bytes:
        # For a certificate that names a responder, use stapling=True instead.
        return authority.respond(certificate, revoked="the certificate" in revoked)

    async with tlsio.serve(lambda socket: socket.end(), 0, "localhost", cert=files.cert, key=files.key, ocsp_request=staple) as server:
        for _ in range(2):
            try:
                async with tlsio.connect(server.port, "localhost", ca=authority.cert, ocsp="require"):
                    print("The issuer says that the certificate is good.")
            except tlsio.CertificateError as error:
                print(error)
            revoked.add("the certificate")


if __name__ == "__main__":
    asyncio.run(main())
