"""`tlsio serve --domain` as a process: one command to two served names, with workers, reloads and restarts."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from ports import own_port
from served import PATIENCE, environment, eventually, run_tlsio, write_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pebble import Pebble

pytestmark = pytest.mark.slow
NAMES = ("one.example.com", "two.example.com")
HOOK = """
import json, sys, urllib.request
verb, name, value = sys.argv[2:]
body = {"host": name.rstrip(".") + "."} | ({"value": value} if verb == "add" else {})
urllib.request.urlopen(sys.argv[1] + ("/set-txt" if verb == "add" else "/clear-txt"), json.dumps(body).encode()).read()
"""


def words(authority: Pebble, folder: Path, *more: str) -> list[str]:
    """Return the command line for both names."""
    (folder / "authority.pem").write_bytes(authority.ca)
    domains = [word for name in NAMES for word in ("--domain", name)]
    place = [
        "--host",
        "127.0.0.1",
        "--acme-server",
        authority.directory_url,
        "--acme-server-ca",
        "authority.pem",
        "--acme-profile",
        "default",
    ]
    return ["serve", "main:app", *domains, *place, "--acme-storage", "storage", *more]


@contextmanager
def served(folder: Path, command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run the command until the end of the block."""
    write_files(folder)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "tlsio", *command], cwd=folder, env=environment(folder), stdout=log, stderr=log)
        try:
            yield process
        finally:
            pids = [process.pid, *successors(folder)]
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()


def successors(folder: Path) -> list[int]:
    """Return the processes that took over, as the log says."""
    found = [line.split("Process ", 1)[1].split()[0] for line in (folder / "log").read_text().splitlines() if "has taken over" in line]
    return [int(one) for one in found]


def shown(port: int, name: str, authority: Pebble) -> bytes | None:
    """Return the certificate for a name if a client accepts it."""
    context = ssl.create_default_context(cadata=authority.root().decode())
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain, server_hostname=name) as secure:
            return secure.getpeercert(binary_form=True)
    except OSError:
        return None


def wait_for_names(port: int, authority: Pebble, process: subprocess.Popen[str]) -> list[bytes]:
    """Wait until a client accepts both; return their certificates."""
    found = [eventually(lambda name=name: shown(port, name, authority) or process.poll() is not None, name) for name in NAMES]
    assert process.poll() is None, "the command has ended"
    return found


@pytest.mark.parametrize("workers", ["1", "3"])
@pytest.mark.parametrize("way", ["tls-alpn-01", "http-01"])
def test_one_command_serves_two_names(pebble: Pebble, tmp_path: Path, way: str, workers: str) -> None:
    """By either port; with workers, whichever of them the authority meets."""
    with own_port() as other, own_port() as admin:
        port = pebble.tls_port if way == "tls-alpn-01" else other
        ports = ["--port", str(port), *(["--no-redirect"] if way == "tls-alpn-01" else ["--redirect", str(pebble.http_port)])]
        command = words(pebble, tmp_path, "--agree-tos", "--workers", workers, "--metrics", f"127.0.0.1:{admin}", *ports)
        with served(tmp_path, command) as process:
            wait_for_names(port, pebble, process)
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/acme") as answer:
                assert [one["names"] for one in json.load(answer)] == [[name] for name in NAMES]
            assert pebble_orders(tmp_path) == 2


def test_one_command_serves_a_wildcard(pebble: Pebble, tmp_path: Path) -> None:
    """By DNS, with a program that changes the records."""
    (tmp_path / "hook.py").write_text(HOOK)
    command = json.dumps([sys.executable, str(tmp_path / "hook.py"), pebble.control_url])
    (tmp_path / "dns.toml").write_text(f"command = {command}\n[dns01]\npropagation = 0\nfollow_alias = false\n")
    (tmp_path / "authority.pem").write_bytes(pebble.ca)
    with own_port() as port:
        place = ["--host", "127.0.0.1", "--port", str(port), "--no-redirect", "--acme-storage", "storage"]
        authority = ["--acme-server", pebble.directory_url, "--acme-server-ca", "authority.pem", "--acme-profile", "default"]
        domains = ["--domain", "*.example.com", "--dns", "hook", "--dns-settings", "dns.toml", "--agree-tos"]
        with served(tmp_path, ["serve", "main:app", *domains, *place, *authority]) as process:
            wait_for_names(port, pebble, process)


@pytest.mark.parametrize(("way", "workers"), [("tls-alpn-01", "1"), ("http-01", "2")])
def test_a_proxy_of_tcp_obtains_its_certificates(pebble: Pebble, tmp_path: Path, way: str, workers: str) -> None:
    """For any protocol; its port of plain HTTP answers the authority, and redirects nothing."""
    with own_port() as other, socket.create_server(("127.0.0.1", 0)) as backend:
        port = pebble.tls_port if way == "tls-alpn-01" else other
        ports = ["--no-redirect"] if way == "tls-alpn-01" else ["--redirect", str(pebble.http_port)]
        options = words(pebble, tmp_path, "--agree-tos", "--workers", workers, *ports)[2:]
        with served(tmp_path, ["proxy", str(port), "--to", f"127.0.0.1:{backend.getsockname()[1]}", *options]) as process:
            wait_for_names(port, pebble, process)
            context = ssl.create_default_context(cadata=pebble.root().decode())
            with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain, server_hostname=NAMES[0]) as client:
                client.sendall(b"EHLO")
                backend.settimeout(PATIENCE)
                received = b""
                while not received:  # those of `wait_for_names` are there too, and were closed
                    accepted = backend.accept()[0]
                    with accepted:
                        received = accepted.recv(10)
                assert received == b"EHLO"
            if way == "http-01":
                with pytest.raises(urllib.error.HTTPError, match="404"):
                    urllib.request.urlopen(f"http://127.0.0.1:{pebble.http_port}/")


def pebble_orders(folder: Path) -> int:
    """Return how many certificates were obtained, by the log of all workers."""
    return (folder / "log").read_text().count("has issued a certificate for")


def test_a_restart_and_a_reload_keep_the_certificates(pebble: Pebble, tmp_path: Path) -> None:
    """SIGUSR2 starts a process that finds them in the storage; SIGHUP looks into it, and orders nothing."""
    command = words(pebble, tmp_path, "--agree-tos", "--port", str(pebble.tls_port), "--no-redirect")
    with served(tmp_path, command) as process:
        before = wait_for_names(pebble.tls_port, pebble, process)
        process.send_signal(signal.SIGHUP)
        eventually(lambda: "were read again" in (tmp_path / "log").read_text(), "the reload")
        process.send_signal(signal.SIGUSR2)
        eventually(lambda: successors(tmp_path), "the new process")
        assert wait_for_names(pebble.tls_port, pebble, process) == before
        assert pebble_orders(tmp_path) == 2


def test_check_orders_nothing(pebble: Pebble, tmp_path: Path) -> None:
    """It says what is missing: the agreement to the terms, then nothing."""
    write_files(tmp_path)
    done = run_tlsio(tmp_path, *words(pebble, tmp_path, "--check"))
    assert done.returncode == 2
    assert "has no account" in done.stderr
    assert "--agree-tos" in done.stderr
    done = run_tlsio(tmp_path, *words(pebble, tmp_path, "--check", "--agree-tos"))
    assert (done.returncode, done.stdout) == (0, "All is well.\n")
    assert not (tmp_path / "storage" / "accounts").exists()


def test_the_file_of_settings_says_the_same(pebble: Pebble, tmp_path: Path) -> None:
    """The table `acme`; paths are relative to the file."""
    (tmp_path / "authority.pem").write_bytes(pebble.ca)
    (tmp_path / "serve.toml").write_text(
        f'app = "main:app"\nhost = "127.0.0.1"\nport = {pebble.tls_port}\nredirect = false\n'
        f'[acme]\ndomains = ["one.example.com", "two.example.com"]\nagree_tos = true\nserver = "{pebble.directory_url}"\n'
        'server_ca = "authority.pem"\nstorage = "storage"\nprofile = "default"\n'
    )
    with served(tmp_path, ["serve", "--config", "serve.toml"]) as process:
        wait_for_names(pebble.tls_port, pebble, process)
        assert (tmp_path / "storage" / "certificates").is_dir()


def test_a_proxy_has_certificates_too(pebble: Pebble, tmp_path: Path) -> None:
    """In front of a server of plain HTTP."""
    command = words(pebble, tmp_path, "--agree-tos", "--no-redirect")[2:]
    with served(tmp_path, ["proxy", str(pebble.tls_port), "--to", "127.0.0.1:1", "--http", *command]) as process:
        wait_for_names(pebble.tls_port, pebble, process)
