"""One process of a fleet: python support/manager_node.py REDIS FOLDER ORDERS COUNT [SECONDS [LEASE [PREFIX]]].

It obtains COUNT names, stores them, and prints their certificates. The authority of the fleet is in FOLDER; each order appends its name to
the file ORDERS, and takes SECONDS. REDIS may be a folder.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from redis_server import SECRET
from tlsio import certs
from tlsio.acme import AuthorityIssuer, FileStorage, Manager, RedisStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tlsio.acme import Issued, Storage


class CountingIssuer(AuthorityIssuer):
    """Notes each order, and takes a while."""

    orders: Path
    seconds: float

    async def issue(self, names: Sequence[str], *, replaces: bytes | None = None, profile: str | None = None) -> Issued:
        """Issue some seconds later."""
        with self.orders.open("a", encoding="ascii") as file:  # one write each: lines of several processes do not mix
            file.write(f"{names[0]}\n")
        await asyncio.sleep(self.seconds)
        return await super().issue(names, replaces=replaces, profile=profile)


@asynccontextmanager
async def opened(place: str, lease: float, prefix: str) -> AsyncIterator[Storage]:
    """Give the storage at a place."""
    if "://" not in place:
        yield FileStorage(place)
        return
    async with RedisStorage(place, secret=SECRET, lease=lease, prefix=prefix) as storage:
        yield storage


async def main(place: str, folder: str, orders: str, count: str, seconds: str = "0.1", lease: str = "30", prefix: str = "tlsio:") -> None:  # noqa: PLR0913, PLR0917
    """Start, wait until each name has a certificate, and print their fingerprints."""
    issuer = CountingIssuer(certs.Authority.load(cert=Path(folder, "root.pem"), key=Path(folder, "root.key")))
    issuer.orders, issuer.seconds = Path(orders), float(seconds)
    async with opened(place, float(lease), prefix) as storage:
        names = [f"n{number}.example" for number in range(int(count))]
        async with Manager(names, storage, [issuer]) as manager:
            while not all(one.state == "valid" and one.is_saved for one in manager.status()):  # noqa: ASYNC110 - also by what others obtain
                await asyncio.sleep(0.05)
            print(" ".join(status.fingerprint or "" for status in manager.status()), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
