"""Handshakes whose keys are elsewhere, in threads and loops: the line for a thread's stacks, and loops that move."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import pki
import tlsio
from external_keys import HeldSigner, Signer
from tlsio.connection.handshake.handshake import Handshake
from tlsio.native._core import KEY_LIMIT, has_room_to_sign

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    while not condition():  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.01)


async def serve(signer: Signer) -> tlsio.Server:
    """Listen, and bear with clients that go."""
    server = tlsio.create_server(cert=pki.localhost().cert_pem, key=signer, handshake_timeout=None, hook_timeout=None)
    server.on("tls_client_error", lambda *_: None)
    await server.listen(0, "127.0.0.1")
    return server


async def say_hello(server: tlsio.Server) -> socket.socket:
    """Connect, send a ClientHello, and read nothing."""
    client = socket.create_connection(("127.0.0.1", server.port or 0))
    client.sendall(tlsio.create_secure_pair(servername="localhost", ca=pki.ca1().cert_pem).encrypted.read() or b"")
    await asyncio.sleep(0)
    return client


async def fill(server: tlsio.Server, signer: HeldSigner) -> list[socket.socket]:
    """Return clients that keep every stack of this thread busy."""
    clients = [await say_hello(server) for _ in range(KEY_LIMIT)]
    await until(lambda: len(signer.calls) == KEY_LIMIT)
    assert not has_room_to_sign()
    return clients


async def end(server: tlsio.Server, clients: list[socket.socket]) -> None:
    """Close them all."""
    for client in clients:
        client.close()
    server.close(0)
    await server.wait_closed()
    await asyncio.sleep(0)


def count_handshakes() -> int:
    """Count what the collector knows."""
    gc.collect()
    return sum(issubclass(type(one), Handshake) for one in gc.get_objects())


@pytest.mark.slow
async def test_line_forgets_clients_that_have_left() -> None:
    """While all stacks are busy, clients that come and go leave nothing in the line."""
    signer = HeldSigner(pki.localhost().key)
    server = await serve(signer)
    clients = await fill(server, signer)
    left: list[object] = []
    server.on("tls_client_error", lambda *_: left.append(None))
    before = count_handshakes()
    for _ in range(50):
        client = await say_hello(server)
        await asyncio.sleep(0.005)  # it joins the line
        client.close()
    await until(lambda: len(left) == 50)
    await asyncio.sleep(0.01)
    assert count_handshakes() < before + 10
    await end(server, clients)


@pytest.mark.slow
def test_line_of_a_stopped_loop_holds_up_no_other() -> None:
    """One thread has two loops, and the first in line belongs to the one that does not run."""

    async def queue() -> tuple[tlsio.Server, socket.socket]:
        server = await serve(Signer(pki.localhost().key))
        client = await say_hello(server)
        await asyncio.sleep(0.05)
        return server, client

    async def connect(server: tlsio.Server, clients: list[socket.socket], signer: HeldSigner) -> None:
        port = server.port or 0
        waiting = asyncio.create_task(
            tlsio.connect(port, "127.0.0.1", servername="localhost", ca=pki.ca1().cert_pem, handshake_timeout=None)
        )
        await asyncio.sleep(0.05)
        for client in clients:
            client.close()
        signer.released.set()
        sock = await asyncio.wait_for(waiting, 10)
        sock.destroy()
        await sock.wait_closed()

    signer = HeldSigner(pki.localhost().key)
    with contextlib.closing(asyncio.new_event_loop()) as running, contextlib.closing(asyncio.new_event_loop()) as stopped:
        server = running.run_until_complete(serve(signer))
        clients = running.run_until_complete(fill(server, signer))
        second, client = stopped.run_until_complete(queue())
        running.run_until_complete(connect(server, clients, signer))
        running.run_until_complete(end(server, clients))
        stopped.run_until_complete(end(second, [client]))


MOVED = """
import asyncio, gc, sys, threading
import tlsio

class Key:
    async def sign(self, scheme, message):
        asked.set()
        await released.wait()
        return b"signature"

async def start():
    global asked, released, server, task
    asked, released = asyncio.Event(), asyncio.Event()
    cert, ca = sys.stdin.read().split("|")
    server = tlsio.create_server(cert=cert, key=Key())
    server.on("tls_client_error", lambda error, _: print(error.code))
    await server.listen(0, "127.0.0.1")
    task = asyncio.create_task(tlsio.connect(server.port, "127.0.0.1", servername="localhost", ca=ca))
    await asked.wait()

async def end():
    if sys.argv[1] == "answer":
        released.set()
        try:
            await task
        except tlsio.TLSError as error:
            print(error.alert)
    server.close(0)
    await server.wait_closed()

def run(step):
    loop.run_until_complete(step())
    gc.collect()

loop = asyncio.new_event_loop()
loop.set_exception_handler(lambda *_: None)
for step in (start, end):  # the second thread has, as a rule, the identifier of the first
    thread = threading.Thread(target=run, args=(step,))
    thread.start()
    thread.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["answer", "close"])
def test_loop_moves_to_another_thread_while_it_signs(how: str) -> None:
    """The handshake fails, the process does not: the stack of the wait is that of the first thread."""
    text = f"{pki.localhost().cert_pem.decode()}|{pki.ca1().cert_pem.decode()}"
    done = subprocess.run([sys.executable, "-c", MOVED, how], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == (["ERR_TLS_OTHER_THREAD", "internal_error"] if how == "answer" else [])
