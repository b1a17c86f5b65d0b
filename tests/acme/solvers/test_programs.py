"""Programs that change the DNS: the user's own, and dns-lexicon in a process."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bind import KEY, KEY_NAME
from tlsio.acme import HookProgram, Lexicon
from tlsio.acme.solvers.lexicon_process import _without
from tlsio.acme.solvers.program import run_program
from tlsio.model.errors import ACMEError, ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bind import Bind

NAME = "_acme-challenge.a.example.test"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="it takes a port below 1024, or another user")


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """Write a program for the shell."""

    def write(text: str) -> Path:
        path = tmp_path / "hook"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return path

    return write


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Make a folder that all users can enter, which they cannot with those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


async def test_a_hook_gets_what_to_do(script: Callable[[str], Path], tmp_path: Path) -> None:
    """After its own arguments; a name and a value are one argument each."""
    path = script(f'for one in "$@"; do echo "<$one>" >> {tmp_path}/said; done')
    hook = HookProgram([str(path), "first argument"])
    await hook.add_txt(NAME, "value")
    await hook.remove_txt(NAME, "-value")
    assert (tmp_path / "said").read_text().split("\n")[:-1] == [
        *("<first argument>", "<add>", f"<{NAME}>", "<value>"),
        *("<first argument>", "<remove>", f"<{NAME}>", "<-value>"),
    ]


async def test_a_hook_that_fails_is_an_error_with_its_last_words(script: Callable[[str], Path]) -> None:
    """On one line, without what would control a terminal."""
    with pytest.raises(ACMEError) as caught:
        await HookProgram(script("seq 10000; printf 'no \\033[31msuch zone\\n' >&2; exit 3")).add_txt(NAME, "value")
    assert caught.value.code == "ERR_ACME_DNS"
    assert caught.value.message.endswith("no ?[31msuch zone")
    assert "ended with 3" in caught.value.message
    assert len(caught.value.message) < 800
    assert "three arguments" in str(caught.value.hint)


@pytest.mark.slow  # so that a busy machine starts the child in time
async def test_a_hook_that_takes_too_long_is_killed_with_its_children(script: Callable[[str], Path], tmp_path: Path) -> None:
    """Nothing of it runs on."""
    path = script(f"sleep 60 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(ACMEError, match=r"has not ended after 2 s"):
        await HookProgram(path, timeout=2.0).add_txt(NAME, "value")
    assert await _ends(int((tmp_path / "child").read_text()))


async def test_a_cancellation_kills_a_hook(script: Callable[[str], Path], tmp_path: Path) -> None:
    """And leaves no thread that waits for it."""
    path = script(f"echo $$ > {tmp_path}/pid; exec sleep 60")
    task = asyncio.create_task(HookProgram(path).add_txt(NAME, "value"))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():  # noqa: ASYNC110 - a file is no event
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _ends(int((tmp_path / "pid").read_text()))


@pytest.mark.slow
async def test_programs_leave_the_threads_of_the_loop_free(script: Callable[[str], Path]) -> None:
    """Files of the storage and host names wait for these, and a program may wait for minutes."""
    path = script("exec sleep 60")
    hooks = [asyncio.create_task(HookProgram(path).add_txt(NAME, str(number))) for number in range(40)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert await asyncio.to_thread(lambda: "free") == "free"
    for hook in hooks:
        hook.cancel()
    await asyncio.gather(*hooks, return_exceptions=True)


async def _ends(pid: int) -> bool:
    """Wait until a process is gone, or only its parent does not know yet."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z":  # noqa: ASYNC240 - not a disk
                return True
        except OSError:
            return True
        await asyncio.sleep(0.01)
    return False


@needs_root
@pytest.mark.slow
def test_a_program_of_another_user_is_given_up(open_folder: Path) -> None:
    """As one run by sudo: it cannot be killed, which hides neither the timeout nor a cancellation, and delays no exit."""
    becomes_root = open_folder / "becomes-root"
    shutil.copy(Path("/usr/bin/python3").resolve(), becomes_root)
    becomes_root.chmod(0o4755)
    code = f"import os, time; os.setresuid(0, 0, 0); open({str(open_folder / 'root')!r}, 'w').close(); time.sleep(600)"
    command = [str(becomes_root), "-c", code]
    script = f"""
import asyncio, concurrent.futures.thread, encodings.idna, os, random, tempfile
from pathlib import Path
from tlsio.acme.solvers.program import run_to_end

async def run(how):
    task = asyncio.ensure_future(run_to_end({command!r}, seconds=5 if how == "timeout" else 600, most=100))
    if how == "cancel":
        while not Path({str(open_folder / "root")!r}).exists():
            await asyncio.sleep(0.01)
        task.cancel()
    await asyncio.wait([task])
    print("cancelled" if task.cancelled() else type(task.exception()).__name__)

os.setgroups([]), os.setgid(65534), os.setuid(65534)
asyncio.run(run("cancel"))
asyncio.run(run("timeout"))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    for process in Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):
            if process.readlink() == becomes_root:
                os.kill(int(process.parent.name), signal.SIGKILL)
    assert (ended.stdout.split(), ended.returncode) == (["cancelled", "TimeoutError"], 0), ended.stderr
    assert ended.stderr.count("cannot be killed") == 2


async def test_a_hook_that_leaves_a_daemon_ends_all_the_same(script: Callable[[str], Path], tmp_path: Path) -> None:
    """Although it keeps the output open."""
    path = script(f"setsid sleep 60 & echo $! > {tmp_path}/child")
    began = time.monotonic()
    await HookProgram(path).add_txt(NAME, "value")
    assert time.monotonic() - began < 10
    os.kill(int((tmp_path / "child").read_text()), 9)


async def test_a_hook_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(ACMEError, match="cannot be started: No such file"):
        await HookProgram(tmp_path / "missing").add_txt(NAME, "value")
    (tmp_path / "plain").write_text("text")
    with pytest.raises(ACMEError, match="cannot be started: Permission denied"):
        await HookProgram(str(tmp_path / "plain")).remove_txt(NAME, "value")


@pytest.mark.parametrize(
    ("command", "options"), [("", {}), ([], {}), (7, {}), (["a", 7], {}), ("a", {"timeout": 0}), ("a\0b", {})], ids=str
)
def test_what_is_no_hook_is_refused(command: Any, options: dict[str, Any]) -> None:
    """At once."""
    with pytest.raises(UsageError):
        HookProgram(command, **options)


async def test_a_program_gets_its_input() -> None:
    """All of it, and its end."""
    code = "import sys; sys.exit(len(sys.stdin.buffer.read()) != 100_000)"
    await run_program([sys.executable, "-c", code], "The program", seconds=10, given=b"x" * 100_000)


@needs_root
@pytest.mark.slow
async def test_lexicon_changes_a_real_name_server(bind: Bind) -> None:
    """Through its provider for dynamic updates."""
    async with bind.relayed() as address:
        lexicon = Lexicon("ddns", {"auth_token": f"hmac-sha256:{KEY_NAME}:{KEY}", "ddns_server": address}, zone="example.test")
        await asyncio.gather(
            lexicon.add_txt("_acme-challenge.l.example.test", "one"), lexicon.add_txt("_acme-challenge.l.example.test", "two")
        )
        assert bind.txt("_acme-challenge.l.example.test") == {"one", "two"}
        await lexicon.remove_txt("_acme-challenge.l.example.test", "one")
        assert bind.txt("_acme-challenge.l.example.test") == {"two"}
        await lexicon.remove_txt("_acme-challenge.l.example.test", "two")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "settings", "reason"),
    [
        ("nobody", {}, "ProviderNotAvailableError"),
        ("ddns", {"auth_token": "hmac-sha256:name:c2VjcmV0LXNlY3JldA==", "ddns_server": "127.0.0.1"}, "Error"),
        ("ddns", {"auth_token": "secret-secret", "ddns_server": "127.0.0.1"}, "ValueError"),
    ],
    ids=["unknown provider", "no server", "wrong settings"],
)
async def test_the_errors_of_lexicon_are_told_without_the_settings(provider: str, settings: dict[str, str], reason: str) -> None:
    """With the last line of what went wrong."""
    with pytest.raises(ACMEError) as caught:
        await Lexicon(provider, settings, zone="example.test").add_txt(NAME, "value")
    assert caught.value.code == "ERR_ACME_DNS"
    assert reason in caught.value.message
    assert not any(value in caught.value.message for name, value in settings.items() if name == "auth_token")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"key": "a+b/c=secret"}, "GET /?key=a%2Bb%2Fc%3Dsecret"),
        ({"key": "a+b/c=secret"}, "GET /?key=a%2bb%2fc%3dsecret"),
        ({"key": "a b/secret"}, "GET /?key=a+b%2Fsecret and a%20b/secret"),
        ({"key": "a'b\"secret\\"}, "sent " + repr({"key": "a'b\"secret\\"})),
        ({"key": 'a"bésecret'}, "sent " + json.dumps({"key": 'a"bésecret'})),
        ({"key": "<secret>"}, "<p>&lt;secret&gt;</p>"),
        ({"user": "adam", "key": "adamsecret"}, "no adamsecret here"),
        ({"key": "hmac-sha256:name:secret=="}, "not base64: secret=="),
        ({"key": 1234567, "port": 53}, "1234567 is not known"),
    ],
    ids=["URL", "small digits", "form", "repr", "JSON", "HTML", "one in another", "a part", "a number"],
)
def test_secrets_are_found_in_each_form(settings: dict[str, Any], text: str) -> None:
    """Errors of HTTP clients quote URLs, and servers quote what they were sent."""
    shown = _without(text, settings)
    assert "secret" not in shown
    assert "1234567" not in shown
    assert "…" in shown


@pytest.mark.slow
async def test_a_url_with_a_credential_is_not_shown() -> None:
    """The provider has it in the query, and cannot be reached from here."""
    with pytest.raises(ACMEError) as caught:
        await Lexicon("namesilo", {"auth_token": "ab+c/d=SECRET&x"}, zone="example.test").add_txt(NAME, "value")
    assert "…" in caught.value.message
    assert "SECRET" not in caught.value.message


@pytest.mark.slow
async def test_what_a_provider_prints_is_shown_without_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what it logs: the reason is often only there."""
    (tmp_path / "lexicon").mkdir()
    code = "import logging\nprint('sent a%2Bsecret')\nlogging.getLogger('x').error('got a+secret')\nraise SystemExit('no a+secret')\n"
    (tmp_path / "lexicon" / "__init__.py").write_text("")
    (tmp_path / "lexicon" / "client.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(ACMEError) as caught:
        await Lexicon("any", {"auth_token": "a+secret"}).add_txt(NAME, "value")
    assert caught.value.message.endswith("ended with 1: sent … got … SystemExit: no …")


def test_lexicon_checks_its_arguments() -> None:
    """Before anything runs; its repr has no settings."""
    for arguments, options in [(("", {}), {}), (("a", {"b": b"c"}), {}), (("a", {}), {"zone": ""}), (("a", {}), {"timeout": 0})]:
        with pytest.raises(UsageError):
            Lexicon(*arguments, **options)  # type: ignore[arg-type]
    assert repr(Lexicon("cloudflare", {"auth_token": "secret"})) == "<Lexicon 'cloudflare'>"


def test_without_lexicon_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """How to install it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as caught:
        Lexicon("cloudflare", {})
    assert "tlsio[acme-lexicon]" in str(caught.value.hint)
