"""`tlsio serve` and `tlsio proxy` as processes, and the questions that tests ask them.

The application answers with JSON: its process and user, the client's address, the headers. `/held` answers when the file `released`
exists in its folder, after it has made `held`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pki
from ports import own_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PATIENCE = 60.0  # a busy machine starts a Python within half a minute
APP = """
import asyncio, json, os
from pathlib import Path

VERSION = "old"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/held":
        Path("held").touch()
        while not Path("released").exists():
            await asyncio.sleep(0.01)
    tls = scope["extensions"]["tls"].socket
    facts = {
        "pid": os.getpid(), "version": VERSION, "client": scope["client"], "scheme": scope["scheme"], "resumed": tls.is_session_reused(),
        "ids": [os.getresuid(), os.getresgid(), os.getgroups()], "headers": [[one.decode() for one in pair] for pair in scope["headers"]],
    }
    body = json.dumps(facts).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""


def write_files(folder: Path, identity: pki.Identity | None = None) -> None:
    """Write the application, a certificate with its key, and its authority."""
    who = identity or pki.localhost()
    (folder / "main.py").write_text(APP)
    replace(folder / "server.pem", who.chain_pem)
    replace(folder / "server.key", who.key_pem)
    (folder / "ca.pem").write_bytes(pki.ca1().cert_pem)


def replace(path: Path, content: bytes) -> None:
    """Write a file as those who renew certificates do."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Wait until a condition is true; return its value."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it never came: {what}"
        time.sleep(0.02)
    return found


def refuses(port: int) -> bool:
    """Tell whether a port of 127.0.0.1 refuses connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was in the queue
        return False
    return False


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a command."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    # No bytecode: a file of the same size, changed within a second, would not be compiled again.
    return {**kept, "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def run_tlsio(folder: Path, *words: str, prefix: Sequence[str] = (), **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [*prefix, sys.executable, "-m", "tlsio", *words]
    given = {"cwd": folder, "env": environment(folder), "capture_output": True, "text": True, "timeout": PATIENCE, "check": False}
    done: subprocess.CompletedProcess[str] = subprocess.run(command, **{**given, **options})  # noqa: PLW1510
    return done


class Served:
    """A command that serves; a context manager, which ends it."""

    def __init__(
        self, folder: Path, *words: str, prefix: Sequence[str] = (), variables: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        """Prepare `tlsio serve main:app` with a certificate, or what `words` say."""
        self.folder = folder
        self._port = own_port()
        self.port = self._port.__enter__()
        self._words = [one.replace("PORT", str(self.port)) for one in words or ("serve", "main:app")]
        if self._words[0] == "serve" and not {"--fd", "--config"} & set(self._words):
            self._words += ["--port", str(self.port)]
        if "--cert" not in self._words and "--config" not in self._words:
            self._words += ["--cert", "server.pem", "--key", "server.key"]
        self._prefix = prefix
        self._variables = variables or {}
        self._options = options
        self.process: subprocess.Popen[str]
        self._pids: set[int] = set()

    def __enter__(self) -> Self:
        self._out, self._err = ((self.folder / name).open("w") for name in ("stdout", "stderr"))
        self.process = subprocess.Popen(
            [*self._prefix, sys.executable, "-m", "tlsio", *self._words],
            cwd=self.folder, env={**environment(self.folder), **self._variables}, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err, text=True,
            **self._options,
        )  # fmt: skip
        try:
            eventually(lambda: "Ctrl-C ends it" in self.stderr or self.process.poll() is not None, "the start")
            assert self.process.poll() is None, self.stderr
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for pid in {self.process.pid, *self._pids, *self.children()}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._out.close()
        self._err.close()
        self._port.__exit__(None, None, None)

    @property
    def stderr(self) -> str:
        """What it has written."""
        return (self.folder / "stderr").read_text()

    @property
    def stdout(self) -> str:
        """What it has written."""
        return (self.folder / "stdout").read_text()

    def kill(self, number: int) -> None:
        """Send a signal to the process that was started."""
        self.process.send_signal(number)

    def owns(self, pid: int) -> int:
        """Note another process that has to end with the test."""
        self._pids.add(pid)
        return pid

    def children(self) -> set[int]:
        """Return its child processes."""
        with suppress(OSError):
            return {int(one) for one in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()}
        return set()

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(PATIENCE)

    def get(self, path: str = "/", *, headers: Mapping[str, str] | None = None, **options: Any) -> dict[str, Any]:
        """Return what the application says."""
        return ask(self.port, path, headers=headers, **options)


def client_context(*, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return the standard library's context of a client that trusts ca1."""
    context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
    if version is not None:
        context.maximum_version = version
    return context


def load_identity(context: ssl.SSLContext, who: pki.Identity) -> None:
    """Give a client its certificate, which the standard library loads from files alone."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(who.chain_pem + who.key_pem)
        file.flush()
        context.load_cert_chain(file.name)


def ask(  # noqa: PLR0913
    port: int, path: str = "/", *, headers: Mapping[str, str] | None = None, before: bytes = b"", context: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None, sessions: list[Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Ask once by HTTP/1.1; `before` is sent before TLS, `sessions` takes the session."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain:
        plain.sendall(before)
        with (context or client_context()).wrap_socket(plain, server_hostname="localhost", session=session) as secure:
            secure.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = b""
            while chunk := secure.recv(65536):
                answer += chunk
            if sessions is not None:
                sessions.append(secure.session)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), answer
    found: dict[str, Any] = json.loads(body)
    return found


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
