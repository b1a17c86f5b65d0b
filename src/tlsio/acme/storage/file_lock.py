"""A lock between processes: flock(2) on a file of its own, which stays.

The kernel releases it when its process ends, however that happens, and keeps it while the process
is suspended. So there is no lease, and no clock. The file is not removed: a process that has opened
it and waits would then lock a file that no other process can find.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from typing import TYPE_CHECKING

from .storage import lock_lost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .folder import Folder

__all__ = ["FileLock"]

_LOCKS = ".locks"
_MAX_NAME = 200  # bytes; longer ones become a digest


class FileLock:
    """One lock of one holder. Its methods block for no longer than the file system does.

    Attributes:
        name: What is locked.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self.name = name
        self._folder = folder
        file_name = name.replace("/", ",")  # no key has a comma
        self._file_name = file_name if len(file_name) <= _MAX_NAME else f",{hashlib.sha256(name.encode()).hexdigest()}"
        self._descriptor: int | None = None
        self._mutex = threading.Lock()

    @property
    def is_held(self) -> bool:
        """Whether it was acquired and not released."""
        return self._descriptor is not None

    def acquire(self) -> bool:
        """Try once; False: another holder has it.

        Raises:
            OSError: the file cannot be opened or locked.
        """
        with self._folder.opened([_LOCKS], create=True) as locks:
            descriptor = os.open(self._file_name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=locks)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_in_place(descriptor):
                self._descriptor, descriptor = descriptor, -1
                return True
        except BlockingIOError:
            pass
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return False

    def release(self) -> None:
        """Give it up, after a write under it has ended.

        Raises:
            OSError: a file system of the network failed.
        """
        with self._mutex:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is None:
                return
            try:
                # Not only close(2): a child that was forked in the meantime has a copy.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Keep it held for the block.

        Raises:
            StoreError: it is not held (`ERR_ACME_LOCK_LOST`).
        """
        with self._mutex:
            if self._descriptor is None or not self._is_in_place(self._descriptor):
                raise lock_lost(self.name)
            yield

    def _is_in_place(self, descriptor: int) -> bool:
        """Tell whether others would open this file: someone may have removed it by hand."""
        try:
            with self._folder.opened([_LOCKS]) as locks:
                found = os.stat(self._file_name, dir_fd=locks, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(descriptor))

    def __repr__(self) -> str:
        return f"<FileLock {self.name!r}{'' if self.is_held else ' not held'}>"
