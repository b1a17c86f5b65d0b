"""`tlsio serve` as a process: sockets, service managers, users, reloading, and what it prints."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

import pki
from served import APP, PATIENCE, Served, environment, eventually, is_alive, replace, run_tlsio, write_files

pytestmark = pytest.mark.slow
NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups")
# Python may be installed where only root can read it, such as below root's home: there, in a namespace of
# mounts, the folder above is replaced by one that has nothing but Python.
READABLE = """
set -e
home=$(echo "$1" | cut -d/ -f1-2) && shift && python=$1 && shift
mount --bind "$python" /mnt
mount -t tmpfs -o mode=755 none "$home" && mkdir -p "$python" && mount --bind /mnt "$python"
exec "$@"
"""
FOR_ALL = (
    ()
    if subprocess.run([*AS_NOBODY, "test", "-r", os.__file__], check=False).returncode == 0
    else ("unshare", "--mount", "sh", "-c", READABLE, "sh", sys.base_prefix, sys.base_prefix)
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
CERTIFICATE = ("--cert", "server.pem", "--key", "server.key")
# Does what systemd does with a .socket unit: passes the sockets from number 3 on.
ACTIVATE = """
import os, socket, sys
count, *command = sys.argv[1:]
for number in range(int(count)):
    one = socket.create_server(("127.0.0.1", 0)) if number else socket.create_server(("127.0.0.1", int(os.environ["ACTIVATED_PORT"])))
    os.dup2(one.fileno(), 3 + number)
    os.set_inheritable(3 + number, True)
    print(one.getsockname()[1], flush=True)
    one.detach()
os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"], os.environ["LISTEN_FDNAMES"] = count, os.environ.get("ACTIVATED_PID") or str(os.getpid()), "https"
os.execv(command[0], command)
"""


class TestPassedSockets:
    """Sockets that a service manager has opened."""

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_are_used(self, tmp_path: Path, workers: str) -> None:
        """All of them, and no other port is opened."""
        write_files(tmp_path)
        (tmp_path / "activate.py").write_text(ACTIVATE)
        prefix = (sys.executable, "activate.py", "2")
        serve = ("serve", "main:app", "--workers", workers, *CERTIFICATE)
        served = Served(tmp_path, *serve, prefix=prefix)
        served._variables = {"ACTIVATED_PORT": str(served.port)}
        with served:
            ports = [int(one) for one in served.stdout.split()[:2]]
            assert served.port in ports
            for port in ports:
                served.port = port
                assert served.get()["version"] == "old"

    def test_of_another_process_are_not_ours(self, tmp_path: Path) -> None:
        """LISTEN_PID says for whom they are."""
        write_files(tmp_path)
        (tmp_path / "activate.py").write_text(ACTIVATE)
        served = Served(tmp_path, prefix=(sys.executable, "activate.py", "1"))
        served._variables = {"ACTIVATED_PORT": "0", "ACTIVATED_PID": "1"}
        with served:
            assert served.get()

    def test_by_number(self, tmp_path: Path) -> None:
        """With --fd, from any parent process."""
        write_files(tmp_path)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            number = str(listening.fileno())
            with Served(tmp_path, "serve", "main:app", "--fd", number, *CERTIFICATE, pass_fds=(listening.fileno(),)) as served:
                served.port = listening.getsockname()[1]
                assert served.get()

    @pytest.mark.parametrize(("number", "problem"), [("99", "is not a socket"), ("0", "is not a socket"), ("UDP", "is not a listening")])
    def test_that_cannot_be_used(self, tmp_path: Path, number: str, problem: str) -> None:
        """Are named, with what to do."""
        write_files(tmp_path)
        with socket.socket(type=socket.SOCK_DGRAM) as other:
            words = ("--fd", number.replace("UDP", str(other.fileno())))
            done = run_tlsio(tmp_path, "serve", "main:app", *words, *CERTIFICATE, pass_fds=(other.fileno(),), stdin=subprocess.DEVNULL)
        assert done.returncode == 2
        assert problem in done.stderr
        assert "Traceback" not in done.stderr


class TestServiceManager:
    """The reports of sd_notify(3), to a real socket."""

    @pytest.fixture
    def manager(self, tmp_path: Path) -> Any:
        """Return the socket of a service manager."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            made.bind(str(tmp_path / "notify"))
            made.settimeout(PATIENCE)
            yield made

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_start_reload_and_stop(self, tmp_path: Path, manager: socket.socket, workers: str) -> None:
        """In the order that `Type=notify-reload` needs."""
        write_files(tmp_path)
        with Served(tmp_path, "serve", "main:app", "--workers", workers, variables={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as served:
            ready = ["READY=1", "STATUS=Serving", f"MAINPID={served.process.pid}"]
            assert manager.recv(4096).decode().splitlines() == ready
            served.kill(signal.SIGHUP)
            name, time = manager.recv(4096).decode().splitlines()
            assert name == "RELOADING=1"
            assert time.startswith("MONOTONIC_USEC=")
            assert manager.recv(4096).decode().splitlines() == ready
            served.kill(signal.SIGTERM)
            assert manager.recv(4096) == b"STOPPING=1"
            assert served.wait() == 0

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_the_watchdog(self, tmp_path: Path, manager: socket.socket, workers: str) -> None:
        """Gets a sign of life at half of its time."""
        write_files(tmp_path)
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        with Served(tmp_path, "serve", "main:app", "--workers", workers, variables=variables):
            manager.recv(4096)
            assert [manager.recv(4096) for _ in range(4)] == [b"WATCHDOG=1"] * 4

    def test_a_watchdog_of_another_process(self, tmp_path: Path, manager: socket.socket) -> None:
        """Is not ours."""
        write_files(tmp_path)
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
        with Served(tmp_path, variables=variables) as served:
            manager.recv(4096)
            served.kill(signal.SIGTERM)
            assert manager.recv(4096) == b"STOPPING=1"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_during_the_start(tmp_path: Path, workers: str) -> None:
    """Of an application that never says that it has started."""
    write_files(tmp_path)
    (tmp_path / "main.py").write_text(
        "async def app(scope, receive, send):\n    open('begun', 'w').close()\n    while True:\n        await receive()\n"
    )
    command = [
        sys.executable,
        "-m",
        "tlsio",
        "serve",
        "main:app",
        "--port",
        "0",
        *CERTIFICATE,
        "--workers",
        workers,
        "--graceful-timeout",
        "1",
    ]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        eventually((tmp_path / "begun").exists, "the start of the application")
        process.terminate()
        assert "Traceback" not in process.communicate(timeout=PATIENCE)[1]
        assert process.returncode in {0, 1}


BLOCKING = """
import asyncio, time
from pathlib import Path

def block():
    print("in the thread")
    Path("held").touch()
    time.sleep(1000)

def wsgi(environ, start_response):
    block()

async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await asyncio.to_thread(block)
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(("app", "workers"), [("wsgi", "1"), ("asgi", "1"), ("wsgi", "2")])
def test_a_thread_that_blocks(tmp_path: Path, app: str, workers: str, loop: str) -> None:
    """It does not keep the process beyond graceful_timeout."""
    write_files(tmp_path)
    (tmp_path / "main.py").write_text(BLOCKING)
    with Served(tmp_path, "serve", f"main:{app}", "--workers", workers, "--loop", loop, "--graceful-timeout", "0.1") as served:
        with subprocess.Popen(["curl", "-sk", f"https://127.0.0.1:{served.port}/"], stdout=subprocess.DEVNULL) as curl:
            eventually((tmp_path / "held").exists, "the request")
            served.kill(signal.SIGTERM)
            curl.wait(PATIENCE)
        assert served.wait() == 0
        assert "threads of the application still run" in served.stderr
        assert "in the thread" in served.stdout


@pytest.mark.parametrize("workers", ["1", "2"])
def test_files_that_cannot_be_reloaded(tmp_path: Path, workers: str) -> None:
    """One line says why, and the old certificate stays."""
    write_files(tmp_path)
    with Served(tmp_path, "serve", "main:app", "--workers", workers) as served:
        replace(tmp_path / "server.key", pki.agent1().key_pem)
        served.kill(signal.SIGHUP)
        eventually(lambda: "could not be read again" in served.stderr, "the failure")
        assert served.get()
        replace(tmp_path / "server.key", pki.localhost().key_pem)
        served.kill(signal.SIGHUP)
        eventually(lambda: "were read again" in served.stderr, "the success")
        assert served.stderr.count("ERROR: ") == 1
        assert "Traceback" not in served.stderr


@pytest.mark.slow
def test_a_worker_that_does_not_answer_a_reload(tmp_path: Path) -> None:
    """Whether it has read the files is not known, so the log does not say that it has."""
    write_files(tmp_path)
    with Served(tmp_path, "serve", "main:app", "--workers", "2") as served:
        pid = served.get()["pid"]
        os.kill(pid, signal.SIGSTOP)
        served.kill(signal.SIGHUP)
        eventually(lambda: "could not be read again" in served.stderr, "the failure")
        assert f"in use: worker {pid} has not answered in 5 s" in served.stderr
        os.kill(pid, signal.SIGCONT)
        served.kill(signal.SIGHUP)
        eventually(lambda: "were read again" in served.stderr, "the success")
        assert served.stderr.count("could not be read again") == 1


@needs_root
class TestRights:
    """Another user after the start."""

    @pytest.fixture
    def folder(self) -> Any:
        """Return a folder that every user can enter."""
        import tempfile  # noqa: PLC0415

        with tempfile.TemporaryDirectory() as made:
            Path(made).chmod(0o755)
            write_files(Path(made))
            os.chown(Path(made, "server.key"), 0, NOBODY.pw_gid)
            Path(made, "server.key").chmod(0o640)
            yield Path(made)

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_are_dropped(self, folder: Path, workers: str) -> None:
        """Real, effective and saved ids, and the groups of root."""
        with Served(folder, "serve", "main:app", "--workers", workers, "--user", "nobody", prefix=FOR_ALL) as served:
            users, groups, others = served.get()["ids"]
            assert users == [NOBODY.pw_uid] * 3
            assert groups == [NOBODY.pw_gid] * 3
            assert set(others) <= {NOBODY.pw_gid}

    def test_a_group_of_its_own(self, folder: Path) -> None:
        """With --group; numbers are accepted."""
        os.chown(folder / "server.key", 0, 1)
        with Served(folder, "serve", "main:app", "--user", str(NOBODY.pw_uid), "--group", "1", prefix=FOR_ALL) as served:
            assert served.get()["ids"][1] == [1, 1, 1]

    def test_a_reload_and_a_restart_work_without_them(self, folder: Path) -> None:
        """What is read again can be read."""
        with Served(folder, "serve", "main:app", "--user", "nobody", prefix=FOR_ALL) as served:
            served.kill(signal.SIGHUP)
            eventually(lambda: "were read again" in served.stderr, "the reload")
            served.kill(signal.SIGUSR2)
            eventually(lambda: "has taken over" in served.stderr, "the restart")
            pid = served.owns(int(served.stderr.partition(" has taken over")[0].rpartition(" ")[2]))
            assert served.wait() == 0
            assert served.get()["ids"][0] == [NOBODY.pw_uid] * 3
            os.kill(pid, signal.SIGTERM)

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_ports_of_plain_http_are_bound_before(self, folder: Path, workers: str) -> None:
        """In a network of its own, where ports below 1024 are root's."""
        ports = ("--host", "0.0.0.0", "--redirect", "80", "--metrics", "0.0.0.0:81", "--workers", workers)
        prefix = ("unshare", "--net", *FOR_ALL)
        with Served(folder, "serve", "main:app", *ports, "--user", "nobody", *CERTIFICATE, prefix=prefix) as served:
            process = Path("/proc", str(served.process.pid))
            assert f"Uid:\t{NOBODY.pw_uid}\t" in (process / "status").read_text()
            sockets = [line.split() for line in (process / "net" / "tcp").read_text().splitlines()]
            assert {int(line[1].rpartition(":")[2], 16) for line in sockets if line[3] == "0A"} == {80, 81, served.port}

    @pytest.mark.skipif(not FOR_ALL, reason="this Python can be read by all")
    def test_python_of_root_alone(self, folder: Path) -> None:
        """Is found at the start too: later imports, and workers, need it."""
        done = run_tlsio(folder, "serve", "main:app", "--port", "0", *CERTIFICATE, "--user", "nobody")
        assert done.returncode == 2
        assert "The user nobody cannot read this Python" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_key_of_root_alone(self, folder: Path) -> None:
        """Is found at the start, not when the certificate is renewed."""
        (folder / "server.key").chmod(0o600)
        done = run_tlsio(folder, "serve", "main:app", "--port", "0", *CERTIFICATE, "--user", "nobody", prefix=FOR_ALL)
        assert done.returncode == 2
        assert "server.key cannot be read by the user nobody" in done.stderr
        assert "chmod 640" in done.stderr

    @pytest.mark.parametrize("more", [(), ("--check",)], ids=["start", "check"])
    def test_settings_of_root_alone(self, folder: Path, more: tuple[str, ...]) -> None:
        """Are found at the start, not when a restart reads them as the user; and so is a key by --check."""
        (folder / "serve.toml").write_text(
            'app = "main:app"\nport = 0\nuser = "nobody"\n[[site]]\ncert = "server.pem"\nkey = "server.key"\n'
        )
        (folder / "serve.toml").chmod(0o600)
        done = run_tlsio(folder, "serve", "--config", "serve.toml", *more, prefix=FOR_ALL)
        assert done.returncode == 2
        assert "serve.toml cannot be read by the user nobody" in done.stderr
        (folder / "serve.toml").chmod(0o644)
        (folder / "server.key").chmod(0o600)
        done = run_tlsio(folder, "serve", "--config", "serve.toml", *more, prefix=FOR_ALL)
        assert "server.key cannot be read by the user nobody" in done.stderr

    @pytest.mark.parametrize("home", ["root", "other"])
    def test_the_home_is_that_of_the_user(self, folder: Path, home: str) -> None:
        """Unless the one who started it has chosen another: certificates of the internal authority are kept there."""
        chosen = pwd.getpwuid(0).pw_dir if home == "root" else str(folder)
        script = "import os, sys; from tlsio.https.process.rights import find_account, take; take(find_account('nobody', None)); print(os.environ['HOME'])"
        command = [*FOR_ALL, sys.executable, "-c", script]
        done = subprocess.run(command, env={**environment(folder), "HOME": chosen}, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == (NOBODY.pw_dir if home == "root" else str(folder))

    @pytest.mark.parametrize("word", ["--user", "--group"])
    def test_an_unknown_account(self, folder: Path, word: str) -> None:
        """Is an error, with --check too."""
        for more in ([], ["--check"]):
            done = run_tlsio(folder, "serve", "main:app", "--port", "0", *CERTIFICATE, word, "no-such-name", *more)
            assert done.returncode == 2
            assert f"There is no {word[2:]} 'no-such-name' on this machine" in done.stderr

    def test_only_root_can(self, folder: Path) -> None:
        """Another user is told so."""
        done = run_tlsio(folder, "serve", "main:app", "--port", "0", *CERTIFICATE, "--user", "root", prefix=AS_NOBODY)
        assert done.returncode == 2
        assert "Only root can become another user" in done.stderr

    def test_a_port_below_1024(self, folder: Path) -> None:
        """Names the three ways, in a network of its own, whose first free port is 1024."""
        words = ("serve", "main:app", "--host", "0.0.0.0", "--port", "443", *CERTIFICATE)
        done = run_tlsio(folder, *words, prefix=("unshare", "--net", *AS_NOBODY))
        assert done.returncode == 2
        assert "Port 443 needs rights" in done.stderr
        assert f"setcap cap_net_bind_service+ep {os.path.realpath(sys.executable)}" in done.stderr
        assert ".socket unit" in done.stderr
        with_rights = subprocess.run(
            ["unshare", "--net", sys.executable, "-c", "import socket; socket.create_server(('', 443))"], check=False
        )
        assert with_rights.returncode == 0


class TestReload:
    """`--reload`, for development."""

    def test_new_code_is_served(self, tmp_path: Path) -> None:
        """No connection is refused meanwhile, and code that cannot be imported waits for the next change."""
        write_files(tmp_path)
        with Served(tmp_path, "serve", "main:app", "--reload", start_new_session=True) as served:
            assert served.get()["version"] == "old"
            change(tmp_path, "this is not Python")
            eventually(lambda: "It is tried again after the next change" in served.stderr, "the failure")
            change(tmp_path, APP.replace('VERSION = "old"', 'VERSION = "new"'))
            eventually(lambda: served.get()["version"] == "new", "the new code")
            os.killpg(served.process.pid, signal.SIGINT)
            assert served.wait() == 0
            assert served.stderr.count("Traceback") == 1  # of the mistake, which its author wants to see

    def test_a_terminal_that_is_closed(self, tmp_path: Path) -> None:
        """SIGHUP ends both processes, also if the parent alone gets it; SIGUSR2 does nothing."""
        write_files(tmp_path)
        with Served(tmp_path, "serve", "main:app", "--reload") as served:
            child = served.owns(served.get()["pid"])
            served.kill(signal.SIGUSR2)
            assert served.get()["pid"] == child
            served.kill(signal.SIGHUP)
            assert served.wait() == 0
            assert not is_alive(child)

    def test_a_parent_that_is_killed(self, tmp_path: Path) -> None:
        """Its child ends too, and leaves the port."""
        write_files(tmp_path)
        with Served(tmp_path, "serve", "main:app", "--reload") as served:
            child = served.owns(served.get()["pid"])
            served.kill(signal.SIGKILL)
            served.wait()
            eventually(lambda: not is_alive(child), "the end of the child")

    def test_not_with_workers(self, tmp_path: Path) -> None:
        """One process is enough for development."""
        write_files(tmp_path)
        done = run_tlsio(tmp_path, "serve", "main:app", "--port", "0", *CERTIFICATE, "--reload", "--workers", "2")
        assert done.returncode == 2
        assert "--reload and --workers cannot be combined" in done.stderr


def change(folder: Path, code: str) -> None:
    """Write code, with a later time than any before, whatever the clock's resolution."""
    path = folder / "main.py"
    later = path.stat().st_mtime + 2
    path.write_text(code)
    os.utime(path, (later, later))


class TestForwarded:
    """Headers of HTTP proxies."""

    HEADERS: ClassVar = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"}

    @pytest.mark.parametrize(
        ("words", "is_believed"),
        [
            ((), False),
            (("--forwarded-allow-ips", "192.0.2.0/24"), False),
            (("--forwarded-allow-ips", "127.0.0.0/8"), True),
            (("--forwarded-allow-ips", "*"), True),
        ],
    )
    def test_are_believed_only_if_asked_for(self, tmp_path: Path, words: tuple[str, ...], is_believed: bool) -> None:  # noqa: FBT001
        """And only from there."""
        write_files(tmp_path)
        with Served(tmp_path, "serve", "main:app", *words, variables={"FORWARDED_ALLOW_IPS": "*"}) as served:
            answer = served.get(headers=self.HEADERS)
        assert (answer["client"][0] == "192.0.2.7") is is_believed
        assert (answer["scheme"] == "http") is is_believed

    def test_a_wrong_address(self, tmp_path: Path) -> None:
        """Is an error; uvicorn would compare it as text."""
        write_files(tmp_path)
        done = run_tlsio(tmp_path, "serve", "main:app", *CERTIFICATE, "--check", "--forwarded-allow-ips", "10.0.0.1/8")
        assert done.returncode == 2
        assert "--forwarded-allow-ips" in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_development_certificate_is_not_the_reason(tmp_path: Path, workers: str) -> None:
    """Of a server that does not start the error is printed alone; another says which certificate it has."""
    write_files(tmp_path)
    done = run_tlsio(tmp_path, "serve", "missing:app", "--port", "0", "--workers", workers)
    assert done.returncode == 2
    assert "missing" in done.stderr
    assert "development authority" not in done.stderr
    (tmp_path / "serve.toml").write_text(f'app = "main:app"\nworkers = {workers}\n')
    with Served(tmp_path, "serve", "--config", "serve.toml", "--port", "PORT") as served:
        assert served.stderr.count("development authority") == 1


class TestCheck:
    """`--check`, as of nginx -t."""

    def test_all_is_well(self, tmp_path: Path) -> None:
        """Nothing is listened on, and nothing is made."""
        write_files(tmp_path)
        assert run_tlsio(tmp_path, "serve", "main:app", "--check", *CERTIFICATE).stdout == "All is well.\n"
        assert json.loads(run_tlsio(tmp_path, "serve", "main:app", "--check", *CERTIFICATE, "--json").stdout) == {"ok": True}
        before = sorted(tmp_path.rglob("*"))
        assert run_tlsio(tmp_path, "serve", "main:app", "--check").returncode == 0
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize(
        ("words", "problem"),
        [
            (("main:missing", *CERTIFICATE), "has no 'missing'"),
            (("missing:app", *CERTIFICATE), "missing"),
            (("main:app", "--cert", "missing.pem"), "missing.pem"),
            (("main:app", "--cert", "server.pem", "--key", "other.key"), "key"),
            (("main:app", "--cert", "main.py"), "main.py"),
            (("main:app", "--key", "server.key"), "--key needs --cert"),
            (("main:app", *CERTIFICATE, "--cert", "ca.pem"), "There are 2 --cert and 1 --key"),
            (("main:app", *CERTIFICATE, "--passphrase-file", "missing"), "missing"),
            (("main:app", *CERTIFICATE, "--proxy-protocol", "everyone"), "--proxy-protocol"),
            (("main:app", "--config", "missing.toml"), "missing.toml"),
            ((), "Missing argument"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
        """Each is a sentence, never a traceback; the start says the same."""
        write_files(tmp_path)
        (tmp_path / "other.key").write_bytes(pki.agent1().key_pem)
        for more in (["--check"], ["--port", "0"]):
            done = run_tlsio(tmp_path, "serve", *words, *more)
            assert done.returncode == 2
            assert problem in done.stderr
            assert "Traceback" not in done.stderr


class TestOutput:
    """What goes where."""

    def test_the_level(self, tmp_path: Path) -> None:
        """With --log-level, messages below it are not printed."""
        write_files(tmp_path)
        with Served(tmp_path) as served:
            served.kill(signal.SIGHUP)
            eventually(lambda: "INFO:     The certificates were read again\n" in served.stderr, "a message")
            assert served.stdout == ""
            assert served.get("/path")
            eventually(lambda: '"GET /path HTTP/1.1" 200' in served.stdout, "the line of a request")
            assert "\x1b" not in served.stderr
        with Served(tmp_path, "serve", "main:app", "--log-level", "error", "--access-log", "off") as served:
            served.kill(signal.SIGHUP)
            assert served.get()
            served.kill(signal.SIGTERM)
            assert served.wait() == 0
            assert served.stdout == ""
            assert served.stderr == f"Serving https://localhost:{served.port} (Ctrl-C ends it)\n"

    def test_json(self, tmp_path: Path) -> None:
        """The first line says where, for programs."""
        write_files(tmp_path)
        served = Served(tmp_path, "serve", "main:app", "--json")
        process = subprocess.Popen(
            [sys.executable, "-m", "tlsio", *served._words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline()) == {"serving": "localhost", "port": served.port}
            process.terminate()
        served._port.__exit__(None, None, None)

    def test_colours_on_a_terminal_only(self, tmp_path: Path) -> None:
        """And there not with NO_COLOR."""
        write_files(tmp_path)
        for variables, has_colours in (({}, True), ({"NO_COLOR": "1"}, False)):
            ours, theirs = os.openpty()
            command = [sys.executable, "-m", "tlsio", "serve", "main:app", "--port", "0"]
            with subprocess.Popen(
                command, cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path), **variables}, stdout=theirs, stderr=theirs
            ) as process:
                os.close(theirs)
                shown = b""
                while b"Ctrl-C" not in shown:
                    shown += os.read(ours, 4096)
                process.terminate()
            os.close(ours)
            assert (b"\x1b[33mWARNING" in shown) is has_colours
