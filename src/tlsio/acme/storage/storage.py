"""The contract of storages: keys and values, and locks between processes and nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tlsio.model.errors import StoreError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = ["LEFTOVER_SECONDS", "MAX_VALUE_BYTES", "Lock", "Storage", "lock_lost"]

# A chain of ten certificates with RSA keys of 4096 bits and its key take about 30 kB.
MAX_VALUE_BYTES = 1024 * 1024
# Values of a single validation, which a crash may leave. Let's Encrypt's authorizations are pending
# for seven days at most, but a validation takes minutes.
LEFTOVER_SECONDS = 86_400


class Lock(Protocol):
    """What `Storage.lock` gives; `store` and `delete` take it as proof."""

    @property
    def name(self) -> str:
        """What is locked."""

    @property
    def is_held(self) -> bool:
        """Whether this process still believes to hold it.

        A lock with a lease can be lost while the process is suspended; only `store` and `delete`
        are certain.
        """


class Storage(Protocol):
    """Where accounts, certificates, challenges and the status are kept.

    A key is a path of segments joined by `/` (see `keys`). A value is 1 MiB at most. Calls may
    overlap, in one process and in several. A failure MUST be a `StoreError`, in bounded time. A
    call that failed or was cancelled may have been carried out. A cancelled one MUST NOT go on
    after its caller got CancelledError; one that failed may be carried out later, by a server that
    did not answer in time, but not when it is under a lock that is lost by then.
    """

    async def load(self, key: str) -> bytes | None:
        """Return a value; None: there is none.

        Raises:
            StoreError: it cannot be read.
            UsageError: not a key.
        """

    async def store(self, key: str, value: bytes, *, lock: Lock | None = None) -> None:
        """Set a value: a reader sees the whole one before or the whole new one.

        It MUST survive a crash of this process afterwards, and SHOULD survive one of the machine.
        Values below `challenges/` may be removed when they are a day old.

        Args:
            key: Its place.
            value: Up to 1 MiB.
            lock: Write only while it is held. The check and the write MUST be one step.

        Raises:
            StoreError: it cannot be written, or the lock was lost (`ERR_ACME_LOCK_LOST`).
            UsageError: not a key, or the value is too large.
        """

    async def delete(self, key: str, *, lock: Lock | None = None) -> None:
        """Remove a value, if there is one.

        Raises:
            StoreError: it cannot be removed, or the lock was lost (`ERR_ACME_LOCK_LOST`).
            UsageError: not a key.
        """

    async def list(self, prefix: str) -> list[str]:
        """Return the keys below a folder, sorted.

        Args:
            prefix: Whole segments, such as `certificates`; an empty one is everything.

        Raises:
            StoreError: the folder cannot be read.
            UsageError: not a folder.
        """

    def lock(self, name: str) -> AbstractAsyncContextManager[Lock]:
        """Wait for a lock without limit, and hold it in the `async with`.

        There MUST be one holder at a time across all processes and nodes, and the lock of a process
        that has died MUST become free. It is not reentrant. The wait ends early by cancellation, as
        by `asyncio.timeout`, which leaves no lock.

        Args:
            name: As a key; names and keys have nothing in common.

        Raises:
            StoreError: it cannot be taken. What happens when it is released is only logged.
            UsageError: not a name.
        """

    async def check(self) -> None:
        """Try whether a value can be stored now: an order whose result is lost counts in limits.

        Raises:
            StoreError: the storage is full, read-only, or does not answer.
        """


def lock_lost(name: str) -> StoreError:
    """Return the error for a write under a lock that another process may hold by now."""
    return StoreError(
        f"Nothing was written, because the lock {name!r} is not held any more",
        code="ERR_ACME_LOCK_LOST",
        hint="The process was suspended for longer than the lock lasts, or the lock was removed: load the value again before the next try.",
    )
