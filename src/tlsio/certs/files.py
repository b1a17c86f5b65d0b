"""Write certificates and keys to disk: whole or not at all, and never over a file unless told.

Each file is written under a temporary name in its folder and moved to its place when all of them
are complete on disk. So a full disk or a crash leaves no half file. If a move fails or is
interrupted, those before it are undone: no key is lost, and none is without its certificate.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlsio.model.checks import check_path, wrong_value
from tlsio.model.errors import add_hint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    """Write all files, or none of them: files that existed are put back if one cannot be written.

    Args:
        files: At different paths. A symbolic link is replaced by the file, not followed.
        overwrite: Replace files that exist.

    Raises:
        FileExistsError: a file exists, and `overwrite` is False.
        OSError: a folder does not exist or may not be written, or the disk is full.
        UsageValueError: two files have the same path.
    """
    paths = [Path(check_path("path", one.path)) for one in files]
    _check_different(paths)
    with contextlib.ExitStack() as stack:
        moves = [stack.enter_context(_complete(path, one)) for path, one in zip(paths, files, strict=True)]
        try:
            for move in moves:
                move.make(overwrite=overwrite)
        except BaseException as error:  # Ctrl-C too must not separate a key from its certificate
            for move in moves:
                move.undo(error)
            raise
        for move in moves:
            stack.callback(move.aside.unlink, missing_ok=True)
        for folder in {path.parent for path in paths}:
            _flush_folder(folder)


def _check_different(paths: Sequence[Path]) -> None:
    """Refuse two paths that lead to the same entry of the same folder."""
    found = dict[Path, Path]()
    for path in paths:
        place = path.parent.resolve() / path.name  # the last part is replaced, so it is not followed
        if place in found:
            raise wrong_value("path", f"must be different for each file, got {str(found[place])!r} and {str(path)!r}")
        found[place] = path


@dataclass(frozen=True, slots=True)
class _Move:
    """The move of a complete file to its place, which can be undone at every point.

    Attributes:
        temporary: The complete file, in the same folder as `path`.
        path: Its place.
        identity: Tells the new file from any other.
    """

    temporary: Path
    path: Path
    identity: os.stat_result

    @property
    def aside(self) -> Path:
        """Where the file that was at `path` is kept until all moves are made."""
        return self.temporary.with_name(f"{self.temporary.name}.old")

    def make(self, *, overwrite: bool) -> None:
        """Move the file. Without `overwrite`, link(2) fails if there is a file."""
        with _naming(self.path):
            if overwrite:
                self._set_aside()
                self.temporary.replace(self.path)
                return
            try:
                self.path.hardlink_to(self.temporary)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._move_without_links()

    def undo(self, error: BaseException) -> None:
        """Put back what was at `path`. If that fails, `error` gets a note of where it is."""
        try:
            if os.path.lexists(self.aside):
                self.aside.replace(self.path)
                self.aside.unlink(missing_ok=True)  # rename(2) keeps both names of one file
            elif os.path.lexists(self.path) and os.path.samestat(self.path.lstat(), self.identity):
                self.path.unlink()
        except OSError as failure:
            error.add_note(f"{str(self.path)!r} was not put back ({failure}): if it existed, it is now {str(self.aside)!r}.")

    def _set_aside(self) -> None:
        """Keep what is at `path`: by a link, so that there is a file at every moment."""
        if self.path.is_dir() and not self.path.is_symlink():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with contextlib.suppress(FileNotFoundError):
            try:
                os.link(self.path, self.aside, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self.path.rename(self.aside)

    def _move_without_links(self) -> None:
        self.path.touch(PRIVATE, exist_ok=False)  # reserves the name
        try:
            self.temporary.replace(self.path)
        except BaseException:
            self.path.unlink()
            raise


@contextlib.contextmanager
def _complete(path: Path, file: NewFile) -> Iterator[_Move]:
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
                identity = os.fstat(descriptor)
        yield _Move(temporary, path, identity)
    finally:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


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
    is_folder = f"{here} is a folder: give the path of a file in it."
    hints = {
        errno.EEXIST: is_folder if path.is_dir() else f"{here} exists and was not changed: choose another path, or say overwrite=True.",
        # The kernel's file systems, such as /proc, have no room for files and say ENOENT too.
        errno.ENOENT: f"The folder {folder} takes no new files: choose another one."
        if path.parent.is_dir()
        else f"The folder {folder} does not exist: create it first.",
        errno.ENOTDIR: f"{folder} is a file: give the path of a folder before the name of the new file.",
        errno.EISDIR: is_folder,
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
