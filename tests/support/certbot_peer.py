"""A folder of certbot (/etc/letsencrypt), made by certbot itself with Pebble as its authority."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pebble import Pebble

PROGRAM = Path(sys.executable).with_name("certbot")


@dataclass(frozen=True)
class Certbot:
    """Runs certbot; `folder` holds its tree in `letsencrypt`, and a root for web servers in `www`."""

    folder: Path
    authority: Pebble

    @property
    def tree(self) -> Path:
        """What is /etc/letsencrypt on other machines."""
        return self.folder / "letsencrypt"

    @property
    def webroot(self) -> Path:
        """What `serving_webroot` serves."""
        return self.folder / "www"

    def run(self, *words: str) -> str:
        """Run certbot with these arguments, and return what it prints."""
        ca = self.folder / "authority.pem"
        ca.write_bytes(self.authority.ca)
        self.webroot.mkdir(exist_ok=True)
        folders = [f"--config-dir={self.tree}", f"--work-dir={self.folder / 'work'}", f"--logs-dir={self.folder / 'logs'}"]
        environment = {**os.environ, "REQUESTS_CA_BUNDLE": str(ca)}
        command = [str(PROGRAM), *words, "-n", *folders, "--server", self.authority.directory_url]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"certbot failed: {done.stdout}{done.stderr}"
        return done.stdout

    def obtain(self, *names: str, options: tuple[str, ...] = ("--standalone",)) -> None:
        """Obtain a certificate, in the first call with a new account."""
        ports = () if "--webroot" in options else ("--http-01-port", str(self.authority.http_port))
        words = [word for name in names for word in ("-d", name)]
        self.run("certonly", "--agree-tos", "--register-unsafely-without-email", *options, *ports, *words)

    @contextmanager
    def serving_webroot(self) -> Iterator[None]:
        """Serve `webroot` where the authority looks for the answers of http-01."""
        self.webroot.mkdir(exist_ok=True)

        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

        handler = functools.partial(Quiet, directory=str(self.webroot))
        with http.server.ThreadingHTTPServer(("127.0.0.1", self.authority.http_port), handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()


def contents(folder: Path) -> dict[str, bytes | str]:
    """Return all files of a tree, and where its links lead."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def copied(certbot: Certbot, folder: Path) -> Certbot:
    """Return a copy that a test may change."""
    shutil.copytree(certbot.folder, folder, symlinks=True)
    return Certbot(folder, certbot.authority)
