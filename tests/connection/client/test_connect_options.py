"""Options of `connect` that show on the wire or below it, mistakes that are told at once, and a failure as listeners hear it."""

from __future__ import annotations

import asyncio
import dataclasses
import socket as sockets
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import Net, once
from tlsio.model.options.context import ContextOptions

if TYPE_CHECKING:
    from pathlib import Path

    from net import Version

CLIENT: dict[str, Any] = {"ca": pki.ca1().cert_pem}
SUITES = {"TLSv1.2": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLSv1.3": "TLS_AES_128_GCM_SHA256"}


def kernel_option(socket: tlsio.TLSSocket, level: int, name: int) -> int:
    """Read an option of the kernel's socket."""
    borrowed = sockets.socket(fileno=socket._fileno())
    try:
        return borrowed.getsockopt(level, name)
    finally:
        borrowed.detach()


@pytest.mark.node("tls-connect-keepalive-nodelay")
@pytest.mark.parametrize(
    ("options", "no_delay", "keep_alive"),
    [
        ({}, True, None),
        ({"no_delay": False, "keep_alive": True, "keep_alive_initial_delay": 77}, False, 77),
        ({"no_delay": True, "keep_alive": False}, True, None),
    ],
)
async def test_options_of_tcp(version: Version, options: dict[str, Any], no_delay: bool, keep_alive: int | None) -> None:  # noqa: FBT001
    """On clients and on the sockets of servers, of which the streams are ours; no delay unless it is asked for, where Node has one."""
    async with Net("native", version).pair(server=options, client=options) as (client, peer, _server):
        for socket in (client, peer):
            assert bool(kernel_option(socket, sockets.IPPROTO_TCP, sockets.TCP_NODELAY)) is no_delay
            assert bool(kernel_option(socket, sockets.SOL_SOCKET, sockets.SO_KEEPALIVE)) is (keep_alive is not None)
            if keep_alive is not None:
                assert kernel_option(socket, sockets.IPPROTO_TCP, sockets.TCP_KEEPIDLE) == keep_alive


@pytest.mark.node("tls-client-default-ciphers")
async def test_default_ciphers_are_offered(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them and no others, by clients that say nothing of ciphers."""
    monkeypatch.setattr(tlsio.defaults, "ciphers", "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    async with net.pair(server={"client_hello": True}) as (client, peer, _server):
        assert peer.client_hello is not None
        renegotiation = 0x00FF  # RFC 5746 §3.3: says that renegotiation is safe, and is no cipher
        assert set(peer.client_hello.cipher_suites) - {renegotiation} <= {0x1301, 0xC02C}
        assert client.get_cipher()["standard_name"] == SUITES[net.version]


@pytest.mark.node("tls-connect-secure-context")
async def test_context_made_before(net: Net) -> None:
    """It is used, and each of its options may be None."""
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(ContextOptions) if field.init)
    context = tlsio.create_secure_context(**nothing | CLIENT)
    async with net.pair(client={"secure_context": context}) as (client, _peer, _server):
        assert client.authorized


@pytest.mark.node("sequential/tls-connect", "tls-passphrase", "tls-basic-validations")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"ciphers": "rick-128-roll"}, "ERR_SSL_NO_CIPHER_MATCH"),
        ({"key": pki.localhost().encrypted_key_pem()}, "ERR_OSSL_BAD_DECRYPT"),
        ({"key": pki.localhost().encrypted_key_pem(), "passphrase": "invalid"}, "ERR_OSSL_BAD_DECRYPT"),
        ({"check_server_identity": 1}, "ERR_INVALID_ARG_TYPE"),
        ({"check_server_identity": True}, "ERR_INVALID_ARG_TYPE"),
    ],
    ids=["ciphers", "no passphrase", "passphrase", "number", "bool"],
)
def test_mistakes_are_told_at_the_call(options: dict[str, Any], code: str) -> None:
    """Nothing has to be awaited for them, and nothing is connected."""
    with pytest.raises(tlsio.TLSError) as caught:
        tlsio.connect(1, **options)
    assert caught.value.code == code


@pytest.mark.node("tls-close-error")
async def test_listeners_hear_one_error_and_then_the_close(net: Net) -> None:
    """Of a server that is not trusted; who awaits gets the same error."""
    heard: list[Any] = []
    async with net.serve(pytest.fail) as server:
        told = once(server, "tls_client_error")
        with pytest.raises(tlsio.CertificateError) as caught:
            await net.connect(
                server, ca=pki.ca2().cert_pem, on={"error": heard.append, "close": heard.append, "secure_connect": pytest.fail}
            )
        await told
    assert heard == [caught.value, True]


@pytest.mark.node("tls-wrap-econnreset-pipe")
async def test_server_on_a_unix_socket_that_hangs_up(unix_path: Path) -> None:
    """As on any other."""

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_unix_server(hang_up, unix_path):
        with pytest.raises(tlsio.ConnectionLostError) as caught:
            await tlsio.connect(path=unix_path, host="localhost")
    assert caught.value.code == "ECONNRESET"


@pytest.mark.node("tls-client-abort")
async def test_client_that_is_destroyed_at_once(net: Net) -> None:
    """Its handshake ends with it; the server is told of one that hung up."""
    async with net.serve(pytest.fail) as server:
        told = once(server, "tls_client_error")
        client = tlsio.TLSSocket(await net.dial(server), servername="localhost", **CLIENT)
        client.on("secure_connect", pytest.fail)
        shaking = asyncio.ensure_future(client.handshake())
        await asyncio.sleep(0)
        client.destroy()
        with pytest.raises(tlsio.ConnectionLostError):
            await shaking
        error, _ = await told
        assert isinstance(error, tlsio.ConnectionLostError)
