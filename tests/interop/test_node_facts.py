"""What was negotiated, asked of Node at the other end of the same connection."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import pki
import tlsio
from peers import find_node_24

SCRIPT = Path(__file__).parent / "negotiated.js"


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("group", ["P-256", "X25519"])
async def test_node_knows_the_same(version: str, group: str) -> None:
    """Finished, exporter and ephemeral key are equal on both ends, and the certificate has the same words."""
    who = pki.localhost_rsa()
    accepted: asyncio.Future[tlsio.TLSSocket] = asyncio.get_running_loop().create_future()

    def accept(socket: tlsio.TLSSocket) -> None:
        socket.on("data", lambda _chunk: None)
        accepted.set_result(socket)

    async with tlsio.serve(accept, 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem) as server:
        arguments = (str(SCRIPT), str(server.port), version, group, pki.ca1().cert_pem.decode())
        node = await asyncio.create_subprocess_exec(find_node_24(), *arguments, stdout=asyncio.subprocess.PIPE)
        printed, _ = await node.communicate()
        assert node.returncode == 0
        theirs, ours = json.loads(printed), await accepted
    assert ours.get_protocol() == version
    assert theirs["finished"] == (ours.get_peer_finished() or b"").hex()
    assert theirs["peerFinished"] == (ours.get_finished() or b"").hex()
    assert theirs["exported"] == ours.export_keying_material(128, "EXPERIMENTAL parity").hex()
    assert theirs["exportedWithContext"] == ours.export_keying_material(32, "EXPERIMENTAL parity", b"context").hex()
    assert theirs["exportedWithEmptyContext"] == ours.export_keying_material(32, "EXPERIMENTAL parity", b"").hex()
    assert theirs["key"] == ours.get_ephemeral_key_info()
    certificate = ours.get_certificate()
    assert certificate is not None
    assert theirs["subjectaltname"] == certificate["subjectaltname"]
    assert theirs["fingerprint256"] == certificate["fingerprint256"]
    assert theirs["pubkey"] == certificate["pubkey"].hex()
