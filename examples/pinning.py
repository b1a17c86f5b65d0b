"""Pinning, and changing a key without an outage: the client lists the old pin and the new one."""

import asyncio
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from certificates import Authority
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import tlsio


def pin(cert: Path) -> str:
    """Return the pin of the first certificate in a file: its public key, hashed."""
    key = x509.load_pem_x509_certificate(cert.read_bytes()).public_key()
    return "sha256/" + b64encode(sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()).decode()


async def main() -> None:
    """Serve with the old key, the new one, and one that is not pinned."""
    authority = Authority()
    keys = {name: authority.issue("localhost") for name in ("old", "new", "unpinned")}
    pins = [pin(keys["old"].cert), pin(keys["new"].cert)]
    async with tlsio.serve(lambda socket: socket.end(b"Hello\n"), 0, "localhost", cert=keys["old"].cert, key=keys["old"].key) as server:
        for name, files in keys.items():
            server.set_secure_context(cert=files.cert, key=files.key)
            try:
                async with tlsio.connect(server.port, "localhost", ca=authority.cert, pins=pins) as socket:
                    print(f"the {name} key is accepted:", await socket.readline())
            except tlsio.CertificateError as error:
                print(f"the {name} key is refused: {error}")


if __name__ == "__main__":
    asyncio.run(main())
