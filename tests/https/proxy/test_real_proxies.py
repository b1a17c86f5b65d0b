"""HAProxy and nginx in front of `tlsio serve`, and nginx behind `tlsio proxy`: who the client is."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from foreign_peers import find
from ports import own_port
from served import Served, eventually, write_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


pytestmark = pytest.mark.slow
PROXY_NETWORK = "127.0.0.0/8"
HAPROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
listen front
    bind 127.0.0.1:{port}
    server behind 127.0.0.1:{behind} {send}
"""
NGINX = """
daemon off;
master_process off;
pid nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port}{listening};
        {rule}
    }}
}}
"""
FORWARD = """location / {{
            proxy_pass https://localhost:{behind};
            proxy_ssl_trusted_certificate ca.pem;
            proxy_ssl_verify on;
            proxy_ssl_server_name on;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}"""


@contextmanager
def running(folder: Path, command: Sequence[str], port: int) -> Iterator[None]:
    """Run a proxy until the end of the block, once it listens."""
    log = folder / "proxy.log"
    with log.open("w") as output, subprocess.Popen(command, cwd=folder, stdout=output, stderr=output) as process:
        try:

            def listens() -> bool:
                assert process.poll() is None, log.read_text()
                return f"0100007F:{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()

            eventually(listens, "the proxy")
            yield
        finally:
            process.kill()


def run_nginx(folder: Path, port: int, rule: str, listening: str = "") -> Any:
    """Run nginx with one rule."""
    (folder / "nginx.conf").write_text(NGINX.format(port=port, listening=listening, rule=rule))
    return running(folder, [find("nginx", "nginx-light", "/usr/sbin"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"], port)


def ask(folder: Path, url: str, source: str) -> str:
    """Ask by curl, from an address of its own."""
    command = ["curl", "-sS", "--cacert", "ca.pem", "--interface", source, "--max-time", "20", "--connect-to", "localhost::127.0.0.1:", url]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2"])
def test_haproxy_in_front(send: str, tmp_path: Path) -> None:
    """The application gets the address of the client, which the PROXY protocol says."""
    write_files(tmp_path)
    with Served(tmp_path, "serve", "main:app", "--proxy-protocol", PROXY_NETWORK) as served, own_port() as port:
        (tmp_path / "haproxy.cfg").write_text(HAPROXY.format(port=port, behind=served.port, send=send))
        with running(tmp_path, [find("haproxy", "haproxy", "/usr/sbin"), "-db", "-f", "haproxy.cfg"], port):
            assert json.loads(ask(tmp_path, f"https://localhost:{port}/", "127.0.0.2"))["client"][0] == "127.0.0.2"


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "unknown"])
def test_nginx_in_front(trusted: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """Its headers are believed if it is named; otherwise it is the client."""
    write_files(tmp_path)
    words = ("--forwarded-allow-ips", PROXY_NETWORK) if trusted else ()
    with (
        Served(tmp_path, "serve", "main:app", *words) as served,
        own_port() as port,
        run_nginx(tmp_path, port, FORWARD.format(behind=served.port)),
    ):
        found = json.loads(ask(tmp_path, f"http://localhost:{port}/", "127.0.0.2"))
    assert (found["client"][0], found["scheme"]) == (("127.0.0.2", "http") if trusted else ("127.0.0.1", "https"))


def test_nginx_behind(tmp_path: Path) -> None:
    """It understands the header of `--send-proxy`."""
    write_files(tmp_path)
    with (
        own_port() as behind,
        run_nginx(tmp_path, behind, "return 200 $proxy_protocol_addr;", " proxy_protocol"),
        Served(tmp_path, "proxy", "PORT", "--to", f"127.0.0.1:{behind}", "--send-proxy") as served,
    ):
        assert ask(tmp_path, f"https://localhost:{served.port}/", "127.0.0.2") == "127.0.0.2"
