"""The ASGI TLS extension, version 0.2, in each kind of scope; mutual TLS with real clients."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import websockets.asyncio.client

import pki
import tlsio
from https_names import VERSIONS, connected, curl, own, serving, trusting
from tlsio.https import tls_attributes
from tlsio.https.tls.tls_extension import TLSExtension

if TYPE_CHECKING:
    from pathlib import Path

both = pytest.mark.parametrize("version", VERSIONS)


async def show_tls(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what the extension has, as JSON."""
    if scope["type"] == "lifespan":
        return
    body = json.dumps(dict(scope["extensions"]["tls"])).encode()
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": body.decode()})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def files(folder: Path, who: pki.Identity, name: str = "client") -> tuple[str, str]:
    """Write a certificate and its key, and return their paths."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(who.chain_pem)
    key.write_bytes(who.key_pem)
    return str(cert), str(key)


def is_pem_of(text: str, who: Any) -> bool:
    """Whether a text is the PEM of a certificate."""
    return ssl.PEM_cert_to_DER_cert(text) == who


@both
async def test_without_a_client_certificate(version: str) -> None:
    """The mandatory keys have their values, the others their defaults."""
    async with serving(show_tls, **own(ciphers="TLS_AES_128_GCM_SHA256")) as server, connected(server, version) as client:
        _, body = await client.get("a.example")
        facts = json.loads(body)
        assert set(facts) == {
            "server_cert", "client_cert_chain", "client_cert_name", "client_cert_error", "tls_version", "cipher_suite"
        }  # fmt: skip
        assert is_pem_of(facts["server_cert"], client.socket.get_peer_certificate().raw)
        assert (facts["client_cert_chain"], facts["client_cert_name"], facts["client_cert_error"]) == ([], None, None)
        assert (facts["tls_version"], facts["cipher_suite"]) == (0x0304, 0x1301)


async def test_tls_12_has_its_numbers() -> None:
    """Version and suite are those on the wire."""
    options = own(ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    async with serving(show_tls, **options) as server, connected(server, "2", max_version="TLSv1.2") as client:
        facts = json.loads((await client.get("a.example"))[1])
        assert (facts["tls_version"], facts["cipher_suite"]) == (0x0303, 0xC02B)


@both
async def test_a_client_certificate_with_its_chain(version: str) -> None:
    """The chain is what the client sent, without the root that only the server has, each the issuer of the one before."""
    agent = pki.leaf('alice, of "wonder"+land', issuer=pki.ca3(), names=["alice.example"])
    options = {"cert": agent.chain_pem, "key": agent.key_pem}
    async with serving(show_tls, **trusting()) as server, connected(server, version, **options) as client:
        facts = json.loads((await client.get("a.example"))[1])
        sent = [agent.cert_der, pki.ca3().cert_der]
        assert [ssl.PEM_cert_to_DER_cert(one) for one in facts["client_cert_chain"]] == sent
        assert facts["client_cert_name"].startswith('CN=alice\\, of \\"wonder\\"\\+land')
        assert facts["client_cert_error"] is None


@both
async def test_a_certificate_that_failed_is_shown_with_the_error(version: str) -> None:
    """`reject_unauthorized=False` lets the application answer."""
    stranger = pki.leaf("mallory", issuer=pki.ca5())
    options = {"cert": stranger.cert_pem, "key": stranger.key_pem}
    async with serving(show_tls, **trusting(reject_unauthorized=False)) as server:
        async with connected(server, version, **options) as client:
            facts = json.loads((await client.get("a.example"))[1])
            assert facts["client_cert_error"] == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
            assert len(facts["client_cert_chain"]) == 1
            assert facts["client_cert_name"].startswith("CN=mallory")
        async with connected(server, version) as client:
            facts = json.loads((await client.get("a.example"))[1])
            assert (facts["client_cert_chain"], facts["client_cert_error"]) == ([], None)


async def test_a_name_with_control_characters_is_one_line() -> None:
    """RFC 4514 lets any character be written by its bytes."""
    agent = pki.leaf("eve\nX-Admin: yes\x7f", issuer=pki.ca1())
    options = {"cert": agent.cert_pem, "key": agent.key_pem}
    async with serving(show_tls, **trusting()) as server, connected(server, "2", **options) as client:
        name = json.loads((await client.get("a.example"))[1])["client_cert_name"]
        assert "eve\\0AX-Admin: yes\\7F" in name
        assert name.isprintable()


@both
async def test_it_is_computed_when_it_is_read_once_for_a_connection(version: str) -> None:
    """An application that does not look pays nothing; one that does pays once."""
    seen: list[Any] = []

    async def look(scope: Any, _receive: Any, send: Any) -> None:
        tls = scope["extensions"]["tls"]
        if scope["path"] != "/":
            assert tls["tls_version"] == 0x0304
        seen.append((tls, tls._computed is not None))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with serving(look, lifespan="off", **own()) as server, connected(server, version) as client:
        for path in ("/", "/look", "/"):
            await client.get("a.example", path)
    assert [computed for _, computed in seen] == [False, True, True]
    assert len({id(tls) for tls, _ in seen}) == 1


async def test_a_certificate_that_is_requested_later_is_shown() -> None:
    """The application has asked for it, after it had looked."""

    async def ask(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/private":
            assert scope["extensions"]["tls"]["client_cert_name"] is None
            await scope["extensions"]["tls"].socket.renegotiate(request_cert=True)
        await show_tls(scope, receive, send)

    agent = pki.client()
    options = own(ca=pki.ca1().cert_pem, request_cert=False)
    async with serving(ask, **options) as server, connected(server, "1.1", cert=agent.cert_pem, key=agent.key_pem) as client:
        for path, chain in (("/", 0), ("/private", 1), ("/", 1)):
            assert len(json.loads((await client.get("a.example", path))[1])["client_cert_chain"]) == chain


async def test_a_websocket_has_it(tmp_path: Path) -> None:
    """The scope is uvicorn's, which knows no TLS extension."""
    cert, key = files(tmp_path, pki.client())
    context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
    context.load_cert_chain(cert, key)
    async with serving(show_tls, **trusting()) as server:
        async with websockets.asyncio.client.connect(f"wss://localhost:{server.port}/", ssl=context) as client:
            facts = json.loads(await client.recv())
        assert facts["client_cert_name"].startswith("CN=client")
        assert facts["tls_version"] == 0x0304


# ---- mutual TLS


@both
async def test_curl_and_a_required_certificate(version: str, tmp_path: Path) -> None:
    """With it a request is served; without it the handshake fails."""
    cert, key = files(tmp_path, pki.client())
    root = tmp_path / "root.pem"
    root.write_bytes(pki.ca1().cert_pem)
    async with serving(show_tls, **trusting()) as server:
        arguments = ("--http2" if version == "2" else "--http1.1", "--cacert", str(root), f"https://localhost:{server.port}/")
        code, text = await curl("--cert", cert, "--key", key, *arguments)
        assert code == 0
        assert json.loads(text)["client_cert_name"].startswith("CN=client")
        code, text = await curl(*arguments)
        assert code != 0
        assert "certificate required" in text


async def test_httpx_and_an_optional_certificate(tmp_path: Path) -> None:
    """The application decides by what is there."""
    cert, key = files(tmp_path, pki.client())
    async with serving(show_tls, **trusting(reject_unauthorized=False)) as server:
        for has_one in (True, False):
            context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
            if has_one:
                context.load_cert_chain(cert, key)
            async with httpx.AsyncClient(verify=context) as client:
                facts = (await client.get(f"https://localhost:{server.port}/")).json()
            assert bool(facts["client_cert_chain"]) == has_one
            assert facts["client_cert_error"] is None


@both
async def test_each_name_has_its_own_rule(version: str) -> None:
    """One server: no certificate, any of ca1, one of ca2."""
    one, two = pki.leaf("one", issuer=pki.ca1()), pki.leaf("two", issuer=pki.ca5())
    async with serving(show_tls, **own()) as server:
        server.tls_server.add_context("b.example", trusting())
        server.tls_server.add_context("c.example", trusting(pki.ca5()))
        for name, agent in (("a.example", None), ("b.example", one), ("c.example", two)):
            options = {} if agent is None else {"cert": agent.cert_pem, "key": agent.key_pem}
            async with connected(server, version, name, **options) as client:
                facts = json.loads((await client.get(name))[1])
                assert len(facts["client_cert_chain"]) == (agent is not None)
        with pytest.raises(tlsio.TLSError):
            async with connected(server, version, "c.example", cert=one.cert_pem, key=one.key_pem) as client:
                await client.get("c.example")


# ---- OpenTelemetry

REGISTRY = {
    "tls.cipher", "tls.client.hash.sha256", "tls.client.issuer", "tls.client.not_after", "tls.client.not_before", "tls.client.subject",
    "tls.curve", "tls.established", "tls.next_protocol", "tls.protocol.name", "tls.protocol.version", "tls.resumed",
    "tls.server.hash.sha256", "tls.server.issuer", "tls.server.not_after", "tls.server.not_before", "tls.server.subject",
}  # fmt: skip


@both
async def test_the_attributes_of_opentelemetry(version: str) -> None:
    """The names are those of the registry of semantic conventions, and the values are in its form."""
    found: list[dict[str, Any]] = []

    async def note(scope: Any, _receive: Any, send: Any) -> None:
        found.append(tls_attributes(scope))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    agent = pki.client()
    options = {"cert": agent.cert_pem, "key": agent.key_pem}
    server_options = trusting(ecdh_curve="X25519")
    async with serving(note, lifespan="off", **server_options) as server, connected(server, version, **options) as client:
        await client.get("a.example")
        [facts] = found
        assert set(facts) == REGISTRY
        assert facts["tls.protocol.version"] == "1.3"
        assert facts["tls.next_protocol"] == ("h2" if version == "2" else "http/1.1")
        assert facts["tls.cipher"] == client.socket.get_cipher()["standard_name"]
        assert facts["tls.curve"] == "X25519"
        assert facts["tls.client.hash.sha256"] == client.socket.get_certificate()["fingerprint256"].replace(":", "")
        assert facts["tls.client.not_after"] == agent.certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        assert (facts["tls.established"], facts["tls.resumed"]) == (True, False)


def test_other_requests_have_no_attributes() -> None:
    """Without TLS, or by another server."""
    assert tls_attributes({"type": "http"}) == {}
    assert tls_attributes({"type": "http", "extensions": {"tls": {"tls_version": 0x0304}}}) == {}


def test_the_extension_reads_as_a_dictionary() -> None:
    """The specification says dictionary: all by which one is read works."""
    assert issubclass(TLSExtension, Mapping)
