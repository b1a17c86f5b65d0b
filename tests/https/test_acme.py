"""Servers that obtain and renew their certificates, with Pebble as the authority."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

import tlsio
from https_peer import echo, split
from ports import own_port
from tlsio.acme.certbot import import_tree
from tlsio.acme.storage.file_storage import FileStorage
from tlsio.https import ACME, Server, serve
from tlsio.https.tls.automatic import Automatic
from tlsio.model.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from certbot_peer import Certbot
    from pebble import Pebble

HOOK = """
import json, sys, urllib.request
verb, name, value = sys.argv[2:]
command = "set-txt" if verb == "add" else "clear-txt"
body = {"host": name.rstrip(".") + "."} | ({"value": value} if verb == "add" else {})
urllib.request.urlopen(f"{sys.argv[1]}/{command}", json.dumps(body).encode()).read()
"""


def settings(authority: Pebble, folder: Path, *domains: str, **more: Any) -> ACME:
    """Return settings for this authority, with a storage in a folder."""
    (folder / "authority.pem").write_bytes(authority.ca)
    given: dict[str, Any] = {
        "agree_tos": True,
        "server": authority.directory_url,
        "server_ca": folder / "authority.pem",
        "profile": "default",
    }
    return ACME(domains=domains, storage=str(folder / "storage"), **given | more)


@asynccontextmanager
async def serving(acme: ACME, port: int, **options: Any) -> AsyncIterator[Server]:
    """Serve an application on 127.0.0.1."""
    server = Server(echo, acme=acme, lifespan="off", graceful_timeout=5.0, **options)
    await server.start("127.0.0.1", port)
    try:
        yield server
    finally:
        await server.stop()


async def obtained(server: Server) -> None:
    """Wait until each name has a certificate."""
    assert server.automatic is not None
    manager = server.automatic.manager
    assert manager is not None
    for status in manager.status():
        await manager.obtain(status.names[0])


async def certificate_of(server: Server, name: str, **options: Any) -> x509.Certificate:
    """Return what a client is shown for a name."""
    given = {"servername": name, "reject_unauthorized": False, "alpn_protocols": ["http/1.1"]} | options
    async with await tlsio.connect(server.port or 0, "127.0.0.1", **given) as sock:
        found = sock.get_peer_certificate()
        assert found is not None
        return x509.load_der_x509_certificate(found.raw)


async def get(server: Server, name: str, **options: Any) -> tuple[int, dict[bytes, bytes], bytes]:
    """Request a page by its name."""
    given = {"servername": name, "alpn_protocols": ["http/1.1"]} | options
    async with await tlsio.connect(server.port or 0, "127.0.0.1", **given) as sock:
        await sock.send(b"GET / HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n" % name.encode())
        received = b""
        while chunk := await sock.read():
            received += chunk
    return split(received)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["tls-alpn-01", "http-01", "dns-01"])
async def test_two_names_are_obtained_by_each_challenge(pebble: Pebble, tmp_path: Path, way: str) -> None:
    """And clients that trust the authority are served; http-01 by the port of redirects."""
    options: dict[str, Any] = {"challenges": () if way == "dns-01" else (way,)}
    if way == "dns-01":
        (tmp_path / "hook.py").write_text(HOOK)
        command = [sys.executable, str(tmp_path / "hook.py"), pebble.control_url]
        (tmp_path / "dns.toml").write_text(f"command = {json.dumps(command)}\n[dns01]\npropagation = 0\nfollow_alias = false\n")
        options |= {"dns": "hook", "dns_settings": tmp_path / "dns.toml"}
    names = ("*.a.example.com", "b.example.com") if way == "dns-01" else ("a.example.com", "b.example.com")
    port = pebble.tls_port if way == "tls-alpn-01" else 0
    redirect = {"redirect_port": pebble.http_port} if way == "http-01" else {}
    async with serving(settings(pebble, tmp_path, *names, **options), port, **redirect) as server:
        await obtained(server)
        for name in names:
            assert (await get(server, name.replace("*", "www"), ca=pebble.root()))[0] == 200


@pytest.mark.slow
async def test_the_function_serve_takes_it_too(pebble: Pebble, tmp_path: Path) -> None:
    """In place of a certificate of the development authority."""
    started: list[Server] = []
    acme = settings(pebble, tmp_path, "function.example.com")
    options: dict[str, Any] = {"acme": acme, "lifespan": "off", "handle_signals": False, "on_start": started.append}
    serving_task = asyncio.ensure_future(serve(echo, "127.0.0.1", pebble.tls_port, **options))
    try:
        while not started:  # noqa: ASYNC110 - a callback without an event
            await asyncio.sleep(0.01)
        await obtained(started[0])
        assert (await get(started[0], "function.example.com", ca=pebble.root()))[0] == 200
    finally:
        serving_task.cancel()
        with suppress(asyncio.CancelledError):
            await serving_task


@pytest.mark.slow
async def test_names_with_a_comma_share_a_certificate(pebble: Pebble, tmp_path: Path) -> None:
    """The others have one each."""
    async with serving(settings(pebble, tmp_path, "a.example.com,b.example.com", "c.example.com"), pebble.tls_port) as server:
        await obtained(server)
        shown = {name: (await certificate_of(server, f"{name}.example.com")).serial_number for name in "abc"}
        assert shown["a"] == shown["b"] != shown["c"]


@pytest.mark.slow
async def test_what_was_obtained_is_served_after_a_restart(pebble: Pebble, tmp_path: Path) -> None:
    """Without an order: Pebble issues no certificate twice."""
    async with serving(settings(pebble, tmp_path, "kept.example.com"), pebble.tls_port) as server:
        await obtained(server)
        before = await certificate_of(server, "kept.example.com")
    async with serving(settings(pebble, tmp_path, "kept.example.com", agree_tos=False), 0) as server:
        assert await certificate_of(server, "kept.example.com") == before


@pytest.mark.slow
async def test_a_temporary_certificate_is_served_without_hsts(pebble: Pebble, tmp_path: Path) -> None:
    """A browser that notes HSTS under it could not come back; under the real one the header is sent."""
    with own_port() as refusing:
        nowhere = settings(pebble, tmp_path, "shop.example.com", server=f"https://localhost:{refusing}/dir")
        async with serving(nowhere, 0, hsts=True) as server:
            shown = await certificate_of(server, "shop.example.com")
            assert shown.issuer == shown.subject
            _, headers, _ = await get(server, "shop.example.com", reject_unauthorized=False)
            assert b"strict-transport-security" not in headers
    async with serving(settings(pebble, tmp_path, "shop.example.com"), pebble.tls_port, hsts=True) as server:
        await obtained(server)
        _, headers, _ = await get(server, "shop.example.com", ca=pebble.root())
        assert b"strict-transport-security" in headers


@pytest.mark.slow
async def test_an_internal_name_gets_a_certificate_of_the_development_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any network, for hours."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    acme = ACME(domains=("db.internal",), server="internal", storage=str(tmp_path / "storage"))
    async with serving(acme, 0) as server:
        await obtained(server)
        root = (tmp_path / "data" / "tlsio" / "dev" / "root.pem").read_bytes()
        assert (await get(server, "db.internal", ca=root))[0] == 200


@pytest.mark.slow
async def test_the_state_of_certificates_is_on_the_admin_address(pebble: Pebble, tmp_path: Path) -> None:
    """As JSON, next to the metrics, which have them too."""
    with own_port() as admin:
        acme = settings(pebble, tmp_path, "state.example.com")
        async with serving(acme, pebble.tls_port, metrics=("127.0.0.1", admin)) as server:
            await obtained(server)
            [state] = json.loads(await fetch(admin, "/acme"))
            assert state["names"] == ["state.example.com"]
            assert datetime.fromisoformat(state["not_after"]) > datetime.now(UTC)
            assert (state["failures"], state["error"]) == (0, None)
            assert 'tlsio_acme_certificates{manager="https",state="valid"} 1.0' in await fetch(admin, "/metrics")


async def fetch(port: int, path: str) -> str:
    """Return a page of plain HTTP."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200"), answer
    return body


@pytest.mark.slow
async def test_a_renewal_under_load_fails_no_request_and_keeps_tickets(pebble: Pebble, tmp_path: Path) -> None:
    """On kept connections by h2load, on new ones by ours; a session of before resumes under the new certificate."""
    name = "busy.example.com"
    async with serving(settings(pebble, tmp_path, name), pebble.tls_port) as server:
        await obtained(server)
        session = await session_of(server, name, pebble.root())
        before = await certificate_of(server, name)
        command = ["h2load", "-D", "4", "-c", "8", "-m", "4", f"--connect-to=127.0.0.1:{server.port}", f"https://{name}/"]
        load = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        renewing = asyncio.ensure_future(renew_twice(server, name))
        statuses = set()
        while load.returncode is None and not renewing.done():
            statuses.add((await get(server, name, ca=pebble.root()))[0])
        await renewing
        output, _ = await load.communicate()
        assert b" 0 failed, 0 errored, 0 timeout" in output, output
        assert statuses == {200}
        assert await certificate_of(server, name) != before
        async with await tlsio.connect(server.port or 0, "127.0.0.1", servername=name, ca=pebble.root(), session=session) as sock:
            assert sock.is_session_reused()


async def session_of(server: Server, name: str, ca: bytes) -> bytes:
    """Return a session that the server has given out."""
    sessions: list[bytes] = []
    async with await tlsio.connect(server.port or 0, "127.0.0.1", servername=name, ca=ca, alpn_protocols=["http/1.1"]) as sock:
        sock.on("session", sessions.append)
        await sock.send(b"GET / HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n" % name.encode())
        while await sock.read():
            pass
    return sessions[-1]


async def renew_twice(server: Server, name: str) -> None:
    """Renew, and renew what was obtained."""
    assert server.automatic is not None
    assert server.automatic.manager is not None
    for _ in range(2):
        await server.automatic.manager.renew(name)


@pytest.mark.slow
async def test_an_imported_tree_of_certbot_is_served_and_renewed(certbot: Certbot, tmp_path: Path) -> None:
    """With certbot's account, and without an order at the start."""
    await import_tree(certbot.tree, FileStorage(tmp_path / "storage"))
    own = x509.load_pem_x509_certificate((certbot.tree / "live" / "own.example.test" / "cert.pem").read_bytes())
    acme = settings(certbot.authority, tmp_path, "own.example.test,www.own.example.test", agree_tos=False)
    async with serving(acme, certbot.authority.tls_port) as server:
        assert await certificate_of(server, "www.own.example.test") == own
        await renew_twice(server, "own.example.test")
        assert await certificate_of(server, "own.example.test") != own
        assert (await get(server, "www.own.example.test", ca=certbot.authority.root()))[0] == 200


async def test_terms_that_nobody_agreed_to_are_an_error_of_check(pebble: Pebble, tmp_path: Path) -> None:
    """Not one of the log, hours later."""
    server = Server(echo, acme=settings(pebble, tmp_path, "a.example.com", agree_tos=False), lifespan="off")
    with pytest.raises(ConfigError, match="has no account") as caught:
        await server.check()
    assert caught.value.code == "ERR_ACME_TERMS_NOT_AGREED"
    assert pebble.directory_url in caught.value.message


@pytest.mark.parametrize("option", ["cert", "key", "pfx", "secure_context"])
def test_a_certificate_cannot_be_given_too(tmp_path: Path, option: str) -> None:
    """It would not be served."""
    with pytest.raises(UsageError, match=option):
        Server(echo, acme=ACME(domains=("a.example.com",), storage=str(tmp_path)), **{option: b"x"})  # type: ignore[arg-type]


def test_secret_of_another_encoding_is_refused_without_being_shown(tmp_path: Path) -> None:
    """As any other text that is not base64url."""
    (tmp_path / "hmac").write_bytes("gehéim".encode())
    settings = ACME(domains=("a.example.com",), agree_tos=True, storage=str(tmp_path), eab_kid="1", eab_hmac_file=tmp_path / "hmac")
    with pytest.raises(UsageError, match="base64url") as caught:
        Automatic(settings).take_options({})
    assert "geh" not in str(caught.value)


@pytest.mark.parametrize("option", ["server_ca", "storage", "storage_secret_file", "dns_settings", "profile", "eab_kid", "eab_hmac_file"])
@pytest.mark.parametrize("value", [5, b"x", "", "a\0b", ["x"]], ids=repr)
def test_paths_and_texts_are_checked_at_once(option: str, value: Any) -> None:
    """Not when the authority is asked, days later."""
    with pytest.raises(UsageError, match=f"^{option} must"):
        ACME(domains=("a.example.com",), **{option: value})


def test_paths_can_be_texts(tmp_path: Path) -> None:
    """As everywhere in this folder."""
    assert ACME(domains=("a.example.com",), server_ca=str(tmp_path)).files == (tmp_path,)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "word"),
    [({"domains": ()}, "domains"), ({"domains": ("a b",)}, "names"), ({"domains": ("a.example.com", "A.example.com")}, "twice"), ({"server": "nobody"}, "letsencrypt"),
     ({"challenges": ("dns-01",)}, "challenges"), ({"challenges": ()}, "challenges"), ({"eab_kid": "1"}, "eab_hmac_file"), ({"agree_tos": "yes"}, "agree_tos"),
     ({"domains": ("a.example.com,*.example.com",)}, "dns must be given"), ({"domains": ("https://a.example.com",)}, "names of hosts")],
    ids=["no names", "no name", "twice", "authority", "challenge", "no challenge", "half of an external account", "flag", "wildcard", "address of a page"],
)  # fmt: skip
def test_wrong_settings_are_refused(values: dict[str, Any], word: str) -> None:
    """Before anything is opened."""
    with pytest.raises(UsageError, match=word):
        ACME(**({"domains": ("a.example.com",)} | values))
