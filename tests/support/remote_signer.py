"""A signer in a process of its own, behind a Unix socket, and the key that asks it: what an agent or a KMS is.

A request is two length-prefixed fields, scheme and message; the answer is one, the signature. Run as a program:
`remote_signer.py SOCKET KEY.pem DELAY` prints "ready", serves until its standard input ends, then prints the number of signatures.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from pathlib import Path
from typing import Any


async def _read(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack("!I", await reader.readexactly(4))
    return await reader.readexactly(size)


def _pack(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


class RemoteKey:
    """A key that a process behind a socket signs with; one connection for each signature."""

    def __init__(self, path: str) -> None:
        self.path = path

    async def sign(self, scheme: str, message: bytes) -> bytes:
        """Ask the process."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            writer.write(_pack(scheme.encode()) + _pack(message))
            return await _read(reader)
        finally:
            writer.close()
            await writer.wait_closed()


async def serve(path: str, key: Any, delay: float) -> None:
    """Sign until standard input ends."""
    from external_keys import sign  # noqa: PLC0415 - in this process alone

    count = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        scheme, message = await _read(reader), await _read(reader)
        await asyncio.sleep(delay)
        count += 1
        writer.write(_pack(sign(key, scheme.decode(), message)))
        writer.close()

    async with await asyncio.start_unix_server(answer, path):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sys.stdout.write(f"{count}\n")


if __name__ == "__main__":
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    asyncio.run(serve(sys.argv[1], load_pem_private_key(Path(sys.argv[2]).read_bytes(), None), float(sys.argv[3])))
