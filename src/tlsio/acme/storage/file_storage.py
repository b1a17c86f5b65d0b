"""A storage in a folder, for all processes of a machine, and for machines that share the folder."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from tlsio.model.checks import check_path, wrong_type
from tlsio.model.errors import StoreError
from tlsio.model.exported import exported

from .file_lock import FileLock
from .folder import Folder
from .keys import CHALLENGES, check_key, check_prefix, check_value
from .uninterrupted import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .storage import Lock

__all__ = ["FileStorage"]

# flock(2) has no event, and a thread that waits in it cannot be cancelled. A lock is held for an
# order, which takes seconds.
_FIRST_PAUSE, _LAST_PAUSE = 0.01, 0.25

_log = logging.getLogger("tlsio.acme")
_T = TypeVar("_T")


@exported
class FileStorage:
    """Keeps values in files below a folder: 0600, in folders of 0700.

    Each value is replaced as a whole, on the disk too: a crash leaves the old or the new one. Files
    are read and written in threads of the loop's executor. A cancelled call returns when its step
    on the disk has ended, and leaves nothing behind.

    Locks are those of flock(2). They end with their process, so a folder on a file system of the
    network must support them (NFS does from Linux 2.6.12 on).

    Args:
        folder: It is made when the first value is stored. Links below it are not followed.
        sleep: Waits for seconds, before another try to take a lock.

    Raises:
        UsageError: the folder is not a path.
    """

    def __init__(self, folder: str | os.PathLike[str], *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._folder = Folder(os.path.abspath(check_path("folder", folder)))  # noqa: PTH100 - text, as chdir(2) may follow
        self._sleep = sleep

    @property
    def folder(self) -> str:
        """The absolute path."""
        return self._folder.root

    async def load(self, key: str) -> bytes | None:
        """Return the content of a file; None: there is none.

        Raises:
            StoreError: it cannot be read.
        """
        key = check_key(key)
        return await self._run("read", key, lambda: self._folder.read(key))

    async def store(self, key: str, value: bytes, *, lock: Lock | None = None) -> None:
        """Write a file.

        Raises:
            StoreError: it cannot be written, or the lock is not held (`ERR_ACME_LOCK_LOST`).
        """
        key, value, guard = check_key(key), check_value(value), _guard(lock)
        await self._run("write", key, lambda: self._folder.write(key, value, guard))
        if key.startswith(CHALLENGES):
            await self._run("tidy up next to", key, lambda: self._folder.remove_leftovers(key))

    async def delete(self, key: str, *, lock: Lock | None = None) -> None:
        """Remove a file, if there is one, and the folders that are empty then.

        Raises:
            StoreError: it cannot be removed, or the lock is not held (`ERR_ACME_LOCK_LOST`).
        """
        key, guard = check_key(key), _guard(lock)
        await self._run("remove", key, lambda: self._folder.remove(key, guard))

    async def list(self, prefix: str) -> list[str]:
        """Return the keys below a folder, sorted.

        Raises:
            StoreError: a folder cannot be read.
        """
        prefix = check_prefix(prefix)
        found = await self._run("list", prefix, lambda: self._folder.keys(prefix))
        return sorted(key for key in found if _is_key(key))

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[Lock]:
        """Wait for a lock without limit, and hold it in the `async with`.

        Raises:
            StoreError: its file cannot be opened or locked.
        """
        lock = FileLock(self._folder, check_key(name, "name"))
        try:
            pause = _FIRST_PAUSE
            while not await self._run("lock", name, lock.acquire):
                await self._sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)
            yield lock
        finally:
            try:
                await self._run("unlock", name, lock.release)
            except StoreError as error:
                _log.warning("%s", error)

    async def check(self) -> None:
        """Write 64 KiB to the disk and remove them.

        Raises:
            StoreError: that failed.
        """
        await self._run("write", "", self._folder.probe)

    async def _run(self, what: str, key: str, step: Callable[[], _T]) -> _T:
        try:
            return await in_thread(step)
        except OSError as error:
            path = os.path.join(self._folder.root, key) if key else self._folder.root  # noqa: PTH118 - text
            reason = error.strerror or str(error)
            raise StoreError(f"Could not {what} {path!r}: {reason}", hint=self._hint(error)) from error

    def _hint(self, error: OSError) -> str | None:
        folder = repr(self._folder.root)
        hints = {
            errno.EROFS: f"{folder} is on a read-only file system: mount it writable, or choose another folder.",
            errno.ELOOP: f"A link is not followed: put a real folder or file in its place, or make {folder} itself the link.",
            errno.ENOENT: f"{folder} cannot be created there: choose another folder.",
            **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), f"A file or a link is where {folder} needs a folder: choose another folder."),
            **dict.fromkeys(
                (errno.EACCES, errno.EPERM), f"The user of this process (uid {os.geteuid()}) needs read and write access to {folder}."
            ),
            **dict.fromkeys(
                (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), f"The file system of {folder} is full, or its quota is used up: make room."
            ),
        }
        return hints.get(error.errno or 0)

    def __repr__(self) -> str:
        return f"<FileStorage {self._folder.root!r}>"


def _guard(lock: Lock | None) -> Callable[[], contextlib.AbstractContextManager[None]]:
    if lock is None:
        return contextlib.nullcontext
    if not isinstance(lock, FileLock):
        raise wrong_type("lock", "a lock of this storage", lock)
    return lock.guard


def _is_key(key: str) -> bool:
    """Tell whether a found file can be one of ours."""
    try:
        check_key(key)
    except ValueError:
        return False
    return True
