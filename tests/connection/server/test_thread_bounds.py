"""What handshake threads and the loop hold together: descriptors, refusals, the default context."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from loops import LOOPS
from net import dial, once, until
from tlsio.connection.handshake.server_policy import HandshakePolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

NOT_TLS = b"GET / HTTP/1.1\r\n\r\n"


def options(**more: Any) -> dict[str, Any]:
    """Return the options of the usual server, with two threads."""
    return {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, "handshake_threads": 2, **more}


def ignore(_sock: tlsio.TLSSocket) -> None:
    """Keep the connection as it is."""


def stdlib_client(raw: socket.socket, **more: Any) -> ssl.SSLSocket:
    """Do a handshake by the standard library, in a thread of its own."""
    context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
    for name, value in more.items():
        getattr(context, name)(value)
    raw.settimeout(20)
    return context.wrap_socket(raw, server_hostname="localhost")


@asynccontextmanager
async def failed_clients(server: tlsio.Server, count: int) -> AsyncIterator[None]:
    """Let clients fail that do not leave: each keeps a descriptor of the server for two seconds."""
    failed: list[Any] = []
    server.on("tls_client_error", lambda error, _sock: failed.append(error))
    with ExitStack() as clients:
        for number in range(1, count + 1):
            clients.enter_context(await dial(server.port or 0)).sendall(NOT_TLS)
            await until(lambda number=number: len(failed) == number)
        yield


async def accepted_without_descriptors(server: tlsio.Server) -> None:
    """Connect while this process has no descriptor left; return when the server has accepted."""
    before = server.stats().accepted
    with socket.socket() as client, no_descriptors():
        client.settimeout(0)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", server.port))
        await until(lambda: server.stats().accepted > before)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Use up all descriptors that this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers: list[int] = []
    last = max(int(one.name) for one in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, hard))
    try:
        with suppress(OSError):
            while True:
                fillers.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in fillers:
            os.close(one)


@pytest.mark.parametrize("seconds", [None, 0])
async def test_refused_connections_are_reported_before_the_close(seconds: float | None) -> None:
    """Those that threads have refused, and the loop has not seen when the server is closed; more than one turn reports."""
    events: list[str] = []
    server = tlsio.create_server(ignore, **options(max_connections=1))
    server.on("drop", lambda _address: events.append("drop"))
    server.on("close", lambda: events.append("close"))
    await server.listen(0, "127.0.0.1")
    crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(150)]
    while server.stats().dropped < 149:
        os.sched_yield()  # the loop does not run meanwhile
    server.close(seconds)
    for one in crowd:
        one.close()
    await server.wait_closed()
    assert events == ["drop"] * 149 + ["close"]


@pytest.mark.parametrize("count", [0, 2])
async def test_listener_may_close_before_refusals_are_reported(count: int) -> None:
    """As many `drop` events come as `stats` counts."""
    dropped: list[Any] = []
    server = tlsio.create_server(ignore, **options(max_connections=1, handshake_threads=count))
    server.on("drop", dropped.append)
    server.on("connection", lambda _address: server.close())
    await server.listen(0, "127.0.0.1")
    crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]
    await until(lambda: not server.listening)
    for one in crowd:
        one.close()
    await server.wait_closed()
    assert server.stats().accepted == 1
    assert len(dropped) == server.stats().dropped


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("seconds", [None, 0], ids=["patient", "at once"])
async def test_listener_may_close_before_failures_are_reported(seconds: float | None, count: int) -> None:
    """`close` comes after each `tls_client_error`, although one turn has found them all."""
    events: list[str] = []

    def failed(*_: object) -> None:
        events.append("failed")
        server.close(seconds)

    server = tlsio.create_server(ignore, **options(handshake_threads=count))
    server.on("tls_client_error", failed)
    server.on("close", lambda: events.append("close"))
    await server.listen(0, "127.0.0.1")
    crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
    await until(lambda: server.stats().accepted == 8)
    for one in crowd:
        one.sendall(NOT_TLS)
    await server.wait_closed()
    for one in crowd:
        one.close()
    assert events == ["failed"] * sum(server.stats().handshakes_failed.values()) + ["close"]


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("loop_name", list(LOOPS))
def test_listener_that_ends_the_program_keeps_no_refusals_back(loop_name: str, count: int) -> None:
    """The others of the same turn are reported before the loop raises: no event announces them again."""
    dropped: list[Any] = []

    def end(address: Any) -> None:
        dropped.append(address)
        if len(dropped) == 1:
            raise SystemExit(3)

    async def listen() -> tlsio.Server:
        server = tlsio.create_server(ignore, **options(max_connections=1, handshake_threads=count))
        server.on("drop", end)
        return await server.listen(0, "127.0.0.1")

    async def close(server: tlsio.Server) -> None:
        server.close(0)
        await server.wait_closed()

    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        server = runner.run(listen())
        crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
        while count and server.stats().dropped < 5:
            os.sched_yield()
        with pytest.raises(SystemExit):
            runner.run(asyncio.sleep(10))
        assert len(dropped) == 5
        runner.run(close(server))
        for one in crowd:
            one.close()


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_short_of_descriptors_the_loop_gives_up_what_lingers(count: int) -> None:
    """With a `connection` listener all connections are the loop's, and so are their descriptors."""
    errors: list[Any] = []
    async with tlsio.serve(ignore, 0, "127.0.0.1", **options(handshake_threads=count)) as server:
        server.on("connection", lambda _address: None)
        server.on("error", errors.append)
        async with failed_clients(server, 5):
            await accepted_without_descriptors(server)
        assert not errors


async def test_short_of_descriptors_another_servers_threads_give_them_up() -> None:
    """As one loop does that has the connections of both."""
    errors: list[Any] = []
    async with (
        tlsio.serve(ignore, 0, "127.0.0.1", **options()) as server,
        tlsio.serve(ignore, 0, "127.0.0.1", **options()) as other,
    ):
        server.on("error", errors.append)
        async with failed_clients(other, 5):
            await accepted_without_descriptors(server)
        assert len(errors) <= 1  # those threads may take longer than the first pause; until what lingers is over there are five


@pytest.mark.parametrize("count", [0, 2])
async def test_lack_of_descriptors_is_reported(count: int) -> None:
    """Nothing lingers that could be closed."""
    async with tlsio.serve(ignore, 0, "127.0.0.1", **options(handshake_threads=count)) as server:
        failed = once(server, "error")
        with socket.socket() as client:
            client.settimeout(0)
            with no_descriptors():
                await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", server.port))
                assert isinstance(await failed, OSError)
            await until(lambda: server.stats().accepted)


@pytest.mark.parametrize("count", [0, 2])
async def test_refused_client_gets_its_alert_among_many_that_failed(count: int) -> None:
    """Threads hold all the descriptors that may linger; one that the loop has refused is not reset."""

    def refuse(_certificate: object, _sock: object) -> None:
        raise tlsio.CertificateError("no")

    usual = options(request_cert=True, reject_unauthorized=False, ca=pki.ca1().cert_pem, check_client=refuse, max_connections=16)
    async with tlsio.serve(ignore, 0, "127.0.0.1", **usual | {"handshake_threads": count}) as server, failed_clients(server, 40):
        failed = once(server, "tls_client_error")
        with await asyncio.to_thread(stdlib_client, await dial(server.port or 0)) as client:
            await failed
            for _ in range(2):  # a closed descriptor answers the first by RST, and the second fails
                await asyncio.to_thread(client.sendall, b"more")
                await asyncio.sleep(0.02)
            with pytest.raises(ssl.SSLError, match="BAD_CERTIFICATE"):
                await asyncio.to_thread(client.recv, 100)


async def test_default_context_changes_together_with_its_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread may accept in the middle of `set_secure_context`: the connection has the old context with the old questions."""
    server = tlsio.create_server(ignore, **options(alpn_protocols=["old"]))
    new = tlsio.create_secure_context(
        cert=pki.localhost().cert_pem, key=pki.localhost().key_pem, alpn_callback=lambda _name, _offered, _sock: "new"
    )
    raw = socket.socket()
    usual = HandshakePolicy.wants

    def connect_meanwhile(policy: HandshakePolicy) -> Any:
        if server.port is not None and not server.stats().accepted:
            raw.connect(("127.0.0.1", server.port))
            while not server.stats().accepted:
                os.sched_yield()
        return usual.fget(policy)  # type: ignore[misc]

    await server.listen(0, "127.0.0.1")
    monkeypatch.setattr(HandshakePolicy, "wants", property(connect_meanwhile))
    server.set_secure_context(new)
    with await asyncio.to_thread(stdlib_client, raw, set_alpn_protocols=["old", "new"]) as client:
        assert client.selected_alpn_protocol() == "old"
    with await asyncio.to_thread(stdlib_client, await dial(server.port or 0), set_alpn_protocols=["old", "new"]) as client:
        assert client.selected_alpn_protocol() == "new"
    server.close(0)
    await server.wait_closed()
