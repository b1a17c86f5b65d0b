"""Finds the application: an object, "module:name", or a folder of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.importer import ImportFromStringError, import_from_string

from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from tlsio.https.asgi import App

__all__ = ["load"]


def load(given: str | App) -> Any:
    """Return the application.

    Raises:
        ConfigError: it cannot be imported.
    """
    if not isinstance(given, str):
        return given
    try:
        return import_from_string(given)
    except ImportFromStringError as error:
        raise ConfigError(
            f"The application {given!r} cannot be imported: {error}",
            code="ERR_HTTPS_APP",
            hint="Write MODULE:NAME, such as main:app, and run in the folder of the module.",
        ) from None
