"""The examples do what they say, most of them in at most 40 lines; the commands of the demo work when they are copied."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pki
import softhsm
import tlsio
from foreign_peers import find, find_node_24
from redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).parents[2] / "examples"
LONGEST = 40
# What the others stand on, the program behind `make run`, a demonstration, and one that is several processes.
LONGER = {"certificates.py", "cluster.py", "demo.py", "your_connection.py"}


@contextmanager
def started(*command: str, path: str = "", **variables: str) -> Iterator[Any]:
    """Run a program; left, it is stopped if it still runs."""
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}", **variables}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def example(name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs an example, its warnings as errors."""
    return (sys.executable, "-W", "error", "-u", str(FOLDER / name), *arguments)


def run(name: str, *arguments: str, text: str = "") -> list[str]:
    """Run an example to its end, which must be a good one; return the lines it printed."""
    with started(*example(name, *arguments)) as process:
        out, err = process.communicate(text, timeout=20)
    assert (process.returncode, err) == (0, "")
    return out.splitlines()


def interrupt(process: Any) -> None:
    """Press Ctrl-C: the program ends well, without a complaint."""
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("path", [path for path in sorted(FOLDER.glob("*.py")) if path.name not in LONGER], ids=lambda path: path.name)
def test_example_is_short(path: Path) -> None:
    """Who reads one sees it whole."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_mutual_tls() -> None:
    """Alice is greeted, nobody is refused, and both sides know why."""
    greeted, *refused = run("mutual_tls.py")
    assert greeted == "Alice: Hello, Alice!"
    assert any(line.startswith("server: The client sent no certificate") for line in refused)
    assert any("certificate_required" in line for line in refused)


def test_changing_files() -> None:
    """Both connections are served, each under another certificate."""
    first, second = run("changing_files.py")
    assert first.startswith("b'hello\\n' under ")
    assert second.startswith("b'hello\\n' under ")
    assert first != second


def test_own_authority() -> None:
    """The device is known, and after its revocation refused."""
    assert run("own_authority.py") == ["hello, press 4", "refused: certificate_revoked"]


def test_server_names() -> None:
    """The table, the function and the default each serve their names; a closed tenant is refused."""
    assert run("server_names.py") == [
        r"localhost b'Welcome to localhost\n'",
        r"shop.example b'Welcome to shop.example\n'",
        r"a.tenants.example b'Welcome to a.tenants.example\n'",
        "closed.tenants.example is refused with the alert unrecognized_name",
    ]


def test_pinning() -> None:
    """The old key and the new one are accepted, a third is not."""
    old, new, third = run("pinning.py")
    assert old == r"the old key is accepted: b'Hello\n'"
    assert new == r"the new key is accepted: b'Hello\n'"
    assert third.startswith("the unpinned key is refused: ")
    assert third.endswith("[ERR_TLS_PIN_MISMATCH]")


def test_doctor() -> None:
    """It finds the two faults of its own server, the worse one first."""
    spoken, *found = run("doctor.py")
    assert spoken.endswith("speaks TLSv1.2")
    assert [line.split(":")[0] for line in found if not line.startswith(" ")] == ["error wrong-host-www", "notice no-tls13"]


def test_ocsp_stapling() -> None:
    """Good at first, then revoked."""
    good, revoked = run("ocsp_stapling.py")
    assert good == "The issuer says that the certificate is good."
    assert revoked.endswith("[CERT_REVOKED]")


def test_pre_shared_keys() -> None:
    """Two sensors are known; one is not, and one has the wrong key."""
    one, two, unknown, guessed = sorted(run("pre_shared_keys.py"), key=lambda line: ("refused" in line, "sensor-3" not in line, line))
    assert [one, two] == ["sensor-1 says 21.5", "sensor-2 says 21.5"]
    assert unknown.startswith("sensor-3 is refused: ")
    assert guessed.startswith("sensor-1 is refused: ")


def test_secure_pair() -> None:
    """Over blocking sockets."""
    assert run("secure_pair.py") == ["Hello, Ada (TLSv1.3)"]


def test_asyncio_protocol() -> None:
    """A protocol on one side, streams on the other."""
    assert run("asyncio_protocol.py") == ["Welcome over TLSv1.3", "ONE", "TWO", "", ""]


def test_development_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A dry run changes nothing; which stores there are depends on the machine."""
    monkeypatch.setenv("HOME", str(tmp_path))
    first, *stores = run("development_certificates.py")
    assert first == "Hello, ada"
    assert all(": " in line for line in stores)
    assert list(tmp_path.iterdir()) == []


def test_httpx_client() -> None:
    """The server knows the client; the second request resumes the first one's session."""
    assert run("httpx_client.py") == ["Hello, alice: verified", "Hello, alice: resumed"]


def test_aiohttp_client() -> None:
    """The pinned key is accepted, another one is not."""
    accepted, refused = run("aiohttp_client.py")
    assert accepted == "200 Hello"
    assert re.fullmatch(r"refused: None of the pinned keys .* \[ERR_TLS_PIN_MISMATCH\]", refused)


class TestNodes:
    """Node's own examples, each side once ours and once Node's."""

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The working directory, with the files that the examples name: both sides are self-signed."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(Path(tlsio.__file__).parents[1]))
        for name, who in (("server", pki.self_signed()), ("client", pki.ec_agent2())):
            (tmp_path / f"{name}-cert.pem").write_bytes(who.cert_pem)
            (tmp_path / f"{name}-key.pem").write_bytes(who.key_pem)
        return tmp_path

    @staticmethod
    def side(language: str, side: str, find_node: Any, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs one side of the pair."""
        if language == "ours":
            return example(f"node_{side}.py", *arguments)
        return (find_node(), str(Path(__file__).parent / f"node_{side}.js"), *arguments)

    @pytest.mark.parametrize("find_node", [lambda: find("node", "nodejs"), find_node_24], ids=["node", "node24"])
    @pytest.mark.parametrize(("server", "client"), [("ours", "Node's"), ("Node's", "ours")])
    def test_one_side_is_nodes(self, server: str, client: str, find_node: Any, folder: Path) -> None:
        """Both print what they print among themselves."""
        self.talk(self.side(server, "server", find_node, "0"), lambda port: self.side(client, "client", find_node, port))

    def test_both_sides_are_ours(self, folder: Path) -> None:
        """And the server ends by Ctrl-C."""
        self.talk(self.side("ours", "server", None, "0"), lambda port: self.side("ours", "client", None, port))

    @staticmethod
    def talk(server: tuple[str, ...], client: Callable[[str], tuple[str, ...]]) -> None:
        """Run a server and a client of it, and look at what they print."""
        with started(*server) as serving:
            port = serving.stdout.readline().removeprefix("server bound ").strip()
            with started(*client(port)) as talking:
                out, err = talking.communicate("one\ntwo\n", timeout=20)
            assert (out, err) == ("client connected authorized\nwelcome!\none\ntwo\nserver ends connection\n", "")
            assert serving.stdout.readline() == "server connected authorized\n"
            if server[0] == sys.executable:
                interrupt(serving)

    def test_pinning(self) -> None:
        """The pinned server is accepted, another one of the same name is not."""
        assert run("node_pinning.py") == [
            r"b'All OK\n'",
            "Certificate verification error: localhost does not match our pinned fingerprints",
        ]


def test_cluster() -> None:
    """Processes on one port that a client cannot tell apart: only its first visit is a full handshake."""
    with RedisServer() as redis:
        (line,) = run("cluster.py", redis.url, "3", "30")
    found = re.fullmatch(r"(\d+) of 30 visits were resumed, at (\d+) processes", line)
    assert found
    assert int(found[1]) == 29
    assert 2 <= int(found[2]) <= 3


class TestEcho:
    """The two that take their certificates from files."""

    @staticmethod
    @contextmanager
    def server(folder: Path) -> Iterator[tuple[Any, str]]:
        """Run the server; gives it and its port."""
        who, cert, key = pki.localhost(), folder / "server.pem", folder / "server.key"
        cert.write_bytes(who.chain_pem)
        key.write_bytes(who.key_pem)
        with started(*example("echo_server.py", "0", str(cert), str(key))) as process:
            yield process, process.stdout.readline().split()[-1]

    def test_lines_come_back(self, tmp_path: Path) -> None:
        """And the server ends by Ctrl-C."""
        ca = tmp_path / "ca.pem"
        ca.write_bytes(pki.ca1().cert_pem)
        with self.server(tmp_path) as (server, port):
            first, *echoed = run("echo_client.py", port, str(ca), text="one\ntwo\n")
            interrupt(server)
        assert re.fullmatch(r"connected to \S+ with TLSv1.3", first)
        assert echoed == [r"b'one\n'", r"b'two\n'"]

    def test_the_client_says_why_it_gives_up(self, tmp_path: Path) -> None:
        """It trusts another authority: a message with code and hint, no traceback; the server has heard of it."""
        ca = tmp_path / "ca.pem"
        ca.write_bytes(pki.ca2().cert_pem)
        with self.server(tmp_path) as (server, port), started(*example("echo_client.py", port, str(ca))) as client:
            _, err = client.communicate(timeout=20)
            assert "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA" in server.stdout.readline()
        assert client.returncode == 1
        assert "[UNABLE_TO_VERIFY_LEAF_SIGNATURE]" in err
        assert "Traceback" not in err


class TestYourConnection:
    """`make run`."""

    @staticmethod
    @contextmanager
    def serving(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[tuple[Any, Callable[..., str]]]:
        """Run it as `make run` does, on a free port; gives it, and a function that asks it by curl."""
        monkeypatch.setenv("XDG_DATA_HOME", str(home))
        with started(*example("your_connection.py", "--port", "0")) as server:
            text = "".join(iter(server.stdout.readline, "Ctrl-C ends it.\n"))
            found = re.search(r"curl --cacert (\S+) (https://localhost:\d+)/", text)
            assert found, text

            def ask(path: str, *options: str) -> str:
                command = [find("curl", "curl"), "-sS", "--cacert", found[1], *options, found[2] + path]
                return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout

            yield server, ask
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0

    @pytest.mark.parametrize(("option", "version"), [("--http2", "HTTP/2"), ("--http1.1", "HTTP/1.1")])
    def test_shows_the_connection(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str, version: str) -> None:
        """As JSON, and as a page without a resource from elsewhere."""
        with self.serving(monkeypatch, tmp_path) as (_, ask):
            found = json.loads(ask("/connection.json", option))
            assert (found["version"], found["http"], found["server_name"], found["client"]) == (
                "TLSv1.3",
                version,
                "localhost",
                "127.0.0.1",
            )
            assert found["offered"]["ja4"].startswith("t13d")
            page = ask("/", option)
            assert found["cipher"] in page
            assert not re.search(r"{{|(src|href)=.?(https?:)?//", page)
            assert "There is nothing here" in ask("/nothing", option)

    def test_streams_the_counters(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """As events, until the visitor goes, or the server does."""
        with self.serving(monkeypatch, tmp_path) as (_, ask):
            first = ask("/live", "--max-time", "2").partition("\n\n")[0]
        event = json.loads(first.removeprefix("data: "))
        assert (event["open"], event["requests"], event["full"]) == (1, 1, 1)


class TestDemo:
    """A demonstration of mutual TLS."""

    def test_shows_what_was_negotiated_and_who_was_verified(self) -> None:
        """On both sides."""
        lines = run("demo.py", "--once")
        shown = "TLSv1.3 with TLS_AES_256_GCM_SHA384; the peer is {!r}, issued by 'demo authority': verified"
        assert re.fullmatch(r"An echo server with mutual TLS listens on localhost:\d+\.", lines[0])
        assert f"client: {shown.format('localhost')}" in lines
        assert f"server: {shown.format('demo client')}" in lines
        assert r"client: received b'Hello, TLS!\n'" in lines

    @staticmethod
    @contextmanager
    def staying() -> Iterator[tuple[Any, dict[str, str]]]:
        """Run it as `make run` does; gives it and its commands, by program."""
        with started(*example("demo.py")) as demo:
            text = "".join(iter(demo.stdout.readline, "Ctrl-C ends it.\n"))
            yield demo, {command.split()[0]: command for command in re.findall(r"^  (\w+ .*)$", text, re.MULTILINE)}
            interrupt(demo)

    @pytest.mark.parametrize("find_node", [lambda: find("node", "nodejs"), find_node_24], ids=["node", "node24"])
    def test_its_command_for_node_works(self, find_node: Any) -> None:
        """Node gets its echo, and the demo tells who that was."""
        with self.staying() as (demo, commands):
            with started("bash", "-c", commands["node"], path=str(Path(find_node()).parent)) as node:
                assert node.communicate(timeout=20) == ("Hello from Node\n", "")
            assert "the peer is 'demo client'" in demo.stdout.readline()

    def test_its_command_for_openssl_works(self) -> None:
        """What is typed comes back. Stopped without a goodbye, it leaves the demo calm."""
        with self.staying() as (demo, commands):
            with started("bash", "-c", f"exec {commands['openssl']}") as openssl:
                openssl.stdin.write("typed\n")
                openssl.stdin.flush()
                assert openssl.stdout.readline() == "typed\n"
            assert "the peer is 'demo client'" in demo.stdout.readline()

    def test_its_command_for_curl_is_refused(self) -> None:
        """Both sides tell why."""
        with self.staying() as (demo, commands):
            with started("bash", "-c", commands["curl"]) as curl:
                assert "alert certificate required" in curl.communicate(timeout=20)[1]
            assert "The client sent no certificate" in demo.stdout.readline()
            assert "Give the client a certificate" in demo.stdout.readline()


@pytest.mark.slow
def test_certificate_check(tmp_path: Path) -> None:
    """A good certificate, one that expires within two weeks, and a file that is not one."""
    soon = pki.leaf("localhost", issuer=pki.ca1(), names=["localhost"], not_before=pki.NOW - 80 * pki.DAY, not_after=pki.NOW + 7 * pki.DAY)
    for name, content in (("good", pki.localhost().cert_pem), ("soon", soon.cert_pem), ("ca", pki.ca1().cert_pem), ("bad", b"x")):
        (tmp_path / f"{name}.pem").write_bytes(content)
    lines = run("certificate_check.py", str(tmp_path / "good.pem"), "localhost", str(tmp_path / "ca.pem"))
    assert lines.count("accepted") == 2
    for name, code, word in (("soon", 1, "expires_soon"), ("bad", 2, "bad.pem")):
        command = example("certificate_check.py", str(tmp_path / f"{name}.pem"), "localhost", str(tmp_path / "ca.pem"))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert word.replace("expires_soon", "most of its life is over") in done.stdout + done.stderr


async def test_keys_in_an_hsm(tmp_path: Path) -> None:
    """The server signs in the token; its key is nowhere else."""
    who = pki.localhost()
    environment = softhsm.make_token(tmp_path, server=who)
    arguments = (softhsm.find_module(), softhsm.TOKEN, "server")
    with started(*example("keys_in_an_hsm.py", *arguments), **environment, TOKEN_PIN=softhsm.PIN) as process:
        process.stdin.write(who.chain_pem.decode())
        process.stdin.close()
        port = int(process.stdout.readline().removeprefix("listening on "))
        async with tlsio.connect(port, "localhost", ca=pki.ca1().cert_pem) as socket:
            assert await socket.readline() == b"Signed in the token\n"
