"""The manager in running servers: real handshakes, renewals under load, and fleets of processes."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from redis_server import RedisServer
from tlsio import certs
from tlsio.acme import AuthorityIssuer, FileStorage, Manager, MemoryStorage
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from net import Net

NODE = Path(__file__).parents[2] / "support" / "manager_node.py"


class SlowIssuer(AuthorityIssuer):
    """Issues when it is let."""

    def __init__(self, authority: certs.Authority, **options: Any) -> None:
        super().__init__(authority, **options)
        self.gate = asyncio.Event()

    async def issue(self, *arguments: Any, **options: Any) -> Any:
        """Wait for the gate."""
        await self.gate.wait()
        return await super().issue(*arguments, **options)


@asynccontextmanager
async def serving(net: Net, manager: Manager) -> AsyncIterator[tlsio.Server]:
    """Serve one line on each connection."""
    async with manager, net.serve(lambda sock: sock.end(b"hello"), secure_context=manager) as server:
        yield server


def context_options(net: Net) -> dict[str, Any]:
    """Return the options for the version of the net."""
    return {"min_version": net.version, "max_version": net.version, "request_cert": False}


async def test_temporary_certificate_is_replaced_while_the_server_runs(net: Net) -> None:
    """A client that verifies is refused at first, and accepted as soon as the certificate is there; no restart."""
    authority = certs.Authority.create("here")
    issuer = SlowIssuer(authority)
    manager = Manager(["localhost", "b.example"], MemoryStorage(), [issuer], context=context_options(net))
    async with serving(net, manager) as server:
        obtained = asyncio.Event()
        manager.on("obtained", lambda _status: obtained.set())
        with pytest.raises(tlsio.CertificateError):
            await net.connect(server, ca=authority.cert_pem)
        issuer.gate.set()
        await obtained.wait()
        for name in ("localhost", "b.example"):
            while manager.is_temporary(name):  # noqa: ASYNC110 - the event has come for one of them
                await asyncio.sleep(0.01)
            sock = await net.connect(server, ca=authority.cert_pem, servername=name)
            assert await sock.read_all() == b"hello"
            sock.close()
            await sock.wait_closed()
        with pytest.raises(tlsio.TLSError) as refused:
            await net.connect(server, ca=authority.cert_pem, servername="c.example")
        assert refused.value.alert == "unrecognized_name"


async def test_sessions_are_resumed_after_a_renewal(net: Net) -> None:
    """Tickets belong to the server, not to the certificate."""
    authority = certs.Authority.create("here")
    manager = Manager(["localhost"], MemoryStorage(), [AuthorityIssuer(authority)], context=context_options(net))
    async with serving(net, manager) as server:
        before = await manager.obtain("localhost")
        sock = await net.connect(server, ca=authority.cert_pem)
        await sock.read_all()
        session = sock.get_session()
        sock.close()
        await sock.wait_closed()
        after = await manager.renew("localhost")
        assert after.fingerprint != before.fingerprint
        again = await net.connect(server, ca=authority.cert_pem, session=session)
        assert again.is_session_reused()
        again.destroy()
        await again.wait_closed()


async def test_handshake_on_demand(net: Net) -> None:
    """The client's handshake waits for the certificate."""
    authority = certs.Authority.create("here")
    manager = Manager(
        [], MemoryStorage(), [AuthorityIssuer(authority)], context=context_options(net), on_demand=lambda name: name == "a.shop.example"
    )
    async with serving(net, manager) as server:
        sock = await net.connect(server, ca=authority.cert_pem, servername="a.shop.example")
        assert await sock.read_all() == b"hello"
        sock.close()
        await sock.wait_closed()
        with pytest.raises(tlsio.TLSError) as refused:
            await net.connect(server, ca=authority.cert_pem, servername="b.shop.example")
        assert refused.value.alert == "unrecognized_name"


async def test_restart_serves_from_files_at_once(net: Net, tmp_path: Path) -> None:
    """With certificates in files, a second manager serves before it has done anything else."""
    authority = certs.Authority.create("here")
    for _ in range(2):
        manager = Manager(["localhost"], FileStorage(tmp_path), [AuthorityIssuer(authority)], context=context_options(net))
        await manager.obtain("localhost")
        await manager.stop()
    async with serving(net, manager) as server:
        sock = await net.connect(server, ca=authority.cert_pem)
        assert await sock.read_all() == b"hello"
        sock.close()
        await sock.wait_closed()
    assert manager.stats().orders == {}


async def renew_under_load(seconds: float, lifetime: float) -> tuple[Counter[str], int]:
    """Serve short certificates to clients that never pause; return what happened, and how many orders there were."""
    authority = certs.Authority.create("here")
    names = ["localhost", "b.example"]
    manager = Manager(names, MemoryStorage(), [AuthorityIssuer(authority, lifetime=lifetime)], context={"request_cert": False})
    for name in names:
        await manager.obtain(name)
    seen: Counter[str] = Counter()
    end = asyncio.get_running_loop().time() + seconds

    async def visit(port: int, number: int) -> None:
        while asyncio.get_running_loop().time() < end:
            name = names[number % 2]
            sock = await tlsio.connect(port, "127.0.0.1", servername=name, ca=authority.cert_pem)
            certificate = sock.get_peer_certificate()
            assert certificate is not None
            found = parse(bytes(certificate["raw"]))
            assert found.not_after is not None
            seen["expired"] += found.not_after + timedelta(seconds=1) < datetime.now(UTC)
            seen["served"] += await sock.read_all() == b"hello"
            sock.close()
            await sock.wait_closed()
            await asyncio.sleep(0.05)

    async with manager:
        server = tlsio.create_server(lambda sock: sock.end(b"hello"), secure_context=manager)
        await server.listen(0, "127.0.0.1")
        await asyncio.gather(*(visit(server.port or 0, number) for number in range(8)))
        server.close(0)
        await server.wait_closed()
    return seen, sum(manager.stats().orders.values())


@pytest.mark.slow
async def test_certificates_of_twenty_seconds_are_renewed_under_load() -> None:
    """Real time: none is served expired, and no request fails. It takes a minute."""
    seen, orders = await renew_under_load(60.0, 20.0)
    assert seen["served"] > 100
    assert seen["expired"] == 0
    assert 8 <= orders <= 2 * (60 / 8 + 2)


@pytest.mark.slow
@pytest.mark.only_loop("asyncio")
async def test_four_processes_order_fifty_names_once(tmp_path: Path) -> None:
    """They start together over one Redis, and all have the same certificates."""
    certs.Authority.create("fleet").write(cert=tmp_path / "root.pem", key=tmp_path / "root.key")
    orders = tmp_path / "orders"
    with RedisServer() as redis:
        command = [sys.executable, str(NODE), redis.url, str(tmp_path), str(orders), "50"]
        nodes = [await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(4)]
        answers = [(await node.communicate())[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0] * 4
    assert len(set(answers)) == 1
    assert len(answers[0].split()) == 50
    lines = orders.read_text(encoding="ascii").split()
    assert sorted(lines) == sorted(f"n{number}.example" for number in range(50))
