"""A development authority, a server and a client with its certificates, and what trusting it would change."""

import asyncio
import tempfile
from pathlib import Path

import tlsio
from tlsio.certs import dev


async def greet(socket: tlsio.TLSSocket) -> None:
    """Say hello to the client that the certificate names."""
    await socket.send(f"Hello, {socket.get_peer_certificate()['subject']['CN']}".encode())


async def main(folder: Path) -> None:
    """Make the authority, in a folder that is deleted in the end, and use it."""
    dev.init(folder=folder / "authority", permitted=["localhost"])
    root = folder / "authority" / "root.pem"
    site = dev.cert("localhost", folder=folder / "authority", into=folder)
    ada = dev.cert("ada", client=True, folder=folder / "authority", into=folder)
    async with (
        tlsio.serve(greet, 0, "localhost", cert=site.cert, key=site.key, ca=root, request_cert=True) as server,
        tlsio.connect(server.port, "localhost", ca=root, cert=ada.cert, key=ada.key) as socket,
    ):
        print((await socket.read_all()).decode())
    for outcome in dev.trust(folder=folder / "authority", only=["system", "nss"], dry_run=True):
        print(f"{outcome.store.place}: {outcome.problem or outcome.state}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
