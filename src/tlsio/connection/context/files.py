"""Read files of certificates and keys, and name the file and its option in an error."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlsio.model.errors import add_hint
from tlsio.model.material import pem_labels

if TYPE_CHECKING:
    from typing import BinaryIO

    from tlsio.model.material import Material

__all__ = ["read_file", "read_stream"]

# Of one file. The longest ones are CRLs: a survey found one of 76 MB (Liu et al., "An End-to-End
# Measurement of Certificate Revocation in the Web's PKI", IMC 2015).
_MAX_BYTES = 128 * 1024 * 1024
_PART = 1024 * 1024  # bytes that are read at once


def read_file(label: str, material: Material) -> Material:
    """Return the material with its file's content; one that is not a path is returned unchanged.

    The path is kept for messages.

    Raises:
        OSError: the file cannot be read; its hint names the option and says what to do.
    """
    if material.kind != "path" or material.path is None:
        return material
    try:
        with Path(material.path).open("rb") as file:
            data = read_stream(file)
    except OSError as error:
        add_hint(error, _hint_for(error, _name_of(label), material.path))
        raise
    return replace(material, kind="pem" if pem_labels(data) else "der", data=data)


def read_stream(file: BinaryIO) -> bytes:
    """Return what a stream has, of any kind of file: a shell's `<(command)` is a pipe.

    Raises:
        OSError: it cannot be read, or has more than a file may have.
    """
    data = bytearray()
    size = os.fstat(file.fileno()).st_size
    while size <= _MAX_BYTES and (part := file.read(_PART)):
        data += part
        size = max(size, len(data))
    if size > _MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), file.name)
    return bytes(data)


def _hint_for(error: OSError, name: str, path: str) -> str:
    given = f"The file {path!r} was given as {name}"
    if error.errno == errno.ENOENT and path.startswith("~"):
        return f"{given}, and ~ is not replaced: use pathlib.Path(...).expanduser()."
    if error.errno == errno.ENOENT:
        start = "" if Path(path).is_absolute() else f" A relative path starts at the working directory, {str(Path.cwd())!r}."
        return f"{given}, and does not exist: check the path.{start}"
    if error.errno == errno.EACCES:
        user = f"the user of this process (uid {os.geteuid()})"
        return f"{given}, and {user} may not read it: check the permissions of the file and of its directories."
    if error.errno == errno.EISDIR:
        return f"{given}, but it is a directory: give a file, or for several a list of files."
    if error.errno == errno.EFBIG:
        return f"{given}, and has more than {_MAX_BYTES} bytes: is this the right file?"
    return f"{given}."


def _name_of(label: str) -> str:
    """Return the caller's name as it is written in a call: `ca=`, or an argument unchanged."""
    return f"{label.removeprefix('options.')}=" if label.startswith("options.") else label
