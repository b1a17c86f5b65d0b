"""Mutual TLS with certificates of ours, by every foreign peer: OpenSSL's command line, Node, Python's `ssl`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import pki
import tlsio
from foreign_peers import PEERS, Part
from tlsio.certs import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from tlsio.certs import Leaf

LINE = b"a word from afar\n"


def identity(leaf: Leaf) -> pki.Identity:
    """Return a leaf as the peers of the tests take it."""
    assert leaf.key is not None
    return pki.Identity(leaf.key, leaf.certificate, leaf.intermediates)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("kind", ["P-256", "P-384", "Ed25519"])
async def test_a_peer_accepts_and_presents_what_we_issue(name: str, kind: str, tmp_path: Path) -> None:
    """The server below an intermediate; the client below the root, for `openssl` sends no chain by `-cert`; name constraints."""
    root = Authority.create("a root", kind=kind, permitted=["localhost", "127.0.0.0/8"])
    issuing = root.intermediate("an intermediate", kind=kind)
    server, client = issuing.server("localhost", "127.0.0.1", kind=kind), root.client("Ada", kind=kind)
    part = Part(folder=tmp_path, version="TLSv1.3", ca=pki.Identity(root.key, root.certificate), identity=identity(client))  # type: ignore[arg-type]
    seen: list[object] = []

    async def echo(sock: tlsio.TLSSocket) -> None:
        certificate = sock.get_peer_certificate()
        seen.append(certificate and certificate["subject"]["CN"])
        async for chunk in sock:
            await sock.send(chunk)

    options = {"cert": server.chain_pem, "key": server.key_pem, "ca": root.cert_pem, "request_cert": True}
    async with tlsio.serve(echo, 0, "127.0.0.1", **options) as serving:
        heard = await PEERS[name].talk(serving.port or 0, part, LINE)
    assert (heard.data, heard.error, seen) == (LINE, "", ["Ada"])
