"""The files that options of contexts name, read once.

A context is made for each certificate, months after the start too. A file that is gone or damaged
by then would make each new certificate look unusable, and have it ordered again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsio.connection.context.secure_context import SecureContext
from tlsio.model.material import Material
from tlsio.model.options.parse import parse_context_options

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["pin_files"]

_FILES = ("ca", "extra_ca", "crl", "dhparam")


def pin_files(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with the content of their files, of which a context can be made.

    Raises:
        UsageError: a wrong option.
        ConfigError: the content of one cannot be used.
        OSError: a file cannot be read.
    """
    found = SecureContext(parse_context_options(options)).options  # which have the content of files
    return {**options, **{name: _content(getattr(found, name)) for name in _FILES if options.get(name) is not None}}


def _content(value: tuple[Material, ...] | Material | str) -> bytes | list[bytes] | str:
    if isinstance(value, tuple):
        return [one.data for one in value]
    return value.data if isinstance(value, Material) else value
