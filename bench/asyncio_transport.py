"""The CPU time of uvicorn per request: over tlsio's transport, and over Python's `ssl` on the same loop.

    python bench/asyncio_transport.py [--rounds 5] [--requests 20000] [--connections 32] [--loop uvloop]

Each round starts both servers, one after the other, sends the same requests over kept connections, and reads the server's CPU clock
before and after. The result is the median of the ratios of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import ssl
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.server import ServerState

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from command_line import count, finish, need_loop

import pki
import tlsio

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b"x" * 100


async def app(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer with a hundred bytes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
    await send({"type": "http.response.body", "body": BODY})


def serve(kind: str, loop: str, identity: tuple[bytes, bytes], pipe: Any) -> None:
    """Serve until the parent says stop; answer each question with the CPU time used."""

    async def main() -> None:
        config = uvicorn.Config(app, http="httptools", lifespan="off", log_level="critical", access_log=False)
        config.load()
        state = ServerState()
        cert, key = identity

        def factory() -> Any:
            return config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]

        if kind == "tlsio":
            server: Any = await tlsio.create_tls_server(factory, "127.0.0.1", 0, cert=cert, key=key)
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with tempfile.NamedTemporaryFile() as file:
                file.write(cert + key)
                file.flush()
                context.load_cert_chain(file.name)
            server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0, ssl=context)
        pipe.send(server.sockets[0].getsockname()[1])
        while await asyncio.to_thread(pipe.recv):
            pipe.send(time.process_time())
        os._exit(0)

    if loop == "uvloop":
        import uvloop  # noqa: PLC0415 - may be missing

        uvloop.run(main())
    else:
        asyncio.run(main())


async def load(port: int, connections: int, requests: int) -> None:
    """Send the requests over kept connections, one at a time on each."""
    answer = 0

    async def one() -> None:
        nonlocal answer
        sock = await tlsio.connect(port, "localhost", ca=pki.ca1().cert_pem)
        async with sock:
            for _ in range(requests // connections):
                await sock.send(REQUEST)
                head = await sock.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200"):
                    raise SystemExit(f"not answered: {head!r}")
                body = await sock.readexactly(len(BODY))
                answer += len(body)

    await asyncio.gather(*(one() for _ in range(connections)))
    if answer != requests // connections * connections * len(BODY):
        raise SystemExit(f"{answer} bytes were answered")


def measure(kind: str, arguments: argparse.Namespace) -> float:
    """Return microseconds of the server's CPU for one request."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=serve, args=(kind, arguments.loop, (pki.localhost().cert_pem, pki.localhost().key_pem), theirs), daemon=True
    )
    process.start()
    theirs.close()  # else the end of the process would not be noticed
    try:
        port = ours.recv()
    except EOFError:
        raise SystemExit("The server did not start") from None
    asyncio.run(load(port, arguments.connections, arguments.connections * 20))
    times = []
    for requests in (0, arguments.requests):
        if requests:
            asyncio.run(load(port, arguments.connections, requests))
        ours.send(True)  # noqa: FBT003
        times.append(ours.recv())
    ours.send(False)  # noqa: FBT003
    process.join()
    return float((times[1] - times[0]) / arguments.requests * 1e6)


def main() -> None:
    """Measure, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=count, default=5, help="in each of which both servers are started (5)")
    parser.add_argument("--requests", type=count, default=20_000, help="of each round (20000)")
    parser.add_argument("--connections", type=count, default=32, help="at a time (32)")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop", help="of both servers (uvloop)")
    arguments = parser.parse_args()
    if arguments.requests < arguments.connections:
        parser.error("--requests must be at least --connections")
    need_loop(arguments.loop)
    ratios = []
    for number in range(arguments.rounds):
        found = {kind: measure(kind, arguments) for kind in ("tlsio", "ssl")}
        ratios.append(found["ssl"] / found["tlsio"])
        print(
            f"round {number + 1}: tlsio {found['tlsio']:.1f} us, ssl {found['ssl']:.1f} us: {ratios[-1]:.2f} x the requests per CPU second"
        )
    print(f"median: {statistics.median(ratios):.2f} x")


if __name__ == "__main__":
    finish(main)
