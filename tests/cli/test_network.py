"""Commands and servers of others: STARTTLS, missing intermediates, and much data."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP
from cryptography.hazmat.primitives.serialization import Encoding

from ports import own_port
from tlsio import certs
from tlsio.cli.listen import _Printer
from tlsio.probe.listen import Arrival

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow  # each is a new interpreter
_PATIENCE = 60


def tlsio(folder: Path, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "tlsio", *words], cwd=folder, input=data, capture_output=True, timeout=_PATIENCE, check=False
    )


@contextmanager
def mail_server(folder: Path, port: int) -> Iterator[None]:
    """A server that wants STARTTLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")

    class Server(Controller):
        def factory(self) -> SMTP:
            return cast("Any", SMTP)(Sink(), hostname="localhost", tls_context=context, require_starttls=True)

    server = Server(Sink(), hostname="127.0.0.1", port=port, ready_timeout=_PATIENCE)
    server.start()
    try:
        yield
    finally:
        server.stop()


def test_connect_asks_a_mail_server_for_tls(tmp_path: Path) -> None:
    """And then talks to it."""
    certs.self_signed("localhost").write(cert=tmp_path / "server.pem", key=tmp_path / "server.key")
    with own_port() as port, mail_server(tmp_path, port):
        words = ("connect", f"localhost:{port}", "--starttls", "smtp", "--ca", "server.pem", "-4", "--linger", "30")
        done = tlsio(tmp_path, *words, data=b"EHLO client.example\r\nQUIT\r\n")
        assert done.returncode == 0, done.stderr
        assert b"221 Bye" in done.stdout
        assert b"after smtp" in done.stderr
        refused = tlsio(tmp_path, *words[:4], "-4")
        assert refused.returncode == 1
        other = tlsio(tmp_path, "connect", f"localhost:{port}", "--starttls", "imap", "--ca", "server.pem", "-4")
        assert other.returncode == 1
        assert b"does not speak IMAP" in other.stderr


@contextmanager
def web_server(files: dict[str, bytes]) -> Iterator[int]:
    """Serve files by HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_missing_intermediate_is_fetched(tmp_path: Path) -> None:
    """From the address in the certificate; nothing is written if it is not there."""
    files: dict[str, bytes] = {}
    with web_server(files) as port:
        root = certs.Authority.create("root", path_length=1)
        authority = root.intermediate("issuing", issuer_url=f"http://127.0.0.1:{port}/issuing.crt")
        (tmp_path / "leaf.pem").write_bytes(authority.server("localhost").cert_pem)
        missing = tlsio(tmp_path, "pem", "leaf.pem", "--complete", "-o", "chain.pem")
        assert missing.returncode == 1
        assert b"404" in missing.stderr
        assert not (tmp_path / "chain.pem").exists()
        files["/issuing.crt"] = authority.certificate.public_bytes(Encoding.DER)
        done = tlsio(tmp_path, "pem", "leaf.pem", "--complete", "-o", "chain.pem")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "chain.pem").read_bytes().endswith(authority.cert_pem)


def test_doctor_fetches_revocation_lists_if_asked(tmp_path: Path) -> None:
    """Nothing is fetched otherwise."""
    files: dict[str, bytes] = {}
    with web_server(files) as port:
        authority = certs.Authority.create("root", crl_url=f"http://127.0.0.1:{port}/list.crl")
        leaf = authority.server("localhost")
        leaf.write(cert=tmp_path / "server.pem", key=tmp_path / "server.key")
        (tmp_path / "ca.pem").write_bytes(authority.cert_pem)
        files["/list.crl"] = authority.crl(leaf).public_bytes(Encoding.DER)
        with listening(tmp_path) as server:
            words = ("doctor", f"localhost:{server}", "--ca", "ca.pem", "--level", "warning")
            assert tlsio(tmp_path, *words).returncode == 0
            asked = tlsio(tmp_path, *words, "--fetch", "--json")
    assert asked.returncode == 1
    assert [one["id"] for one in json.loads(asked.stdout)["findings"]] == ["revoked"]


@contextmanager
def listening(folder: Path, *options: str) -> Iterator[str]:
    """Run `tlsio listen` with the files in a folder."""
    listen = [sys.executable, "-m", "tlsio", "listen", "0", "--cert", "server.pem", "--key", "server.key", "--quiet", *options]
    with subprocess.Popen(listen, cwd=folder, stderr=subprocess.PIPE) as server:
        try:
            assert server.stderr is not None
            yield server.stderr.readline().split()[-1].strip(b".").decode()
        finally:
            server.kill()


@pytest.mark.parametrize("pipes", [False, True], ids=["files", "pipes"])
def test_much_data_goes_both_ways(tmp_path: Path, pipes: bool) -> None:  # noqa: FBT001
    """Standard input and output may be files, which need no waiting, or pipes, whose other end is slow."""
    certs.self_signed("localhost").write(cert=tmp_path / "server.pem", key=tmp_path / "server.key")
    (tmp_path / "data").write_bytes(os.urandom(1 << 22))
    with listening(tmp_path) as port:
        connect = f"{sys.executable} -m tlsio connect localhost:{port} --ca server.pem --quiet"
        line = f"cat data | {connect} | cat > copy" if pipes else f"{connect} < data > copy"
        subprocess.run(["sh", "-c", line], cwd=tmp_path, timeout=_PATIENCE, check=True)
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "data").read_bytes()


def test_refusal_after_the_handshake_is_in_the_json(tmp_path: Path) -> None:
    """A server of TLS 1.3 that wants a client certificate says so late; the pin needs none."""
    certs.self_signed("localhost").write(cert=tmp_path / "server.pem", key=tmp_path / "server.key")
    with listening(tmp_path, "--ca", "server.pem") as port:
        seen = tlsio(tmp_path, "connect", f"localhost:{port}", "--ca", "server.pem", "--json")
        pinned = tlsio(tmp_path, "pin", f"localhost:{port}", "--ca", "server.pem")
    look = json.loads(seen.stdout)
    assert (seen.returncode, seen.stderr, look["verdict"]["authorized"]) == (1, b"", True)
    assert "requires a client certificate" in look["refusal"]
    assert look["group"]
    assert (pinned.returncode, pinned.stderr) == (0, b"")


def test_listen_says_once_what_a_hang_up_means(capsys: pytest.CaptureFixture[str]) -> None:
    """Scanners, and the doctor, hang up again and again."""
    show = _Printer()
    for _ in range(3):
        show(Arrival(address="192.0.2.1", error="socket hang up", hint="It only checked the port."))
    show(Arrival(address="192.0.2.1", version="TLSv1.3"))
    show(Arrival(address="192.0.2.1", error="no common cipher", hint="Compare the suites."))
    hung_up = "192.0.2.1: refused: socket hang up"
    assert capsys.readouterr().err.splitlines() == [
        hung_up, "  It only checked the port.", hung_up, hung_up,
        "192.0.2.1: TLSv1.3",
        "192.0.2.1: refused: no common cipher", "  Compare the suites.",
    ]  # fmt: skip
