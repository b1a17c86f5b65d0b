"""What `tlsio serve` serves by plain HTTP next to HTTPS: redirects, metrics, a health answer; alone, with workers, reloading."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import pki
from ports import own_port
from served import PATIENCE, Served, eventually, refuses, run_tlsio, write_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
ways = pytest.mark.parametrize("way", [(), ("--workers", "3"), ("--reload",)], ids=["alone", "workers", "reload"])
each_count = pytest.mark.parametrize("workers", ["1", "3"])


@contextmanager
def serving(folder: Path, *words: str, **options: Any) -> Iterator[tuple[Served, int, int]]:
    """Serve with both; give the ports of redirects and of metrics."""
    write_files(folder)
    with own_port() as redirect, own_port() as metrics:
        more = ("--redirect", str(redirect), "--metrics", f"127.0.0.1:{metrics}", "--host", "127.0.0.1")
        with Served(folder, "serve", "main:app", *more, *words, **options) as served:
            yield served, redirect, metrics


def fetch(port: int, path: str = "/", host: str = "example.org", *, address: str = "127.0.0.1") -> tuple[int, dict[str, str], str]:
    """Ask once by plain HTTP."""
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Host": host, "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def requests_at(port: int) -> float:
    """Return the number of requests that metrics tell of."""
    lines = fetch(port, "/metrics")[2].splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("tlsio_https_requests_total"))


def hsts_of(served: Served, name: str) -> str | None:
    """Return the header of a response."""
    command = ["curl", "-sS", "-D", "-", "-o", "/dev/null", "--cacert", "ca.pem", "--resolve", f"{name}:{served.port}:127.0.0.1"]
    command.append(f"https://{name}:{served.port}/")
    done = subprocess.run(command, cwd=served.folder, capture_output=True, text=True, check=True, timeout=PATIENCE)
    lines = dict(line.partition(": ")[::2] for line in done.stdout.splitlines())
    return lines.get("strict-transport-security")


@ways
def test_redirects_and_metrics(tmp_path: Path, way: tuple[str, ...]) -> None:
    """Each at its port."""
    with serving(tmp_path, *way) as (served, redirect, metrics):
        status, headers, _ = fetch(redirect, "/a?b=c")
        assert (status, headers["location"]) == (308, f"https://example.org:{served.port}/a?b=c")
        pids = {served.get()["pid"] for _ in range(20)}
        assert len(pids) > 1 or "--workers" not in way
        assert served.process.pid not in pids or not way
        eventually(lambda: requests_at(metrics) == 20, "the count of all requests")
        assert fetch(metrics, "/health")[::2] == (200, "ok\n")
        text = fetch(metrics, "/metrics")[2]
        assert "tlsio_handshakes_total{" in text
        assert text.count("\nprocess_start_time_seconds ") == 1


@ways
def test_two_colons_are_every_address(tmp_path: Path, way: tuple[str, ...]) -> None:
    """Of IPv4 too, at each port of the server."""
    with serving(tmp_path, *way, "--host", "::") as (served, redirect, _):
        assert f"Serving https://localhost:{served.port}, on all addresses" in served.stderr
        for address in ("127.0.0.1", "::1"):
            assert fetch(redirect, address=address)[0] == 308
            socket.create_connection((address, served.port), PATIENCE).close()


@each_count
def test_status_301(tmp_path: Path, workers: str) -> None:
    """For old clients."""
    with serving(tmp_path, "--workers", workers, "--redirect-status", "301") as (_, redirect, _):
        assert fetch(redirect)[0] == 301


@each_count
def test_hsts(tmp_path: Path, workers: str) -> None:
    """By the option for a year, by a table for as long as it says, also with the option; nothing without them."""
    site = pki.leaf("site.example.org", issuer=pki.ca1(), names=["site.example.org", "localhost"])
    write_files(tmp_path, site)
    for words, table, expected in (
        (("--hsts",), "", "max-age=31536000"),
        ((), "[hsts]\nmax_age = 300\ninclude_subdomains = true\n", "max-age=300; includeSubDomains"),
        (("--hsts",), "[hsts]\nmax_age = 300\n", "max-age=300"),
        ((), "", None),
    ):
        (tmp_path / "serve.toml").write_text(f'app = "main:app"\n[[site]]\ncert = "server.pem"\nkey = "server.key"\n{table}')
        with Served(tmp_path, "serve", "--config", "serve.toml", "--port", "PORT", "--workers", workers, *words) as served:
            assert hsts_of(served, "site.example.org") == expected
            assert hsts_of(served, "localhost") is None
            assert served.stderr.count("WARNING:  HSTS: ") == table.count("include_subdomains")  # once, and not by each worker


@each_count
def test_a_missing_hsts_header_is_explained_once(tmp_path: Path, workers: str) -> None:
    """With any number of processes, by each of which requests are answered."""
    write_files(tmp_path, pki.leaf("site.example.org", issuer=pki.ca1(), names=["site.example.org", "localhost"]))
    with Served(tmp_path, "serve", "main:app", "--hsts", "--workers", workers) as served:
        assert len({served.get()["pid"] for _ in range(30)}) > 1 or workers == "1"
        eventually(lambda: "HSTS: the header is not sent for an address or a private name" in served.stderr, "the explanation")
        assert served.stderr.count("HSTS: ") == 1


def test_a_killed_worker_takes_no_count_away(tmp_path: Path) -> None:
    """What was told once is never taken back, before and after there is a new worker."""
    with serving(tmp_path, "--workers", "3") as (served, _, metrics):
        victim = [served.get()["pid"] for _ in range(30)].pop()
        eventually(lambda: requests_at(metrics) == 30, "the count")
        os.kill(victim, signal.SIGKILL)
        seen = [requests_at(metrics)]

        def is_replaced() -> bool:
            seen.append(requests_at(metrics))
            return len(served.children()) >= 3 and "it is replaced" in served.stderr

        eventually(is_replaced, "a new worker")
        for _ in range(10):
            served.get()
        eventually(lambda: requests_at(metrics) == 40, "the count of the new worker too")
        assert set(seen) == {30}


@each_count
def test_health_says_that_the_server_stops(tmp_path: Path, workers: str) -> None:
    """While a request goes on; there are no redirects any more, and metrics until the end."""
    with serving(tmp_path, "--workers", workers) as (served, redirect, metrics):
        url = f"https://localhost:{served.port}/held"
        command = ["curl", "-sS", "-4", "--cacert", "ca.pem", url]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as curl:
            eventually((tmp_path / "held").exists, "the request")
            served.kill(signal.SIGTERM)
            eventually(lambda: fetch(metrics, "/health")[::2] == (503, "stopping\n"), "the answer")
            eventually(lambda: refuses(redirect), "the end of the redirects")
            assert requests_at(metrics) == 0
            (tmp_path / "released").touch()
            assert curl.communicate(timeout=PATIENCE)[0].startswith(b'{"pid"')
        assert served.wait() == 0
        assert "Traceback" not in served.stderr
        with pytest.raises(ConnectionRefusedError):
            fetch(metrics, "/health")


@each_count
def test_a_restart_takes_them_along(tmp_path: Path, workers: str) -> None:
    """The ports stay open, and only one process answers at a time."""
    with serving(tmp_path, "--workers", workers) as (served, redirect, metrics):
        served.get()
        eventually(lambda: requests_at(metrics) == 1, "the count of the old process")
        served.kill(signal.SIGUSR2)
        counts = []

        def has_taken_over() -> bool:
            assert fetch(redirect)[0] == 308
            assert fetch(metrics, "/health")[0] == 200
            counts.append(requests_at(metrics))
            return "has taken over" in served.stderr and served.process.poll() is not None

        eventually(has_taken_over, "the restart")
        pid = served.owns(int(served.stderr.partition(" has taken over")[0].rpartition(" ")[2]))
        assert fetch(redirect)[0] == 308
        assert requests_at(metrics) == 0
        assert counts == sorted(counts, reverse=True)  # 1, and 0 from the new process on
        os.kill(pid, signal.SIGTERM)
        assert "Traceback" not in served.stderr


@each_count
def test_a_restart_with_other_settings(tmp_path: Path, workers: str) -> None:
    """A port that the settings have no more is closed, and another one is opened."""
    write_files(tmp_path)
    with own_port() as redirect, own_port() as metrics, own_port() as other:
        served = Served(tmp_path, "serve", "--config", "tlsio.toml")
        common = f'app = "main:app"\nhost = "127.0.0.1"\nport = {served.port}\nworkers = {workers}\n'
        site = '[[site]]\ncert = "server.pem"\nkey = "server.key"\n'
        (tmp_path / "tlsio.toml").write_text(f'{common}redirect = {redirect}\nmetrics = "127.0.0.1:{metrics}"\n{site}')
        with served:
            assert fetch(redirect)[0] == 308
            (tmp_path / "tlsio.toml").write_text(f'{common}metrics = "127.0.0.1:{other}"\n{site}')
            served.kill(signal.SIGUSR2)
            assert served.wait() == 0
            pid = served.owns(int(served.stderr.partition(" has taken over")[0].rpartition(" ")[2]))
            assert refuses(redirect)
            assert refuses(metrics)
            assert eventually(lambda: fetch(other, "/health"), "the new address")[0] == 200
            os.kill(pid, signal.SIGTERM)


@each_count
def test_redirects_are_at_the_address_of_passed_sockets(tmp_path: Path, workers: str) -> None:
    """`host` is not theirs."""
    write_files(tmp_path)
    with socket.create_server(("127.0.0.2", 0)) as listening, own_port() as redirect:
        words = ("--fd", str(listening.fileno()), "--redirect", str(redirect), "--workers", workers)
        with Served(tmp_path, "serve", "main:app", *words, pass_fds=(listening.fileno(),)):
            location = fetch(redirect, address="127.0.0.2")[1]["location"]
            assert location == f"https://example.org:{listening.getsockname()[1]}/"
            with pytest.raises(ConnectionRefusedError):
                fetch(redirect)


@each_count
@pytest.mark.parametrize("option", ["--redirect", "--metrics"])
def test_a_port_in_use(tmp_path: Path, workers: str, option: str) -> None:
    """Ends the command with one sentence."""
    write_files(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        value = str(port) if option == "--redirect" else f"127.0.0.1:{port}"
        words = ("--host", "127.0.0.1", "--port", "0", "--cert", "server.pem", "--key", "server.key", "--workers", workers)
        done = run_tlsio(tmp_path, "serve", "main:app", *words, option, value)
    assert done.returncode == 2
    assert "ddress already in use" in done.stderr
    assert "Traceback" not in done.stderr
