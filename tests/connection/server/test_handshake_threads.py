"""What is particular to a server whose handshakes are done by threads; all else is tested with and without them."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import pki
import stdlib_peer
import tlsio
import watchdog
from loops import LOOPS
from net import once, until
from tlsio.connection.server.threads import count_threads

CLIENT: dict[str, Any] = {"ca": pki.ca1().cert_pem}


def options(**more: Any) -> dict[str, Any]:
    """Return the options of the usual server, with two threads."""
    return {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, "handshake_threads": 2, **more}


def threads() -> list[Path]:
    """Return the handshake threads of this process."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # another one, which has ended meanwhile
            if task.joinpath("comm").read_text() == "tlsio-handshake\n":
                found.append(task)
    return found


def niceness(task: Path) -> int:
    """Return a thread's nice value, proc(5)."""
    return int(task.joinpath("stat").read_text().rpartition(")")[2].split()[16])


async def greet(sock: tlsio.TLSSocket) -> None:
    """Say hello, and stay until the client ends."""
    await sock.send(b"hello")
    await sock.read()


async def visit(server: tlsio.Server, **more: Any) -> None:
    """Connect, be greeted, and leave."""
    async with tlsio.connect(server.port, "127.0.0.1", **{"servername": "localhost"} | CLIENT | more) as sock:
        assert await sock.read() == b"hello"


async def test_threads_begin_with_listen_and_end_with_close() -> None:
    """As many as were asked for; listening again begins them again."""
    server = tlsio.create_server(greet, **options(handshake_threads=3))
    for _ in range(2):
        assert not threads()
        await server.listen(0, "127.0.0.1")
        await until(lambda: len(threads()) == 3)
        await visit(server)
        server.close()
        await server.wait_closed()
    assert not threads()


@pytest.mark.without_threads("without the option there are none")
async def test_without_them_the_loop_does_it() -> None:
    """Which is the default."""
    async with tlsio.serve(greet, 0, "127.0.0.1", **options(handshake_threads=0)) as server:
        await visit(server)
        assert not threads()


async def test_they_have_a_lower_priority() -> None:
    """Or each handshake would make the loop wait."""
    async with tlsio.serve(greet, 0, "127.0.0.1", **options()):
        wanted = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
        await until(lambda: [niceness(task) for task in threads()] == [wanted, wanted])


def test_auto_leaves_a_core_to_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one core there is still a thread, because it can be interrupted."""
    found = []
    for cores in (1, 2, 8):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, cores=cores: set(range(cores)))
        found.append(count_threads("auto"))
    assert found == [1, 1, 7]


async def test_handshakes_are_done_while_the_loop_is_blocked() -> None:
    """A client of TLS 1.3 is through, and its data waits."""
    context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
    done = threading.Event()

    def shake_hands() -> None:
        with socket.create_connection(("127.0.0.1", port)) as raw, context.wrap_socket(raw, server_hostname="localhost"):
            done.set()

    async with tlsio.serve(greet, 0, "127.0.0.1", **options()) as server:
        port = server.port
        visitor = threading.Thread(target=shake_hands)
        visitor.start()
        assert done.wait(20)  # the loop does not run meanwhile
        await asyncio.to_thread(visitor.join)


@pytest.mark.parametrize("seconds", [None, 0], ids=["patient", "at once"])
async def test_close_reports_what_its_threads_have_found(seconds: float | None) -> None:
    """A failed handshake that the loop has not seen when the server is closed is counted and emitted before the end."""
    failed: list[Any] = []
    server = tlsio.create_server(greet, **options())
    server.on("tls_client_error", lambda error, _sock: failed.append(error.code))
    await server.listen(0, "127.0.0.1")
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stdlib_peer.alert_in(raw.recv(100)) == 10  # the loop does not run meanwhile
        assert server.connections == 1
        server.close(seconds)
        await server.wait_closed()
    assert failed == ["ERR_SSL_HTTP_REQUEST"]
    assert server.connections == 0


async def test_handshake_goes_on_when_the_server_stops_listening() -> None:
    """The loop takes it over from its thread; the server waits for it."""
    server = tlsio.create_server(greet, **options())
    await server.listen(0, "127.0.0.1")
    context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(into, out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = out.read()
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.settimeout(0)
        await loop.sock_sendall(raw, hello[:50])
        await until(lambda: server.connections)
        server.close()
        assert not threads()
        await loop.sock_sendall(raw, hello[50:])
        while True:
            into.write(await loop.sock_recv(raw, 65536))
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        await loop.sock_sendall(raw, out.read())
        await until(lambda: server.stats().handshakes_full)
    await server.wait_closed()


@pytest.mark.parametrize("way", ["table", "callback", "async callback", "source"])
async def test_name_is_chosen_by_the_loop(way: str) -> None:
    """Whatever chooses, the certificate is the name's, and the socket has that context."""
    other = tlsio.create_secure_context(cert=pki.agent3().cert_pem, key=pki.agent3().key_pem)

    async def later(_name: str, *_: Any) -> tlsio.SecureContext:
        await asyncio.sleep(0)
        return other

    class Source:
        def context_for(self, name: str | None, /) -> tlsio.SecureContext:
            return other if name else default

    default = tlsio.create_secure_context(cert=pki.localhost().cert_pem, key=pki.localhost().key_pem)
    more: dict[str, Any] = {"callback": {"sni_callback": lambda *_: other}, "async callback": {"sni_callback": later}}.get(way, {})
    usual = options() if way != "source" else {"handshake_threads": 2, "secure_context": Source()}
    async with tlsio.serve(greet, 0, "127.0.0.1", **usual | more) as server:
        if way == "table":
            server.add_context("other.example", other)
        sock = await tlsio.connect(server.port, "127.0.0.1", servername="other.example", reject_unauthorized=False)
        assert sock.get_peer_certificate()["subject"]["CN"] == "agent3"
        await sock.aclose()


async def test_counts_hold_across_threads() -> None:
    """Of a crowd that comes at once, as many are let in as the limit says, and each of the others is reported."""
    async with tlsio.serve(greet, 0, "127.0.0.1", **options(max_connections=5, handshake_threads=4)) as server:
        dropped: list[Any] = []
        server.on("drop", dropped.append)
        crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(30)]
        await until(lambda: len(dropped) == 25)
        assert (server.connections, server.stats().accepted, server.stats().dropped) == (5, 5, 25)
        for one in crowd:
            one.close()
        await until(lambda: not server.connections)
        await visit(server)


@pytest.mark.parametrize("count", [0, 2])
async def test_each_refused_connection_is_reported(count: int) -> None:
    """Also of a crowd that came while the loop was blocked, to several servers."""
    dropped: list[Any] = []
    usual = options(max_connections=1, handshake_threads=count)
    async with tlsio.serve(greet, 0, "127.0.0.1", **usual) as one, tlsio.serve(greet, 0, "127.0.0.1", **usual) as other:
        for server in (one, other):
            server.on("drop", dropped.append)
        crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(150) for server in (one, other)]
        await until(lambda: one.stats().dropped + other.stats().dropped == 298)
        await until(lambda: len(dropped) >= 298)
        assert len(dropped) == 298
        for sock in crowd:
            sock.close()


CLOSING = """
import asyncio, sys
sys.path[:0] = {path!r}
import test_handshake_threads as here
from pki import localhost

async def main():
    class Source:
        def context_for(self, name, /):
            if name is not None:
                server.close(0)
            return default

    default = here.tlsio.create_secure_context(cert=localhost().cert_pem, key=localhost().key_pem)
    server = here.tlsio.create_server(here.greet, secure_context=Source(), handshake_threads={count})
    await server.listen(0, "127.0.0.1")
    try:
        await here.visit(server)
    except here.tlsio.TLSError:
        await server.wait_closed()
        print("closed")

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 2])
async def test_source_may_close_the_server(count: int) -> None:
    """The connection that it was asked about is gone then; freed memory is not used, which the C library overwrites here."""
    text = CLOSING.format(path=[str(Path(__file__).parent), *sys.path], count=count)
    run = functools.partial(subprocess.run, timeout=60, capture_output=True, text=True, check=False)
    overwriting = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0", "MALLOC_PERTURB_": "165"}
    found = await asyncio.to_thread(run, [sys.executable, "-c", text], env=os.environ | overwriting)
    assert (found.returncode, found.stdout) == (0, "closed\n"), found.stderr


async def test_failed_accept_is_reported_once() -> None:
    """Although each thread finds it."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        async with tlsio.serve(greet, sock=given, **options(handshake_threads=4)) as server:
            errors: list[Any] = []
            failed = once(server, "error")
            server.on("error", errors.append)
            given.shutdown(socket.SHUT_RDWR)
            await failed
            await asyncio.sleep(0.05)
            assert [type(error) for error in errors] == [OSError]


@pytest.mark.parametrize("loop_name", list(LOOPS))
def test_threads_end_with_their_loop(loop_name: str) -> None:
    """A server that nobody closed."""

    async def leave() -> tlsio.Server:
        server = tlsio.create_server(greet, **options())
        await server.listen(0, "127.0.0.1")
        await visit(server)
        return server

    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        server = runner.run(leave())
    assert not threads()
    assert not server.connections


async def test_fork_leaves_them_to_the_parent() -> None:
    """They serve on; the child has none, holds no descriptor, and may serve by itself."""
    async with tlsio.serve(greet, 0, "127.0.0.1", **options()) as server:
        strangers = [asyncio.create_task(visit(server)) for _ in range(20)]
        await until(lambda: server.stats().accepted)
        child = watchdog.fork()
        if child == 0:
            os._exit(serve_in_child())
        assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0
        assert len(threads()) == 2
        await asyncio.gather(*strangers)
        await visit(server)


def serve_in_child() -> int:
    """Return 0 if a server with threads works here."""

    async def use() -> None:
        async with tlsio.serve(greet, 0, "127.0.0.1", **options()) as server:
            await visit(server)

    try:
        assert not threads()
        thread = threading.Thread(target=asyncio.run, args=(use(),))  # this one's loop is the parent's
        thread.start()
        thread.join()
    except BaseException:  # noqa: BLE001 - a child of a test must not go on as another pytest
        return 1
    return 0


EXITING = """
import asyncio, sys, threading
sys.path[:0] = {path!r}
import test_handshake_threads as here

async def main():
    server = here.tlsio.create_server(here.greet, **here.options())
    await server.listen(0, "127.0.0.1")
    for _ in range(10):
        asyncio.ensure_future(here.visit(server))
    await here.until(lambda: server.stats().accepted)
    {end}

asyncio.run(main()) if {is_main} else (threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start(), __import__("time").sleep(0.3))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "is_main"), [("raise SystemExit(0)", True), ("await asyncio.sleep(60)", False)], ids=["in the loop", "beside it"]
)
async def test_process_exits_with_threads_that_run(end: str, is_main: bool) -> None:  # noqa: FBT001
    """OpenSSL frees what they share after they have ended."""
    text = EXITING.format(path=[str(Path(__file__).parent), *sys.path], end=end, is_main=is_main)
    found = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", text], timeout=60, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
