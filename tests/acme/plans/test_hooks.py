"""Hooks: what they get, and that they end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tlsio.acme.plans.hooks import run_hook
from tlsio.acme.plans.plan import Plan
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PLAN = Plan(names=("a.test", "b.test"), server="https://acme.example.test/directory")


async def test_a_hook_gets_names_and_folder(tmp_path: Path) -> None:
    """In certbot's variables."""
    plan = Plan(names=PLAN.names, server=PLAN.server, cert=str(tmp_path / "live" / "chain.pem"))
    await run_hook(f'echo "$RENEWED_DOMAINS in $RENEWED_LINEAGE" > {tmp_path}/seen', plan)
    assert (tmp_path / "seen").read_text() == f"a.test b.test in {tmp_path}/live\n"


async def test_what_a_hook_prints_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody sees it otherwise."""
    with caplog.at_level(logging.INFO, "tlsio.acme"):
        await run_hook("echo seen", PLAN)
    assert "seen" in caplog.text


async def test_a_failing_hook_is_reported_with_its_last_words() -> None:
    """Two kilobytes of them at most."""
    with pytest.raises(ConfigError, match="ended with 3") as caught:
        await run_hook("yes | head -c 1000000; echo the end >&2; exit 3", PLAN)
    assert caught.value.code == "ERR_ACME_HOOK"
    assert caught.value.message.endswith("the end")
    assert len(caught.value.message) < 2200


async def test_a_hook_that_hangs_is_killed(tmp_path: Path) -> None:
    """With what it has started."""
    with pytest.raises(ConfigError, match=r"not ended after 0\.2 seconds"):
        await run_hook(f"(sleep 10; touch {tmp_path}/late) & sleep 60", PLAN, timeout=0.2)
    await asyncio.sleep(0)
    assert not (tmp_path / "late").exists()


async def test_a_cancelled_hook_is_killed(tmp_path: Path) -> None:
    """The process is gone when the cancellation returns."""
    task = asyncio.ensure_future(run_hook(f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; sleep 60", PLAN))
    while not (tmp_path / "pid").exists():  # noqa: ASYNC110 - written by another process
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_a_service_that_a_hook_starts_goes_on(tmp_path: Path) -> None:
    """The hook's end is the end of its shell, also when the service keeps its output open."""
    await run_hook(f"sleep 30 & echo $! > {tmp_path}/pid", PLAN, timeout=25)
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGKILL)  # raises if it is gone
