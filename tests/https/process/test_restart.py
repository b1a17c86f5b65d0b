"""SIGUSR2: another process takes over, and no connection is dropped."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from served import APP, PATIENCE, Served, client_context, eventually, is_alive, write_files
from tlsio.https.process.restart import Inherited, find_inherited
from tlsio.https.process.ticket_periods import KeySchedule
from tlsio.model.errors import ConfigError

KINDS = pytest.mark.parametrize("workers", ["1", "2"])


def taken_over_by(served: Served) -> int:
    """Wait until another process has taken over; return its id."""
    found: re.Match[str] = eventually(lambda: re.search(r"Process (\d+) has taken over", served.stderr), "the new process")
    return served.owns(int(found[1]))


def end(pid: int) -> None:
    """End the new process."""
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_alive(pid), "the end of the new process")


@pytest.mark.slow
@KINDS
def test_no_request_fails(tmp_path: Path, workers: str) -> None:
    """While curl asks without a pause, each time on a new connection, and the new code serves in the end."""
    write_files(tmp_path)
    answers: list[subprocess.CompletedProcess[bytes]] = []
    over = threading.Event()
    with Served(tmp_path, "serve", "main:app", "--workers", workers) as served:

        def ask() -> None:
            command = ["curl", "-sS", "-4", "--cacert", "ca.pem", f"https://localhost:{served.port}/"]
            while not over.is_set():
                answers.append(subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False))

        asking = [threading.Thread(target=ask) for _ in range(3)]
        for one in asking:
            one.start()
        try:
            eventually(lambda: len(answers) > 5, "answers of the old process")
            (tmp_path / "main.py").write_text(APP.replace('VERSION = "old"', 'VERSION = "new"'))
            served.kill(signal.SIGUSR2)
            pid = taken_over_by(served)
            assert served.wait() == 0
            count = len(answers)
            eventually(lambda: len(answers) > count + 10, "answers of the new process")
        finally:
            over.set()
            for one in asking:
                one.join()
        end(pid)
    assert [one.stderr for one in answers if one.returncode] == []
    assert b'"version": "old"' in answers[0].stdout
    assert b'"version": "new"' in answers[-1].stdout


@pytest.mark.slow
def test_h2load_loses_nothing(tmp_path: Path) -> None:
    """On connections of HTTP/2 that send all their requests at once: h2load counts what it did not send before GOAWAY as failed.

    They are few, so that on a busy machine, too, h2load answers the PING after GOAWAY within the second that it has.
    """
    write_files(tmp_path)
    with Served(tmp_path) as served:
        command = ["h2load", "-n", "1000", "-c", "100", "-r", "20", "-m", "10", f"https://127.0.0.1:{served.port}/"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            eventually(served.get, "an answer")
            served.kill(signal.SIGUSR2)
            pid = taken_over_by(served)
            output = load.communicate(timeout=PATIENCE * 2)[0]
        end(pid)
    assert "1000 succeeded, 0 failed, 0 errored" in output, output


@pytest.mark.slow
@KINDS
def test_requests_and_sessions_go_on(tmp_path: Path, workers: str) -> None:
    """The old process serves its requests to the end; a session resumes in the new one."""
    write_files(tmp_path)
    with Served(tmp_path, "serve", "main:app", "--workers", workers) as served:
        context = client_context(version=ssl.TLSVersion.TLSv1_2)
        sessions: list[Any] = []
        first = served.get(context=context, sessions=sessions)
        command = ["curl", "-sS", "-4", "--cacert", "ca.pem", f"https://localhost:{served.port}/held"]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as held:
            eventually((tmp_path / "held").exists, "the request")
            served.kill(signal.SIGUSR2)
            pid = taken_over_by(served)
            resumed = eventually(
                lambda: (found := served.get(context=context, session=sessions[0]))["pid"] != first["pid"] and found, "the new one"
            )
            assert resumed["resumed"]
            assert served.process.poll() is None
            (tmp_path / "released").touch()
            assert b'"version": "old"' in held.communicate(timeout=PATIENCE)[0]
        assert served.wait() == 0
        end(pid)


@pytest.mark.slow
@KINDS
def test_a_new_process_that_cannot_start(tmp_path: Path, workers: str) -> None:
    """The old one goes on, and its log has the reason. Later it works."""
    write_files(tmp_path)
    with Served(tmp_path, "serve", "main:app", "--workers", workers) as served:
        (tmp_path / "main.py").write_text("import missing_module")
        served.kill(signal.SIGUSR2)
        eventually(lambda: "this one goes on" in served.stderr, "the failure")
        assert "missing_module" in served.stderr
        assert served.get()["version"] == "old"
        (tmp_path / "main.py").write_text(APP)
        served.kill(signal.SIGUSR2)
        pid = taken_over_by(served)
        assert served.wait() == 0
        assert served.get()
        end(pid)


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_new_process_that_ends_at_once(tmp_path: Path, loop: str) -> None:
    """It has read nothing of what the old one sent. The service manager learns of the failure, and later it works."""
    write_files(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        served = Served(tmp_path, "serve", "--config", "tlsio.toml", variables={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        settings = f'app = "main:app"\nport = {served.port}\nloop = "{loop}"\n[[site]]\ncert = "server.pem"\nkey = "server.key"\n'
        (tmp_path / "tlsio.toml").write_text(settings)
        with served:
            (tmp_path / "tlsio.toml").write_text("app = = broken\n")
            served.kill(signal.SIGUSR2)
            reports = [manager.recv(4096).decode().splitlines() for _ in range(3)]
            assert reports[2][:2] == ["READY=1", "STATUS=Serving; the last restart failed"]
            assert "has ended (exit code 2), and this one goes on" in served.stderr
            assert served.children() == set()
            (tmp_path / "tlsio.toml").write_text(settings)
            served.kill(signal.SIGUSR2)
            pid = taken_over_by(served)
            assert served.wait() == 0
            end(pid)
        assert "Traceback" not in served.stderr


@pytest.mark.slow
def test_a_new_process_that_is_killed(tmp_path: Path) -> None:
    """The old one goes on, and does not wait for it for ever."""
    write_files(tmp_path)
    with Served(tmp_path) as served:
        served.kill(signal.SIGUSR2)
        (pid,) = eventually(served.children, "the new process")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: "(exit code -9), and this one goes on" in served.stderr, "the failure")
        assert served.children() == set()
        assert served.get()["version"] == "old"
        assert "Traceback" not in served.stderr


@pytest.mark.slow
@pytest.mark.parametrize("signals", [1, 2])
def test_a_stop_while_the_new_process_blocks(tmp_path: Path, signals: int) -> None:
    """The old one answers its requests meanwhile, or none after a second signal; and leaves no process behind."""
    write_files(tmp_path)
    with Served(tmp_path, "serve", "main:app") as served:
        command = ["curl", "-sS", "-4", "--cacert", "ca.pem", f"https://localhost:{served.port}/held"]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as held:
            eventually((tmp_path / "held").exists, "the request")
            (tmp_path / "main.py").write_text("import time; from pathlib import Path; Path('began').touch(); time.sleep(1000)")
            served.kill(signal.SIGUSR2)
            eventually((tmp_path / "began").exists, "the new process")
            (pid,) = served.children()
            # It ends at SIGTERM while it imports the application; one whose startup blocks the loop does not.
            os.kill(pid, signal.SIGSTOP)
            # Of two pending signals, SIGTERM would be the first.
            eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "the stop of the new process")
            served.kill(signal.SIGTERM)
            eventually(lambda: not accepts(served.port), "the end of listening")
            if signals == 2:
                served.kill(signal.SIGTERM)
            else:
                (tmp_path / "released").touch()
            answer = held.communicate(timeout=PATIENCE)[0]
        assert served.wait() == signals - 1
        assert (b'"version": "old"' in answer) is (signals == 1)
        assert not is_alive(pid)
        assert "Traceback" not in served.stderr


def accepts(port: int) -> bool:
    """Tell whether connections are accepted by the old process: the new one holds the socket too, and is stopped."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain:
        plain.settimeout(2.0)  # longer than a busy machine needs, or the second of two signals could come with the first
        try:
            with client_context().wrap_socket(plain, server_hostname="localhost"):
                return True
        except OSError:
            return False


@pytest.mark.slow
def test_under_a_service_manager(tmp_path: Path) -> None:
    """The old process names the new one, which alone reports from then on."""
    write_files(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        with Served(tmp_path, variables={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as served:
            reports = [manager.recv(4096).decode()]
            assert reports[0].splitlines() == ["READY=1", "STATUS=Serving", f"MAINPID={served.process.pid}"]
            served.kill(signal.SIGUSR2)
            pid = taken_over_by(served)
            assert served.wait() == 0
            reports = [manager.recv(4096).decode() for _ in range(3)]
            assert reports[0].startswith("RELOADING=1\nMONOTONIC_USEC=")
            # The old process and the new one both say it, in either order.
            assert set(reports[1:]) == {f"READY=1\nMAINPID={pid}", f"READY=1\nSTATUS=Serving\nMAINPID={pid}"}
            end(pid)
            assert manager.recv(4096) == b"STOPPING=1"


def test_nothing_is_inherited_without_an_old_process() -> None:
    """And a variable that something else has set is an error, not an accident."""
    assert find_inherited(lambda _: "") is None
    for value in ("999999", "99999999999999999999", "9" * 5000, "²", "-1"):
        with pytest.raises(ConfigError, match="nothing to take over") as caught:
            find_inherited(lambda _, value=value: value)
        assert caught.value.code == "ERR_HTTPS_RESTART"


@pytest.mark.parametrize(
    ("sent", "has_keys"),
    [
        (b'{"sockets": {"serving": [%d]}, "period": {"keys": ["00ff"], "following": "ff00", "until": 7.5}}', True),
        (b'{"sockets": {"serving": [%d]}, "period": {"something": "else"}}', False),
        (b'{"sockets": {"serving": [%d]}}', False),
    ],
)
def test_keys_of_another_version_are_not_needed(sent: bytes, has_keys: bool) -> None:  # noqa: FBT001
    """The old process may be of an older version of this package, or of a newer one."""
    ours, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listening, ours:
        passed = listening.dup()
        ours.sendall(sent % passed.fileno())
        ours.shutdown(socket.SHUT_WR)
        found = find_inherited(lambda _: str(theirs.fileno()))
        assert isinstance(found, Inherited)
        assert found.sockets["serving"][0].getsockname() == listening.getsockname()
        assert (found.period is not None) is has_keys
        if found.period is not None:
            assert found.period == KeySchedule(period=found.period).period
            assert (found.period.keys, found.period.following, found.period.until) == ((b"\x00\xff",), b"\xff\x00", 7.5)
        found.sockets["serving"][0].close()
        found._pair.close()
        passed.detach()
        theirs.detach()
