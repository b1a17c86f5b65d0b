"""Private keys that live elsewhere, against foreign peers; a token of SoftHSM; a signer in a process of its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pkcs11
import pytest
from pkcs11 import MGF, Mechanism
from pkcs11.util.ec import encode_ecdsa_signature

import pki
import softhsm
import tlsio
from external_keys import AsyncSigner
from remote_signer import RemoteKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from foreign_peers import Part, Peer
    from net import Net

LINE = b"a word from afar\n"
SUPPORT = Path(__file__).parents[1] / "support"
WHO: dict[str, Callable[[], pki.Identity]] = {"ec": pki.localhost, "rsa": pki.localhost_rsa}


async def echo(socket: tlsio.TLSSocket) -> None:
    """Send back what comes."""
    async for chunk in socket:
        await socket.send(chunk)


# ---- foreign peers verify the signatures


@pytest.mark.parametrize("who", WHO)
async def test_their_client_accepts_the_signature(who: str, peer: Peer, net: Net, part: Part) -> None:
    """Of each kind of key."""
    identity = WHO[who]()
    signer = AsyncSigner(identity.key)
    async with net.serve(echo, cert=identity.chain_pem, key=signer) as server:
        heard = await peer.talk(net.port(server), part, LINE)
    assert (heard.data, heard.error) == (LINE, "")
    assert len(signer.calls) == 1


async def test_their_server_accepts_our_signature(peer: Peer, net: Net, part: Part) -> None:
    """It asks for our certificate."""
    signer = AsyncSigner(pki.client().key)
    async with peer.serve(replace(part, identity=pki.localhost(), request_cert=True)) as service:
        async with tlsio.connect(service.port, "127.0.0.1", **net.client_options(cert=pki.client().cert_pem, key=signer)) as socket:
            await socket.send(LINE)
            assert await socket.readline() in {LINE, LINE[-2::-1] + b"\n"}  # OpenSSL's server turns the line round
        heard = await service.heard()
    assert heard.error == ""
    assert len(signer.calls) == 1


# ---- SoftHSM


class TokenKey:
    """A key in a token, used in the loop's thread: SoftHSM is fast."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.calls = 0

    def sign(self, scheme: str, message: bytes) -> bytes:
        """Sign as `scheme` says."""
        self.calls += 1
        digest = scheme[-6:].upper()
        if scheme.startswith("ecdsa"):
            return encode_ecdsa_signature(self.key.sign(hashlib.new(digest, message).digest(), mechanism=Mechanism.ECDSA))
        if scheme.startswith("rsa_pkcs1"):
            return bytes(self.key.sign(message, mechanism=Mechanism[f"{digest}_RSA_PKCS"]))
        parameters = (Mechanism[digest], MGF[digest], int(digest[3:]) // 8)
        return bytes(self.key.sign(message, mechanism=Mechanism[f"{digest}_RSA_PKCS_PSS"], mechanism_param=parameters))


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TokenKey]]:
    """A token's keys; the library reads its configuration once."""
    environment = softhsm.make_token(tmp_path_factory.mktemp("softhsm"), ec=pki.localhost(), rsa=pki.localhost_rsa(), client=pki.client())
    os.environ |= environment
    session = pkcs11.lib(softhsm.find_module()).get_token(token_label=softhsm.TOKEN).open(user_pin=softhsm.PIN)
    yield {label: TokenKey(session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=label)) for label in ("ec", "rsa", "client")}
    session.close()
    del os.environ["SOFTHSM2_CONF"]


@pytest.mark.parametrize(("who", "sigalgs"), [("ec", None), ("rsa", None), ("rsa", "RSA+SHA384")], ids=["ec", "pss", "pkcs1"])
async def test_mutual_tls_with_both_keys_in_a_token(net: Net, token: dict[str, TokenKey], who: str, sigalgs: str | None) -> None:
    """The keys cannot be read from it."""
    if sigalgs and net.version == "TLSv1.3":
        pytest.skip("TLS 1.3 has no PKCS #1 (RFC 8446 section 4.2.3)")
    ours, theirs = token[who], token["client"]
    before = ours.calls, theirs.calls
    options = {"cert": WHO[who]().chain_pem, "key": ours, "ca": pki.ca1().cert_pem, "request_cert": True}
    async with net.serve(echo, **options) as server:
        limits = {} if sigalgs is None else {"sigalgs": f"{sigalgs}:ECDSA+SHA256"}
        async with await net.connect(server, cert=pki.client().cert_pem, key=theirs, **limits) as socket:
            await socket.send(LINE)
            assert await socket.readline() == LINE
    assert (ours.calls - before[0], theirs.calls - before[1]) == (1, 1)


# ---- a signer behind a socket


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[tuple[RemoteKey, subprocess.Popen[str]]]:
    """A signer that takes 0.2 seconds for a signature."""
    key, path = tmp_path / "key.pem", tmp_path / "s"
    key.write_bytes(pki.localhost().key_pem)
    command = [sys.executable, str(SUPPORT / "remote_signer.py"), str(path), str(key), "0.2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield RemoteKey(str(path)), process
        process.kill()


@pytest.mark.slow
async def test_handshakes_wait_for_a_remote_signer_side_by_side(net: Net, remote: tuple[RemoteKey, subprocess.Popen[str]]) -> None:
    """Twenty handshakes take as long as one, those with a key here do not wait, and each signature was asked for once."""
    key, process = remote
    async with net.serve(echo, key=key) as server:
        server.add_context("here.test", {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem})
        started = time.perf_counter()
        waiting = [asyncio.create_task(net.connect(server)) for _ in range(20)]
        here = await net.connect(server, servername="here.test", check_server_identity=lambda *_: None)
        assert not any(task.done() for task in waiting)
        sockets = await asyncio.gather(*waiting)
        assert time.perf_counter() - started < 20 * 0.2
        for socket in (here, *sockets):
            socket.destroy()
        await asyncio.gather(*(socket.wait_closed() for socket in (here, *sockets)))
    assert process.communicate("", timeout=20)[0] == "20\n"


@pytest.mark.slow
async def test_signer_that_has_ended(net: Net, remote: tuple[RemoteKey, subprocess.Popen[str]], loop_errors: list[Any]) -> None:
    """The error says what was attempted."""
    key, process = remote
    process.communicate("", timeout=20)
    async with net.serve(echo, key=key) as server:
        error, got = await net.refused(server)
    assert "key.sign('ecdsa_secp256r1_sha256') failed: " in str(error)
    assert got.alert == "internal_error"
    loop_errors.clear()
