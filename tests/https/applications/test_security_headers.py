"""Helmet's set on ASGI and WSGI applications."""

from __future__ import annotations

from typing import Any

import flask
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import https_curl
import tlsio
from https_curl import VERSIONS
from tlsio.https import SecurityHeaders, WSGISecurityHeaders

# What helmet 8.3.0 sends without options, without Strict-Transport-Security.
HELMET = {
    "content-security-policy": "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';frame-ancestors 'self';"
    "img-src 'self' data:;object-src 'none';script-src 'self';script-src-attr 'none';style-src 'self' https: 'unsafe-inline';"
    "upgrade-insecure-requests",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "origin-agent-cluster": "?1",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-dns-prefetch-control": "off",
    "x-download-options": "noopen",
    "x-frame-options": "SAMEORIGIN",
    "x-permitted-cross-domain-policies": "none",
    "x-xss-protection": "0",
}
OWN = {"x-frame-options": "DENY", "x-powered-by": "the application"}


def asgi(own: dict[str, str], **options: Any) -> Any:
    """Make an application with headers of its own."""

    async def hello(_request: Any) -> PlainTextResponse:
        return PlainTextResponse("hello", headers=own)

    return Starlette(routes=[Route("/", hello)], middleware=[Middleware(SecurityHeaders, **options)])


def wsgi(own: dict[str, str], **options: Any) -> Any:
    """Make an application with headers of its own."""
    app = flask.Flask("hello")
    app.add_url_rule("/", view_func=lambda: ("hello", own))
    app.wsgi_app = WSGISecurityHeaders(app.wsgi_app, **options)  # type: ignore[method-assign]
    return app


async def headers(app: Any, version: str = "1.1") -> dict[str, list[str]]:
    """Return the headers that curl gets."""
    async with https_curl.serving(app) as site:
        answer = await site.get(version=version)
    assert answer.text == "hello"
    return answer.headers


@pytest.mark.parametrize("make", [asgi, wsgi])
@pytest.mark.parametrize("version", VERSIONS)
async def test_the_set_is_helmets(make: Any, version: str) -> None:
    """Each once; the server sends HSTS, if asked for."""
    found = await headers(make({}), version)
    assert {name: found[name] for name in HELMET} == {name: [value] for name, value in HELMET.items()}
    assert "strict-transport-security" not in found


@pytest.mark.parametrize("make", [asgi, wsgi])
async def test_the_application_has_the_last_word(make: Any) -> None:
    """What it sets stays; the name of its framework goes."""
    found = await headers(make(OWN))
    assert found["x-frame-options"] == ["DENY"]
    assert "x-powered-by" not in found
    assert (await headers(make(OWN, remove_x_powered_by=False)))["x-powered-by"] == ["the application"]


@pytest.mark.parametrize("make", [asgi, wsgi])
async def test_each_header_can_be_replaced_or_left_out(make: Any) -> None:
    """By its name."""
    found = await headers(make({}, **{name.replace("-", "_"): None for name in HELMET}))
    assert not HELMET.keys() & found.keys()
    found = await headers(make({}, **{name.replace("-", "_"): "other" for name in HELMET}))
    assert {name: found[name] for name in HELMET} == {name: ["other"] for name in HELMET}


@pytest.mark.parametrize("make", [asgi, wsgi])
async def test_directives_of_the_policy_can_be_replaced(make: Any) -> None:
    """The others stay."""
    policy = {"script-src": "'self' cdn.example", "upgrade-insecure-requests": None, "report-to": "me"}
    [found] = (await headers(make({}, content_security_policy=policy)))["content-security-policy"]
    assert "script-src 'self' cdn.example;script-src-attr 'none'" in found
    assert "default-src 'self';" in found
    assert "upgrade" not in found
    assert found.endswith(";report-to me")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x_frame_option": "DENY"}, "Unknown headers: x_frame_option"),
        ({"strict_transport_security": "max-age=1"}, "Unknown headers"),
        ({"referrer_policy": "a\r\nb: c"}, "referrer_policy"),
        ({"referrer_policy": "é"}, "referrer_policy"),
        ({"referrer_policy": 1}, "referrer_policy"),
        ({"referrer_policy": {"a": "b"}}, "referrer_policy"),
        ({"remove_x_powered_by": 1}, "remove_x_powered_by"),
    ],
)
@pytest.mark.parametrize("kind", [SecurityHeaders, WSGISecurityHeaders])
def test_mistakes_are_found_at_the_start(kind: Any, options: Any, message: str) -> None:
    """Before the first request."""
    with pytest.raises(tlsio.UsageError, match=message):
        kind(None, **options)


async def test_a_websocket_passes() -> None:
    """It has no such headers."""
    called = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append((scope["type"], receive, send))

    await SecurityHeaders(app)({"type": "websocket"}, None, None)  # type: ignore[arg-type]
    assert called == [("websocket", None, None)]
