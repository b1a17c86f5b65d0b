"""Pre-shared keys with others: OpenSSL's command line and Node, as clients and as servers."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from foreign_peers import PATIENCE, OpenSSL, Part, find_node, find_node_24, start
from net import Net, once

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from net import Driver, Version

NAME, KEY = "sensor-7", bytes(range(1, 33))
SCRIPT = __file__.replace("test_psk.py", "psk.js")
NODES: dict[str, Callable[[], str]] = {"node": find_node, "node24": find_node_24}
SUITES = {
    "TLSv1.2": ["PSK-AES128-GCM-SHA256", "DHE-PSK-AES256-GCM-SHA384", "ECDHE-PSK-CHACHA20-POLY1305"],
    "TLSv1.3": ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"],
}
CASES = [(version, suite) for version, suites in SUITES.items() for suite in suites]


@pytest.fixture(params=CASES, ids=[suite for _, suite in CASES])
def case(request: pytest.FixtureRequest) -> tuple[Version, str]:
    """A version, and the one suite of both sides."""
    return request.param


@pytest.fixture
def version(case: tuple[Version, str]) -> Version:
    """Its version."""
    return case[0]


@pytest.fixture
def suite(case: tuple[Version, str]) -> str:
    """Its suite."""
    return case[1]


@pytest.fixture(params=["native", "portable"])
def driver(request: pytest.FixtureRequest) -> Driver:
    """How our side moves its bytes."""
    return request.param


@pytest.fixture
def net(driver: Driver, version: Version) -> Net:
    """Our side."""
    return Net(driver, version)


def serve(net: Net, suite: str, **options: Any) -> AbstractAsyncContextManager[tlsio.Server]:
    """Serve by keys alone, and echo."""

    def find(_socket: tlsio.TLSSocket, identity: str) -> bytes | None:
        return KEY if identity == NAME else None

    async def echo(sock: tlsio.TLSSocket) -> None:
        await sock.pipe(sock)

    given = {"cert": None, "key": None, "psk_callback": find, "ciphers": suite, "dhparam": "auto"} | options
    return net.serve(echo, **given)


async def visit(net: Net, port: int, suite: str, key: bytes = KEY) -> tuple[bytes, str | None]:
    """Talk to a foreign server; returns what came back, and the hint."""
    hints: list[str | None] = []
    options: dict[str, Any] = {"ciphers": suite, "min_version": net.version, "max_version": net.version}
    async with tlsio.connect(port, "127.0.0.1", psk_callback=lambda hint: (hints.append(hint), (NAME, key))[1], **options) as sock:
        assert sock.authorized
        assert sock.get_cipher()["name"] == suite
        assert sock.is_session_reused() == (net.version == "TLSv1.3")
        await sock.send(b"12345\n")
        return await sock.readexactly(6), hints[0]


def suite_options(version: Version, suite: str) -> list[str]:
    """How OpenSSL's programs are told."""
    return ["-cipher" if version == "TLSv1.2" else "-ciphersuites", suite]


# --- OpenSSL's command line ---


@pytest.mark.node("tls-psk-server")
async def test_s_client_comes_by_key(net: Net, suite: str, tmp_path: Path) -> None:
    """And is told apart by its identity."""
    part = Part(folder=tmp_path, version=net.version)
    async with serve(net, suite) as server:
        options = ["-psk_identity", NAME, "-psk", KEY.hex(), *suite_options(net.version, suite)]
        heard = await asyncio.to_thread(OpenSSL().run, net.port(server), part, b"hello", *options)
        assert (heard.data, heard.who, heard.error) == (b"hello", None, "")


async def test_s_client_with_another_key_is_refused(net: Net, suite: str, tmp_path: Path) -> None:
    """As well as one that is unknown."""
    part = Part(folder=tmp_path, version=net.version)
    async with serve(net, suite) as server:
        for name, key in [(NAME, b"another"), ("sensor-8", KEY)]:
            told = once(server, "tls_client_error")
            options = ["-psk_identity", name, "-psk", key.hex(), *suite_options(net.version, suite)]
            heard = await asyncio.to_thread(OpenSSL().run, net.port(server), part, b"hello", *options)
            assert heard.data == b""
            assert "alert" in heard.error
            assert isinstance((await told)[0], tlsio.HandshakeError)


@pytest.mark.parametrize("case", [("TLSv1.3", "TLS_AES_256_GCM_SHA384")], ids=lambda case: case[1], indirect=True)
@pytest.mark.parametrize("more", [{}, {"request_cert": True, "reject_unauthorized": False}], ids=["unasked", "asked"])
async def test_s_client_whose_key_is_not_used_resumes(net: Net, suite: str, more: dict[str, Any], tmp_path: Path) -> None:
    """The suite does not go with the key, so the server shows its certificate; the next time there is no key."""
    part = Part(folder=tmp_path, version=net.version)
    session, resumed = tmp_path / "session", list[bool]()

    async def echo(sock: tlsio.TLSSocket) -> None:
        resumed.append(sock.is_session_reused())
        await sock.pipe(sock)

    options = {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, "ciphers": suite, "psk_callback": lambda _sock, _name: KEY}
    async with net.serve(echo, **options, **more) as server:
        for known in (["-psk_identity", NAME, "-psk", KEY.hex(), "-sess_out", str(session)], ["-sess_in", str(session)]):
            heard = await asyncio.to_thread(OpenSSL().run, net.port(server), part, b"hello", *known)
            assert (heard.data, heard.who, heard.error) == (b"hello", "localhost", "")
    assert resumed == [False, True]


@pytest.mark.node("sequential/tls-psk-client")
async def test_s_server_knows_us_by_key(version: Version, suite: str, tmp_path: Path) -> None:
    """Its hint comes in TLS 1.2. It sends back each line, reversed."""
    part = Part(folder=tmp_path, version=version)
    options = ["-rev", "-nocert", "-psk_identity", NAME, "-psk", KEY.hex(), "-psk_hint", "of the plant", *suite_options(version, suite)]
    with OpenSSL().start_server(part, *options) as (_, port):
        back, hint = await visit(Net("native", version), port, suite)
        assert back == b"54321\n"
        assert hint == ("of the plant" if version == "TLSv1.2" else None)


async def test_s_server_with_another_key_is_not_believed(version: Version, suite: str, tmp_path: Path) -> None:
    """Whoever it is."""
    part = Part(folder=tmp_path, version=version)
    options = ["-rev", "-nocert", "-psk_identity", NAME, "-psk", "aabbccdd", *suite_options(version, suite)]
    with OpenSSL().start_server(part, *options) as (_, port), pytest.raises(tlsio.TLSError) as caught:
        await visit(Net("native", version), port, suite)
    assert isinstance(caught.value, tlsio.AlertReceived)


# --- Node ---


def say(version: Version, suite: str, **more: Any) -> str:
    """What psk.js is told."""
    return json.dumps({"identity": NAME, "psk": KEY.hex(), "ciphers": suite, "minVersion": version, "maxVersion": version, **more})


@pytest.mark.parametrize("node", NODES)
async def test_node_comes_by_key(net: Net, suite: str, node: str) -> None:
    """It sees what we see on the other side."""
    async with serve(net, suite, psk_identity_hint="of ours") as server:
        command = [NODES[node](), SCRIPT, "client", say(net.version, suite, port=net.port(server))]
        ran = await asyncio.to_thread(subprocess.run, command, input=b"hello", capture_output=True, timeout=PATIENCE, check=False)
        assert ran.stdout == b"hello"
        assert json.loads(ran.stderr) == {
            "given": "of ours" if net.version == "TLSv1.2" else None,
            "authorized": True,
            "reused": net.version == "TLSv1.3",
            "cipher": suite,
            "error": "",
        }


# Without DHE: Node's server has no parameters for it unless it is given some.
@pytest.mark.parametrize("case", [case for case in CASES if not case[1].startswith("DHE")], ids=lambda case: case[1], indirect=True)
@pytest.mark.parametrize("node", NODES)
async def test_node_knows_us_by_key(version: Version, suite: str, node: str) -> None:
    """And says as little of a certificate as we do."""
    command = [NODES[node](), SCRIPT, "server", say(version, suite, pskIdentityHint="of Node")]
    with start(*command) as process:
        port = int(await asyncio.to_thread(process.stdout.readline))
        back, hint = await visit(Net("native", version), port, suite)
        assert (back, hint) == (b"12345\n", "of Node" if version == "TLSv1.2" else None)
        report = json.loads(await asyncio.to_thread(process.stderr.readline))
        assert report == {"given": NAME, "authorized": False, "reused": version == "TLSv1.3", "cipher": suite, "error": ""}
