"""curl fetches a page from a server of ours that speaks just enough HTTP."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import pki
import tlsio
from foreign_peers import find

if TYPE_CHECKING:
    from foreign_peers import Part
    from net import Net

VERSIONS = {"TLSv1.2": ["--tlsv1.2", "--tls-max", "1.2"], "TLSv1.3": ["--tlsv1.3"]}


async def answer(socket: tlsio.TLSSocket) -> None:
    """Read a request's head and answer with the name of who asked."""
    head = await socket.readuntil(b"\r\n\r\n")
    certificate = socket.get_peer_certificate()
    who = certificate["subject"]["CN"] if certificate else "stranger"
    body = f"Hello, {who}. You asked for {head.split()[1].decode()} by {socket.get_protocol()}.\n"
    await socket.send(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


CANNOT_VERIFY = 60  # CURLE_PEER_FAILED_VERIFICATION; how it says so changes with its version


async def curl(port: int, part: Part, *, times: int = 1) -> subprocess.CompletedProcess[str]:
    """Fetch /page; each time over a connection of its own."""
    command = [find("curl", "curl"), "-sS", *VERSIONS[part.version], "--cacert", part.file(part.ca.cert_pem)]
    if part.identity is not None:
        command += ["--cert", part.file(part.identity.chain_pem), "--key", part.file(part.identity.key_pem)]
    command += ["--resolve", f"localhost:{port}:127.0.0.1", *[f"https://localhost:{port}/page"] * times]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20, check=False)


async def test_curl_gets_a_page(net: Net, part: Part) -> None:
    """Without a certificate it is a stranger."""
    async with net.serve(answer) as server:
        ran = await curl(net.port(server), part)
    assert (ran.stdout, ran.stderr) == (f"Hello, stranger. You asked for /page by {net.version}.\n", "")


async def test_curl_shows_its_certificate(net: Net, part: Part) -> None:
    """With one it is called by its name."""
    async with net.serve(answer, ca=pki.ca1().cert_pem, request_cert=True) as server:
        ran = await curl(net.port(server), replace(part, identity=pki.client()))
    assert (ran.stdout, ran.stderr) == (f"Hello, client. You asked for /page by {net.version}.\n", "")


async def test_curl_is_refused_without_a_certificate(net: Net, part: Part) -> None:
    """It prints the alert."""
    async with net.serve(answer, ca=pki.ca1().cert_pem, request_cert=True) as server:
        ran = await curl(net.port(server), part)
    assert {"TLSv1.2": "alert handshake failure", "TLSv1.3": "alert certificate required"}[net.version] in ran.stderr


async def test_curl_does_not_trust_a_stranger(net: Net, part: Part) -> None:
    """It knows another authority, and our server hears of it: from curl 8.14, not from 8.22, which looks when it has shaken hands."""
    codes = []
    async with net.serve(answer) as server:
        server.on("tls_client_error", lambda error, _socket: codes.append(error.code))
        ran = await curl(net.port(server), replace(part, ca=pki.ca2()))
    assert ran.returncode == CANNOT_VERIFY
    assert codes in (["ERR_SSL_TLSV1_ALERT_UNKNOWN_CA"], [])


@pytest.mark.parametrize("kept", ["by ticket", "in a store"])
async def test_curl_resumes(net: Net, part: Part, kept: str) -> None:
    """Three pages over three connections of one process. In TLS 1.2 it takes no tickets, so there a store is needed."""
    resumed = []

    async def note(socket: tlsio.TLSSocket) -> None:
        resumed.append(socket.is_session_reused())
        await answer(socket)

    options = {"session_store": tlsio.MemorySessionStore()} if kept == "in a store" else {}
    async with net.serve(note, **options) as server:
        ran = await curl(net.port(server), part, times=3)
    assert (ran.stdout, ran.stderr) == (f"Hello, stranger. You asked for /page by {net.version}.\n" * 3, "")
    takes = (net.version, kept) != ("TLSv1.2", "by ticket")
    assert resumed == [False, takes, takes]
