"""The fixtures as a user's suite sees them: in a pytest of its own that knows nothing of ours."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from tlsio.testing import plugin

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's suite: without the plugins of this environment, so that the entry point is not needed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    pytester.makeini("[pytest]\naddopts = -p tlsio.testing.plugin -W error\n")
    return pytester


def passes(suite: pytest.Pytester, code: str, count: int = 1) -> None:
    """Run a module of tests, all of which must pass."""
    suite.makepyfile(code)
    suite.runpytest_subprocess().assert_outcomes(passed=count)


def test_the_entry_point_names_the_plugin() -> None:
    """And pytest finds in it a fixture for each name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert import_module(project["entry-points"]["pytest11"]["tlsio"]) is plugin
    assert all(name.startswith("tlsio_") for name in plugin.__all__)


def test_a_run_that_uses_no_fixture_loads_nothing() -> None:
    """The plugin is imported by every run of pytest on the machine."""
    program = (
        "import json, sys, pytest; before = {*sys.modules}; import tlsio.testing.plugin; print(json.dumps([*{*sys.modules} - before]))"
    )
    loaded = set(json.loads(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout))
    assert {name for name in loaded if name.startswith(("tlsio.certs", "tlsio.connection", "tlsio.native._", "cryptography"))} == set()
    assert loaded.isdisjoint({"asyncio", "ssl"})


@pytest.mark.slow
def test_a_blocking_client_reaches_the_echo_server(suite: pytest.Pytester) -> None:
    """With the standard library, as any program does."""
    passes(
        suite,
        """
        import socket, ssl

        def test_echo(tlsio_echo_server):
            context = ssl.create_default_context(cadata=tlsio_echo_server.ca_pem.decode())
            with socket.create_connection(("127.0.0.1", tlsio_echo_server.port)) as plain:
                with context.wrap_socket(plain, server_hostname=tlsio_echo_server.host) as sock:
                    sock.sendall(b"hello")
                    assert sock.recv(5) == b"hello"
            assert tlsio_echo_server.errors == []
        """,
    )


@pytest.mark.slow
def test_certificates_are_for_mutual_tls(suite: pytest.Pytester) -> None:
    """One authority for a run; a server of the user's own."""
    passes(
        suite,
        """
        import asyncio, tlsio

        async def greet(socket):
            await socket.send(socket.get_peer_certificate()["subject"]["CN"].encode())

        async def talk(ca, server, client):
            options = {"cert": server.chain_pem, "key": server.key_pem, "ca": ca, "request_cert": True}
            async with tlsio.serve(greet, 0, "127.0.0.1", **options) as serving:
                async with tlsio.connect(serving.port, "localhost", ca=ca, cert=client.chain_pem, key=client.key_pem) as sock:
                    return await sock.read_all()

        def test_mutual(tlsio_authority, tlsio_server_leaf, tlsio_client_leaf):
            assert asyncio.run(talk(tlsio_authority.cert_pem, tlsio_server_leaf, tlsio_client_leaf)) == b"test client"
        """,
    )


@pytest.mark.slow
def test_a_pair_is_connected(suite: pytest.Pytester) -> None:
    """In the loop of the test."""
    passes(
        suite,
        """
        import asyncio

        async def talk(connected_pair):
            async with connected_pair(mutual=True) as (client, server):
                await client.send(b"hello\\n")
                assert await server.readline() == b"hello\\n"
                assert client.authorized and server.authorized

        def test_pair(tlsio_connected_pair):
            asyncio.run(talk(tlsio_connected_pair))
        """,
    )


@pytest.mark.slow
def test_a_certificate_can_have_expired(suite: pytest.Pytester) -> None:
    """Around a chosen instant."""
    passes(
        suite,
        """
        import asyncio, datetime, pytest, tlsio

        @pytest.mark.parametrize(("days", "code"), [(-7, "CERT_HAS_EXPIRED"), (7, "CERT_NOT_YET_VALID"), (0, None)])
        def test_clock(tlsio_certificates_at, days, code):
            instant = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
            assert asyncio.run(connect(tlsio_certificates_at(instant))) == code

        async def echo(socket):
            await socket.read()

        async def connect(made):
            async with tlsio.serve(echo, 0, "127.0.0.1", secure_context=made.server_context) as server:
                try:
                    async with tlsio.connect(server.port, "localhost", secure_context=made.client_context):
                        return None
                except tlsio.CertificateError as error:
                    return error.code
        """,
        count=3,
    )
