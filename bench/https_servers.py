"""The HTTPS servers that `bench/https.py` compares: how to start each, and what its processes use."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
HOST = "127.0.0.1"
KEEP_ALIVE = 3600  # seconds: longer than ten thousand connections take to be made
LOOPS = ("asyncio", "uvloop")

NODE = """
const fs = require('fs'), [,, version, port, cert, key, keepAlive] = process.argv, body = 'x'.repeat(100);
const options = { cert: fs.readFileSync(cert), key: fs.readFileSync(key), allowHTTP1: false };
const answer = (request, response) => { response.writeHead(200, { 'content-type': 'text/plain', 'content-length': 100 }); response.end(body); };
const server = version === 'h2' ? require('http2').createSecureServer(options, answer) : require('https').createServer(options, answer);
server.keepAliveTimeout = keepAlive * 1000;
server.listen(+port, '127.0.0.1', 2048);
"""

OURS = """
import asyncio, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from tlsio.https import Limits, serve
loop, port, cert, key, app, keep_alive = sys.argv[1:]
run = asyncio.run
if loop == "uvloop":
    import uvloop
    run = uvloop.run
limits = Limits(keep_alive_timeout=float(keep_alive))
run(serve(app, "127.0.0.1", int(port), cert=Path(cert), key=Path(key), lifespan="off", limits=limits))
"""


@dataclass(frozen=True)
class Server:
    """One server to be measured.

    Attributes:
        name: Such as "uvicorn".
        version: "h1" or "h2": what is spoken with it.
        loop: Its event loop; "own" if it has none of Python's.
        app: "hello", "fastapi" or "files".
    """

    name: str
    version: str
    loop: str
    app: str

    @property
    def is_installed(self) -> bool:
        """Whether it can be started here."""
        if self.name in {"node", "tlsio"}:
            return self.name == "tlsio" or subprocess.run(["sh", "-c", "command -v node"], capture_output=True, check=False).returncode == 0
        return subprocess.run([sys.executable, "-c", f"import {self.name}"], capture_output=True, check=False).returncode == 0

    def command(self, port: int, folder: Path) -> list[str]:
        """Return the command that serves on a port; `folder` has the certificate, its key, and the files."""
        cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
        module = [sys.executable, "-m", self.name]
        target = {"hello": "https_app:hello", "fastapi": "https_fastapi:app", "files": "https_app:files"}[self.app]
        where = ["--host", HOST, "--port", str(port)]
        match self.name:
            case "tlsio":
                ours = str(folder / "files") if self.app == "files" else target
                return [sys.executable, "-c", OURS.format(here=str(HERE)), self.loop, str(port), cert, key, ours, str(KEEP_ALIVE)]
            case "uvicorn":
                quiet = ["--no-access-log", "--log-level", "warning", "--timeout-keep-alive", str(KEEP_ALIVE)]
                return [
                    *module,
                    target,
                    *where,
                    "--loop",
                    self.loop,
                    "--http",
                    "httptools",
                    *quiet,
                    "--ssl-certfile",
                    cert,
                    "--ssl-keyfile",
                    key,
                ]
            case "hypercorn":
                return [*module, target, "--bind", f"{HOST}:{port}", "-k", self.loop, "--certfile", cert, "--keyfile", key]
            case "granian":
                tls = ["--ssl-certificate", cert, "--ssl-keyfile", key]
                # By default it serves 1,024 connections at a time, and closes idle ones after 30 seconds.
                many = ["--backlog", "16384", "--backpressure", "16384", "--http1-header-read-timeout", "60000"]
                return [*module, "--interface", "asgi", target, *where, *tls, *many, "--workers", "1", "--no-access-log"]
            case "h2corn":
                return [*module, target, *where, "--certfile", cert, "--keyfile", key, "--loop", "uvloop", "--no-access-log"]
        script = folder / "node.js"
        script.write_text(NODE)
        return ["node", str(script), self.version, str(port), cert, key, str(KEEP_ALIVE)]


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        port: Where.
        group: The process group of all its processes.
    """

    port: int
    group: int

    @property
    def processes(self) -> list[int]:
        """Return the ids of its processes."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if int((entry / "stat").read_text().rpartition(")")[2].split()[2]) == self.group:
                        found.append(int(entry.name))
        return found

    @property
    def cpu_seconds(self) -> float:
        """Return the CPU time of its processes, which clock_getcpuclockid(3) has in nanoseconds."""
        return sum(time.clock_gettime((~process << 3) | 2) for process in self.processes)

    @property
    def resident_kib(self) -> float:
        """Return the resident memory of its processes."""
        pages = sum(int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in self.processes)
        return pages * os.sysconf("SC_PAGESIZE") / 1024


@contextmanager
def running(server: Server, folder: Path) -> Iterator[Running]:
    """Run a server, from when it answers."""
    port = free_port()
    process = subprocess.Popen(
        server.command(port, folder),
        cwd=HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if server.name in {"hypercorn", "granian", "h2corn"} else None,  # they say that they have started
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "FILES": str(folder / "files")},
        start_new_session=True,
    )
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            if process.poll() is not None:
                raise SystemExit(f"{server.name} ended with {process.returncode}")
            time.sleep(0.05)
        yield Running(port, process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def find_loops() -> list[str]:
    """Return the event loops that are installed."""
    return [loop for loop in LOOPS if importlib.util.find_spec(loop)]


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
