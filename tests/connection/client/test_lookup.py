"""What is looked up is what is verified, and a local port or address goes with every family."""

from __future__ import annotations

import socket
from typing import Any

import pytest

import pki
import tlsio
from ports import own_port

pytestmark = pytest.mark.only_loop("asyncio")  # the one that looks names up through Python's socket module

CLIENT: dict[str, Any] = {"ca": pki.ca1().cert_pem}
NAMES = {
    "fa\u00df.de": "xn--fa-hia.de",  # IDNA 2003 makes "fass.de" of it
    "FA\u00df.de.": "xn--fa-hia.de.",
    "\u03b2\u03cc\u03bb\u03bf\u03c2.com": "xn--nxasmm1c.com",  # its last letter is another one in IDNA 2003
    "www.b\u00fccher.example": "www.xn--bcher-kva.example",
    "plain.example.": "plain.example.",
    "::1": "::1",
    "fe80::1%lo": "fe80::1%lo",
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The names that the resolver was asked for; it knows none of them."""
    names: list[object] = []

    def look(host: object, *_args: object, **_options: object) -> Any:
        names.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look)
    return names


def know(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have the resolver give these for every name."""

    def look(host: str, port: int, family: int = 0, *_args: object, **_options: object) -> Any:
        found = []
        for one in addresses if host.isalpha() else (host,):
            kind = socket.AF_INET6 if ":" in one else socket.AF_INET
            if family in (0, kind):
                found.append((kind, socket.SOCK_STREAM, 6, "", (one, port, 0, 0) if ":" in one else (one, port)))
        if not found:
            raise socket.gaierror(socket.EAI_ADDRFAMILY, "no such address")
        return found

    monkeypatch.setattr(socket, "getaddrinfo", look)


def options(**more: Any) -> dict[str, Any]:
    """Return the options of the usual server."""
    return {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, **more}


async def greet(sock: tlsio.TLSSocket) -> None:
    """Say from where the client comes."""
    await sock.send(f"{sock.remote_address} {sock.remote_port}".encode())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("servername", [None, "other.example"])
async def test_name_is_looked_up_as_it_is_verified(asked: list[object], name: str, servername: str | None) -> None:
    """Or one host is called and another one verified. With a name of its own to verify, too."""
    with pytest.raises(socket.gaierror):
        await tlsio.connect(443, name, servername=servername)
    with pytest.raises(socket.gaierror):
        await tlsio.create_server(**options()).listen(0, name)
    assert asked == [NAMES[name]] * 2


@pytest.mark.parametrize(
    "name", ["a\u3002b.example", "\uff11\uff12\uff17.0.0.1", "b\u00fc cher.example", "\u00fc" * 64 + ".example", "\u200d.example"]
)
async def test_name_that_can_be_read_in_two_ways_is_refused_at_the_call(asked: list[object], name: str) -> None:
    """Whatever is verified: nothing is looked up."""
    for more in ({}, {"servername": "other.example"}, {"reject_unauthorized": False}):
        with pytest.raises(tlsio.UsageError):
            tlsio.connect(443, name, **more)  # type: ignore[arg-type]
    with pytest.raises(tlsio.UsageError):
        await tlsio.create_server(**options()).listen(0, name)
    assert asked == []


@pytest.mark.parametrize("more", [{}, {"local_port": 0}, {"local_port": -1}, {"local_address": "127.0.0.1"}, {"family": 4}])
@pytest.mark.parametrize("addresses", [("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
async def test_other_family_is_tried(monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...], more: dict[str, Any]) -> None:
    """The server listens on IPv4 alone; a local port goes with either family. Here -1 stands for a free port."""
    with own_port() as free:
        if more == {"local_port": -1}:
            more = {"local_port": free}
        async with tlsio.serve(greet, 0, "127.0.0.1", **options()) as server:
            know(monkeypatch, *addresses)
            async with tlsio.connect(server.port, "localhost", **more, **CLIENT) as sock:
                address, port = (await sock.read()).decode().split()
    assert address == "127.0.0.1"
    assert not more.get("local_port") or int(port) == more["local_port"]


@pytest.mark.parametrize("first", ["127.0.0.2", "::ffff:127.0.0.2"])
async def test_attempts_at_once_share_a_local_port(monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """The first address does not answer: its queue is full. The second one is tried from the same port meanwhile."""
    async with tlsio.serve(greet, 0, "127.0.0.1", **options()) as server:
        with own_port() as port, socket.socket() as full:
            full.bind(("127.0.0.2", server.port or 0))
            full.listen(0)
            waiting = [socket.socket() for _ in range(3)]
            for one in waiting:
                one.setblocking(False)  # noqa: FBT003
                one.connect_ex(full.getsockname())
            know(monkeypatch, first, "127.0.0.1")
            async with tlsio.connect(server.port, "localhost", local_port=port, **CLIENT) as sock:
                assert (await sock.read()).decode() == f"127.0.0.1 {port}"
            for one in waiting:
                one.close()


@pytest.mark.parametrize(("family", "address"), [(4, "::1"), (6, "127.0.0.1")])
def test_local_address_of_the_other_family_is_refused(family: int, address: str) -> None:
    """At the call."""
    with pytest.raises(tlsio.UsageError, match="local_address"):
        tlsio.connect(443, "localhost", family=family, local_address=address)


async def test_local_address_chooses_the_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without such an address cannot be reached from there, and the resolver says so."""
    know(monkeypatch, "::1")
    with pytest.raises(socket.gaierror):
        await tlsio.connect(443, "localhost", local_address="127.0.0.1", **CLIENT)
