"""The CPU time of HTTPS servers per request, one process each, under h2load.

    python bench/https.py [--rounds 5] [--requests 20000] [--only NAME ...] [--fastapi]
    python bench/https.py --idle 2000 [--only NAME ...]     resident memory of each idle connection of HTTP/1.1, after one request

Each round starts every server, one after the other, warms it up, sends the same requests, and reads the CPU clock of its processes
before and after. Ratios are medians over the rounds, against the reference of the same HTTP version and loop: uvicorn with Python's
ssl for HTTP/1.1, hypercorn for HTTP/2. Servers that are not installed are left out, and said so. hypercorn has no row
for HTTP/1.1: it sends no reason phrase, and h2load counts that as a failure.

Needs h2load (Debian's nghttp2-client). Load and servers stay on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
CONNECTIONS, STREAMS = 8, 10
TICKS = os.sysconf("SC_CLK_TCK")

NODE = """
const fs = require('fs'), [,, kind, port, cert, key] = process.argv, body = 'x'.repeat(100);
const options = { cert: fs.readFileSync(cert), key: fs.readFileSync(key), allowHTTP1: false };
const answer = (request, response) => { response.writeHead(200, { 'content-type': 'text/plain', 'content-length': 100 }); response.end(body); };
const server = kind === 'h2' ? require('http2').createSecureServer(options, answer) : require('https').createServer(options, answer);
server.listen(+port, '127.0.0.1');
"""

OURS = """
import asyncio, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from tlsio.https import serve
loop, port, cert, key, app = sys.argv[1:]
run = asyncio.run
if loop == "uvloop":
    import uvloop
    run = uvloop.run
run(serve(app, "127.0.0.1", int(port), cert=Path(cert), key=Path(key), lifespan="off"))
"""


@dataclass(frozen=True)
class Row:
    """A server: its command, and the version of HTTP that is spoken with it."""

    name: str
    version: str
    loop: str
    command: list[str]
    needs: str | None = None


def rows(port: int, folder: Path, app: str) -> list[Row]:
    """Return every server, to listen on `port`."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    where = ["--port", str(port), "--host", "127.0.0.1"]
    target = "https_app:hello" if app == "hello" else "https_fastapi:app"
    python, module = sys.executable, [sys.executable, "-m"]
    found = []
    for loop in ("asyncio", "uvloop"):
        ours = [python, "-c", OURS.format(here=str(HERE)), loop, str(port), cert, key, target]
        uvicorn = [*module, "uvicorn", target, *where, "--loop", loop, "--http", "httptools", "--no-access-log",
                   "--log-level", "warning", "--ssl-certfile", cert, "--ssl-keyfile", key, "--timeout-keep-alive", "75"]  # fmt: skip
        hypercorn = [*module, "hypercorn", target, "--bind", f"127.0.0.1:{port}", "--certfile", cert,
                     "--keyfile", key, "-k", loop]  # fmt: skip
        found += [
            Row("tlsio", "h1", loop, ours),
            Row("uvicorn", "h1", loop, uvicorn),
            Row("tlsio", "h2", loop, ours),
            Row("hypercorn", "h2", loop, hypercorn, "hypercorn"),
        ]
    granian = [*module, "granian", "--interface", "asgi", target, *where, "--ssl-certificate", cert, "--ssl-keyfile", key,
               "--workers", "1", "--no-access-log"]  # fmt: skip
    h2corn = [*module, "h2corn", target, *where, "--certfile", cert, "--keyfile", key, "--loop", "uvloop", "--no-access-log"]
    found += [
        Row("granian", "h1", "own", granian, "granian"),
        Row("granian", "h2", "own", granian, "granian"),
        Row("h2corn", "h2", "own", h2corn, "h2corn"),
    ]
    if app == "hello":
        script = folder / "node.js"
        script.write_text(NODE)
        for kind in ("h1", "h2"):
            found.append(Row("node", kind, "own", ["node", str(script), kind, str(port), cert, key]))
    return found


@contextmanager
def running(row: Row, port: int) -> Iterator[int]:
    """Run a server in a process group of its own; gives its process id when it answers."""
    process = subprocess.Popen(
        row.command,
        cwd=HERE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        start_new_session=True,
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                raise SystemExit(f"{row.name} ended with {process.returncode}")
            time.sleep(0.05)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def cpu_seconds(group: int) -> float:
    """Return the CPU time of a process group."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group:
                total += int(fields[11]) + int(fields[12])
    return total / TICKS


def load(row: Row, port: int, requests: int, app: str, folder: Path) -> None:
    """Send requests; all of them must be answered with 200."""
    command = ["h2load", "-n", str(requests), "-c", str(CONNECTIONS), "-m", str(STREAMS if row.version == "h2" else 1)]
    if row.version == "h1":
        command.append("--h1")
    if app == "fast":
        body = folder / "body.json"
        body.write_text('{"name": "tea", "count": 3}')
        command += ["-d", str(body), "-H", "content-type: application/json"]
    path = "/" if app == "hello" else "/orders/7"
    said = subprocess.run([*command, f"https://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"status codes: (\d+) 2xx", said)
    if found is None or int(found[1]) != requests:
        raise SystemExit(f"{row.name} {row.version}: not all requests were answered:\n{said}")


def measure(row: Row, port: int, requests: int, app: str, folder: Path) -> float:
    """Return microseconds of CPU per request."""
    with running(row, port) as group:
        load(row, port, CONNECTIONS * STREAMS * 10, app, folder)
        before = cpu_seconds(group)
        load(row, port, requests, app, folder)
        return (cpu_seconds(group) - before) / requests * 1e6


def measure_idle(row: Row, port: int, count: int) -> float:
    """Return KiB of resident memory for each of `count` connections that wait after a request."""
    with running(row, port) as group:
        asyncio.run(_hold(port, 16, lambda: 0.0))
        before = resident(group)
        return asyncio.run(_hold(port, count, lambda: (resident(group) - before) / count))


async def _hold(port: int, count: int, look: Callable[[], float]) -> float:
    """Open connections, send a request over each, and look while they are idle."""
    context = tlsio.create_secure_context(ca=pki.ca1().cert_pem, alpn_protocols=["http/1.1"])
    sockets = []
    for _ in range(count):
        sock = await tlsio.connect(port, "127.0.0.1", secure_context=context, servername="localhost")
        await sock.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await sock.readuntil(b"x" * 100)
        sockets.append(sock)
    found = look()
    for sock in sockets:
        sock.on("error", lambda _error: None)  # the server may have closed it
        sock.destroy()
    return found


def resident(group: int) -> float:
    """Return the resident memory of a process group in KiB."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int((entry / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                    total += int((entry / "statm").read_text().split()[1])
            except OSError:
                continue
    return total * os.sysconf("SC_PAGESIZE") / 1024


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--only", action="append", default=[], help="a name, such as tlsio; more than once for more")
    parser.add_argument("--fastapi", action="store_true", help="the FastAPI application instead of the hello")
    parser.add_argument("--idle", type=int, metavar="N", help="measure memory with N connections instead")
    arguments = parser.parse_args()
    if shutil.which("h2load") is None:
        raise SystemExit("h2load is missing: install nghttp2-client")
    app = "fast" if arguments.fastapi else "hello"
    times: dict[tuple[str, str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cert.pem").write_bytes(pki.localhost().cert_pem)
        (folder / "key.pem").write_bytes(pki.localhost().key_pem)
        for number in range(arguments.rounds):
            for index in range(len(rows(0, folder, app))):
                port = free_port()
                row = rows(port, folder, app)[index]
                if arguments.only and row.name not in arguments.only:
                    continue
                if row.needs and subprocess.run([sys.executable, "-c", f"import {row.needs}"], capture_output=True, check=False).returncode:
                    if number == 0:
                        print(f"{row.name} is not installed", flush=True)
                    continue
                if arguments.idle and row.version != "h1":
                    continue
                cost = measure_idle(row, port, arguments.idle) if arguments.idle else measure(row, port, arguments.requests, app, folder)
                times.setdefault((row.version, row.name, row.loop), []).append(cost)
    unit, what = ("KiB", "connections per memory") if arguments.idle else ("µs of CPU", "requests per CPU second")
    print(f"{'':24}{unit:>10}   {what}, against the reference")
    for (version, server, loop), values in sorted(times.items()):
        reference = {"h1": "uvicorn", "h2": "hypercorn"}[version]
        base = times.get((version, reference, loop)) or times.get((version, reference, "asyncio"))
        ratio = f"{statistics.median(other / own for other, own in zip(base, values, strict=True)):.2f} x {reference}" if base else ""
        print(f"{version} {server:12}{loop:9}{statistics.median(values):>10.1f}   {ratio}")


if __name__ == "__main__":
    main()
