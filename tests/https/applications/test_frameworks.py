"""The frameworks as users start them, asked by curl and httpx over both versions of HTTP."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import django
import fastapi
import flask
import httpx
import pytest
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

import https_curl
import pki
from https_curl import VERSIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

UPLOAD = bytes(range(256)) * 4000
LINES = 200


# Each application has the same four pages: its scheme and the value of ?name=, the size of what was posted and the file's name,
# many lines that are made one by one, and an error.


def make_fastapi() -> Any:
    """FastAPI, with a lifespan and a file by its multipart parser's raw body."""

    @asynccontextmanager
    async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"started": "yes"}

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.get("/")
    def hello(request: fastapi.Request, name: str) -> fastapi.Response:
        assert request.state.started == "yes"
        return fastapi.Response(f"{request.url.scheme} {name}")

    @app.post("/upload")
    async def upload(body: Annotated[bytes, fastapi.Body(media_type="application/octet-stream")]) -> fastapi.Response:
        return fastapi.Response(str(len(body)))

    @app.get("/lines")
    def lines() -> StreamingResponse:
        return StreamingResponse(f"{number}\n" for number in range(LINES))

    @app.get("/error")
    def error() -> None:
        raise ValueError("of the application")

    return app


def make_starlette() -> Any:
    """Starlette."""

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.url.scheme} {request.query_params['name']}")

    async def upload(request: Request) -> PlainTextResponse:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
        return PlainTextResponse(str(size))

    async def lines(_request: Request) -> StreamingResponse:
        async def make() -> AsyncIterator[str]:
            for number in range(LINES):
                await asyncio.sleep(0)
                yield f"{number}\n"

        return StreamingResponse(make())

    async def error(_request: Request) -> None:
        raise ValueError("of the application")

    return Starlette(routes=[Route("/", hello), Route("/upload", upload, methods=["POST"]), Route("/lines", lines), Route("/error", error)])


def make_flask() -> Any:
    """Flask."""
    app = flask.Flask("pages")

    @app.get("/")
    def hello() -> str:
        return f"{flask.request.scheme} {flask.request.args['name']}"

    @app.post("/upload")
    def upload() -> str:
        return str(len(flask.request.get_data()))

    @app.get("/lines")
    def lines() -> Any:
        return flask.Response(f"{number}\n" for number in range(LINES))

    @app.get("/error")
    def error() -> str:
        raise ValueError("of the application")

    return app


def _set_up_django() -> None:
    """Configure Django, which is one for a process."""
    if settings.configured:
        return

    def hello(request: Any) -> HttpResponse:
        return HttpResponse(f"{request.scheme} {request.GET['name']}")

    def upload(request: Any) -> HttpResponse:
        return HttpResponse(str(len(request.read())))

    def lines(request: Any) -> StreamingHttpResponse:
        async def later() -> AsyncIterator[str]:
            for number in range(LINES):
                yield f"{number}\n"

        def now() -> Iterator[str]:
            for number in range(LINES):
                yield f"{number}\n"

        return StreamingHttpResponse(later() if hasattr(request, "scope") else now())

    def error(_request: Any) -> HttpResponse:
        raise ValueError("of the application")

    urls = ModuleType("urls_of_the_test")
    urls.urlpatterns = [path("", hello), path("upload", upload), path("lines", lines), path("error", error)]  # type: ignore[attr-defined]
    settings.configure(ALLOWED_HOSTS=["localhost"], ROOT_URLCONF=urls, SECRET_KEY="of a test", LOGGING_CONFIG=None)
    django.setup()


def make_django_asgi() -> Any:
    """Django, async."""
    _set_up_django()
    return get_asgi_application()


def make_django_wsgi() -> Any:
    """Django, in threads."""
    _set_up_django()
    return get_wsgi_application()


MAKERS = [make_fastapi, make_starlette, make_flask, make_django_asgi, make_django_wsgi]
make = pytest.mark.parametrize("make", MAKERS, ids=[one.__name__.removeprefix("make_") for one in MAKERS])


def client(version: str) -> httpx.AsyncClient:
    """Return httpx with Python's own TLS."""
    context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
    return httpx.AsyncClient(http1=version == "1.1", http2=version == "2", verify=context, trust_env=False)


@make
@pytest.mark.parametrize("version", VERSIONS)
async def test_curl(make: Any, version: str) -> None:
    """It gets pages, sends a body and reads a stream."""
    async with https_curl.serving(make) as site:
        answer = await site.get("/?name=Ada%20L", version=version)
        assert (answer.status, answer.version, answer.text) == (200, version, "https Ada L")
        ca = str(site.folder / "ca.pem")
        url = f"https://localhost:{site.port}/upload"
        octets = "content-type: application/octet-stream"
        answer = await https_curl.curl(url, f"--http{version}", "--cacert", ca, "-H", octets, "--data-binary", "@-", data=UPLOAD)
        assert answer.text == str(len(UPLOAD))
        answer = await site.get("/lines", version=version)
        assert answer.text.split() == [str(number) for number in range(LINES)]


@make
@pytest.mark.parametrize("version", VERSIONS)
async def test_httpx(make: Any, version: str) -> None:
    """Many requests at a time, and an error among them."""
    async with https_curl.serving(make) as site, client(version) as http:
        url = f"https://localhost:{site.port}"
        answers = await asyncio.gather(*(http.get(url, params={"name": str(number)}) for number in range(20)))
        assert [answer.text for answer in answers] == [f"https {number}" for number in range(20)]
        assert {answer.http_version for answer in answers} == {f"HTTP/{version}"}
        answer = await http.post(f"{url}/upload", content=UPLOAD, headers={"content-type": "application/octet-stream"})
        assert answer.text == str(len(UPLOAD))
        assert (await http.get(f"{url}/error")).status_code == 500
        assert (await http.get(f"{url}/nothing")).status_code == 404
        assert (await http.get(f"{url}/lines")).text.split()[-1] == str(LINES - 1)


async def test_flask_reads_a_body_without_its_length() -> None:
    """As clients of HTTP/2 may send it."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    async with https_curl.serving(make_flask()) as site:
        for version in VERSIONS:
            async with client(version) as http:
                answer = await http.post(f"https://localhost:{site.port}/upload", content=parts())
                assert answer.text == "100000"
