"""How the application is found; nothing is called by mistake."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import fastapi
import flask
import pytest
from aiohttp import web
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import https_curl
import tlsio
from tlsio.https.applications.application import Config, load
from tlsio.https.applications.files import Files
from tlsio.https.applications.wsgi import WSGI

if TYPE_CHECKING:
    from pathlib import Path


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """An application of ASGI."""


def wsgi(environ: Any, start_response: Any) -> Any:
    """An application of WSGI."""


class Asgi:
    """An application whose instances are of ASGI."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Do nothing."""


def wrapped(function: Any) -> Any:
    """Wrap without a signature."""

    async def call(*arguments: Any) -> Any:
        return await function(*arguments)

    return call


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a module into the current folder, to be imported once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = []

    def write(text: str, name: str = "app_under_test") -> str:
        (tmp_path / f"{name}.py").write_text(text)
        names.append(name)
        sys.modules.pop(name, None)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)


def refusal(given: Any, **options: Any) -> tlsio.ConfigError:
    """Return the error about an application."""
    with pytest.raises(tlsio.ConfigError) as caught:
        load(given, **options)
    assert caught.value.code == "ERR_HTTPS_APP"
    return caught.value


@pytest.mark.parametrize(
    "app",
    [asgi, Asgi(), wrapped(asgi), functools.partial(asgi), Starlette(), fastapi.FastAPI(), Asgi().__call__],
    ids=["function", "object", "wrapped", "partial", "starlette", "fastapi", "method"],
)
def test_asgi_is_recognised(app: Any) -> None:
    """By its three arguments, or because it is async."""
    assert load(app).app is app


@pytest.mark.parametrize("app", [wsgi, flask.Flask("x")], ids=["function", "flask"])
def test_wsgi_is_recognised(app: Any) -> None:
    """By its two arguments; it has no WebSockets."""
    found = load(app)
    assert isinstance(found.app, WSGI)
    assert not found.has_websockets


@pytest.mark.parametrize("made", [Asgi, lambda: asgi], ids=["class", "function"])
def test_a_factory_is_called(made: Any) -> None:
    """What takes no argument makes the application."""
    assert load(made).has_websockets


def test_an_application_is_not_called() -> None:
    """Also one that could be called without arguments."""

    async def app(scope: Any = None, receive: Any = None, send: Any = None) -> None:
        raise AssertionError

    assert load(app).app is app


def test_an_unclear_application_needs_its_interface() -> None:
    """A wrapper of any arguments may be of either kind."""

    def app(*arguments: Any) -> Any:
        raise AssertionError

    assert "interface=" in str(refusal(app).hint)
    assert isinstance(load(app, "wsgi").app, WSGI)
    assert load(app, "asgi3").app is app


def test_an_interface_is_one_of_three() -> None:
    """A mistake is no application's fault."""
    with pytest.raises(tlsio.UsageError, match="interface"):
        load(asgi, "asgi2")  # type: ignore[arg-type]


def test_a_module_of_the_current_folder_is_imported(module: Any) -> None:
    """The name may have dots."""
    name = module("class site:\n    @staticmethod\n    async def app(scope, receive, send): ...\n")
    assert load(f"{name}:site.app").app is sys.modules[name].site.app


def test_a_factory_is_written_with_parentheses(module: Any) -> None:
    """Also one that could be called with arguments."""
    name = module("async def app(scope, receive, send): ...\ndef make(debug=False, *more): return app\n")
    assert load(f"{name}:make()").app is sys.modules[name].app


def test_a_missing_module_is_named() -> None:
    """And the folder in which it was looked for."""
    error = refusal("not_there_at_all:app")
    assert "no module 'not_there_at_all'" in str(error)
    assert "folder" in str(error.hint)


def test_a_file_is_not_a_module() -> None:
    """A usual mistake."""
    assert "main:app" in str(refusal("main.py:app").hint)
    assert "main:app" in str(refusal("main.py").hint)
    assert "MODULE:NAME" in str(refusal("main"))
    assert "MODULE:NAME" in str(refusal(""))  # not the current folder


def test_a_missing_name_is_told_with_those_that_are_there(module: Any) -> None:
    """Applications only."""
    name = module("import flask\nserver = flask.Flask('x')\nnumber = 1\n")
    assert refusal(f"{name}:app").hint == "It has: server."


@pytest.mark.parametrize("text", ["import not_there_either", "1 / 0", "raise SystemExit(3)", "def"])
def test_an_error_of_the_module_is_the_cause(module: Any, text: str) -> None:
    """It is not taken for a missing module."""
    error = refusal(f"{module(text)}:app")
    assert error.__cause__ is not None
    assert type(error.__cause__).__name__ in str(error)


@pytest.mark.parametrize("given", [42, web.Application(), lambda one: one], ids=["number", "aiohttp", "asgi2"])
def test_something_else_is_refused(given: Any) -> None:
    """With a code and a hint."""
    assert refusal(given).hint


@pytest.mark.parametrize("interface", ["asgi3", "wsgi"])
def test_what_cannot_be_called_is_refused(interface: Any) -> None:
    """Whatever it is said to be."""
    assert "int" in str(refusal(42, interface=interface))


def test_a_factory_that_fails_is_the_cause() -> None:
    """Its error is shown."""

    def make() -> Any:
        raise OSError("no database")

    error = refusal(make)
    assert isinstance(error.__cause__, OSError)
    assert "no database" in str(error)


def test_a_factory_is_not_async() -> None:
    """Nobody would await it."""

    async def make() -> Any: ...

    assert "async" in str(refusal(make))


def test_a_folder_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its path, or by a text that looks like one."""
    (tmp_path / "public").mkdir()
    monkeypatch.chdir(tmp_path)
    for given in (tmp_path / "public", "./public", "public"):
        found = load(given)
        assert isinstance(found.app, Files)
        assert not found.has_lifespan
    assert "does not exist" in str(refusal("./nothing"))
    (tmp_path / "file").touch()
    assert "is not a folder" in str(refusal(tmp_path / "file"))


async def test_a_server_imports_its_application(module: Any) -> None:
    """By its name."""
    name = module(
        "from starlette.applications import Starlette\nfrom starlette.responses import PlainTextResponse\nfrom starlette.routing import Route\n"
        "async def hello(request): return PlainTextResponse('hello')\napp = Starlette(routes=[Route('/', hello)])\n"
    )
    async with https_curl.serving(f"{name}:app") as site:
        assert (await site.get()).text == "hello"


@pytest.mark.parametrize("trusted", [False, True])
async def test_middleware_of_uvicorns_stays_around_the_application(trusted: bool) -> None:  # noqa: FBT001 - a parameter
    """Such as that for headers of a proxy."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"])

    config = Config(load(app), lifespan="off", proxy_headers=trusted, forwarded_allow_ips="*", log_config=None)
    config.load()
    assert (config.loaded_app is app) == (not trusted)
    scope = {"type": "http", "scheme": "https", "client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", b"192.0.2.1")]}
    await config.loaded_app(scope, None, None)
    assert seen == [("192.0.2.1", 0) if trusted else ("127.0.0.1", 1)]


async def test_a_server_does_not_call_an_application_to_look_at_it() -> None:
    """As uvicorn does, without arguments."""
    calls = []

    def app(*arguments: Any) -> Any:
        calls.append(len(arguments))
        return Starlette(routes=[Route("/", lambda _request: PlainTextResponse("hello"))])(*arguments)

    async with https_curl.serving(app, interface="asgi3", lifespan="off") as site:
        assert (await site.get()).text == "hello"
    assert calls == [3]
