"""What is wrong with a server, and what to do about it: `doctor.py HOST PORT`, or without arguments a server with two faults."""

import asyncio
import sys

from certificates import Authority

import tlsio
from tlsio import probe


async def report(host: str, port: int, **options: object) -> None:
    """Print what the doctor finds."""
    seen = await probe.examine(host, port, **options)  # type: ignore[arg-type]
    print(f"{host} port {port} speaks {', '.join(seen.versions) or 'no TLS'}")
    for one in seen.findings:
        print(f"{one.severity} {one.id}: {one.reason}\n    {one.remedy}")


async def demonstrate() -> None:
    """Examine a server that has a certificate for another name, and no TLS 1.3."""
    authority = Authority()
    files = authority.issue("www.localhost")
    async with tlsio.serve(lambda socket: socket.end(), 0, "localhost", cert=files.cert, key=files.key, max_version="TLSv1.2") as server:
        await report("localhost", server.port or 0, ca=authority.cert)


if __name__ == "__main__":
    asyncio.run(report(sys.argv[1], int(sys.argv[2])) if len(sys.argv) > 2 else demonstrate())  # noqa: PLR2004
