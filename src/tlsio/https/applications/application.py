"""Finds the application: an object, "module:name", or a folder of files.

An application is recognised by its signature. Nothing is called to see what it is: a factory that
runs by mistake has side effects, and an application that is called without arguments may have too.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import uvicorn

from tlsio.https.applications.files import Files
from tlsio.https.applications.wsgi import DEFAULT_THREADS, WSGI
from tlsio.model.checks import check_choice
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from tlsio.https.asgi import App, Receive, Scope, Send

__all__ = ["Application", "Config", "Interface", "load"]

Interface: TypeAlias = Literal["auto", "asgi3", "wsgi"]

_CODE = "ERR_HTTPS_APP"
_NO_FACTORY, _ASGI2, _WSGI, _ASGI3 = range(4)  # the arguments that a call takes


class Application(NamedTuple):
    """What the server calls.

    Attributes:
        app: An application of ASGI 3.
        has_lifespan: It may want to know about start and end.
        has_websockets: It may accept WebSockets.
    """

    app: App
    has_lifespan: bool
    has_websockets: bool


class Config(uvicorn.Config):
    """uvicorn's settings for an application that is loaded already.

    uvicorn (0.54) calls what it loads without arguments, to see whether it is a factory, and exits
    if an import fails. So it loads a function that cannot be called so, and calls the application.
    """

    def __init__(self, application: Application, *, lifespan: Literal["auto", "on", "off"], **options: Any) -> None:
        """Describe `application`; `options` are uvicorn's."""

        async def call(scope: Scope, receive: Receive, send: Send) -> Any:
            return await application.app(scope, receive, send)

        super().__init__(call, interface="asgi3", lifespan=lifespan if application.has_lifespan else "off", **options)
        self._application = application

    def load(self) -> None:
        """Load the classes that uvicorn's settings name."""
        super().load()
        if self.loaded_app is self.app:  # without middleware of uvicorn's, such as that of proxy_headers
            self.loaded_app = self._application.app
        if not self._application.has_websockets:
            self.ws_protocol_class = None


def load(given: Any, interface: Interface = "auto", *, wsgi_threads: int = DEFAULT_THREADS) -> Application:
    """Return the application.

    Args:
        given: An application of ASGI or WSGI, or a function without arguments that makes one;
            "module:name" or "module:function()" for one that is imported; a folder.
        interface: What it is; "auto" looks at its arguments.
        wsgi_threads: The number of threads for an application of WSGI.

    Raises:
        ConfigError: there is no such application or folder (`ERR_HTTPS_APP`).
        UsageError: `interface` has another value.
    """
    check_choice("interface", interface, ("auto", "asgi3", "wsgi"))
    if isinstance(given, os.PathLike) or (isinstance(given, str) and _names_folder(given)):
        return Application(Files(given), has_lifespan=False, has_websockets=False)
    label = repr(given)
    app = _import(given) if isinstance(given, str) else given
    if interface == "auto":
        interface, app = _recognise(app, label)
    elif not callable(app):
        raise _not_callable(app, label)
    if interface == "wsgi":
        return Application(WSGI(app, threads=wsgi_threads), has_lifespan=True, has_websockets=False)
    return Application(app, has_lifespan=True, has_websockets=True)


def _names_folder(given: str) -> bool:
    return given != "" and ":" not in given and (os.sep in given or given.startswith(".") or Path(given).is_dir())


# ---- import


def _import(given: str) -> Any:
    module_name, _, rest = given.partition(":")
    path, is_call = rest.removesuffix("()"), rest.endswith("()")
    if not module_name or not path:
        raise ConfigError(
            f"{given!r} is neither MODULE:NAME nor a folder",
            code=_CODE,
            hint=f"Write MODULE:NAME, such as {_suggestion(module_name)}, or the path of a folder, such as ./public.",
        )
    found: Any = _import_module(module_name, given)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            module = sys.modules[module_name]
            raise ConfigError(f"The module {module_name!r} has no {path!r}", code=_CODE, hint=_hint_for_name(module)) from None
    return _make(found, repr(given)) if is_call else found


def _suggestion(module_name: str) -> str:
    return f"{module_name.removesuffix('.py').replace(os.sep, '.') or 'main'}:app"


def _import_module(name: str, given: str) -> ModuleType:
    here = str(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)  # a script has its own folder there instead, and a command that of its program
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed_import(name, error) from error
        hint = f"Run in the folder of the module; this one is {here}."
        if name.endswith(".py"):
            hint = f"Modules are named without .py: {_suggestion(name)}."
        raise ConfigError(
            f"The application {given!r} cannot be imported: there is no module {error.name!r}", code=_CODE, hint=hint
        ) from None
    except (Exception, SystemExit) as error:  # whatever the module of the user raises
        raise _failed_import(name, error) from error


def _failed_import(name: str, error: BaseException) -> ConfigError:
    return ConfigError(
        f"The module {name!r} raised an error while it was imported: {_describe(error)}",
        code=_CODE,
        hint=f"`python -c 'import {name}'` shows the same error.",
    )


def _hint_for_name(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.isroutine(value) and not inspect.isclass(value) and _takes(value) & {_WSGI, _ASGI3}
    ]
    return f"It has: {', '.join(names)}." if names else "The name comes after the colon, as in main:app."


# ---- kinds


def _recognise(app: Any, label: str) -> tuple[Interface, Any]:
    """Return the kind of an application, and the application; a factory is called."""
    takes = _takes(app)
    if takes == {_NO_FACTORY}:
        app = _make(app, label)
        takes = _takes(app)
    if not callable(app):
        raise _not_callable(app, label)
    if _ASGI3 in takes and (_WSGI not in takes or _is_async(app)):
        return "asgi3", app
    if _WSGI in takes and _ASGI3 not in takes:
        return "wsgi", app
    if takes == {_ASGI2}:
        raise ConfigError(
            f"{label} takes one argument, as applications of ASGI 2 do",
            code=_CODE,
            hint="asgiref.compatibility.guarantee_single_callable makes one of ASGI 3 of it.",
        )
    raise ConfigError(
        f"{label} is neither an application of ASGI, which takes (scope, receive, send), nor of WSGI, (environ, start_response)",
        code=_CODE,
        hint='If it is one of them, say which: interface="asgi3" or interface="wsgi".',
    )


def _takes(app: Any) -> set[int]:
    """Return the numbers of positional arguments with which an object can be called."""
    if not callable(app):
        return set()
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):  # of C
        return set()
    found = set()
    for number in (_NO_FACTORY, _ASGI2, _WSGI, _ASGI3):
        try:
            signature.bind(*[None] * number)
        except TypeError:
            continue
        found.add(number)
    return found


def _is_async(app: Any) -> bool:
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004 - its kind


def _make(factory: Callable[[], Any], label: str) -> Any:
    if not callable(factory):
        raise _not_callable(factory, label)
    try:
        made = factory()
    except Exception as error:  # whatever the function of the user raises
        raise ConfigError(f"The factory {label} raised an error: {_describe(error)}", code=_CODE) from error
    if inspect.iscoroutine(made):
        made.close()
        raise ConfigError(f"The factory {label} is async", code=_CODE, hint="Await in the application's lifespan instead.")
    return made


def _not_callable(app: Any, label: str) -> ConfigError:
    return ConfigError(
        f"{label} is of the type {type(app).__name__}, which is not an application", code=_CODE, hint="Applications can be called."
    )


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
