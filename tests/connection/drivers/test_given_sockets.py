"""Sockets and streams that are of no use for TLS: refused at the call, and left as they were."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import ssl
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import pki
import tlsio
from net import let_go

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def identity() -> dict[str, Any]:
    """Return the options of a server."""
    who = pki.localhost()
    return {"cert": who.cert_pem, "key": who.key_pem}


def speaks_tls(stack: ExitStack) -> socket.socket:
    """Make a socket of Python's own TLS."""
    near, far = socket.socketpair()
    stack.enter_context(far)
    context = ssl.create_default_context()
    return stack.enter_context(context.wrap_socket(near, server_hostname="localhost", do_handshake_on_connect=False))


def listens(stack: ExitStack) -> socket.socket:
    """Make a socket that waits for others."""
    return stack.enter_context(socket.create_server(("127.0.0.1", 0)))


def is_alone(stack: ExitStack) -> socket.socket:
    """Make a socket without a peer."""
    return stack.enter_context(socket.socket())


def is_bound(stack: ExitStack) -> socket.socket:
    """Make a socket that has a port, and no peer."""
    made = is_alone(stack)
    made.bind(("127.0.0.1", 0))
    return made


def is_connecting(stack: ExitStack) -> socket.socket:
    """Make a socket whose peer does not answer: its queue is full."""
    full = is_bound(stack)
    full.listen(0)
    while True:
        made = is_alone(stack)
        made.setblocking(False)  # noqa: FBT003
        made.connect_ex(full.getsockname())
        if not select.select([], [made], [], 0.05)[1]:
            return made


def has_no_path(stack: ExitStack) -> socket.socket:
    """Make a Unix socket without a peer."""
    return stack.enter_context(socket.socket(socket.AF_UNIX))


def is_closed(_stack: ExitStack) -> socket.socket:
    """Make a socket and close it."""
    made = socket.socket()
    made.close()
    return made


def sends_datagrams(stack: ExitStack) -> socket.socket:
    """Make a UDP socket with a peer."""
    made = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    made.connect(("127.0.0.1", 9))
    return made


def keeps_packets(stack: ExitStack) -> socket.socket:
    """Make one of two sockets that keep the borders of what is sent."""
    near, far = socket.socketpair(type=socket.SOCK_SEQPACKET)
    stack.enter_context(far)
    return stack.enter_context(near)


def is_a_pipe(stack: ExitStack) -> Any:
    """Open a pipe, whose read blocks."""
    reader, writer = os.pipe()
    stack.callback(os.close, writer)
    return stack.enter_context(open(reader, "rb", buffering=0))  # noqa: PTH123  (a descriptor)


def has_a_pipe(stack: ExitStack) -> Any:
    """Make a pair of which one half blocks."""
    return is_a_pipe(stack), type("Writer", (), {"drain": None, "get_extra_info": lambda *_: None})()


def is_a_class(_stack: ExitStack) -> Any:
    """Forget to make an object."""
    return anyio.abc.ByteStream


class Datagrams(anyio.abc.ConnectedUDPSocket):
    """What anyio has for UDP."""

    send = receive = aclose = None  # type: ignore[assignment]
    _raw_socket = None  # type: ignore[assignment]


def sends_datagrams_of_anyio(_stack: ExitStack) -> Any:
    """Make anyio's socket for UDP."""
    return Datagrams()


ODD = [speaks_tls, listens, is_alone, is_bound, is_connecting, has_no_path, is_closed, sends_datagrams, keeps_packets]
ODD_STREAMS = [*ODD, is_a_pipe, has_a_pipe, is_a_class, sends_datagrams_of_anyio]


@pytest.mark.parametrize("make", ODD_STREAMS)
@pytest.mark.parametrize("how", ["connect", "wrap", "upgrade"])
async def test_odd_stream_is_refused_at_the_call(make: Callable[[ExitStack], Any], how: str) -> None:
    """It is still its owner's, and still blocks where it did."""
    with ExitStack() as stack:
        stream = make(stack)
        plain = isinstance(stream, socket.socket) and stream.fileno() >= 0
        before = stream.gettimeout() if plain else None
        with pytest.raises(tlsio.UsageError) as caught:  # noqa: PT012  (one of three calls)
            if how == "connect":
                tlsio.connect(socket=stream, servername="localhost")
            elif how == "wrap":
                tlsio.TLSSocket(stream, servername="localhost")
            else:
                await tlsio.create_server(**identity()).upgrade(stream)
        assert isinstance(caught.value, TypeError)
        assert caught.value.code == "ERR_INVALID_ARG_TYPE"
        if plain:
            assert stream.fileno() >= 0
            assert stream.gettimeout() == before


async def test_reset_connection_is_no_mistake_of_the_caller() -> None:
    """It had a peer: the network's fault is told as such."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        with pytest.raises(tlsio.ConnectionLostError):
            await tlsio.connect(socket=near, servername="localhost")
    await let_go()


@pytest.mark.parametrize("make", [speaks_tls, is_closed, sends_datagrams, keeps_packets, has_no_path])
@pytest.mark.parametrize("first", [False, True])
async def test_odd_socket_is_not_listened_on(make: Callable[[ExitStack], socket.socket], first: bool) -> None:  # noqa: FBT001
    """Nor is the good one beside it: both are as they were."""
    with ExitStack() as stack:
        good, odd = is_bound(stack), make(stack)
        server = tlsio.create_server(**identity())
        with pytest.raises(tlsio.UsageError) as caught:
            await server.listen(sock=[odd, good] if first else [good, odd])
        assert isinstance(caught.value, TypeError)
        assert good.getblocking()
        assert not good.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


async def test_connected_socket_is_not_listened_on() -> None:
    """It may be upgraded."""
    near, far = socket.socketpair()
    with near, far, pytest.raises(tlsio.UsageError, match="is a connected socket"):
        await tlsio.create_server(**identity()).listen(sock=near)


async def test_socket_given_twice_is_refused() -> None:
    """A server listens once on each."""
    with ExitStack() as stack:
        good = is_bound(stack)
        with pytest.raises(tlsio.UsageError, match="twice"):
            await tlsio.create_server(**identity()).listen(sock=[good, good])


@pytest.mark.parametrize("kind", ["chosen port", "given port", "unix", "listening"])
async def test_given_sockets_are_put_back_when_another_one_fails(unix_path: Path, kind: str) -> None:
    """The second one's port is taken, which the kernel says only when it is to listen: the first one blocks and can be used again."""
    with ExitStack() as stack:
        if kind == "unix":
            good = has_no_path(stack)
            good.bind(str(unix_path))
        else:
            good = is_bound(stack)
        if kind == "given port":
            again, port = is_alone(stack), good.getsockname()[1]
            good.close()
            again.bind(("127.0.0.1", port))
            good = again
        if kind == "listening":
            good.listen()
        good.settimeout(7.0)
        name = good.getsockname()
        taken, late = is_alone(stack), is_alone(stack)
        for one in (taken, late):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        late.bind(taken.getsockname())
        taken.listen()
        server = tlsio.create_server(lambda sock: sock.end(b"hello"), **identity())
        with pytest.raises(OSError) as caught:  # noqa: PT011  (its number is looked at)
            await server.listen(sock=[good, late])
        assert caught.value.errno == errno.EADDRINUSE
        assert not server.listening
        assert (good.gettimeout(), good.getsockname()) == (7.0, name)
        if kind != "unix":
            assert good.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == (kind == "listening")
        assert late.getblocking()
        await server.listen(sock=good)
        target: dict[str, Any] = (
            {"path": unix_path, "servername": "localhost"} if kind == "unix" else {"port": name[1], "host": "127.0.0.1"}
        )
        async with tlsio.connect(**target, ca=pki.ca1().cert_pem) as client:
            assert await asyncio.wait_for(client.read(), 5.0) == b"hello"
        server.close(0)
        await server.wait_closed()
