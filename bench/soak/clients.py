"""The tlsio clients of the soak: they check every answer, and are sampled like the server.

The order `work` makes workers choose among ACTIONS until its seconds are over, and opens connections that stay; `leave` ends those.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from crowd import GOOD, PATIENCE, Tally, Unexpected, happens, parse_arguments
from probe import Complaints, count_tasks, obey, take_sample

import tlsio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZES = (1, 64, 1000, 16384, 100_000)


class Clients:
    """What all connections share: the ports, contexts that are made once, and what happened."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self._ports = ports
        ca, key = folder / "ca.pem", folder / "client.key"
        self._contexts = [
            tlsio.create_secure_context(ca=ca, cert=cert, key=cert and key, min_version=version, max_version=version)
            for version in ("TLSv1.2", "TLSv1.3")
            for cert in (None, folder / "client.pem")
        ]
        self._unwanted = tlsio.create_secure_context(ca=ca, cert=folder / "unwanted.pem", key=folder / "unwanted.key")
        self._stranger_ca = folder / "client.pem"
        self._ca = ca
        self._cache = tlsio.ClientSessionCache(max_entries=20)
        self._tally = Tally()
        self._held: list[tlsio.TLSSocket] = []
        self._complaints = Complaints()

    async def work(self, seconds: float, workers: int, hold: int, seed: int) -> dict[str, Any]:
        """Load the server; connections that were opened to stay are open when this returns."""
        rng = random.Random(seed)  # noqa: S311 - a seeded choice
        end = time.monotonic() + seconds
        holders = [asyncio.create_task(self._hold(rng)) for _ in range(hold)]
        await asyncio.gather(*holders, *(self._work(end, rng) for _ in range(workers)))
        return {"held": len(self._held)}

    async def leave(self) -> dict[str, Any]:
        """End the connections that were held, some well, some not, and say what happened since the last time."""
        for number, socket in enumerate(self._held):
            if number % 3:
                socket.close()
            else:
                socket.destroy()
        await asyncio.gather(*(socket.wait_closed() for socket in self._held))
        self._held.clear()
        return self._tally.take()

    async def sample(self) -> dict[str, Any]:
        """Say what is held."""
        return {**await take_sample(), "connections": len(self._held), "complaints": self._complaints.take()}

    async def state(self) -> dict[str, Any]:
        """Say what is still going on."""
        return {"connections": len(self._held), "tasks": count_tasks()}

    async def _work(self, end: float, rng: random.Random) -> None:
        while time.monotonic() < end:
            [action] = rng.choices(list(ACTIONS), list(ACTIONS.values()))
            await self._attempt(action(self, rng), action.__name__)

    async def _attempt(self, action: Any, name: str) -> None:
        start = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                await action
        except Exception as error:  # noqa: BLE001 - each is a finding
            self._tally.add(name, start, error)
        else:
            self._tally.add(name, start)

    async def _hold(self, rng: random.Random) -> None:
        async def hold() -> None:
            socket = await self._connect(rng)
            order = rng.choice((b"E", b"F", b"H", b"D"))
            await socket.send(order + ((1 << 26).to_bytes(8) if order == b"D" else b"x"))
            if order in {b"E", b"F"}:
                await socket.readexactly(1)
            elif order == b"H":
                socket.end()
            self._held.append(socket)

        await self._attempt(hold(), "hold")

    async def _connect(self, rng: random.Random, server: str = "", **options: Any) -> tlsio.TLSSocket:
        options.setdefault("secure_context", rng.choice(self._contexts))
        if happens(rng, 0.6):
            options.setdefault("session_cache", self._cache)
        options.setdefault("servername", rng.choice(("localhost", "localhost", "a.example.com")))
        port = self._ports[server or rng.choice(GOOD)]
        if happens(rng, 0.25):  # the portable driver
            streams = await asyncio.open_connection("127.0.0.1", port)
            return await tlsio.connect(socket=streams, **options)
        return await tlsio.connect(port, "127.0.0.1", **options)

    # ---- actions

    async def echo(self, rng: random.Random) -> None:
        """Have bytes come back in three ways, once or several times."""
        async with await self._connect(rng) as socket:
            socket.write(rng.choice((b"E", b"P", b"F")))
            for _ in range(rng.choice((1, 1, 1, 5))):
                data = rng.randbytes(rng.choice(SIZES))
                await socket.send(data)
                if await socket.readexactly(len(data)) != data:
                    raise Unexpected("other bytes came back")

    async def echo_in_flow(self, rng: random.Random) -> None:
        """Have bytes come back, heard by a listener."""
        data, heard = rng.randbytes(rng.choice(SIZES)), bytearray()
        socket = await self._connect(rng)
        socket.on("error", lambda _error: None)  # the comparison below reports it

        def listen(piece: bytes) -> None:
            heard.extend(piece)
            if len(heard) >= len(data):
                socket.end()

        socket.on("data", listen)
        socket.write(b"E" + data)
        await socket.wait_closed()
        if heard != data:
            raise Unexpected(f"{len(heard)} of {len(data)} bytes came back, or others")

    async def download(self, rng: random.Random) -> None:
        """Take what was asked for, sometimes slowly."""
        size, pause = rng.choice(((100_000, 0.0), (1 << 20, 0.0), (1 << 22, 0.0), (300_000, 0.01)))
        async with await self._connect(rng) as socket:
            socket.write(b"D" + size.to_bytes(8))
            total = 0
            while data := await socket.read():
                total += len(data)
                if pause:
                    await asyncio.sleep(pause)
            if total != size:
                raise Unexpected(f"{total} bytes came of {size}")

    async def upload(self, rng: random.Random) -> None:
        """Send much, and have it confirmed."""
        data = rng.randbytes(rng.choice((100_000, 1 << 20)))
        async with await self._connect(rng) as socket:
            await socket.send(b"U" + len(data).to_bytes(8) + data)
            if await socket.readexactly(32) != hashlib.sha256(data).digest():
                raise Unexpected("what was sent did not arrive")

    async def show_certificate(self, rng: random.Random) -> None:
        """Be asked for a certificate on the open connection."""
        with_certificate = rng.choice((True, False))
        context = self._contexts[rng.choice((1, 3) if with_certificate else (0,))]  # in TLS 1.3 a client without one offers nothing
        socket = await self._connect(rng, rng.choice(("tickets", "upgrade")), secure_context=context)
        is_resumed = socket.is_session_reused()
        try:
            async with socket:
                await socket.send(b"K")
                if await socket.readexactly(1) != (b"Y" if with_certificate else b"N"):
                    raise Unexpected("the certificate was judged otherwise")
        except tlsio.CertificateError as error:
            if not is_resumed or error.code != "ERR_TLS_CERTIFICATE_CHANGED":  # by `reload`, between the two connections
                raise

    async def be_ended(self, rng: random.Random) -> None:
        """See the server end first."""
        async with await self._connect(rng) as socket:
            socket.write(b"B")
            if await socket.read() + await socket.read() != b"bye":
                raise Unexpected("no goodbye")

    async def be_destroyed(self, rng: random.Random) -> None:
        """Meet a listener that raises."""
        with refusal(tlsio.TruncatedError, tlsio.ConnectionLostError):
            async with await self._connect(rng) as socket:
                socket.write(b"X")
                await socket.read()

    async def destroy(self, rng: random.Random) -> None:
        """Leave without a word in the midst of a transfer."""
        socket = await self._connect(rng)
        socket.write(b"D" + (1 << 26).to_bytes(8))
        for _ in range(rng.randrange(5)):
            await socket.read()
        socket.destroy()
        await socket.wait_closed()

    async def abandon(self, rng: random.Random) -> None:
        """Cancel a handshake at any moment."""
        task = asyncio.create_task(self._connect(rng))
        await asyncio.wait({task}, timeout=rng.random() * 0.02)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result().destroy()

    async def be_unwanted(self, rng: random.Random) -> None:
        """Show a certificate that the server's hook refuses."""
        with refusal(tlsio.AlertReceived):
            async with await self._connect(rng, "tickets", secure_context=self._unwanted) as socket:
                await socket.read()

    async def ask_refused_name(self, rng: random.Random) -> None:
        """Ask for a name that the server's hook refuses."""
        with refusal(tlsio.AlertReceived):
            await self._connect(rng, "store", servername="refused.example.com")

    async def distrust(self, rng: random.Random) -> None:
        """Refuse the server, for its authority or its name."""
        with refusal(tlsio.CertificateError):
            if happens(rng, 0.5):
                await self._connect(rng, servername="other.example.net")
            else:
                context = tlsio.create_secure_context(ca=self._stranger_ca)
                await self._connect(rng, secure_context=context, session_cache=None)

    async def make_context(self, rng: random.Random) -> None:
        """Connect with a context made for the occasion."""
        async with await self._connect(rng, secure_context=tlsio.create_secure_context(ca=self._ca)) as socket:
            await socket.send(b"Ehello")
            if await socket.readexactly(5) != b"hello":
                raise Unexpected("other bytes came back")


@contextmanager
def refusal(*errors: type[Exception]) -> Iterator[None]:
    """Expect one of the errors."""
    try:
        yield
    except errors:
        return
    raise Unexpected(f"there was no {errors[0].__name__}")


ACTIONS = {
    Clients.echo: 30,
    Clients.echo_in_flow: 10,
    Clients.download: 4,
    Clients.upload: 4,
    Clients.show_certificate: 5,
    Clients.be_ended: 5,
    Clients.be_destroyed: 5,
    Clients.destroy: 5,
    Clients.abandon: 15,
    Clients.be_unwanted: 4,
    Clients.ask_refused_name: 4,
    Clients.distrust: 4,
    Clients.make_context: 3,
}


async def main(folder: Path, ports: dict[str, int]) -> None:
    """Execute orders."""
    clients = Clients(folder, ports)
    await obey({"work": clients.work, "leave": clients.leave, "state": clients.state, "sample": clients.sample})


if __name__ == "__main__":
    asyncio.run(main(*parse_arguments(__doc__)))
