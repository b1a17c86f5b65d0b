"""The errors of `cryptography` for content that it cannot parse, turned into ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from tlsio.model.content_hints import explain
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from tlsio.model.material import Material

__all__ = ["UNREADABLE", "name_of", "unreadable"]

# Some parts of an object are parsed when they are first asked for, and raise these then.
UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


def unreadable(material: Material, wanted: str, label: str, error: Exception) -> ConfigError:
    """Return the error for content that is not what an argument wants.

    Args:
        material: The content, with its path if it came from a file.
        wanted: As `tlsio.model.content_hints.explain` knows it, such as "a certificate".
        label: The caller's name of the argument.
        error: What `cryptography` has raised.
    """
    code = "ERR_CRYPTO_UNSUPPORTED_OPERATION" if isinstance(error, UnsupportedAlgorithm) else "ERR_CRYPTO_OPERATION_FAILED"
    hint = explain(material.data, wanted, label)
    return ConfigError(f"{name_of(material, label)} cannot be read as {wanted}: {error}", code=code, hint=hint)


def name_of(material: Material, label: str) -> str:
    """Return the file that was given, or the argument that had the content."""
    return f"The file {material.path!r}" if material.path else f"The content given as {label}"
