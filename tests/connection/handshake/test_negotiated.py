"""What two ends have agreed on, as each of them tells it: key exchange, Finished, exporter, channel bindings, record sizes."""

from __future__ import annotations

import hashlib
import math
from contextlib import asynccontextmanager
from socket import socketpair
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from net import Net, Pair


@asynccontextmanager
async def unconnected() -> AsyncIterator[tlsio.TLSSocket]:
    """Make a client that has not begun its handshake."""
    ours, theirs = socketpair()
    socket = tlsio.TLSSocket(ours, servername="localhost")
    with theirs:
        yield socket
    socket.destroy()
    await socket.wait_closed()


RSA = {"cert": pki.localhost_rsa().cert_pem, "key": pki.localhost_rsa().key_pem}


@pytest.mark.node("tls-client-getephemeralkeyinfo")
class TestEphemeralKey:
    """`get_ephemeral_key_info`, on clients as in Node, and on servers."""

    @pytest.mark.parametrize(
        ("curve", "name", "size"),
        [("prime256v1", "prime256v1", 256), ("secp384r1", "secp384r1", 384), ("X25519", "X25519", 253), ("X448", "X448", 448)],
    )
    async def test_curves(self, pair: Pair, curve: str, name: str, size: int) -> None:
        """A curve has OpenSSL's short name and the bits of its order; both ends say the same."""
        async with pair(server=RSA | {"ecdh_curve": curve}, client={"ecdh_curve": curve}) as (client, peer, _):
            assert client.get_ephemeral_key_info() == {"type": "ECDH", "name": name, "size": size}
            assert peer.get_ephemeral_key_info() == client.get_ephemeral_key_info()

    async def test_finite_fields_tell_their_size(self, pair: Pair) -> None:
        """Diffie-Hellman of TLS 1.2 with our own parameters, of TLS 1.3 with a group of RFC 7919."""
        field = {"ciphers": "DHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256", "ecdh_curve": "ffdhe2048"}
        async with pair(server=RSA | field | {"dhparam": pki.dh_parameters(2048)}, client=field) as (client, peer, _):
            assert client.get_ephemeral_key_info() == {"type": "DH", "size": 2048}
            assert peer.get_ephemeral_key_info() == {"type": "DH", "size": 2048}

    @pytest.mark.parametrize("version", ["TLSv1.2"])
    async def test_without_an_ephemeral_key(self, pair: Pair) -> None:
        """RSA key exchange has none: an empty dict."""
        async with pair(server=RSA | {"ciphers": "AES128-GCM-SHA256"}, client={"ciphers": "AES128-GCM-SHA256"}) as (client, peer, _):
            assert client.get_ephemeral_key_info() == peer.get_ephemeral_key_info() == {}

    @pytest.mark.node("26: groups that are no curve")
    @pytest.mark.parametrize("version", ["TLSv1.3"])
    async def test_groups_that_are_no_curve(self, pair: Pair) -> None:
        """A hybrid with ML-KEM has a name only, as in Node 26."""
        try:
            tlsio.create_secure_context(ecdh_curve="X25519MLKEM768")
        except tlsio.ConfigError:
            pytest.skip("this OpenSSL has no ML-KEM")
        async with pair(server={"ecdh_curve": "X25519MLKEM768"}, client={"ecdh_curve": "X25519MLKEM768"}) as (client, peer, _):
            assert client.get_ephemeral_key_info() == {"type": "TLSGroup", "name": "X25519MLKEM768"}
            assert peer.get_ephemeral_key_info() == client.get_ephemeral_key_info()


class TestSignatures:
    """`get_shared_sigalgs`."""

    async def test_what_both_take_in_order(self, pair: Pair) -> None:
        """The server sees what both take, the most wanted first, in Node's words."""
        theirs, ours = "RSA-PSS+SHA512:ECDSA+SHA384:ECDSA+SHA256:ed25519", "ed25519:ECDSA+SHA256:ECDSA+SHA384"
        async with pair(server={"sigalgs": ours}, client={"sigalgs": theirs}) as (client, peer, _):
            assert sorted(peer.get_shared_sigalgs()) == ["ECDSA+SHA256", "ECDSA+SHA384", "Ed25519+UNDEF"]
            assert client.get_shared_sigalgs() == []

    @pytest.mark.node("tls-set-sigalgs")
    async def test_rsa_names(self, pair: Pair) -> None:
        """RSA-PSS has a name of its own."""
        async with pair(server=RSA | {"sigalgs": "RSA-PSS+SHA384"}, client={"sigalgs": "RSA-PSS+SHA256:RSA-PSS+SHA384"}) as (
            _,
            peer,
            _server,
        ):
            assert peer.get_shared_sigalgs() == ["RSA-PSS+SHA384"]

    async def test_a_client_that_was_asked_has_some_too(self, pair: Pair) -> None:
        """The server's wish for a certificate names its algorithms."""
        who = pki.client()
        server = {"request_cert": True, "ca": pki.ca1().cert_pem, "sigalgs": "ECDSA+SHA256"}
        async with pair(server=server, client={"cert": who.cert_pem, "key": who.key_pem}) as (client, _, _server):
            assert client.get_shared_sigalgs() == ["ECDSA+SHA256"]


@pytest.mark.node("tls-finished")
class TestFinished:
    """`get_finished`, `get_peer_finished`."""

    async def test_each_end_has_the_others(self, pair: Pair) -> None:
        """Ours is the peer's of the other end."""
        async with pair() as (client, peer, _):
            assert client.get_finished() == peer.get_peer_finished()
            assert client.get_peer_finished() == peer.get_finished()
            assert client.get_finished() != peer.get_finished()
            assert client.get_finished()

    @pytest.mark.node("tls-exportkeyingmaterial")
    async def test_none_before_the_handshake(self) -> None:
        """Nothing is known before: None, no shared algorithms, and nothing to export."""
        async with unconnected() as socket:
            assert socket.get_finished() is socket.get_peer_finished() is socket.get_ephemeral_key_info() is None
            assert socket.get_shared_sigalgs() == []
            with pytest.raises(tlsio.UsageError) as caught:
                socket.export_keying_material(32, "EXPERIMENTAL label")
            assert caught.value.code == "ERR_TLS_INVALID_STATE"
            assert isinstance(caught.value, RuntimeError)
            with pytest.raises(tlsio.UsageError) as caught:
                socket.get_channel_binding("tls-exporter")
            assert caught.value.code == "ERR_TLS_INVALID_STATE"


@pytest.mark.node("tls-exportkeyingmaterial")
class TestExporter:
    """`export_keying_material`."""

    async def test_both_ends_get_the_same(self, pair: Pair) -> None:
        """128 bytes, which label, context and length change."""
        async with pair() as (client, peer, _):
            secret = client.export_keying_material(128, "EXPERIMENTAL one")
            assert peer.export_keying_material(128, "EXPERIMENTAL one") == secret
            assert len(secret) == 128
            others = {
                client.export_keying_material(128, "EXPERIMENTAL two"),
                client.export_keying_material(128, "EXPERIMENTAL one", b"context"),
            }
            assert secret not in others
            assert len(others) == 2

    async def test_no_context_and_an_empty_one(self, pair: Pair, version: str) -> None:
        """They differ in TLS 1.2 (RFC 5705 §4), not in TLS 1.3 (RFC 8446 §7.5)."""
        async with pair() as (client, _, _server):
            without, empty = (client.export_keying_material(32, "EXPERIMENTAL", context) for context in (None, b""))
            assert (without == empty) is (version == "TLSv1.3")

    @pytest.mark.parametrize("length", [0, -3, 1.5, math.nan, 2**32])
    async def test_lengths_out_of_range(self, length: Any) -> None:
        """Node's code for what is no count of bytes."""
        async with unconnected() as client:
            with pytest.raises(tlsio.UsageError) as caught:
                client.export_keying_material(length, "EXPERIMENTAL")
            assert caught.value.code == "ERR_OUT_OF_RANGE"

    @pytest.mark.parametrize(
        "arguments",
        [("32", "label"), (True, "label"), (None, "label"), (32, b"label"), (32, 3), (32, "label", "context"), (32, "label", 3)],
    )
    async def test_wrong_types(self, arguments: Any) -> None:
        """Each argument has one type."""
        async with unconnected() as client:
            with pytest.raises(TypeError) as caught:
                client.export_keying_material(*arguments)
            assert caught.value.code == "ERR_INVALID_ARG_TYPE"  # type: ignore[attr-defined]

    async def test_what_openssl_refuses(self, pair: Pair, version: str) -> None:
        """TLS 1.3 expands to 255 hashes at most (RFC 5869 §2.3); TLS 1.2 has labels of its own."""
        arguments = (255 * 64 + 1, "EXPERIMENTAL") if version == "TLSv1.3" else (32, "master secret")
        async with pair() as (client, _, _server):
            with pytest.raises(tlsio.UsageError, match="cannot be exported"):
                client.export_keying_material(*arguments)
            await client.send(b"goes on")


class TestChannelBinding:
    """`get_channel_binding`."""

    async def test_exporter(self, pair: Pair) -> None:
        """RFC 9266: 32 bytes, the same on both ends, made by its own label."""
        async with pair() as (client, peer, _):
            binding = client.get_channel_binding("tls-exporter")
            assert binding == peer.get_channel_binding("tls-exporter") == client.get_channel_binding()
            assert binding == peer.export_keying_material(32, "EXPORTER-Channel-Binding", b"")

    async def test_unique(self, pair: Pair, version: str) -> None:
        """The client's Finished of a full handshake; TLS 1.3 has no such binding."""
        async with pair() as (client, peer, _):
            if version == "TLSv1.3":
                with pytest.raises(tlsio.UsageError, match="is not defined for TLS") as caught:
                    client.get_channel_binding("tls-unique")
                assert caught.value.code == "ERR_TLS_INVALID_STATE"
            else:
                assert client.get_channel_binding("tls-unique") == peer.get_channel_binding("tls-unique") == client.get_finished()

    async def test_server_end_point(self, pair: Pair) -> None:
        """The hash of the server's certificate, on both ends."""
        async with pair() as (client, peer, _):
            wanted = hashlib.sha256(pki.localhost().cert_der).digest()
            assert client.get_channel_binding("tls-server-end-point") == peer.get_channel_binding("tls-server-end-point") == wanted

    async def test_unknown_type(self) -> None:
        """There are three."""
        async with unconnected() as client:
            with pytest.raises(ValueError, match="tls-exporter"):
                client.get_channel_binding("tls-unknown")


@pytest.mark.node("tls-max-send-fragment")
class TestMaxSendFragment:
    """`set_max_send_fragment`."""

    async def test_bounds(self, pair: Pair) -> None:
        """512 to 16384 are taken."""
        async with pair() as (client, _, _server):
            sizes = (-1, 511, 512, 16384, 16385)
            assert [client.set_max_send_fragment(size) for size in sizes] == [False, False, True, True, False]

    @pytest.mark.parametrize(
        ("size", "code"),
        [
            ("768", "ERR_INVALID_ARG_TYPE"),
            (None, "ERR_INVALID_ARG_TYPE"),
            (True, "ERR_INVALID_ARG_TYPE"),
            (math.nan, "ERR_OUT_OF_RANGE"),
            (math.inf, "ERR_OUT_OF_RANGE"),
            (2**31, "ERR_OUT_OF_RANGE"),
        ],
    )
    async def test_wrong_sizes(self, size: Any, code: str) -> None:
        """Node's codes."""
        async with unconnected() as client:
            with pytest.raises(tlsio.UsageError) as caught:
                client.set_max_send_fragment(size)
            assert caught.value.code == code

    async def test_records_are_no_larger(self, pair: Pair) -> None:
        """Every chunk the peer gets is one record of at most that size."""
        async with pair() as (client, peer, _):
            assert peer.set_max_send_fragment(768)
            peer.end(b"x" * 10_000)
            sizes = [len(chunk) async for chunk in client]
            assert max(sizes) <= 768
            assert sum(sizes) == 10_000

    async def test_before_the_handshake(self, net: Net) -> None:
        """What is set early holds from the first record on."""
        async with net.serve(lambda sock: sock.on("data", sock.write)) as server:
            socket = tlsio.TLSSocket(await net.dial(server), servername="localhost", **net.client_options())
            assert socket.set_max_send_fragment(512)
            before = socket.wire_bytes_written
            await socket.handshake()
            await socket.send(b"x" * 5120)
            assert await socket.readexactly(5120)
            assert socket.wire_bytes_written - before > 5120 + 10 * 21
            socket.destroy()
            await socket.wait_closed()


@pytest.mark.node("tls-getprotocol")
async def test_all_stays_readable_after_close(pair: Pair, version: str) -> None:
    """**Ours**: Node's getters give null after the close."""
    async with pair() as (client, peer, _):

        def facts() -> list[Any]:
            return [
                client.get_protocol(),
                client.get_cipher(),
                client.get_ephemeral_key_info(),
                client.get_finished(),
                client.get_peer_finished(),
                client.export_keying_material(32, "EXPERIMENTAL"),
                client.get_channel_binding("tls-server-end-point"),
                client.get_peer_certificate(detailed=True),
                client.get_verified_chain(),
                peer.get_shared_sigalgs(),
                peer.get_certificate(),
            ]

        before = facts()
        await client.aclose()
        await peer.aclose()
        assert facts() == before
        assert before[0] == version
