"""The page about revocation: its code runs in its order, and does what the page says."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

import pki
import tlsio
from net import once

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "revocation.md"


def test_commands_revoke_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the authority and the client that the page on mutual TLS makes: the first list is empty, the last one names the client."""
    monkeypatch.chdir(tmp_path)

    def revoked() -> list[int]:
        return [one.serial_number for one in x509.load_pem_x509_crl(Path("clients.crl").read_bytes())]

    pages = [PAGE.with_name("mutual-tls.md"), PAGE]
    blocks = [
        block for page in pages for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    ]
    found = []
    for block in blocks:
        subprocess.run(["bash", "-e"], input=block, text=True, check=True, capture_output=True)
        if Path("clients.crl").exists():
            found.append(revoked())
    assert found == [[], [x509.load_pem_x509_certificate(Path("me.pem").read_bytes()).serial_number]]


async def run(source: str, names: dict[str, Any]) -> None:
    """Run one block of the page; `await` may stand alone in it."""
    result = eval(compile(source, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # noqa: S307 - our own page
    if inspect.isawaitable(result):
        await result


async def test_page_ends_the_connection_of_a_revoked_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client is served, then revoked: its connection ends, another's goes on, and it cannot come back."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    known, lost = pki.client(), pki.leaf("lost", issuer=pki.ca1())
    files = {"server.pem": pki.localhost().chain_pem, "server.key": pki.localhost().key_pem, "clients-ca.pem": pki.ca1().cert_pem}
    for name, content in (files | {"clients.crl": pki.revocation_list(pki.ca1(), revoked=[])}).items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"tlsio": tlsio, "Path": Path, "listener": lambda _sock: None, "port": 0}
    await run(blocks[0], names)
    server: tlsio.Server = names["server"]
    options: list[dict[str, Any]] = [{"cert": who.cert_pem, "key": who.key_pem, "ca": pki.ca1().cert_pem} for who in (known, lost)]
    async with server:
        good, bad = [await tlsio.connect(server.port, "localhost", **one) for one in options]
        while len(server.open_sockets()) < 2:
            await once(server, "secure_connection")
        await run(blocks[1], names)
        (tmp_path / "clients.crl").write_bytes(pki.revocation_list(pki.ca1(), revoked=[lost]))
        for block in blocks[2:]:
            await run(block, names)
        with pytest.raises(tlsio.TLSError):
            await bad.read()
        (left,) = server.open_sockets()
        left.write(b"still here")
        assert await good.read() == b"still here"
        told = once(server, "tls_client_error")
        with pytest.raises(tlsio.AlertReceived) as caught:
            await (await tlsio.connect(server.port, "localhost", **options[1])).read()
        assert caught.value.alert == "certificate_revoked"
        assert (await told)[0].code == "CERT_REVOKED"
        for sock in (good, bad, left):
            sock.destroy()
        assert names["fetching"].connections == 0
