"""What is different on a terminal: prompts, which show nothing of the passphrase, and colours."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

import tlsio.certs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow  # each is a new interpreter
_PATIENCE = 60.0
_RED = "\x1b[31m"


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self.process = process
        self.text = ""

    def until(self, expected: str, *, times: int = 1) -> None:
        """Read until a text has been shown so many times."""
        deadline = time.monotonic() + _PATIENCE
        while self.text.count(expected) < times:
            ready, _, _ = select.select([self._descriptor], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{expected!r} was not shown: {self.text!r}"
            if not self._read():
                raise AssertionError(f"{expected!r} was not shown: {self.text!r}")

    def type(self, text: str) -> None:
        """Type on the keyboard."""
        os.write(self._descriptor, text.encode())

    def end(self) -> int:
        """Read the rest, and return the exit code."""
        while self._read():
            pass
        return self.process.wait(_PATIENCE)

    def _read(self) -> bool:
        data = b""
        with suppress(OSError):  # EIO: the other end has been closed
            data = os.read(self._descriptor, 4096)
        self.text += data.decode()
        return bool(data)


@contextmanager
def on_terminal(folder: Path, *words: str, **environment: str) -> Iterator[Terminal]:
    """Run `tlsio` on a terminal."""
    ours, theirs = pty.openpty()
    given = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "tlsio", *words],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env={**given, "TERM": "xterm", **environment}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_passphrase_is_asked_twice_and_not_shown(tmp_path: Path) -> None:
    """A typing error would lose the key."""
    with on_terminal(tmp_path, "key", "locked.key", "--new-passphrase", "prompt") as terminal:
        terminal.until("New passphrase: ")
        terminal.type("\n")
        terminal.until("A passphrase is not empty.")
        terminal.until("New passphrase: ", times=2)
        terminal.type("hidden wodrs\n")
        terminal.until("Repeat for confirmation: ")
        terminal.type("hidden words\n")
        terminal.until("The two are different")
        terminal.until("New passphrase: ", times=3)
        terminal.type("hidden words\n")
        terminal.until("Repeat for confirmation: ", times=2)
        terminal.type("hidden words\n")
        assert terminal.end() == 0
    assert "hidden" not in terminal.text
    tlsio.certs.load_key(tmp_path / "locked.key", "hidden words")


def test_encrypted_key_is_asked_for(tmp_path: Path) -> None:
    """Without an option, on a terminal."""
    tlsio.certs.write_key(tmp_path / "locked.key", tlsio.certs.generate_key(), passphrase="hidden")
    with on_terminal(tmp_path, "self-sign", "localhost", "--key", "locked.key", "-o", "server.pem") as terminal:
        terminal.until("Passphrase of locked.key: ")
        terminal.type("hidden\n")
        assert terminal.end() == 0
    assert "hidden" not in terminal.text
    assert (tmp_path / "server.pem").exists()


def test_encrypted_key_of_a_client_is_asked_for(tmp_path: Path) -> None:
    """Before anything is sent."""
    leaf = tlsio.certs.self_signed("localhost")
    leaf.write(cert=tmp_path / "me.pem", key=tmp_path / "me.key", passphrase="hidden")
    (tmp_path / "me.pfx").write_bytes(tlsio.certs.read(leaf.cert_pem, leaf.key_pem).to_pfx("hidden"))
    with on_terminal(tmp_path, "connect", "localhost:1", "--cert", "me.pem", "--key", "me.key") as terminal:
        terminal.until("Passphrase of me.key: ")
        terminal.type("hidden\n")
        assert terminal.end() == 1  # nothing listens there
    assert "nothing listens there" in terminal.text
    with on_terminal(tmp_path, "inspect", "me.pfx", "--passphrase", "prompt") as terminal:
        terminal.until("Passphrase: ")
        terminal.type("hidden\n")
        assert terminal.end() == 0
    with on_terminal(tmp_path, "pem", "me.pfx", "-o", "out.pem") as terminal:
        terminal.until("Passphrase of me.pfx: ")
        terminal.type("wrong\n")
        terminal.until("Run the command again to type another one.")
        assert terminal.end() == 2
    assert "hidden" not in terminal.text


@pytest.mark.parametrize("words", [("--cert", "me.pem", "--key", "me.key"), ("--pfx", "me.pfx")])
def test_encrypted_key_of_a_server_is_asked_for(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Before it listens."""
    leaf = tlsio.certs.self_signed("localhost")
    leaf.write(cert=tmp_path / "me.pem", key=tmp_path / "me.key", passphrase="hidden")
    (tmp_path / "me.pfx").write_bytes(tlsio.certs.read(leaf.cert_pem, leaf.key_pem).to_pfx("hidden"))
    with on_terminal(tmp_path, "listen", "0", *words) as terminal:
        terminal.until(f"Passphrase of {words[-1]}: ")
        terminal.type("hidden\n")
        terminal.until("Listening on localhost port ")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130


def test_encrypted_key_of_the_doctor_is_asked_for(tmp_path: Path) -> None:
    """Of the files that it examines."""
    tlsio.certs.self_signed("localhost").write(cert=tmp_path / "me.pem", key=tmp_path / "me.key", passphrase="hidden")
    with on_terminal(tmp_path, "doctor", "localhost", "--server-cert", "me.pem", "--server-key", "me.key", "--ca", "me.pem") as terminal:
        terminal.until("Passphrase of me.key: ")
        terminal.type("hidden\n")
        assert terminal.end() in {0, 1}
    assert "file-unusable" not in terminal.text


def test_interrupted_prompt_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C: no file, no traceback."""
    with on_terminal(tmp_path, "key", "locked.key", "--new-passphrase", "prompt") as terminal:
        terminal.until("New passphrase: ")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
    assert "Traceback" not in terminal.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("environment", "has_colors"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colors_are_for_terminals(tmp_path: Path, environment: dict[str, str], has_colors: bool) -> None:  # noqa: FBT001
    """And not for those who do not want them (no-color.org)."""
    with on_terminal(tmp_path, "inspect", "none.pem", **environment) as terminal:
        assert terminal.end() == 2
    assert (_RED in terminal.text) is has_colors


def test_interrupted_connection_ends_quietly(tmp_path: Path) -> None:
    """Ctrl-C in `listen`, which waits for clients."""
    leaf = tlsio.certs.self_signed("localhost")
    leaf.write(cert=tmp_path / "server.pem", key=tmp_path / "server.key")
    with on_terminal(tmp_path, "listen", "0", "--cert", "server.pem", "--key", "server.key") as terminal:
        terminal.until("Listening on localhost port ")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("command", ["bench", "connect", "doctor", "inspect", "pin"])
def test_interrupted_client_ends_quietly(tmp_path: Path, command: str) -> None:
    """Ctrl-C while it waits for a server that says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with on_terminal(tmp_path, command, f"127.0.0.1:{port}") as terminal, server.accept()[0] as client:
            client.recv(1)
            terminal.process.send_signal(signal.SIGINT)
            assert terminal.end() == 130
    assert terminal.text.strip() == ""


@contextmanager
def listening(folder: Path) -> Iterator[str]:
    """Run an echo server for localhost, with its certificate in server.pem; gives its port."""
    tlsio.certs.self_signed("localhost").write(cert=folder / "server.pem", key=folder / "server.key")
    with on_terminal(folder, "listen", "0", "--quiet", "--cert", "server.pem", "--key", "server.key") as server:
        server.until("Listening on localhost port ")
        server.until(".")
        yield server.text.split("port ")[1].split(".")[0]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_interrupted_measurement_is_shown(tmp_path: Path, form: list[str]) -> None:
    """Ctrl-C in `bench` loses nothing."""
    with (
        listening(tmp_path) as port,
        on_terminal(tmp_path, "bench", f"localhost:{port}", "--ca", "server.pem", "--seconds", "60", *form) as terminal,
    ):
        terminal.until(" handshakes")  # the title alone may precede the first one
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
    shown = terminal.text.partition("Interrupted: this was measured until then.")[2]
    assert ('"is_complete": false' if form else "handshakes: ") in shown
    assert "Traceback" not in terminal.text


def test_long_work_shows_its_progress(tmp_path: Path) -> None:
    """From the first second on."""
    with (
        listening(tmp_path) as port,
        on_terminal(tmp_path, "bench", f"localhost:{port}", "--ca", "server.pem", "--seconds", "2") as terminal,
    ):
        terminal.until("Measuring localhost")
        terminal.until("handshakes:")
        assert terminal.end() == 0


@pytest.mark.parametrize("command", ["connect", "pin", "doctor"])
def test_silent_server_is_waited_for_visibly(tmp_path: Path, command: str) -> None:
    """The command has not hung: it says what it waits for, from the first second on."""
    title = "Examining localhost" if command == "doctor" else "Connecting to localhost"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with on_terminal(tmp_path, command, f"localhost:{port}", "-4") as terminal:
            terminal.until(title)
            terminal.process.send_signal(signal.SIGINT)
            assert terminal.end() == 130


def test_doctor_says_that_it_found_nothing(tmp_path: Path) -> None:
    """Of good files; in a pipe it would say nothing."""
    authority = tlsio.certs.Authority.create("root")
    authority.server("localhost").write(cert=tmp_path / "server.pem", key=tmp_path / "server.key")
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem)
    words = ("doctor", "localhost", "--server-cert", "server.pem", "--server-key", "server.key", "--ca", "ca.pem", "--level", "error")
    with on_terminal(tmp_path, *words) as terminal:
        terminal.until("Nothing found.")
        assert terminal.end() == 0


@pytest.mark.parametrize("answer", ["y", "n"])
def test_deletion_is_asked_for(tmp_path: Path, answer: str) -> None:
    """No is the default; then nothing has changed."""
    noted = tmp_path / "acme" / "status" / "a.example.com.json"
    noted.parent.mkdir(parents=True, mode=0o700)
    noted.write_text("{}")
    with on_terminal(tmp_path, "acme", "delete", "a.example.com", "--storage", "acme") as terminal:
        terminal.until("and its private key? [y/N]: ")
        terminal.type(f"{answer}\n")
        assert terminal.end() == (0 if answer == "y" else 130)
    assert noted.exists() is (answer == "n")
