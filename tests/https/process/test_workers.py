"""Several processes that serve one port: sessions, replacement, and their end."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pki
import tlsio
from served import PATIENCE, Served, client_context, eventually, is_alive, refuses, replace, run_tlsio, write_files
from tlsio.https.process import workers
from tlsio.https.process.ticket_periods import KeySchedule, PassedKeys

SLOW = pytest.mark.slow
SERVE = ("serve", "main:app", "--workers", "3")
# A parent with short periods of keys, and its workers.
ROTATING = """
import asyncio, sys
from pathlib import Path
from tlsio.https.process import run, settings
from tlsio.https.process.ticket_periods import KeySchedule

class Quick(KeySchedule):
    def __init__(self, *, period=None):
        super().__init__(5.0, period=period)

if __name__ == "__main__":
    run.KeySchedule = Quick
    given = {"app": "main:app", "port": int(sys.argv[1]), "workers": 3, "site": [{"cert": "server.pem", "key": "server.key"}]}
    run.run(settings.parse(given, Path(), "test"), lambda host, port: print("ready", flush=True))
"""


class TestKeys:
    """Ticket keys that several processes share."""

    def test_each_key_is_known_one_period_before_it_encrypts(self) -> None:
        """In the process that makes the keys, and in one that gets them."""
        made = KeySchedule(10.0, now=100.0)
        passed = PassedKeys(made.period)
        before = passed.snapshot(100.0)
        assert before == made.snapshot(109.9)
        assert made.advance(110.0)
        passed.period = made.period
        after = passed.snapshot(110.0)
        assert after == made.snapshot(110.0)
        assert after.keys[0] == before.keys[-1] != before.keys[0]
        assert before.keys[0] in after.keys

    def test_a_late_message_changes_no_key(self) -> None:
        """The process that waits for it encrypts with the key that the others use."""
        made = KeySchedule(10.0, now=100.0)
        passed = PassedKeys(made.period)
        made.advance(110.0)
        late = passed.snapshot(110.0)
        assert late.keys[0] == made.snapshot(110.0).keys[0]
        assert 110.0 < late.until < 111.0

    def test_keys_are_discarded_after_a_period(self) -> None:
        """A stolen key decrypts no more than two periods."""
        made = KeySchedule(10.0, now=0.0)
        first = made.period.keys[0]
        made.advance(10.0)
        assert first in made.period.keys
        made.advance(20.0)
        assert first not in made.snapshot(20.0).keys

    def test_a_period_of_another_process_goes_on(self) -> None:
        """With its keys, until its end."""
        old = KeySchedule(10.0, now=100.0)
        assert KeySchedule(10.0, period=old.period).snapshot(105.0) == old.snapshot(105.0)

    def test_nothing_is_printed(self) -> None:
        """Keys are secrets."""
        assert repr(KeySchedule(10.0, now=0.0).period) == "<PeriodKeys until=10>"


@SLOW
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_sessions_resume_on_every_worker(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """A hundred of a hundred, on all three."""
    write_files(tmp_path)
    context = client_context(version=version)
    with Served(tmp_path, *SERVE) as served:
        sessions: list[Any] = []
        served.get(context=context, sessions=sessions)
        answers: list[dict[str, Any]] = []

        def all_answered() -> bool:
            answers.append(served.get(context=context, session=sessions[-1], sessions=sessions))
            return len(answers) >= 100 and len({one["pid"] for one in answers}) == 3

        eventually(all_answered, "a hundred answers, of all workers")
    assert all(one["resumed"] for one in answers)


@SLOW
def test_sessions_resume_while_keys_change(tmp_path: Path) -> None:
    """Each key reaches all workers before one of them uses it."""
    write_files(tmp_path)
    (tmp_path / "rotating.py").write_text(ROTATING)
    with Served(tmp_path) as served:  # for its port
        served.kill(signal.SIGKILL)
        served.wait()
        command = [sys.executable, "rotating.py", str(served.port)]
        with subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as parent:
            try:
                assert parent.stdout is not None
                assert parent.stdout.readline() == b"ready\n"
                asyncio.run(resume_until_keys_changed(served.port))
            finally:
                parent.terminate()
                parent.wait()


async def resume_until_keys_changed(port: int) -> None:
    """Resume each session in the next connection, until there were three keys; a ticket begins with its key's name."""
    session, names = None, set[bytes]()
    while len(names) < 3:
        async with await tlsio.connect(port, "localhost", ca=pki.ca1().cert_pem, max_version="TLSv1.2", session=session) as client:
            assert client.is_session_reused() is (session is not None)
            session = client.get_session()
            names.add((client.get_tls_ticket() or b"")[:16])


@SLOW
@pytest.mark.parametrize(("number", "name"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGRTMIN + 6, f"signal {signal.SIGRTMIN + 6}")])
def test_a_killed_worker_is_replaced(tmp_path: Path, number: int, name: str) -> None:
    """No connection is refused meanwhile. Python has no name for most of the real-time signals."""
    write_files(tmp_path)
    with Served(tmp_path, *SERVE) as served:
        before = {served.get()["pid"] for _ in range(30)}
        victim = before.pop()
        os.kill(victim, number)
        seen: set[int] = set()

        def asked() -> bool:
            seen.add(served.get()["pid"])
            return bool(seen - before - {victim})

        eventually(asked, "a new worker")  # or one that has not answered before
        eventually(lambda: f"Worker {victim} ended (by {name}); it is replaced" in served.stderr, "the reason")


@SLOW
def test_workers_that_cannot_start_end_the_command(tmp_path: Path) -> None:
    """With one sentence, whatever the number of workers, and exit code 2."""
    write_files(tmp_path)
    done = run_tlsio(tmp_path, "serve", "main:missing", "--workers", "3", "--port", "0", "--cert", "server.pem", "--key", "server.key")
    assert done.returncode == 2
    assert done.stderr.count("has no 'missing'") == 1
    assert "Traceback" not in done.stderr


@SLOW
def test_a_worker_is_replaced_as_soon_as_it_can_be(tmp_path: Path) -> None:
    """While the parent has no descriptors for a new one, it tries again."""
    write_files(tmp_path)
    with Served(tmp_path, *SERVE) as served:
        parent, victim = served.process.pid, served.get()["pid"]
        limits = resource.prlimit(parent, resource.RLIMIT_NOFILE)
        resource.prlimit(parent, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{parent}/fd").iterdir())) - 2, limits[1]))
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: "A worker cannot be started, and it is tried again: Too many open files" in served.stderr, "the failure")
        resource.prlimit(parent, resource.RLIMIT_NOFILE, limits)
        eventually(lambda: len({served.get()["pid"] for _ in range(30)}) == 3, "a new worker")
        assert "Traceback" not in served.stderr


@SLOW
def test_workers_for_which_there_are_no_descriptors(tmp_path: Path) -> None:
    """Those that have started end, and the command too."""
    write_files(tmp_path)
    words = ("serve", "main:app", "--workers", "12", "--port", "0", "--cert", "server.pem", "--key", "server.key")
    done = run_tlsio(tmp_path, *words, prefix=["prlimit", "--nofile=30:30"])
    assert done.returncode == 2
    assert "Error: Too many open files" in done.stderr


def test_the_pause_before_a_replacement_has_an_end() -> None:
    """An application that fails for hours fails thousands of times."""
    assert workers._pause_after(0) == 0.0
    assert workers._pause_after(1) == 0.2
    assert workers._pause_after(100_000) == 10.0


@SLOW
def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """Also if it is killed."""
    write_files(tmp_path)
    with Served(tmp_path, *SERVE) as served:
        pids = {served.owns(served.get()["pid"]) for _ in range(30)}
        served.kill(signal.SIGKILL)
        served.wait()
        eventually(lambda: not any(map(is_alive, pids)), "the end of the workers")


@SLOW
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c(tmp_path: Path, workers: str) -> None:
    """Once: the request is answered. It reaches the whole process group, as from a terminal."""
    write_files(tmp_path)
    with Served(tmp_path, "serve", "main:app", "--workers", workers, start_new_session=True) as served:
        curl = start_curl(served, "/held")
        os.killpg(served.process.pid, signal.SIGINT)
        eventually(lambda: refuses(served.port), "the end of listening")
        (tmp_path / "released").touch()
        assert curl.communicate(timeout=PATIENCE)[0].startswith(b'{"pid"')
        assert served.wait() == 0
        assert "Traceback" not in served.stderr


@SLOW
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_twice(tmp_path: Path, workers: str) -> None:
    """Twice: at once, and the exit code says that something was cut off."""
    write_files(tmp_path)
    with Served(tmp_path, "serve", "main:app", "--workers", workers, start_new_session=True) as served:
        curl = start_curl(served, "/held")
        os.killpg(served.process.pid, signal.SIGINT)
        eventually(lambda: refuses(served.port), "the end of listening")
        os.killpg(served.process.pid, signal.SIGINT)
        assert served.wait() == 1
        assert curl.wait(PATIENCE) != 0
        curl.communicate()
        assert "Traceback" not in served.stderr


def start_curl(served: Served, path: str) -> subprocess.Popen[bytes]:
    """Start a request; if the application holds it, wait until it does."""
    if path == "/held":
        (served.folder / "held").unlink(missing_ok=True)  # of a request before
    url = f"https://localhost:{served.port}{path}"
    command = ["curl", "-sS", "-4", "--cacert", "ca.pem", url]
    curl = subprocess.Popen(command, cwd=served.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eventually((served.folder / "held").exists, "the request")
    return curl


@SLOW
def test_a_changed_certificate_reaches_all_workers(tmp_path: Path) -> None:
    """By itself; nothing is sent to the server."""
    write_files(tmp_path)
    old, new = pki.localhost(), pki.leaf("localhost", issuer=pki.ca1(), names=["localhost"])
    with Served(tmp_path, *SERVE) as served:
        assert serial_at(served) == old.certificate.serial_number
        replace(tmp_path / "server.key", new.key_pem)
        replace(tmp_path / "server.pem", new.chain_pem)
        seen: dict[int, int] = {}

        def all_new() -> bool:
            context = client_context()
            answer = served.get(context=context)
            seen[answer["pid"]] = serial_at(served)
            return len(seen) == 3 and serials_at(served, 20) == {new.certificate.serial_number}

        eventually(all_new, "the new certificate in all workers")


def serial_at(served: Served) -> int:
    """Return the serial number of the certificate that a connection gets."""
    from cryptography import x509  # noqa: PLC0415

    pem = ssl.get_server_certificate(("127.0.0.1", served.port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def serials_at(served: Served, count: int) -> set[int]:
    """Return those of several connections."""
    return {serial_at(served) for _ in range(count)}


@SLOW
def test_max_connections_is_split(tmp_path: Path) -> None:
    """A worker that is full leaves connections to the others."""
    write_files(tmp_path)
    with Served(tmp_path, *SERVE, "--max-connections", "3") as served:
        assert {served.get()["version"] for _ in range(20)} == {"old"}
        held = [start_curl(served, "/held") for _ in range(3)]
        waiting = start_curl(served, "/")
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.5)
        (tmp_path / "released").touch()
        answers = [one.communicate(timeout=PATIENCE)[0] for one in (*held, waiting)]
    assert all(one.startswith(b'{"pid"') for one in answers)
