"""Node's example of pinning in `checkServerIdentity`, line by line (pinning.py is shorter)."""

import asyncio
from functools import partial
from hashlib import sha256
from typing import Any

from certificates import Authority

import tlsio


def check(pubkey256: str, cert256: str, host: str, cert: Any) -> Exception | None:
    """Accept one key in one certificate. Only None accepts; in Node any falsy value does."""
    if error := tlsio.check_server_identity(host, cert):  # is the certificate for this host?
        return error
    if sha256(cert["pubkey"]).hexdigest() != pubkey256 or cert["fingerprint256"] != cert256:  # pinning only the key survives renewals
        return ValueError(f"{cert['subject']['CN']} does not match our pinned fingerprints")
    return None


async def main() -> None:
    """Read a server's fingerprints; connect to it again, and to another server of the same name."""
    authority = Authority()
    first, second = authority.issue("localhost"), authority.issue("localhost")
    async with tlsio.serve(lambda socket: socket.end(b"All OK\n"), 0, "localhost", cert=first.cert, key=first.key) as server:
        async with tlsio.connect(server.port, ca=authority.cert) as socket:
            cert = socket.get_peer_certificate()
        pinned = partial(check, sha256(cert["pubkey"]).hexdigest(), cert["fingerprint256"])  # a real program contains them
        for files in (first, second):
            server.set_secure_context(cert=files.cert, key=files.key)
            try:
                async with tlsio.connect(server.port, ca=authority.cert, check_server_identity=pinned) as socket:
                    print(await socket.readline())
            except tlsio.CertificateError as error:
                print("Certificate verification error:", error.__cause__)


if __name__ == "__main__":
    asyncio.run(main())
