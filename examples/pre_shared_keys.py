"""Pre-shared keys: a gateway authenticates its sensors by keys, without certificates."""

import asyncio
import secrets
from contextvars import ContextVar

import tlsio

KEYS = {"sensor-1": secrets.token_bytes(32), "sensor-2": secrets.token_bytes(32)}
sensor: ContextVar[str] = ContextVar("sensor")


def find_key(_socket: tlsio.TLSSocket, identity: str) -> bytes | None:
    """Return the key of a sensor, and remember its identity for this connection.

    The client proves it before `take_reading` is called, since this server has no certificate that could be used instead.
    """
    sensor.set(identity)
    return KEYS.get(identity)


async def take_reading(socket: tlsio.TLSSocket) -> None:
    """Read one line from a sensor."""
    line = await socket.readline()
    print(f"{sensor.get()} says {line.decode().strip()}")


async def main() -> None:
    """Connect two known sensors, an unknown one, and one with a wrong key."""
    async with tlsio.serve(take_reading, 0, "localhost", psk_callback=find_key) as server:
        for name, key in [*KEYS.items(), ("sensor-3", bytes(32)), ("sensor-1", bytes(32))]:
            try:
                async with tlsio.connect(server.port, "localhost", psk_callback=lambda _hint, pair=(name, key): pair) as socket:
                    await socket.send(b"21.5\n")
            except tlsio.AlertReceived as error:
                print(f"{name} is refused: {error}")


if __name__ == "__main__":
    asyncio.run(main())
