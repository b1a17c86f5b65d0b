"""A folder of values: files that are written whole or not at all, without following links.

Each step into a folder is an openat(2) with O_NOFOLLOW, so a symbolic link below the root leads
nowhere, also one that is put there while a call runs. The root itself may be a link: it is the
choice of the user. Functions here block; `file_storage` calls them in threads.

A value is written to a new file in `.new`, flushed to the disk, and moved to its place. A crash
leaves a file in `.new`, which a later write removes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from typing import TYPE_CHECKING

from .storage import LEFTOVER_SECONDS, MAX_VALUE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Folder"]

_FOLDER, _FILE = 0o700, 0o600
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = ".new"
# Far longer than a write lasts. It is compared with the time of a new file on the same file system,
# so the clock of this machine does not matter.
_ABANDONED_SECONDS = 3600
# Others may remove a folder, because it is empty, in the moment before a file is moved into it.
_TRIES = 100
# What a certificate and its status may need: a disk that takes this now takes an order's result.
_PROBE_BYTES = 64 * 1024


class Folder:
    """The root of the files.

    All methods raise OSError.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def read(self, key: str) -> bytes | None:
        """Return the content of a file; None: there is none."""
        *folders, name = key.split("/")
        try:
            with self.opened(folders) as folder:
                # O_NONBLOCK: a pipe that somebody put here would wait for its writer.
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            with open(descriptor, "rb", closefd=False) as stream:
                content = stream.read(MAX_VALUE_BYTES + 1)
        finally:
            os.close(descriptor)
        if len(content) > MAX_VALUE_BYTES:
            raise OSError(errno.EINVAL, "it is too large for a value")  # not EFBIG, which a full disk gives
        return content

    def write(self, key: str, content: bytes, allow: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        """Put a file in its place; `allow` is entered for the moment in which it is moved there."""
        *folders, name = key.split("/")
        with self.opened([_NEW], create=True) as new:
            temporary = secrets.token_hex(8)
            try:
                written = _write_file(new, temporary, content)
                self._move(new, temporary, folders, name, allow)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=new)
                raise
            _remove_older(new, written - _ABANDONED_SECONDS)

    def _move(
        self, new: int, temporary: str, folders: Sequence[str], name: str, allow: Callable[[], contextlib.AbstractContextManager[None]]
    ) -> None:
        for attempt in range(_TRIES):
            try:
                with self.opened(folders, create=True) as folder:
                    with allow():
                        os.rename(temporary, name, src_dir_fd=new, dst_dir_fd=folder)
                    os.fsync(folder)
                    return
            except FileNotFoundError:
                if attempt == _TRIES - 1:
                    raise

    def remove(self, key: str, allow: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        """Remove a file, if there is one, and the folders that are empty then."""
        *folders, name = key.split("/")
        with allow(), contextlib.suppress(FileNotFoundError), self.opened(folders) as folder:
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)
        self._remove_empty(folders)

    def _remove_empty(self, folders: Sequence[str]) -> None:
        # ENOTEMPTY or EEXIST (rmdir(2)) ends it; the removal of the file has succeeded.
        with contextlib.suppress(OSError):
            for depth in range(len(folders), 0, -1):
                with self.opened(folders[: depth - 1]) as parent:
                    os.rmdir(folders[depth - 1], dir_fd=parent)

    def remove_leftovers(self, key: str) -> None:
        """Remove the files next to a new one that are a day older."""
        *folders, name = key.split("/")
        with contextlib.suppress(FileNotFoundError), self.opened(folders) as folder:
            _remove_older(folder, os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime - LEFTOVER_SECONDS)

    def keys(self, prefix: str) -> list[str]:
        """Return the regular files below a folder as keys, in no order; hidden ones are not."""
        found: list[str] = []

        def fail(error: OSError) -> None:
            if error.errno != errno.ENOENT:  # removed in the meantime
                raise error

        folders = prefix.split("/") if prefix else []
        with contextlib.suppress(FileNotFoundError), self.opened(folders) as top:
            for path, inner, names, folder in os.fwalk(".", dir_fd=top, onerror=fail):
                inner[:] = [name for name in inner if not name.startswith(".")]
                parts = folders + path.split("/")[1:]
                found += ["/".join([*parts, name]) for name in names if not name.startswith(".") and _is_file(folder, name)]
        return found

    def probe(self) -> None:
        """Write a file and remove it."""
        with self.opened([_NEW], create=True) as new:
            temporary = secrets.token_hex(8)
            try:
                _write_file(new, temporary, os.urandom(_PROBE_BYTES))  # random: no file system compresses it
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=new)

    @contextlib.contextmanager
    def opened(self, folders: Sequence[str], *, create: bool = False) -> Iterator[int]:
        """Give the descriptor of a folder; with `create`, missing ones are made."""
        if create:
            os.makedirs(self.root, _FOLDER, exist_ok=True)  # noqa: PTH103 - the root is text
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in folders:
                inner = _open_inner(descriptor, name, create=create)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def _open_inner(folder: int, name: str, *, create: bool) -> int:
    if create:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, _FOLDER, dir_fd=folder)
            os.fsync(folder)
    return os.open(name, _FOLDER_FLAGS, dir_fd=folder)


def _write_file(folder: int, name: str, content: bytes) -> float:
    """Write a new file to the disk, and return the time that the file system gave it."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE, dir_fd=folder)
    with open(descriptor, "wb") as stream:  # noqa: PTH123 - an open descriptor, not a path
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
        return os.fstat(descriptor).st_mtime


def _remove_older(folder: int, time: float) -> None:
    with contextlib.suppress(OSError):  # the write itself has succeeded
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < time:
                    os.unlink(name, dir_fd=folder)


def _is_file(folder: int, name: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False
