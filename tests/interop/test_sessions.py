"""Sessions among foreign peers and us: `s_client -reconnect`, and clusters in which one of the servers is Node's."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import Net, once
from peers import PATIENCE, find
from sessions import Store, greet

if TYPE_CHECKING:
    from node import Node

pytestmark = pytest.mark.only_loop("asyncio")

KEYS = bytes(range(48))


# --- by id ---


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


# --- by ticket ---


@pytest.mark.node("tls-ticket-cluster")
@pytest.mark.parametrize("first", ["ours", "Node's"])
async def test_node_and_we_are_one_cluster(net: Net, node: Node, first: str) -> None:
    """With the same ticket keys and session id context a session of one process is resumed by the other."""
    who = pki.localhost()
    common = {"minVersion": net.version, "maxVersion": net.version, "cert": who.chain_pem, "key": who.key_pem}
    port = await node.listen(common | {"ticketKeys": KEYS, "sessionIdContext": "cluster"})
    sessions: list[bytes] = []
    reused = []

    async def visit(port: int, session: bytes | None) -> None:
        options = net.client_options(servername="localhost", session=session, on={"session": sessions.append})
        async with tlsio.connect(port, "127.0.0.1", **options) as sock:
            reused.append(sock.is_session_reused())
            if port != server.port:
                await node.accepted()
                await node.write("hello")
            assert await sock.readexactly(5) == b"hello"

    async with net.serve(greet, ticket_keys=KEYS, session_id_context="cluster") as server:
        ports = [server.port or 0, port]
        for number, to in enumerate(ports if first == "ours" else ports[::-1]):
            await visit(to, sessions[-1] if number else None)
    assert reused == [False, True]


@pytest.mark.node("tls-client-resume", "tls-client-resume-12")
async def test_our_client_resumes_at_nodes_server(net: Net, node: Node) -> None:
    """By the session of the event, and Node says so too."""
    who = pki.localhost()
    options = {"minVersion": net.version, "maxVersion": net.version, "cert": who.chain_pem, "key": who.key_pem}
    port = await node.listen(options)
    sessions: list[bytes] = []
    for reused in (False, True):
        given = net.client_options(servername="localhost", session=sessions[-1] if sessions else None, on={"session": sessions.append})
        async with tlsio.connect(port, "127.0.0.1", **given) as sock:
            assert (await node.accepted())["reused"] is sock.is_session_reused() is reused
            await node.write("hello")
            assert await sock.readexactly(5) == b"hello"
        await node.forget()


async def test_nodes_client_resumes_at_our_server(net: Net, node: Node) -> None:
    """By a ticket, or by the id where we keep sessions."""
    for options in ({}, {"session_store": Store(later=True)}):
        async with net.serve(greet, **options) as server:
            session = None
            for reused in (False, True):
                accepted = once(server, "secure_connection")
                given = {"port": server.port, "ca": pki.ca1().cert_pem, "servername": "localhost"} | (
                    {"session": session} if session else {}
                )
                said = await node.connect({"minVersion": net.version, "maxVersion": net.version, **given})
                assert said["reused"] is (await accepted).is_session_reused() is reused
                assert await node.rest() == "hello"
                if not reused:
                    session = base64.b64decode(await node.session())
                await node.reset()
