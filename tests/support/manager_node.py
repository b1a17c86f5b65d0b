"""One process of a fleet: python support/manager_node.py REDIS FOLDER ORDERS COUNT; obtains COUNT names and prints their certificates.

The authority of the fleet is in FOLDER; each order appends its name to the file ORDERS.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from redis_server import SECRET
from tlsio import certs
from tlsio.acme import AuthorityIssuer, Manager, RedisStorage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlsio.acme import Issued


class CountingIssuer(AuthorityIssuer):
    """Notes each order, and takes a while."""

    orders: Path

    async def issue(self, names: Sequence[str], *, replaces: bytes | None = None, profile: str | None = None) -> Issued:
        """Issue a tenth of a second later."""
        with self.orders.open("a", encoding="ascii") as file:  # one write each: lines of several processes do not mix
            file.write(f"{names[0]}\n")
        await asyncio.sleep(0.1)
        return await super().issue(names, replaces=replaces, profile=profile)


async def main(url: str, folder: str, orders: str, count: str) -> None:
    """Start, wait until each name has a certificate, and print their fingerprints."""
    issuer = CountingIssuer(certs.Authority.load(cert=Path(folder, "root.pem"), key=Path(folder, "root.key")))
    issuer.orders = Path(orders)
    async with RedisStorage(url, secret=SECRET) as storage:
        names = [f"n{number}.example" for number in range(int(count))]
        async with Manager(names, storage, [issuer]) as manager:
            while manager.stats().states != {"valid": len(names)}:  # noqa: ASYNC110 - also by what other processes obtain
                await asyncio.sleep(0.05)
            print(" ".join(status.fingerprint or "" for status in manager.status()), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
