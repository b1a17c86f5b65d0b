"""The server under load: the first byte after the handshake chooses echo, download or upload.

`E`: all further bytes are echoed. `D`: counts follow, 8 bytes big-endian each; each is answered by that many bytes. `U`: a count and
that many bytes follow, answered by one byte `K`; then the next count. reference.c has the same protocol. The server prints `READY`
and its port when it listens.

    python bench/server.py --port 8443 --cert server.pem --key server.key [--ca ca.pem] [--loop uvloop|asyncio] [--style data|await]
                           [--store memory|redis] [--threads N|auto]
"""

import argparse
import asyncio
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tlsio

CHUNK = bytes(65536)
ECHO, DOWNLOAD, UPLOAD = b"EDU"


def on_data(socket: tlsio.TLSSocket) -> None:
    """Serve one connection by events."""

    def first(data: bytes) -> None:
        listener = {ECHO: echo, DOWNLOAD: download, UPLOAD: upload}[data[0]](socket)
        socket.on("data", listener)
        if len(data) > 1:
            listener(data[1:])

    socket.once("data", first)


def echo(socket: tlsio.TLSSocket) -> Callable[[bytes], object]:
    """Echo all bytes."""
    return socket.write


def download(socket: tlsio.TLSSocket) -> Callable[[bytes], object]:
    """Answer a count with that many bytes, as fast as the peer reads them."""
    owed = 0

    def send() -> None:
        nonlocal owed
        while owed:
            chunk = CHUNK if owed >= len(CHUNK) else CHUNK[:owed]
            owed -= len(chunk)
            if not socket.write(chunk):
                return

    def ask(data: bytes) -> None:
        nonlocal owed
        owed = int.from_bytes(data)
        send()

    socket.on("drain", send)
    return ask


def upload(socket: tlsio.TLSSocket) -> Callable[[bytes], object]:
    """Answer K after as many bytes as the count says."""
    due = 0

    def take(data: bytes) -> None:
        nonlocal due
        if not due:
            due = int.from_bytes(data[:8]) + 8
        due -= len(data)
        if not due:
            socket.write(b"K")

    return take


async def by_await(socket: tlsio.TLSSocket) -> None:
    """Serve one echo connection by reading."""
    await socket.readexactly(1)
    while data := await socket.read():
        socket.write(data)


async def main(options: argparse.Namespace) -> None:
    """Listen until killed."""
    trust = {"ca": options.ca, "request_cert": True} if options.ca else {}
    threads = {} if options.threads is None else {"handshake_threads": options.threads}
    listener = by_await if options.style == "await" else on_data
    with keep(options.store) as store:
        server = tlsio.create_server(listener, cert=options.cert, key=options.key, session_store=store, **trust, **threads)
        await server.listen(options.port, "127.0.0.1")
        print("READY", server.port, flush=True)
        await server.serve_forever()


@contextmanager
def keep(where: str | None) -> Iterator[object]:
    """Make the session store; a Redis is started for it, and stopped with this process."""
    if where == "redis":
        sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
        from redis_server import SECRET, RedisServer  # noqa: PLC0415  (it takes the tests' packages)

        with RedisServer() as redis:
            yield tlsio.RedisSessionStore(redis.url, secret=SECRET)
    else:
        yield tlsio.MemorySessionStore() if where else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--cert", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--ca", type=Path, help="require client certificates of this authority")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--style", choices=["data", "await"], default="data")
    parser.add_argument("--store", choices=["memory", "redis"], help="where sessions are kept; otherwise in tickets")
    threads_help = "handshake_threads of the server"
    parser.add_argument("--threads", type=lambda text: text if text == "auto" else int(text), help=threads_help)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    arguments = parser.parse_args()
    if arguments.loop == "uvloop":
        import uvloop

        uvloop.run(main(arguments))
    else:
        asyncio.run(main(arguments))
