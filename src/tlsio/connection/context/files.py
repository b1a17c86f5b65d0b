"""Read files of certificates and keys, and name the file and its option in an error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlsio.model.material import pem_labels

if TYPE_CHECKING:
    from tlsio.model.material import Material

__all__ = ["read_file"]


def read_file(label: str, material: Material) -> Material:
    """Return the material with its file's content; one that is not a path is returned unchanged.

    The path is kept for messages.

    Raises:
        OSError: the file cannot be read; a note names `label`.
    """
    if material.kind != "path" or material.path is None:
        return material
    try:
        data = Path(material.path).read_bytes()
    except OSError as error:
        error.add_note(f"The file was given as {label}.")
        raise
    return replace(material, kind="pem" if pem_labels(data) else "der", data=data)
