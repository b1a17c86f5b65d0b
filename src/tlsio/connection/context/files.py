"""Files of certificates and keys: read where they are used, and named in the error when they cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlsio.model.material import pem_labels

if TYPE_CHECKING:
    from tlsio.model.material import Material

__all__ = ["read_file"]


def read_file(label: str, material: Material) -> Material:
    """Put the content in place of a path, which stays for messages; what is content already is returned as it is.

    Raises:
        OSError: the file cannot be read; a note names `label`.
    """
    if material.kind != "path" or material.path is None:
        return material
    try:
        data = Path(material.path).read_bytes()
    except OSError as error:
        error.add_note(f"It is the file of {label}.")
        raise
    return replace(material, kind="pem" if pem_labels(data) else "der", data=data)
