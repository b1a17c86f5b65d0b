"""Each solver, proved by a real authority: certificates of Pebble, by each challenge type."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.server
import os
import threading
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from bind import KEY, KEY_NAME
from tlsio.acme import ACMEIssuer, Dns01, FileStorage, HookProgram, Http01, Lexicon, MemoryStorage, Rfc2136, TlsAlpn01, Webroot
from tlsio.model.errors import ACMEError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bind import Bind
    from pebble import Pebble
    from tlsio.acme import Solver, Storage

pytestmark = pytest.mark.slow


async def obtain(pebble: Pebble, solvers: list[Solver], *names: str, storage: Storage | None = None) -> set[str]:
    """Order a certificate; returns its names."""
    issuer = ACMEIssuer(pebble.directory_url, storage or MemoryStorage(), solvers, terms_agreed=True, ca=pebble.ca)
    issued = await issuer.issue(names)
    extension = x509.load_pem_x509_certificate(issued.chain).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {str(name.value) for name in extension.value}


async def test_http01_on_its_own_port(pebble: Pebble) -> None:
    """Two names and an address in one certificate; nothing is left in the storage but the account."""
    storage = MemoryStorage()
    names = ["h1.example.test", "h2.example.test", "127.0.0.1"]
    async with await Http01(storage).listen("127.0.0.1", pebble.http_port) as solver:
        assert await obtain(pebble, [solver], *names, storage=storage) == set(names)
    assert await storage.list("challenges") == []


async def test_tls_alpn01_on_its_own_port(pebble: Pebble) -> None:
    """Two names and an address in one certificate."""
    storage = MemoryStorage()
    names = ["t1.example.test", "t2.example.test", "127.0.0.1"]
    async with await TlsAlpn01(storage).listen("127.0.0.1", pebble.tls_port) as solver:
        assert await obtain(pebble, [solver], *names, storage=storage) == set(names)
    assert await storage.list("challenges") == []


@pytest.mark.parametrize("kind", ["http-01", "tls-alpn-01"])
async def test_another_node_answers(pebble: Pebble, tmp_path: Path, kind: str) -> None:
    """The one that orders has no port: the authority asks another, which finds the answer in the storage."""
    ordering, answering = FileStorage(tmp_path), FileStorage(tmp_path)
    make, port = (Http01, pebble.http_port) if kind == "http-01" else (TlsAlpn01, pebble.tls_port)
    names = [f"n1.{kind}.example.test", f"n2.{kind}.example.test"]
    async with await make(answering).listen("127.0.0.1", port):
        assert await obtain(pebble, [make(ordering)], *names, storage=ordering) == set(names)
    assert await ordering.list("challenges") == []


@contextlib.contextmanager
def serving(folder: Path, port: int) -> Iterator[None]:
    """Serve a folder by Python's own server."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


async def test_webroot_with_another_web_server(pebble: Pebble, tmp_path: Path) -> None:
    """It knows nothing of ACME."""
    with serving(tmp_path, pebble.http_port):
        assert await obtain(pebble, [Webroot(tmp_path)], "w1.example.test") == {"w1.example.test"}


async def test_dns01_by_dynamic_updates(pebble_with_bind: Pebble, bind: Bind) -> None:
    """A wildcard and its name, and a name whose challenge is delegated to another zone; by a real name server."""
    names = ["*.p1.example.test", "p1.example.test", "alias.example.test"]
    solver = Dns01(Rfc2136(bind.address, key_name=KEY_NAME, key=KEY), resolvers=[bind.address], port=bind.port)
    assert await obtain(pebble_with_bind, [solver], *names) == set(names)
    assert bind.txt("_acme-challenge.p1.example.test") == bind.txt("alias.delegated.test") == set()


async def test_dns01_by_a_program(pebble: Pebble, tmp_path: Path) -> None:
    """Which tells Pebble's name server."""
    program = tmp_path / "hook"
    program.write_text(f"""#!/bin/sh
set -e
case $1 in
add) curl -sf -d "{{\\"host\\": \\"$2.\\", \\"value\\": \\"$3\\"}}" {pebble.control_url}/set-txt ;;
remove) curl -sf -d "{{\\"host\\": \\"$2.\\"}}" {pebble.control_url}/clear-txt ;;
esac
""")
    program.chmod(0o700)
    solver = Dns01(HookProgram(program), follow_alias=False, propagation=0)
    assert await obtain(pebble, [solver], "*.p2.example.test") == {"*.p2.example.test"}


async def test_types_are_tried_in_turn(pebble: Pebble) -> None:
    """Without a server on the port of the first, the second proves the name."""
    async with await TlsAlpn01().listen("127.0.0.1", pebble.tls_port) as solver:
        assert await obtain(pebble, [Http01(), solver], "i1.example.test") == {"i1.example.test"}


async def test_a_wildcard_without_dns01_is_refused(pebble: Pebble) -> None:
    """Before any solver is asked to do anything."""
    with pytest.raises(ACMEError) as caught:
        await obtain(pebble, [Http01(), TlsAlpn01(), Webroot("missing")], "*.example.test")
    assert caught.value.code == "ERR_ACME_NO_CHALLENGE"


async def test_a_cancelled_order_leaves_no_challenge(pebble: Pebble, tmp_path: Path) -> None:
    """At whatever moment: nothing is in the storage, and the port is free again."""
    storage = FileStorage(tmp_path)
    for hundredths in (1, 5, 10, 20, 40):
        async with await Http01(storage).listen("127.0.0.1", pebble.http_port) as solver:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(hundredths / 100):
                    await obtain(pebble, [solver], f"c{hundredths}.example.test", storage=storage)
        assert await storage.list("challenges") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="lexicon's `ddns` knows only port 53")
async def test_dns01_by_lexicon(pebble_with_bind: Pebble, bind: Bind) -> None:
    """Through its provider for dynamic updates."""
    async with bind.relayed() as address:
        settings = {"auth_token": f"hmac-sha256:{KEY_NAME}:{KEY}", "ddns_server": address}
        solver = Dns01(Lexicon("ddns", settings, zone="example.test"), resolvers=[bind.address], port=bind.port)
        assert await obtain(pebble_with_bind, [solver], "*.p3.example.test") == {"*.p3.example.test"}
    assert bind.txt("_acme-challenge.p3.example.test") == set()
