"""What a user's type checker accepts of development certificates."""

from pathlib import Path

import tlsio
from tlsio.certs import Authority, dev


def make() -> Authority:
    """An authority, and certificates of it."""
    authority = dev.init(folder=Path("authority"), permitted=["localhost"], days=30)
    issued = dev.cert("localhost", "127.0.0.1", folder="authority", into=Path(), overwrite=True)
    tlsio.create_server(cert=issued.cert, key=issued.key)
    dev.cert("ada", client=True, days=7.5)
    return authority


def trust() -> list[str]:
    """What would be done."""
    outcomes = (*dev.trust(dry_run=True), *dev.untrust(only=["nss"], dry_run=True))
    return [f"{one.store.kind} {one.store.place} {one.state} {one.commands[0]}" for one in outcomes if one.problem is None]


dev.init(unknown=True)  # type: ignore[call-arg]
dev.cert(5)  # type: ignore[arg-type]
dev.trust(only=5)  # type: ignore[arg-type]
