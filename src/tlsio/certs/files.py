"""Write certificates and keys to disk: whole or not at all, and never over a file unless told.

Each file is written under a temporary name in its folder and moved to its place when all of them
are complete on disk. So a full disk or a crash leaves no half file, and no key without its
certificate.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlsio.model.checks import check_path
from tlsio.model.errors import add_hint

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PRIVATE", "PUBLIC", "NewFile", "write_files"]

PRIVATE = 0o600
PUBLIC = 0o644
# link(2): file systems without hard links, such as FAT, and some of user space.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to write: `mode` is `PRIVATE` for keys, `PUBLIC` (less the umask) for the rest."""

    path: str | os.PathLike[str]
    content: bytes
    mode: int


def write_files(*files: NewFile, overwrite: bool = False) -> None:
    """Write all files, or none of them.

    Args:
        files: At different paths. A symbolic link is replaced by the file, not followed.
        overwrite: Replace files that exist.

    Raises:
        FileExistsError: a file exists, and `overwrite` is False.
        OSError: a folder does not exist or may not be written, or the disk is full.
    """
    with contextlib.ExitStack() as stack:
        pairs = [(stack.enter_context(_complete(Path(check_path("path", one.path)), one)), Path(one.path)) for one in files]
        placed: list[Path] = []
        try:
            for temporary, path in pairs:
                _place(temporary, path, overwrite=overwrite)
                placed.append(path)
        except OSError:
            if not overwrite:  # then none of them existed before
                for path in placed:
                    path.unlink()
            raise
        for folder in {path.parent for path in placed}:
            _flush_folder(folder)


@contextlib.contextmanager
def _complete(path: Path, file: NewFile) -> Iterator[Path]:
    """Give a temporary file next to `path`, its content on disk; remove it if it was not moved."""
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with _naming(path):
            if not path.name:  # as of "." and "/"
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, file.mode)
            with open(descriptor, "wb") as stream:  # noqa: PTH123 - an open descriptor, not a path
                stream.write(file.content)
                stream.flush()
                os.fsync(descriptor)
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def _place(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Move a complete file to its place. Without `overwrite`, link(2) fails if there is a file."""
    with _naming(path):
        if overwrite:
            temporary.replace(path)
            return
        try:
            path.hardlink_to(temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            path.touch(PRIVATE, exist_ok=False)  # reserves the name
            temporary.replace(path)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Make an OSError name the file that the caller asked for, and say what to do."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        add_hint(error, _hint_for(error, path))
        raise


def _hint_for(error: OSError, path: Path) -> str:
    folder, here = repr(str(path.parent)), repr(str(path))
    hints = {
        errno.EEXIST: f"{here} exists and was not changed: choose another path, or say overwrite=True.",
        errno.ENOENT: f"The folder {folder} does not exist: create it first.",
        errno.ENOTDIR: f"{folder} is a file: give the path of a folder before the name of the new file.",
        errno.EISDIR: f"{here} is a folder: give the path of a file in it.",
        **dict.fromkeys(
            (errno.EACCES, errno.EROFS, errno.EPERM), f"The user of this process (uid {os.geteuid()}) may not write to the folder {folder}."
        ),
        **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"There is no room in {folder}: nothing was written."),
    }
    return hints.get(error.errno or 0, f"{here} was not written.")


def _flush_folder(folder: Path) -> None:
    """Write a folder's entries to disk; some file systems cannot, and need not."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
