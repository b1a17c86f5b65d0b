"""The client's certificate in FastAPI and Starlette, over both versions and in WebSockets."""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
import sys
import tempfile
from base64 import b64encode
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from cryptography import x509
from fastapi import Depends, FastAPI, WebSocket  # noqa: TC002 - FastAPI evaluates the annotations
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import https_curl
import pki
import tlsio
from https_curl import VERSIONS
from tlsio.https import ClientIdentity, client_identity

if TYPE_CHECKING:
    from starlette.requests import Request

MUTUAL = {"ca": pki.ca1().cert_pem, "request_cert": True, "reject_unauthorized": False}
NAMES = [
    x509.DNSName("ada.example"),
    x509.UniformResourceIdentifier("spiffe://example/ada"),
    x509.RFC822Name("ada@example.com"),
]

app = FastAPI()
Maybe = Annotated[ClientIdentity | None, Depends(client_identity())]
Known = Annotated[ClientIdentity, Depends(client_identity(required=True))]


@app.get("/maybe")
def maybe(client: Maybe) -> Any:
    """Tell who it is."""
    return client


@app.get("/known")
async def known(client: Known) -> Any:
    """Tell who it is."""
    return client.subject


@app.websocket("/ws")
async def socket(websocket: WebSocket, client: Known) -> None:
    """Tell who it is."""
    await websocket.accept()
    await websocket.send_text(client.subject)
    await websocket.close()


def ada() -> pki.Identity:
    """A client with one name of each kind."""
    return pki.leaf("Ada", issuer=pki.ca1(), extensions=[x509.SubjectAlternativeName(NAMES)], serial_number=0xABCDEF)


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_identity_is_what_the_certificate_says(version: str) -> None:
    """As JSON, which FastAPI makes of it."""
    who = ada()
    async with https_curl.serving(app, **MUTUAL) as site:
        answer = await site.get("/maybe", *site.as_client(who), version=version)
        certificate = tlsio.trust.certificate.parse(who.cert_der)
    expected = {
        "subject": "CN=Ada,O=tlsio tests",
        "dns": ["ada.example"],
        "uris": ["spiffe://example/ada"],
        "emails": ["ada@example.com"],
        "serial": "ABCDEF",
        "pin": f"sha256/{b64encode(who.spki_sha256).decode()}",
        "fingerprint": hashlib.sha256(who.cert_der).digest().hex(":").upper(),
        "not_after": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
    }
    assert json.loads(answer.text) == expected


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_without_a_certificate_is_none_or_forbidden(version: str) -> None:
    """As the application asks."""
    async with https_curl.serving(app, **MUTUAL) as site:
        assert (await site.get("/maybe", version=version)).text == "null"
        answer = await site.get("/known", version=version)
        assert (answer.status, answer.text) == (403, '{"detail":"This needs a client certificate, and you sent none."}')
        assert (await site.get("/known", *site.as_client(ada()), version=version)).text == '"CN=Ada,O=tlsio tests"'


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_certificate_that_was_not_accepted_is_no_identity(version: str) -> None:
    """The answer says why."""
    async with https_curl.serving(app, **MUTUAL) as site:
        stranger = site.as_client(pki.agent4())
        assert (await site.get("/maybe", *stranger, version=version)).text == "null"
        answer = await site.get("/known", *stranger, version=version)
    assert answer.status == 403
    assert "was not accepted: " in answer.text


async def test_a_websocket_knows_its_client() -> None:
    """Or is refused before it is accepted."""
    async with https_curl.serving(app, **MUTUAL) as site:
        url = f"wss://localhost:{site.port}/ws"
        async with connect(url, ssl=client_context(ada()), proxy=None) as websocket:
            assert await websocket.recv() == "CN=Ada,O=tlsio tests"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, ssl=client_context(None), proxy=None)
    assert refused.value.response.status_code == 403
    assert b"client certificate" in (refused.value.response.body or b"")


def client_context(who: pki.Identity | None) -> Any:
    """Return a context of Python's own TLS."""
    context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
    if who is not None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(who.chain_pem + who.key_pem)
            file.flush()
            context.load_cert_chain(file.name)
    return context


async def test_starlette_awaits_it() -> None:
    """With the request; or reads the scope."""

    async def hello(request: Request) -> PlainTextResponse:
        client = await client_identity(required=True)(request)
        assert client == ClientIdentity.from_scope(request.scope)
        return PlainTextResponse(client.subject)

    async with https_curl.serving(Starlette(routes=[Route("/", hello)]), **MUTUAL) as site:
        assert (await site.get("/", *site.as_client(ada()))).text == "CN=Ada,O=tlsio tests"
        answer = await site.get("/")
        assert (answer.status, answer.text) == (403, "This needs a client certificate, and you sent none.")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_subject_is_one_line(version: str) -> None:
    """Whatever its authority has certified."""
    odd = pki.leaf("Ada\r\nX-Admin: yes", issuer=pki.ca1())
    async with https_curl.serving(app, **MUTUAL) as site:
        answer = await site.get("/known", *site.as_client(odd), version=version)
    assert json.loads(answer.text) == r"CN=Ada\0D\0AX-Admin: yes,O=tlsio tests"


def test_a_scope_without_tls_has_no_client() -> None:
    """Under another server."""
    assert ClientIdentity.from_scope({"type": "http"}) is None
    assert ClientIdentity.from_scope({"type": "http", "extensions": {"tls": {"client_cert_chain": []}}}) is None


def test_fastapi_is_not_imported() -> None:
    """Programs without it need not have it."""
    program = "import sys; sys.modules['fastapi'] = None; from tlsio.https import client_identity; client_identity()"
    subprocess.run([sys.executable, "-c", program], check=True)
