"""Foreign servers for clients that come back: whoever says something is told whether it was resumed, and that is all.

Each is a context manager that gives its port. `tickets=False`: the server keeps the sessions itself.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pki
from foreign_peers import OpenSSL, find, server_context
from ports import own_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from foreign_peers import Part

QUESTION = b"GET / HTTP/1.0\r\n\r\n"  # what all of them understand


def was_resumed(answer: bytes) -> bool:
    """Read what one of them has said."""
    [word] = re.findall(rb"\b(?:resumed|new|Reused,|New,)", answer)
    return word in {b"resumed", b"Reused,"}


@contextmanager
def openssl(part: Part, *, tickets: bool) -> Iterator[int]:
    """`openssl s_server`, which sends a page about the connection."""
    with OpenSSL().start_server(part, "-www", "-naccept", "99", *([] if tickets else ["-no_ticket"])) as (_, port):
        yield port


@contextmanager
def python(part: Part, *, tickets: bool) -> Iterator[int]:
    """The standard library's `ssl` in a thread."""
    context = server_context(part)
    if not tickets:
        context.options |= ssl.OP_NO_TICKET

    def run() -> None:
        with suppress(OSError):  # it is over
            while True:
                below, _ = listener.accept()
                below.settimeout(20)
                with suppress(OSError), context.wrap_socket(below, server_side=True) as tls:
                    tls.recv(1000)
                    tls.sendall(b"resumed" if tls.session_reused else b"new")
                    tls.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


NGINX = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    ssl_certificate cert.pem;
    ssl_certificate_key key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:sessions:1m;
    map $ssl_session_reused $how {{ r resumed; default new; }}
    server {{ listen 127.0.0.1:{tickets} ssl; return 200 $how; }}
    server {{ listen 127.0.0.1:{kept} ssl; ssl_session_tickets off; return 200 $how; }}
}}
"""


@contextmanager
def nginx() -> Iterator[dict[bool, int]]:
    """An nginx in a folder of its own; gives its two ports, by whether tickets are given out there. The server is `pki.localhost()`."""
    with tempfile.TemporaryDirectory(prefix="tlsio-nginx-") as name, own_port() as tickets, own_port() as kept:
        ports, folder, who = {True: tickets, False: kept}, Path(name), pki.localhost()
        (folder / "cert.pem").write_bytes(who.chain_pem)
        (folder / "key.pem").write_bytes(who.key_pem)
        (folder / "nginx.conf").write_text(NGINX.format(tickets=ports[True], kept=ports[False]))
        command = [find("nginx", "nginx-light", "/usr/sbin"), "-p", name, "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                heard = ""
                while "getrlimit" not in heard:  # told when it listens
                    heard += process.stderr.readline() or "\n"
                    assert process.poll() is None, f"nginx did not start: {heard}"
                yield ports
            finally:
                process.kill()
