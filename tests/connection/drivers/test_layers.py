"""TLS over what is in use already: writes that wait below, hellos that came early, plain servers that turn to TLS."""

from __future__ import annotations

import asyncio
import socket as sockets
import ssl
from typing import TYPE_CHECKING, Any

import pytest

import pki
import stdlib_peer
import tlsio
from net import let_go
from sessions import greet, visit

if TYPE_CHECKING:
    from net import Net, Version

MIB = 1 << 20
HANDSHAKE = b"\x16"  # the first byte of a record of the handshake (RFC 8446 §5.1)
CLIENT: dict[str, Any] = {"ca": pki.ca1().cert_pem, "servername": "localhost"}


def server_options(version: Version, **more: Any) -> dict[str, Any]:
    """Return the options of the usual server, of a socket or of many."""
    return {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, "min_version": version, "max_version": version, **more}


@pytest.mark.node("double-tls-client")
async def test_client_over_a_client_that_still_has_to_write(net: Net) -> None:
    """What was written below goes first, then the hello."""
    async with net.pair() as (below, far_below, _server):
        below.write(b"H" * MIB)
        client = tlsio.TLSSocket(below, **CLIENT)
        shaking = asyncio.ensure_future(client.handshake())
        assert await far_below.readexactly(MIB) == b"H" * MIB
        server = tlsio.TLSSocket(far_below, is_server=True, **server_options(net.version))
        await asyncio.gather(shaking, server.handshake())
        await client.send(b"inside")
        assert await server.readexactly(6) == b"inside"
        client.destroy()
        server.destroy()


@pytest.mark.node("double-tls-server")
async def test_server_over_a_server_that_still_has_to_write(net: Net) -> None:
    """The hello of the layer above came first of all; what was written below still goes before the answer."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        stdlib_peer.client(alpn=["h2"], version=net.version).wrap_bio(incoming, outgoing).do_handshake()
    offered: list[list[str]] = []

    def choose(_name: str | None, protocols: list[str], _socket: tlsio.TLSSocket) -> str:
        offered.append(protocols)
        return protocols[0]

    async with net.pair() as (client, below, _server):
        await client.send(outgoing.read())
        below.write(b"R" * MIB)
        below.write(b"R" * MIB)
        server = tlsio.TLSSocket(below, is_server=True, **server_options(net.version, alpn_callback=choose))
        shaking = asyncio.ensure_future(server.handshake())
        assert await client.readexactly(2 * MIB) == b"R" * 2 * MIB
        assert await client.readexactly(1) == HANDSHAKE
        assert offered == [["h2"]]
        server.destroy()
        with pytest.raises(tlsio.ConnectionLostError):
            await shaking
        await let_go()


@pytest.mark.node("socket-writes-before-passed-to-tls-socket")
async def test_what_was_written_in_the_clear_goes_before_the_hello() -> None:
    """An asyncio pair whose writer has still a megabyte to send."""
    near, far = sockets.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    writer.write(b"H" * (MIB // 2))
    writer.write(b"H" * (MIB // 2))
    client = tlsio.TLSSocket((reader, writer), **CLIENT)
    shaking = asyncio.ensure_future(client.handshake())
    far_reader, far_writer = await asyncio.open_connection(sock=far)
    assert await far_reader.readexactly(MIB) == b"H" * MIB
    assert await far_reader.readexactly(1) == HANDSHAKE
    client.destroy()
    with pytest.raises(tlsio.ConnectionLostError):
        await shaking
    far_writer.close()
    await far_writer.wait_closed()
    await let_go()


@pytest.mark.node("tls-connect-stream-writes")
async def test_many_writes_over_a_stream(version: Version) -> None:
    """Fifty of them, before the handshake is done, arrive whole and in order."""
    near, far = sockets.socketpair()
    client = tlsio.TLSSocket(near, **CLIENT)
    server = tlsio.TLSSocket(far, is_server=True, **server_options(version))
    for number in range(50):
        client.write(b"%02d hello\n" % number)
    assert [await server.readline() for _ in range(50)] == [b"%02d hello\n" % number for number in range(50)]
    client.end()
    assert await server.read() == b""
    server.end()
    await asyncio.gather(client.wait_closed(), server.wait_closed())
    await let_go()


@pytest.mark.node("tls-socket-constructor-alpn-options-parsing")
async def test_protocols_are_given_to_the_constructor(version: Version) -> None:
    """As texts, on both sides."""
    near, far = sockets.socketpair()
    client = tlsio.TLSSocket(near, **CLIENT, alpn_protocols=["h2", "http/1.1"])
    server = tlsio.TLSSocket(far, is_server=True, **server_options(version, alpn_protocols=["http/1.1"]))
    await asyncio.gather(client.handshake(), server.handshake())
    assert client.alpn_protocol == server.alpn_protocol == "http/1.1"
    client.destroy()
    server.destroy()
    await let_go()


@pytest.mark.node("tls-snicallback-error")
@pytest.mark.parametrize("callback", ["str", 42, {}, []])
async def test_callback_of_a_constructor_is_a_function(callback: Any) -> None:
    """Nothing is done with the stream."""
    near, far = sockets.socketpair()
    with near, far, pytest.raises(TypeError) as caught:
        tlsio.TLSSocket(near, is_server=True, sni_callback=callback)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"  # type: ignore[attr-defined]


@pytest.mark.node("tls-starttls-server")
async def test_plain_server_turns_to_tls(version: Version) -> None:
    """Its callback knows no context for the name, and the client asks for OCSP, which nobody answers."""
    asked: list[str | None] = []

    async def know_nothing(name: str | None, _socket: tlsio.TLSSocket) -> None:
        await asyncio.sleep(0)
        asked.append(name)

    async def turn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = tlsio.create_secure_context(**server_options(version))
        async with tlsio.TLSSocket((reader, writer), is_server=True, secure_context=context, sni_callback=know_nothing) as socket:
            socket.end(await socket.readline())

    async with await asyncio.start_server(turn, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "test.test", "-status", "-quiet"]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        said, _ = await process.communicate(b"hello\n")
    assert said.endswith(b"hello\n")
    assert asked == ["test.test"]
    await let_go()


class TestSetServername:
    """`set_servername`, of clients over streams that have not begun."""

    async def test_name_is_sent_and_verified(self, version: Version) -> None:
        """Instead of the one that was given: the server is told it, and another certificate is refused."""
        for name, code in (("localhost", None), ("other.example", "ERR_TLS_CERT_ALTNAME_INVALID")):
            near, far = sockets.socketpair()
            client = tlsio.TLSSocket(near, **CLIENT | {"servername": "first.example"})
            server = tlsio.TLSSocket(far, is_server=True, **server_options(version))
            client.set_servername(name)
            shaken, _ = await asyncio.gather(client.handshake(), server.handshake(), return_exceptions=True)
            assert server.servername == client.servername == name
            assert getattr(shaken, "code", None) == code
            client.destroy()
            server.destroy()
            await let_go()

    @pytest.mark.node("tls-error-servername")
    @pytest.mark.parametrize(
        ("name", "code"),
        [
            *[(value, "ERR_INVALID_ARG_TYPE") for value in (None, 1, True, {}, b"localhost")],
            *[(value, "ERR_INVALID_ARG_VALUE") for value in ("", "127.0.0.1", "::1", "exa mple.com")],
        ],
    )
    async def test_names_are_checked(self, name: Any, code: str) -> None:
        """A name that is refused changes nothing."""
        near, far = sockets.socketpair()
        client = tlsio.TLSSocket(near, **CLIENT)
        with pytest.raises(tlsio.UsageError) as caught:
            client.set_servername(name)
        assert caught.value.code == code
        await client.aclose()
        far.close()

    @pytest.mark.node("tls-error-servername")
    async def test_moments_and_sides(self, version: Version) -> None:
        """Never on a server, and not when the handshake has begun."""
        near, far = sockets.socketpair()
        client = tlsio.TLSSocket(near, **CLIENT)
        server = tlsio.TLSSocket(far, is_server=True, **server_options(version))
        with pytest.raises(tlsio.UsageError) as caught:
            server.set_servername("localhost")
        assert caught.value.code == "ERR_TLS_SNI_FROM_SERVER"
        await asyncio.gather(client.handshake(), server.handshake())
        with pytest.raises(tlsio.UsageError) as caught:
            client.set_servername("localhost")
        assert caught.value.code == "ERR_TLS_INVALID_STATE"
        client.destroy()
        server.destroy()
        await let_go()

    async def test_session_is_bound_to_the_name_before(self, net: Net) -> None:
        """Else it could open another name unseen; set first, the name is that of the session."""
        async with net.serve(greet) as server:
            session = (await visit(net, server)).session
            client = tlsio.TLSSocket(await net.dial(server), **net.client_options(servername="localhost"), session=session)
            with pytest.raises(tlsio.UsageError) as caught:
                client.set_servername("other.example")
            assert caught.value.code == "ERR_TLS_INVALID_STATE"
            await client.aclose()
            client = tlsio.TLSSocket(await net.dial(server), **net.client_options(servername="other.example"))
            client.set_servername("localhost")
            client.set_session(session)
            assert await client.read() == b"hello"
            assert client.is_session_reused()
            await client.aclose()
