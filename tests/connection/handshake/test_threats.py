"""Attacks that no other test shows; docs/explanation/threat-model.md names them all."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

import pki
import stdlib_peer
import tlsio
from loops import open_descriptors
from net import Net
from sessions import greet

if TYPE_CHECKING:
    from pathlib import Path

    from net import Version


# A client of another process: trusts ca1 alone, connects to the port, and prints what it found.
CLIENT = """
import asyncio, sys, tlsio
async def main():
    try:
        socket = await tlsio.connect(int(sys.argv[1]), "127.0.0.1", servername="localhost", ca=open("ca.pem").read())
        print("connected", socket.get_protocol())
        socket.destroy()
    except tlsio.TLSError as error:
        print(error.code)
asyncio.run(main())
"""
# What turns verification off in other programs, or would bring another root or an older version into this one.
HOSTILE = {
    "NODE_TLS_REJECT_UNAUTHORIZED": "0",
    "PYTHONHTTPSVERIFY": "0",
    "NODE_EXTRA_CA_CERTS": "other.pem",
    "TLSIO_EXTRA_CA_CERTS": "other.pem",
    "TLSIO_USE_SYSTEM_CA": "1",
    "SSL_CERT_FILE": "other.pem",
    "TLSIO_MIN_VERSION": "TLSv1",
    "OPENSSL_CONF": "hostile.cnf",
}
HOSTILE_CONFIGURATION = """
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = lax
[lax]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
VerifyMode = Request
VerifyCAFile = other.pem
"""


@pytest.mark.slow
@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize(("issuer", "expected"), [("ca1", "connected TLSv1.3\n"), ("ca5", "UNABLE_TO_VERIFY_LEAF_SIGNATURE\n")])
async def test_environment_does_not_weaken_a_client(tmp_path: Path, issuer: str, expected: str) -> None:
    """Whatever is set, a client that names its roots believes nobody else."""
    for name, who in (("ca", pki.ca1()), ("other", pki.ca5())):
        (tmp_path / f"{name}.pem").write_bytes(who.cert_pem)
    (tmp_path / "hostile.cnf").write_text(HOSTILE_CONFIGURATION, encoding="utf-8")
    who = pki.leaf("localhost", issuer=getattr(pki, issuer)(), names=["localhost"])
    async with Net("native", "TLSv1.3").serve(cert=who.cert_pem, key=who.key_pem) as server:
        command = [sys.executable, "-W", "ignore", "-c", CLIENT, str(server.port)]
        visit = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, env=os.environ | HOSTILE, capture_output=True, text=True, check=True
        )
    assert visit.stdout == expected


@pytest.mark.only_loop("asyncio")
async def test_option_wins_over_a_lax_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment sets what `tlsio.defaults` begins with; what the program says itself holds."""
    monkeypatch.setattr(tlsio.defaults, "min_version", "TLSv1")
    async with Net("native", "TLSv1.3").serve(greet, min_version="TLSv1.3") as server:
        refused = await stdlib_peer.visit(server, stdlib_peer.client(version="TLSv1.2"))
        assert refused.reason == "TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.only_loop("asyncio")
async def test_early_data_is_never_accepted(tmp_path: Path) -> None:
    """Data of TLS 1.3 that comes before the handshake could be replayed: no ticket of ours allows any."""
    kept, data = tmp_path / "session.pem", tmp_path / "data"
    data.write_bytes(b"replay me")
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(sock: tlsio.TLSSocket) -> None:
        sock.end(b"hello")
        heard.put_nowait(await sock.read())

    async with Net("native", "TLSv1.3").serve(listen) as server:
        client = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_3", "-ign_eof"]
        for options in (["-sess_out", kept], ["-sess_in", kept, "-early_data", data]):
            command = [*client, *options]
            said = await asyncio.to_thread(subprocess.run, command, input=b"", capture_output=True, check=False)
            assert b"hello" in said.stdout
            assert await heard.get() == b""
    assert b"Max Early Data: 0" in said.stdout
    assert b"Early data was not sent" in said.stdout


@pytest.mark.parametrize("is_trusted", [True, False])
def test_nothing_leaves_a_client_before_the_verdict(version: Version, *, is_trusted: bool) -> None:
    """A server that is refused gets an alert after the hello: no certificate of ours, nor what was written already."""
    who, trusted = pki.client(), pki.ca1() if is_trusted else pki.ca5()
    both = {"min_version": version, "max_version": version}
    identity = {"cert": who.cert_pem, "key": who.key_pem}
    client = tlsio.create_secure_pair(servername="localhost", reject_unauthorized=True, ca=trusted.cert_pem, **identity, **both)
    server = tlsio.create_secure_pair(
        is_server=True, request_cert=True, cert=pki.localhost().cert_pem, key=pki.localhost().key_pem, ca=pki.ca1().cert_pem, **both
    )
    client.cleartext.write(b"secret")
    server.encrypted.write(client.encrypted.read())
    client.encrypted.write(server.encrypted.read())
    # An alert has 7 bytes; in TLS 1.3 it is encrypted (17 more), and 6 of change_cipher_spec may come before it.
    assert (len(client.encrypted.read()) <= 30) is not is_trusted
    if not is_trusted:
        with pytest.raises(tlsio.CertificateError):
            client.cleartext.read()


async def test_unverified_client_makes_the_server_fetch_nothing(net: Net) -> None:
    """Its certificate may name any address: a list is only fetched for a chain that was found good."""
    asked: list[str] = []

    async def fetch(url: str) -> bytes:
        asked.append(url)
        return b""

    place = x509.DistributionPoint([x509.UniformResourceIdentifier("http://127.0.0.1:1/admin")], None, None, None)
    stranger, known = (
        pki.leaf("client", issuer=issuer, extensions=[x509.CRLDistributionPoints([place])]) for issuer in (pki.ca5(), pki.ca1())
    )
    options = {"request_cert": True, "ca": pki.ca1().cert_pem}
    for strict in (True, False):
        cache = tlsio.CrlCache("require", fetch=fetch)
        async with net.serve(greet, fetch_crl=cache, reject_unauthorized=strict, **options) as server:
            if strict:
                await net.refused(server, cert=stranger.cert_pem, key=stranger.key_pem)
            else:
                async with await net.connect(server, cert=stranger.cert_pem, key=stranger.key_pem) as sock:
                    assert await sock.readexactly(5) == b"hello"
            assert asked == []
            await net.refused(server, cert=known.cert_pem, key=known.key_pem)  # or the test would prove nothing
            assert asked
            asked.clear()


async def test_unverified_server_makes_the_client_fetch_nothing(net: Net) -> None:
    """As above: the name is wrong, then the authority."""
    asked: list[str] = []

    async def fetch(url: str) -> bytes:
        asked.append(url)
        return b""

    place = x509.DistributionPoint([x509.UniformResourceIdentifier("http://127.0.0.1:1/admin")], None, None, None)
    for issuer, name, fetches in ((pki.ca1(), "other", 0), (pki.ca5(), "localhost", 0), (pki.ca1(), "localhost", 1)):
        who = pki.leaf(name, issuer=issuer, names=[name], extensions=[x509.CRLDistributionPoints([place])])
        async with net.serve(cert=who.cert_pem, key=who.key_pem) as server:
            await net.refused(server, fetch_crl=tlsio.CrlCache("require", fetch=fetch))
        assert len(asked) == fetches


async def test_server_that_asks_for_a_certificate_again_and_again(net: Net) -> None:
    """Each answer costs the client a signature. 32 messages are answered; in TLS 1.2 each request takes two, for it is a handshake, too.

    The limit ends the connection when OpenSSL has written the answer to the 33rd message of TLS 1.3: the server may read it before the end.
    """
    who = pki.client()
    async with net.pair(server={"ca": pki.ca1().cert_pem}, client={"cert": who.cert_pem, "key": who.key_pem}) as (client, peer, _server):
        reading = [asyncio.ensure_future(sock.read()) for sock in (client, peer)]
        assert await ask_until_refused(peer) in ({32, 33} if net.version == "TLSv1.3" else {16})
        with pytest.raises(tlsio.PeerError) as caught:
            await reading[0]
        assert caught.value.code == "ERR_TLS_TOO_MANY_CERTIFICATE_REQUESTS"
        await asyncio.gather(*reading, return_exceptions=True)


async def ask_until_refused(peer: tlsio.TLSSocket) -> int:
    """Ask a client for its certificate until the connection ends; return how often it has answered."""
    for answered in range(40):
        try:
            await peer.renegotiate(request_cert=True)
        except tlsio.TLSError:
            return answered
    raise AssertionError("the client answers without end")


async def test_server_in_the_place_of_a_unix_socket_is_refused(unix_path: Path) -> None:
    """A path is no identity: the certificate is verified as over TCP, and a name for it is needed."""
    who = pki.leaf("localhost", issuer=pki.ca5(), names=["localhost"])
    async with tlsio.serve(greet, path=unix_path, cert=who.cert_pem, key=who.key_pem):
        with pytest.raises(tlsio.CertificateError) as caught:
            await tlsio.connect(path=unix_path, host="localhost", ca=pki.ca1().cert_pem)
        assert caught.value.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
        with pytest.raises(tlsio.UsageError, match="servername"):
            tlsio.connect(path=unix_path, ca=pki.ca1().cert_pem)


async def test_no_descriptor_is_inherited(net: Net) -> None:
    """A program that this one starts cannot read our connections."""
    before = {number for number, _ in open_descriptors()}
    async with net.serve() as server:
        sock = await net.connect(server)
        inheritable = {number for number, _ in open_descriptors() if number not in before and is_inheritable(number)}
        assert inheritable == set()
        sock.destroy()


def is_inheritable(descriptor: int) -> bool:
    """Whether a new program keeps it; the descriptor that lists the others is gone by now."""
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False
