"""`openssl s_client -reconnect` at our hooks."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import pytest

from foreign_peers import PATIENCE, find
from net import Net
from sessions import Store

pytestmark = pytest.mark.only_loop("asyncio")


@pytest.mark.node("tls-session-cache")
@pytest.mark.parametrize(
    ("tickets", "garbage", "stored", "asked", "resumed"),
    [(False, False, 1, 5, 5), (True, False, 0, 0, 5), (False, True, 6, 5, 0)],
    ids=["by id", "by ticket", "garbage"],
)
async def test_s_client_reconnects(tickets: bool, garbage: bool, stored: int, asked: int, resumed: int) -> None:  # noqa: FBT001
    """Six connections of TLS 1.2: the hooks are asked unless there are tickets; what is no session does no harm."""
    store, calls = Store(later=True), []

    async def resume(session_id: bytes) -> bytes | None:
        calls.append(session_id)
        return b"garbage" if garbage else await store.get(session_id)

    hooks: dict[str, Any] = {"new_session": lambda session_id, data: store.put(session_id, data, 0), "resume_session": resume}
    net = Net("native", "TLSv1.2")
    async with net.serve(lambda sock: sock.on("end", sock.close), **hooks) as server:
        command = [find("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2", "-reconnect"]
        command += [] if tickets else ["-no_ticket"]
        ran = await asyncio.to_thread(subprocess.run, command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=True)
    words = ran.stdout.decode()
    assert (words.count("\nNew, "), words.count("\nReused, ")) == (6 - resumed, resumed)
    assert (len(store.kept), len(calls)) == (stored, asked)
    assert len(set(calls)) == (asked if garbage else min(asked, 1))
