"""HTTPS servers side by side: CPU time of a request, memory of an idle connection, CPU time of a large file.

    python bench/https.py                 everything, about fifteen minutes
    python bench/https.py --quick         the same with small numbers, to see whether it runs
    python bench/https.py --part hello --part fastapi --only tlsio --only uvicorn --rounds 9

CPU time is that of a server's processes, user and system. The servers of a part are started together; each round sends the same
requests to one after the other, over 8 connections, whose handshakes count. A ratio is the median of the ratios of the rounds, so a slow
minute of the machine affects both sides. It is taken against the server in the last column on the same event loop; a server
with a loop of its own is compared with uvloop. Servers that are not installed are left out, which is reported. hypercorn
has no row for HTTP/1.1: it sends no reason phrase, and h2load counts that as a failure.

Needs h2load (Debian's nghttp2-client), 12,000 descriptors and 1 GiB of disk. Load and servers stay on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from command_line import count, finish, need
from https_servers import HERE, HOST, LOOPS, Server, find_loops, running

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import Callable

    from https_servers import Running

PARTS = ("hello", "fastapi", "idle", "files")
CONNECTIONS, STREAMS = 8, 10
CLIENTS = 16  # of the large file
GIB, MIB = 2**30, 2**20
OPENING = 16  # idle connections that are opened at a time
FIRST = 16  # idle connections that are not counted: a server allocates for its first ones
ALONE = Server("h2 library alone", "h2", "none", "hello")
# What a ratio is taken against, by part and version.
REFERENCES = {
    ("hello", "h1"): "uvicorn", ("hello", "h2"): "hypercorn", ("fastapi", "h1"): "uvicorn", ("fastapi", "h2"): "h2corn",
    ("idle", "h1"): "uvicorn", ("files", "h1"): "uvicorn", ("files", "h2"): "uvicorn",
}  # fmt: skip

Figures = dict[Server, list[float]]


def servers(part: str) -> list[Server]:
    """Return the servers of a part."""
    loops = {
        "hello": [("tlsio", "h1"), ("uvicorn", "h1"), ("tlsio", "h2"), ("hypercorn", "h2")],
        "fastapi": [("tlsio", "h1"), ("uvicorn", "h1"), ("tlsio", "h2"), ("hypercorn", "h2")],
        "idle": [("tlsio", "h1"), ("uvicorn", "h1")],
        "files": [("tlsio", "h1"), ("uvicorn", "h1"), ("tlsio", "h2")],
    }[part]
    own = {
        "hello": [("node", "h1"), ("granian", "h1"), ("node", "h2"), ("granian", "h2"), ("h2corn", "h2")],
        "fastapi": [("granian", "h1"), ("granian", "h2"), ("h2corn", "h2")],
        "idle": [("node", "h1"), ("granian", "h1")],
        "files": [],
    }[part]
    app = {"idle": "hello"}.get(part, part)
    return [Server(*one, loop, app) for loop in find_loops() for one in loops] + [Server(*one, "own", app) for one in own]


def measure_requests(chosen: list[Server], folder: Path, rounds: int, requests: int) -> Figures:
    """Return microseconds of CPU for a request, of each round."""
    figures: Figures = {server: [] for server in chosen}
    with ExitStack() as stack:
        started = {server: stack.enter_context(running(server, folder)) for server in chosen}
        for server, one in started.items():
            _load(server, one, 2 * CONNECTIONS * STREAMS, folder)  # warm up
        for _ in range(rounds):
            for server, one in started.items():
                before = one.cpu_seconds
                _load(server, one, requests, folder)
                figures[server].append((one.cpu_seconds - before) / requests * 1e6)
            if chosen[0].app == "hello":
                alone = [sys.executable, str(HERE / "http2_alone.py"), str(requests)]
                figures.setdefault(ALONE, []).append(float(subprocess.run(alone, capture_output=True, check=True).stdout))
    return figures


def _load(server: Server, one: Running, requests: int, folder: Path) -> None:
    """Send requests; all of them must be answered with 200."""
    streams = STREAMS if server.version == "h2" else 1
    path = "/" if server.app == "hello" else "/orders/7"
    body = ["-d", str(folder / "body.json"), "-H", "content-type: application/json"] if server.app == "fastapi" else []
    _h2load(server, one, ["-n", str(requests), "-c", str(CONNECTIONS), "-m", str(streams), *body], path, requests)


def measure_files(chosen: list[Server], folder: Path, rounds: int, size: int) -> Figures:
    """Return milliseconds of CPU for a GiB of a file that several clients get at the same time."""
    (folder / "files").mkdir()
    with (folder / "files" / "large.bin").open("wb") as file:
        file.truncate(size)
    figures: Figures = {server: [] for server in chosen}
    with ExitStack() as stack:
        started = {server: stack.enter_context(running(server, folder)) for server in chosen}
        for _ in range(rounds):
            for server, one in started.items():
                before = one.cpu_seconds
                _h2load(server, one, ["-n", str(CLIENTS), "-c", str(CLIENTS), "-m", "1", "-w", "20", "-W", "20"], "/large.bin", CLIENTS)
                figures[server].append((one.cpu_seconds - before) / CLIENTS * GIB / size * 1e3)
    return figures


def _h2load(server: Server, one: Running, options: list[str], path: str, requests: int) -> None:
    command = ["h2load", *options, *(["--h1"] if server.version == "h1" else []), f"https://{HOST}:{one.port}{path}"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"status codes: (\d+) 2xx", report)
    if found is None or int(found[1]) != requests:
        raise SystemExit(f"{server.name} {server.version}: not all requests were answered:\n{report}")


def measure_idle(chosen: list[Server], folder: Path, count: int) -> Figures:
    """Return KiB of resident memory of each connection that waits after a request."""
    figures: Figures = {}
    for server in chosen:
        with running(server, folder) as one:
            asyncio.run(_hold(one.port, FIRST, lambda: 0.0))
            before = one.resident_kib
            began = time.monotonic()
            found, gone = asyncio.run(_hold(one.port, count, lambda one=one, before=before: (one.resident_kib - before) / count))
            seconds = time.monotonic() - began
            if gone:
                print(f"{server.name} on {server.loop} is left out: it closed {gone} of {count} idle connections within {seconds:.0f} s")
            else:
                print(f"{server.name} on {server.loop}: {found:.1f} KiB each, {count} in {seconds:.0f} s", flush=True)
                figures[server] = [found]
    return figures


async def _hold(port: int, count: int, look: Callable[[], float]) -> tuple[float, int]:
    """Open connections, send a request over each, and look while they are idle; also return how many the server closed."""
    context = tlsio.create_secure_context(ca=pki.ca1().cert_pem, alpn_protocols=["http/1.1"])
    sockets: list[tlsio.TLSSocket] = []

    async def open_one() -> None:
        sock = await tlsio.connect(port, HOST, secure_context=context, servername="localhost")
        sock.on("error", lambda _error: None)
        await sock.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await sock.readuntil(b"x" * 100)
        sockets.append(sock)

    for done in range(0, count, OPENING):
        await asyncio.gather(*(open_one() for _ in range(min(OPENING, count - done))))
    found = look()
    await asyncio.sleep(0)
    gone = sum(sock.closed for sock in sockets)
    for sock in sockets:
        sock.destroy()
    return found, gone


def print_table(part: str, figures: Figures, unit: str, what: str) -> None:
    """Print the rows of a part as a table of Markdown."""
    print(f"\n| {part} | loop | {unit} | of all rounds | {what} | against |\n|---|---|---:|---:|---:|---|")
    for server, values in figures.items():
        name = REFERENCES.get((part, server.version), "")
        loop = "uvloop" if server.loop == "own" else server.loop
        reference = next((other for other in figures if other.name == name and other.loop in {loop, "own"}), None)
        ratios = [] if reference is None or server == ALONE else [base / own for base, own in zip(figures[reference], values, strict=True)]
        ratio = f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else ""
        version = {"h1": "HTTP/1.1", "h2": "HTTP/2"}[server.version]
        spread = f"{min(values):.1f}-{max(values):.1f}"
        print(
            f"| {version}, {server.name} | {server.loop} | {statistics.median(values):.1f} | {spread} | {ratio} | {name if ratios else ''} |"
        )
    sys.stdout.flush()


def print_layer(figures: Figures) -> None:
    """Print what our layer and TLS add to the library, and the ratios to Node."""
    for loop in LOOPS:
        ours = figures.get(Server("tlsio", "h2", loop, "hello"))
        if ours is not None:
            added = statistics.median(own - alone for own, alone in zip(ours, figures[ALONE], strict=True))
            print(f"\ntlsio's HTTP/2 on {loop}: {added:.1f} µs over the h2 library alone")
        for version in ("h1", "h2"):
            ours, node = figures.get(Server("tlsio", version, loop, "hello")), figures.get(Server("node", version, "own", "hello"))
            if ours is not None and node is not None:
                ratio = statistics.median(theirs / own for theirs, own in zip(node, ours, strict=True))
                print(f"\ntlsio's {version} on {loop}: {ratio:.2f} x the requests per CPU second of Node")


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="more than once for more; default: all")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a server, such as tlsio; more than once for more; default: all"
    )
    parser.add_argument("--rounds", type=count, default=9, help="of requests, of which large files have a quarter (9)")
    parser.add_argument("--requests", type=count, default=5000, help="of each round (5000)")
    parser.add_argument("--idle", type=count, default=10_000, help="idle connections (10000)")
    parser.add_argument("--quick", action="store_true", help="two rounds of 400 requests, 100 connections, a file of 16 MiB")
    arguments = parser.parse_args()
    known = sorted({server.name for part in arguments.part or PARTS for server in servers(part)})
    if unknown := [name for name in arguments.only if name not in known]:
        parser.error(f"no such server: {unknown[0]}; there are {' '.join(known)}")
    need("h2load")
    rounds, requests, idle, size = arguments.rounds, arguments.requests, arguments.idle, GIB
    if len(find_loops()) < len(LOOPS):
        print("uvloop is not installed")
    if arguments.quick:
        rounds, requests, idle, size = 2, 400, 100, 16 * MIB
    for part in arguments.part or PARTS:
        chosen = [server for server in servers(part) if not arguments.only or server.name in arguments.only]
        for name in {server.name for server in chosen if not server.is_installed}:
            print(f"{name} is not installed")
            chosen = [server for server in chosen if server.name != name]
        if not chosen:
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "cert.pem").write_bytes(pki.localhost().cert_pem)
            (folder / "key.pem").write_bytes(pki.localhost().key_pem)
            (folder / "body.json").write_text('{"name": "tea", "count": 3}')
            if part == "idle":
                print_table(part, measure_idle(chosen, folder, idle), "KiB each", "connections for the same memory")
            elif part == "files":
                figures = measure_files(chosen, folder, max(1, rounds // 4), size)
                print_table(part, figures, "ms of CPU for 1 GiB", "bytes for the same CPU time")
            else:
                figures = measure_requests(chosen, folder, rounds, requests)
                print_table(part, figures, "µs of CPU", "requests for the same CPU time")
                if part == "hello":
                    print_layer(figures)


if __name__ == "__main__":
    finish(main)
