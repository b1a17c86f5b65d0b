"""The programs that serve HTTPS, as a user starts them, asked by curl."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pki

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "examples"
PROGRAMS = ["https_fastapi.py", "https_flask.py"]


@contextmanager
def running(name: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Run a program, its warnings as errors, in a folder with its files; gives both ports. Ctrl-C ends it well."""
    who = pki.localhost_rsa()
    for file, content in {"server.pem": who.chain_pem, "server.key": who.key_pem, "dhparam.pem": pki.dh_parameters(2048)}.items():
        (folder / file).write_bytes(content)
    (folder / "ca.pem").write_bytes(pki.ca1().cert_pem)
    command = [sys.executable, "-W", "error", "-u", str(FOLDER / name), "0", "0"]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent / "src")}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            found = re.fullmatch(r"https on port (\d+), http on port (\d+)\n", process.stdout.readline())
            assert found is not None, process.communicate(timeout=20)
            yield found[1], found[2]
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=20) == ("\n", "")
            assert process.returncode == 0
        finally:
            process.kill()


def curl(folder: Path, *arguments: str) -> tuple[str, str]:
    """Return head and body of an answer."""
    command = ["curl", "-sSi", "--noproxy", "*", "--max-time", "20", "--cacert", str(folder / "ca.pem"), *arguments]
    head, _, body = subprocess.run(command, check=True, capture_output=True, text=True).stdout.rpartition("\n\n")
    return f"{head.lower()}\n", body


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_express_program(name: str, tmp_path: Path) -> None:
    """Application, security headers, Diffie-Hellman parameters, certificate files, redirect."""
    with running(name, tmp_path) as (port, plain_port):
        url = f"https://localhost:{port}/hello/Ada"
        for version in ("1.1", "2"):
            head, body = curl(tmp_path, f"--http{version}", url)
            assert head.startswith(f"http/{version} 200")
            assert json.loads(body) == {"message": "Hello, Ada!"}
            assert "content-security-policy: default-src 'self';" in head
            assert "strict-transport-security" not in head
        head, _ = curl(tmp_path, "-H", "Host: www.example.com", url)
        assert "strict-transport-security: max-age=86400\n" in head
        head, _ = curl(tmp_path, "--tls-max", "1.2", "--ciphers", "DHE-RSA-AES256-GCM-SHA384", url)
        assert " 200" in head
        head, _ = curl(tmp_path, f"http://localhost:{plain_port}/hello/Ada?x")
        assert head.startswith("http/1.1 308 ")
        assert f"location: {url.lower()}?x\n" in head


def test_the_programs_are_of_the_same_length() -> None:
    """Only the application differs."""
    one, other = ((FOLDER / name).read_text(encoding="utf-8").splitlines() for name in PROGRAMS)
    assert len(one) == len(other)
    assert sum(first != second for first, second in zip(one, other, strict=True)) <= 7
