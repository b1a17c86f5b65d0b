"""NPN, what ALPN came from: between our own ends, and with OpenSSL's command line. Nobody else speaks it any more."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from foreign_peers import OpenSSL, Part, find
from net import Net

if TYPE_CHECKING:
    from pathlib import Path

    from net import Driver, Pair, Version


@pytest.mark.parametrize(
    ("server", "client", "chosen"),
    [
        (["a", "b", "c"], ["c", "b"], "b"),  # the server's order
        (["a", "b"], b"\1b", "b"),
        (["a", "b"], ["x"], None),
        (["a", "b"], [], None),
        (["a", "b"], None, None),
        ([], ["a"], None),
        (None, ["a"], None),
    ],
)
async def test_the_protocol_of_both_is_chosen(pair: Pair, version: Version, server: Any, client: Any, chosen: str | None) -> None:
    """In TLS 1.2; TLS 1.3 has no NPN. Nothing in common is no fault."""
    async with pair(server={"npn_protocols": server}, client={"npn_protocols": client}) as (near, far, _):
        expected = chosen if version == "TLSv1.2" else None
        assert (near.npn_protocol, far.npn_protocol) == (expected, expected)
        near.write(b"goes on")
        assert await far.read() == b"goes on"


@pytest.mark.parametrize(
    ("server", "alpn", "npn"),
    [
        ({"alpn_protocols": ["x", "h2"]}, "h2", None),
        ({"alpn_callback": lambda _name, protocols, _sock: protocols[0]}, "h2", None),
        ({"alpn_protocols": ["x"], "alpn_mismatch": "continue"}, None, "a"),
        ({}, None, "a"),
    ],
    ids=["list", "callback", "mismatch", "npn"],
)
async def test_alpn_wins(driver: Driver, server: dict[str, Any], alpn: str | None, npn: str | None) -> None:
    """When both are offered; NPN is for servers without ALPN."""
    client = {"npn_protocols": ["a"], "alpn_protocols": ["h2"]}
    async with Net(driver, "TLSv1.2").pair(server={"npn_protocols": ["a"], **server}, client=client) as (near, far, _):
        assert (near.alpn_protocol, near.npn_protocol) == (far.alpn_protocol, far.npn_protocol) == (alpn, npn)


@pytest.mark.parametrize(("options", "chosen"), [({"npn_protocols": ["b"]}, "b"), ({}, "a"), ({"npn_protocols": []}, None)])
async def test_the_context_of_a_name_decides(driver: Driver, options: Any, chosen: str | None) -> None:
    """What it leaves unset is the server's."""
    net, client = Net(driver, "TLSv1.2"), {"npn_protocols": ["a", "b"], "servername": "a.example.com"}
    who = pki.wildcard()
    async with net.serve(npn_protocols=["a"]) as server:
        server.add_context("a.example.com", {"cert": who.cert_pem, "key": who.key_pem, **options})
        sock = await net.connect(server, **client)
        assert sock.npn_protocol == chosen
        sock.destroy()
        await sock.wait_closed()


async def test_a_context_of_a_name_may_have_it_alone(driver: Driver) -> None:
    """Although the server itself speaks no NPN."""
    net, who = Net(driver, "TLSv1.2"), pki.wildcard()
    async with net.serve() as server:
        server.add_context("a.example.com", {"cert": who.cert_pem, "key": who.key_pem, "npn_protocols": ["b"]})
        sock = await net.connect(server, npn_protocols=["a", "b"], servername="a.example.com")
        assert sock.npn_protocol == "b"
        sock.destroy()
        await sock.wait_closed()


async def s_client(port: int, *options: str) -> str:
    """Connect and return what it prints."""
    command = [find("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{port}", *options]
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode()


@pytest.mark.parametrize(("offered", "told", "ours"), [("b,a", "Next protocol: (1) a", "a"), ("x", "Next protocol: (2) x", None)])
async def test_the_command_line_as_client(driver: Driver, offered: str, told: str, ours: str | None) -> None:
    """Without anything in common it names its own first: that is none of ours."""
    net, heard = Net(driver, "TLSv1.2"), []

    def serve(sock: tlsio.TLSSocket) -> None:
        heard.append(sock.npn_protocol)
        sock.end(b"hello\n")

    async with net.serve(serve, npn_protocols=["a", "b"]) as server:
        out = await s_client(net.port(server), "-nextprotoneg", offered)
    assert "Protocols advertised by server: a, b" in out
    assert told in out
    assert heard == [ours]


@pytest.mark.parametrize(("offered", "told", "ours"), [(["b", "a"], b"NEXTPROTO is a\n", "a"), (["x"], b"NEXTPROTO is x\n", None)])
async def test_the_command_line_as_server(driver: Driver, tmp_path: Path, offered: list[str], told: bytes, ours: str | None) -> None:
    """It is told our first when nothing is common, as the draft wants; `npn_protocol` is None then."""
    net = Net(driver, "TLSv1.2")
    part = Part(folder=tmp_path, version="TLSv1.2", identity=pki.localhost())
    with OpenSSL().start_server(part, "-nextprotoneg", "a,b") as (process, port):
        net.ports[server := tlsio.create_server()] = port
        sock = await net.connect(server, npn_protocols=offered)
        assert sock.npn_protocol == ours
        await sock.aclose()
        assert told in await asyncio.to_thread(process.stdout.read)


async def test_it_is_agreed_on_again_when_a_session_is_resumed(driver: Driver, tmp_path: Path) -> None:
    """NPN belongs to the connection, not to the session."""
    net, file = Net(driver, "TLSv1.2"), str(tmp_path / "session")
    async with net.serve(lambda sock: sock.end(b"hello\n"), npn_protocols=["a"]) as server:
        first = await s_client(net.port(server), "-nextprotoneg", "a", "-sess_out", file)
        second = await s_client(net.port(server), "-nextprotoneg", "a", "-sess_in", file)
    assert "New, TLSv1.2" in first
    assert "Reused, TLSv1.2" in second
    assert "Next protocol: (1) a" in second
