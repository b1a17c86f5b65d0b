"""A build without the driver that needs epoll: what it compiles from, and what is left."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tlsio

if TYPE_CHECKING:
    from net import Net

ROOT = Path(__file__).parents[3]
LINUX_ALONE = ("sys/epoll.h", "sys/eventfd.h", "sys/timerfd.h", "linux/sockios.h")


@pytest.fixture
def without_reactor(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is in such a build."""
    monkeypatch.setattr("tlsio.connection.drivers.native.has_reactor", False)
    monkeypatch.setattr("tlsio.connection.client.connect.has_reactor", False)


@pytest.mark.usefixtures("without_reactor")
async def test_listen_says_what_to_do_instead() -> None:
    """Before the address is taken."""
    server = tlsio.create_server()
    with pytest.raises(tlsio.UsageError, match=r"epoll") as caught:
        await server.listen(0, "127.0.0.1")
    assert caught.value.code == "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM"
    assert "server.upgrade" in (caught.value.hint or "")
    server.close()


async def test_a_client_connects_by_the_other_driver(net: Net, request: pytest.FixtureRequest) -> None:
    """By port and host as ever, and it knows its addresses."""
    async with net.serve(lambda sock: sock.end(b"hello")) as server:
        request.getfixturevalue("without_reactor")
        options = net.client_options(servername="localhost")
        async with tlsio.connect(net.port(server), "127.0.0.1", **options) as sock:
            assert await sock.read() == b"hello"
            assert sock.remote_port == net.port(server)


@pytest.mark.slow
def test_the_engine_compiles_where_the_headers_of_linux_are_missing(tmp_path: Path) -> None:
    """All of it, with the warnings of `make check`."""
    for name in LINUX_ALONE:
        header = tmp_path / name
        header.parent.mkdir(exist_ok=True)
        header.write_text(f"#error {name} is for Linux alone\n")
    setup = runpy.run_path(str(ROOT / "setup.py"))
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsyntax-only", "-DTIO_PORTABLE"]
    includes = [f"-I{tmp_path}", f"-I{ROOT / setup['ENGINE']}", *(f"-I{path}" for path in setup["find_openssl"]().include_dirs)]
    sources = setup["engine_sources"](portable=True)
    done = subprocess.run(["cc", *flags, *includes, *sources], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
