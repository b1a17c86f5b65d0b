"""The table of versions with Node on one side: it is Node's table, and each understands the other's options alike."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import expectation_tables
import pki
import tlsio
from foreign_peers import find_node, find_node_24

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

SCRIPT = Path(__file__).parent / "versions.js"
OLD = {"ciphers": "ALL@SECLEVEL=0"}
ROWS = [row.values for row in expectation_tables.versions()]
NAMES = {"min_version": "minVersion", "max_version": "maxVersion", "secure_protocol": "secureProtocol"}

pytestmark = [pytest.mark.slow, pytest.mark.only_loop("asyncio")]
both_nodes = pytest.mark.parametrize("find_program", [find_node, find_node_24], ids=["node", "node24"])


def for_node(rows: Sequence[dict[str, Any]], **common: Any) -> str:
    """Return a table as the script reads it."""
    translated = [{NAMES.get(name, name): value for name, value in row.items()} for row in rows]
    return json.dumps({"common": common | OLD, "rows": translated})


def expected(outcome: str, side: str) -> str:
    """Return what one side says of a row: the version, its code, or "" when only the other has one."""
    if found := re.search(rf"{side} (\S+)", outcome):
        return found[1].removeprefix("-")
    return outcome


@contextlib.asynccontextmanager
async def node(program: str, role: str, table: str) -> AsyncIterator[Any]:
    """Run the script; gives what it writes."""
    process = await asyncio.create_subprocess_exec(
        program, str(SCRIPT), role, table, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=2**20
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


@pytest.mark.node("tls-min-max-version")
@both_nodes
async def test_our_client_at_nodes_servers(find_program: Callable[[], str]) -> None:
    """Versions and our client's codes are the table's, row by row."""
    who = pki.localhost_rsa()
    table = for_node([server for _, server, _ in ROWS], cert=who.cert_pem.decode(), key=who.key_pem.decode())
    async with node(find_program(), "server", table) as ports:
        for (client, _, outcome), port in zip(ROWS, ports, strict=True):
            if isinstance(port, str):
                assert port == expected(outcome, "server"), outcome
                continue
            try:
                async with tlsio.connect(port, "127.0.0.1", servername="localhost", ca=pki.ca1().cert_pem, **OLD, **client) as socket:
                    met = socket.get_protocol()
            except tlsio.TLSError as error:
                met = error.code
            assert met == expected(outcome, "client"), (client, outcome)


@pytest.mark.node("tls-min-max-version")
@both_nodes
async def test_nodes_client_at_our_servers(find_program: Callable[[], str]) -> None:
    """Versions and Node's codes are the table's, row by row; a server's options that we refuse, Node's client never meets."""
    who = pki.localhost_rsa()
    async with contextlib.AsyncExitStack() as stack:
        met = []
        for client, options, outcome in ROWS:
            if outcome.startswith("client - "):  # we refuse these options, as tested beside the table
                continue
            server = tlsio.create_server(cert=who.cert_pem, key=who.key_pem, **OLD, **options)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close, 0)
            await server.listen(0, "127.0.0.1")
            met.append((client | {"port": server.port}, expected(outcome, "client")))
        table = for_node([client for client, _ in met], ca=pki.ca1().cert_pem.decode())
        async with node(find_program(), "client", table) as found:
            assert found == [outcome for _, outcome in met]
