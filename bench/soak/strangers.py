"""The load by other programs: Python's ssl, OpenSSL's command line, and plain sockets that reset, stay silent, flood or send slowly.

The same orders as `clients.py`. Each worker is a thread with blocking sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket
import ssl
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from crowd import GOOD, PATIENCE, Tally, Unexpected, happens, parse_arguments
from probe import count_tasks, obey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALL = (*GOOD, "strict")
THREADS = 64


class Strangers:
    """What all connections share, and what happened."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self._folder = folder
        self._ports = ports
        self._contexts = []
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for without_tickets in (False, True):
                context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
                context.minimum_version = context.maximum_version = version
                if without_tickets:
                    context.options |= ssl.OP_NO_TICKET
                self._contexts.append(context)
        self._pool = ThreadPoolExecutor(THREADS)
        self._tally = Tally()
        self._held: list[socket.socket] = []

    async def work(self, seconds: float, workers: int, hold: int, seed: int) -> dict[str, Any]:
        """Load the server; connections that were opened to stay are open when this returns."""
        end, loop = time.monotonic() + seconds, asyncio.get_running_loop()
        works = [loop.run_in_executor(self._pool, self._work, end, seed + number) for number in range(workers)]
        rng = random.Random(seed)  # noqa: S311 - a seeded choice
        works += [loop.run_in_executor(self._pool, self._attempt, rng.choice(HOLDS), rng) for _ in range(hold)]
        await asyncio.gather(*works)
        return {"held": len(self._held)}

    async def leave(self) -> dict[str, Any]:
        """End the connections that were held, some well, some not, and say what happened since the last time."""
        for number, sock in enumerate(self._held):
            if number % 2:
                sock.close()
            else:
                reset(sock)
        self._held.clear()
        return self._tally.take()

    async def state(self) -> dict[str, Any]:
        """Say what is still going on."""
        return {"connections": len(self._held), "tasks": count_tasks()}

    def _work(self, end: float, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - a seeded choice
        while time.monotonic() < end:
            [action] = rng.choices(list(ACTIONS), list(ACTIONS.values()))
            self._attempt(action, rng)

    def _attempt(self, action: Callable[[Strangers, random.Random], None], rng: random.Random) -> None:
        start = time.monotonic()
        try:
            action(self, rng)
        except Exception as error:  # noqa: BLE001 - each is a finding
            self._tally.add(action.__name__, start, error)
        else:
            self._tally.add(action.__name__, start)

    def _dial(self, server: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._ports[server]), timeout=PATIENCE)

    def _connect(self, rng: random.Random, server: str = "", *, session: Any = None, context: Any = None) -> ssl.SSLSocket:
        context = context or rng.choice(self._contexts)
        plain = self._dial(server or rng.choice(GOOD))
        return context.wrap_socket(plain, server_hostname="localhost", session=session)

    def _hello(self, name: str = "localhost") -> bytes:
        outgoing = ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            self._contexts[-1].wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
        return outgoing.read()

    # ---- well-behaved

    def echo(self, rng: random.Random) -> None:
        """Have bytes come back, then say goodbye or not."""
        with self._connect(rng) as sock:
            exchange(sock, rng.choice((b"E", b"P", b"F")), rng.randbytes(rng.choice((1, 1000, 50_000))))
            if happens(rng, 0.5):
                sock.unwrap().close()

    def resume(self, rng: random.Random) -> None:
        """Come back with the session of the connection before."""
        context, server, session = rng.choice(self._contexts), rng.choice(GOOD), None
        for _ in range(3):
            with self._connect(rng, server, session=session, context=context) as sock:
                exchange(sock, b"E", b"hello")
                session = sock.session

    def upload(self, rng: random.Random) -> None:
        """Send much, and have it confirmed."""
        data = rng.randbytes(300_000)
        with self._connect(rng) as sock:
            sock.sendall(b"U" + len(data).to_bytes(8) + data)
            if receive(sock, 32) != hashlib.sha256(data).digest():
                raise Unexpected("what was sent did not arrive")

    def read_slowly(self, rng: random.Random) -> None:
        """Take a download in small pieces, from a small buffer."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(PATIENCE)
        plain.connect(("127.0.0.1", self._ports[rng.choice(GOOD)]))
        size, total = 200_000, 0
        with self._contexts[-1].wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"D" + size.to_bytes(8))
            while data := sock.recv(8192):
                total += len(data)
                time.sleep(0.005)
        if total != size:
            raise Unexpected(f"{total} bytes came of {size}")

    def update_keys(self, rng: random.Random) -> None:
        """Send KeyUpdates of TLS 1.3, some that want an answer."""
        orders = b"E\n" + b"".join(rng.choice((b"k\n", b"K\n", b"hello\n")) for _ in range(rng.randrange(30)))
        self._command(rng, "-tls1_3", orders + b"Q\n")

    def renegotiate(self, rng: random.Random) -> None:
        """Renegotiate in TLS 1.2, up to more often than servers allow."""
        self._command(rng, "-tls1_2", b"E\n" + b"R\n" * rng.randrange(6) + b"Q\n", ("tickets", "upgrade"))

    def _command(self, rng: random.Random, version: str, orders: bytes, servers: tuple[str, ...] = GOOD) -> None:
        port = self._ports[rng.choice(servers)]
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-CAfile", self._folder / "ca.pem"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            assert process.stdin is not None  # noqa: S101 - for the type checker
            for order in orders.splitlines(keepends=True):  # one a read: s_client looks at the first byte of what it has read
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(order)
                    process.stdin.flush()
                time.sleep(0.005)
            try:
                said, _ = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Unexpected("openssl s_client hangs") from None
            if b"Verify return code: 0" not in said and b"Verification: OK" not in said:
                raise Unexpected(f"openssl s_client: {said[-300:]!r}")

    # ---- rude

    def reset_early(self, rng: random.Random) -> None:
        """Reset the connection somewhere in the handshake."""
        hello = self._hello()
        sock = self._dial(rng.choice(ALL))
        sock.sendall(hello[: rng.choice((0, 1, 100, len(hello), len(hello)))])
        if happens(rng, 0.5):
            time.sleep(rng.random() * 0.02)
        reset(sock)

    def reset_late(self, rng: random.Random) -> None:
        """Reset an open connection, with data under way."""
        sock = self._connect(rng)
        sock.sendall(rng.choice((b"E" + bytes(5000), b"D" + (1 << 26).to_bytes(8), b"H", b"U", b"")))
        if happens(rng, 0.5):
            time.sleep(rng.random() * 0.02)
        reset(sock)

    def leave_early(self, rng: random.Random) -> None:
        """End the stream somewhere in the handshake, and wait for the server's end."""
        hello = self._hello()
        with self._dial(rng.choice(ALL)) as sock:
            sock.sendall(hello[: rng.choice((0, 1, 100, len(hello)))])
            sock.shutdown(socket.SHUT_WR)
            drain(sock)

    def truncate(self, rng: random.Random) -> None:
        """End the stream of an open connection without TLS's goodbye, and wait for the server's end."""
        with self._connect(rng) as sock:
            sock.sendall(rng.choice((b"E", b"P", b"F", b"U")) + bytes(3000))
            plain = strip(sock)
        with plain:
            plain.shutdown(socket.SHUT_WR)
            drain(plain)

    def flood(self, rng: random.Random) -> None:
        """Send garbage, HTTP, or garbage in an open connection; the server has to end it."""
        kind = rng.choice(("http", "record", "nonsense", "open"))
        sock = self._dial(rng.choice(ALL)) if kind != "open" else strip(self._connect(rng))
        with sock, contextlib.suppress(ConnectionError):
            if kind == "http":
                sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            elif kind == "record":  # of a handshake, with garbage in it
                sock.sendall(b"\x16\x03\x01\x40\x00" + rng.randbytes(0x4000))
            else:  # neither a record nor a hello of SSL 2
                sock.sendall(b"\xff\xff\xff\xff" + rng.randbytes(100_000))
            sock.shutdown(socket.SHUT_WR)
            drain(sock)

    def be_thrown_out(self, rng: random.Random) -> None:
        """Stay silent, or stop within a record or a hook's answer, until the strict server has had enough."""
        hello = self._hello("hang.example.com")
        with self._dial("strict") as sock, contextlib.suppress(ConnectionError):
            sock.sendall(hello[: rng.choice((0, 3, 50, len(hello)))])
            drain(sock)

    def stop_within_record(self, rng: random.Random) -> None:
        """Send a part of a record in an open connection, until the strict server has had enough."""
        plain = self._dial("strict")
        try:
            sock = self._contexts[rng.randrange(4)].wrap_socket(plain, server_hostname="localhost")
        except (ssl.SSLError, OSError):
            plain.close()  # its limits were reached, or a second was too short for this machine
            return
        with strip(sock) as plain, contextlib.suppress(ConnectionError):
            plain.sendall(b"\x17\x03\x03\x40\x00" + bytes(rng.randrange(2000)))
            drain(plain)

    def trickle(self, rng: random.Random) -> None:
        """Send the hello in small pieces, then go on with it as usual."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = rng.choice(self._contexts).wrap_bio(incoming, outgoing, server_hostname="localhost")
        step = rng.choice((1, 7, 100))
        with self._dial(rng.choice(GOOD)) as sock:
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    pieces = outgoing.read()
                else:
                    break
                for at in range(0, len(pieces), step):
                    sock.sendall(pieces[at : at + step])
                if not (data := sock.recv(65536)):
                    raise Unexpected("the server ended")
                incoming.write(data)
            sock.sendall(outgoing.read())
            if happens(rng, 0.5):
                reset(sock)

    # ---- held until `leave`

    def hold_idle(self, rng: random.Random) -> None:
        """Say something, then nothing."""
        sock = self._connect(rng)
        exchange(sock, b"E", b"hello")
        self._held.append(sock)

    def hold_silent(self, rng: random.Random) -> None:
        """Stop somewhere in the handshake."""
        hello = self._hello()
        sock = self._dial(rng.choice(GOOD))
        sock.sendall(hello[: rng.choice((0, 1, 100, len(hello)))])
        self._held.append(sock)

    def hold_download(self, rng: random.Random) -> None:
        """Ask for much and read nothing of it."""
        sock = self._connect(rng)
        sock.sendall(b"D" + (1 << 26).to_bytes(8))
        self._held.append(sock)

    def hold_part(self, rng: random.Random) -> None:
        """Stop within a record; the patient servers wait for a minute."""
        sock = self._connect(rng)
        exchange(sock, b"E", b"hello")
        plain = strip(sock)
        plain.sendall(b"\x17\x03\x03\x40\x00" + bytes(rng.randrange(2000)))
        self._held.append(plain)

    def hold_half(self, rng: random.Random) -> None:
        """Send TLS's goodbye and FIN, to a server that does not end on its side."""
        sock = self._connect(rng)
        sock.sendall(b"H")
        sock.settimeout(0)
        with contextlib.suppress(ssl.SSLWantReadError):
            sock.unwrap()
        plain = strip(sock)
        plain.shutdown(socket.SHUT_WR)
        self._held.append(plain)


ACTIONS = {
    Strangers.echo: 20,
    Strangers.resume: 10,
    Strangers.upload: 3,
    Strangers.read_slowly: 2,
    Strangers.update_keys: 1,
    Strangers.renegotiate: 1,
    Strangers.reset_early: 15,
    Strangers.reset_late: 15,
    Strangers.leave_early: 8,
    Strangers.truncate: 8,
    Strangers.flood: 10,
    Strangers.be_thrown_out: 2,
    Strangers.stop_within_record: 2,
    Strangers.trickle: 5,
}
HOLDS = (
    *[Strangers.hold_idle] * 6,
    *[Strangers.hold_silent] * 2,
    *[Strangers.hold_half] * 2,
    Strangers.hold_part,
    Strangers.hold_download,
)


def exchange(sock: ssl.SSLSocket, order: bytes, data: bytes) -> None:
    """Have bytes come back."""
    sock.sendall(order + data)
    if receive(sock, len(data)) != data:
        raise Unexpected("other bytes came back")


def receive(sock: ssl.SSLSocket, size: int) -> bytes:
    """Read so many bytes."""
    data = b""
    while len(data) < size:
        if not (piece := sock.recv(size - len(data))):
            raise Unexpected(f"the server ended after {len(data)} of {size} bytes")
        data += piece
    return data


def strip(sock: ssl.SSLSocket) -> socket.socket:
    """Return the socket below TLS."""
    plain = socket.socket(fileno=sock.detach())
    plain.settimeout(PATIENCE)
    return plain


def drain(sock: socket.socket) -> None:
    """Read until the server has ended, properly or by a reset; it must within PATIENCE."""
    with contextlib.suppress(ConnectionError):
        while sock.recv(65536):
            pass


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def main(folder: Path, ports: dict[str, int]) -> None:
    """Obey orders."""
    strangers = Strangers(folder, ports)
    await obey({"work": strangers.work, "leave": strangers.leave, "state": strangers.state})


if __name__ == "__main__":
    asyncio.run(main(*parse_arguments(__doc__)))
