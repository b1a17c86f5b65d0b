"""What is particular to files: rights, links, full and read-only disks, and what a crash leaves."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tlsio.acme import FileStorage
from tlsio.acme.storage.folder import Folder
from tlsio.model.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems, and may become another user")


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount a small file system in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(["size=128k", *options]), "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_files_and_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask allows."""
    before = os.umask(0)
    try:
        storage = FileStorage(tmp_path / "new" / "storage")
        async with storage.lock("a") as lock:
            await storage.store("accounts/a/key.pem", b"secret", lock=lock)
    finally:
        os.umask(before)
    for path in [tmp_path / "new" / "storage", *(tmp_path / "new" / "storage").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


async def test_a_file_with_open_rights_is_closed_by_the_next_write(tmp_path: Path) -> None:
    """Each write is a new file."""
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o644)
    await FileStorage(tmp_path).store("a", b"new")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


async def test_the_layout_is_that_of_the_keys(tmp_path: Path) -> None:
    """A person finds everything, and an empty folder does not stay."""
    storage = FileStorage(tmp_path)
    await storage.store("challenges/http-01/token", b"1")
    assert (tmp_path / "challenges" / "http-01" / "token").read_bytes() == b"1"
    await storage.delete("challenges/http-01/token")
    assert storage.folder == str(tmp_path)
    assert not (tmp_path / "challenges").exists()


async def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    """The user put it there."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    await FileStorage(tmp_path / "link").store("a/b", b"1")
    assert (tmp_path / "real" / "a" / "b").read_bytes() == b"1"


@pytest.mark.parametrize("inner", ["folder", "file"])
async def test_a_link_below_the_root_is_not_followed(tmp_path: Path, inner: str) -> None:
    """Neither read, nor written through, nor listed."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "b").write_bytes(b"outside")
    root.mkdir()
    if inner == "folder":
        (root / "a").symlink_to(outside)
    else:
        (root / "a").mkdir()
        (root / "a" / "b").symlink_to(outside / "b")
    storage = FileStorage(root)
    with pytest.raises(StoreError) as caught:
        await storage.load("a/b")
    assert "link" in str(caught.value.hint)
    assert await storage.list("") == []
    if inner == "folder":
        with pytest.raises(StoreError):
            await storage.store("a/b", b"new")
        with pytest.raises(StoreError):
            await storage.delete("a/b")
    else:  # the link itself is replaced
        await storage.store("a/b", b"new")
        assert await storage.load("a/b") == b"new"
    assert (outside / "b").read_bytes() == b"outside"


async def test_a_pipe_in_the_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    """It is no value."""
    os.mkfifo(tmp_path / "a")
    with pytest.raises(StoreError, match="not a regular file"):
        await FileStorage(tmp_path).load("a")
    assert await FileStorage(tmp_path).list("") == []


async def test_a_folder_in_the_place_of_a_file_is_no_value(tmp_path: Path) -> None:
    """Nor can it be replaced by one."""
    storage = FileStorage(tmp_path)
    await storage.store("a/b", b"1")
    for call in (storage.load("a"), storage.store("a", b"1"), storage.delete("a"), storage.load("a/b/c"), storage.store("a/b/c", b"1")):
        with pytest.raises(StoreError):
            await call
    assert await storage.list("") == ["a/b"]


async def test_a_file_longer_than_any_value_is_not_read(tmp_path: Path) -> None:
    """Memory is bounded. The disk is not full, so nothing says that."""
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(StoreError, match="too large") as caught:
        await FileStorage(tmp_path).load("a")
    assert caught.value.hint is None


async def test_files_whose_names_are_not_keys_are_not_listed(tmp_path: Path) -> None:
    """Such as those that an editor leaves."""
    for name in ("a", "a~", ".a.swp", "ä"):
        (tmp_path / name).write_bytes(b"")
    assert await FileStorage(tmp_path).list("") == ["a"]


@pytest.mark.parametrize("before", [b"", b"before"])
async def test_readers_see_whole_values_only(tmp_path: Path, before: bytes) -> None:
    """While they are replaced by longer and shorter ones, without a moment in which there is none."""
    storage, done = FileStorage(tmp_path), asyncio.Event()
    values = [before * 1000, b"y" * 100_000, b"z"]
    await storage.store("a", values[0])

    async def write() -> None:
        for _ in range(5):
            for value in values:
                await storage.store("a", value)
        done.set()

    async def read() -> None:
        while not done.is_set():
            assert await storage.load("a") in values

    await asyncio.gather(write(), read(), read())


async def test_what_a_crash_left_is_removed_by_a_later_write(tmp_path: Path) -> None:
    """When it is an hour old: until then it may be a write that goes on."""
    new = tmp_path / ".new"
    new.mkdir()
    for name, age in (("old", 3700), ("young", 3500)):
        (new / name).write_bytes(b"half")
        os.utime(new / name, (time.time() - age,) * 2)
    await FileStorage(tmp_path).store("a", b"1")
    assert [path.name for path in new.iterdir()] == ["young"]


async def test_a_challenge_that_a_crash_left_is_removed_a_day_later(tmp_path: Path) -> None:
    """By the next one of the same type; other values stay."""
    storage = FileStorage(tmp_path)
    keys = ["challenges/http-01/old", "challenges/http-01/young", "certificates/a/b"]
    for key, age in zip(keys, (86_500, 86_300, 10**8), strict=True):
        await storage.store(key, b"1")
        os.utime(tmp_path / key, (time.time() - age,) * 2)
    await storage.store("challenges/http-01/new", b"1")
    assert await storage.list("") == ["certificates/a/b", "challenges/http-01/new", "challenges/http-01/young"]


def _remount_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


@needs_root
async def test_a_full_disk_leaves_the_old_value(tmp_path: Path) -> None:
    """And no half file."""
    with mounted(tmp_path / "disk"):
        storage = FileStorage(tmp_path / "disk")
        await storage.store("a", b"old")
        with pytest.raises(StoreError) as caught:
            await storage.store("a", b"x" * 200_000)
        assert caught.value.code == "ERR_TLS_STORE"
        assert "full" in str(caught.value.hint)
        assert await storage.load("a") == b"old"
        assert list((tmp_path / "disk" / ".new").iterdir()) == []


@needs_root
async def test_a_disk_with_too_little_room_is_found_by_a_check(tmp_path: Path) -> None:
    """It wants 64 KiB, and leaves them free."""
    with mounted(tmp_path / "disk"):
        storage = FileStorage(tmp_path / "disk")
        await storage.check()
        (tmp_path / "disk" / "other").write_bytes(b"x" * 80_000)
        with pytest.raises(StoreError, match="No space left"):
            await storage.check()
        assert list((tmp_path / "disk" / ".new").iterdir()) == []


@needs_root
async def test_a_read_only_disk_is_read(tmp_path: Path) -> None:
    """Writes, checks and locks say what is wrong."""
    with mounted(tmp_path / "disk"):
        storage = FileStorage(tmp_path / "disk")
        await storage.store("a", b"1")
        _remount_read_only(tmp_path / "disk")
        assert await storage.load("a") == b"1"
        assert await storage.list("") == ["a"]
        for call in (storage.store("a", b"2"), storage.check(), storage.delete("a"), storage.lock("a").__aenter__()):
            with pytest.raises(StoreError, match="Read-only") as caught:
                await call
            assert "read-only" in str(caught.value.hint)


@needs_root
def test_another_user_is_told_whose_rights_are_missing(tmp_path: Path) -> None:
    """By a hint with the number of the user."""
    program = """import asyncio, os, sys, tlsio
from tlsio.acme import FileStorage
async def main():
    await FileStorage(sys.argv[1]).store("a/b", b"1")
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    try:
        await FileStorage(sys.argv[1]).load("a/b")
    except tlsio.StoreError as error:
        print(error.hint)
asyncio.run(main())"""
    said = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True).stdout
    assert said.startswith("The user of this process (uid 65534) needs read and write access to")


async def test_a_lock_whose_file_was_removed_protects_nothing(tmp_path: Path) -> None:
    """Another process may hold the new file."""
    storage = FileStorage(tmp_path)
    async with storage.lock("a/b") as lock:
        (tmp_path / ".locks" / "a,b").unlink()
        with pytest.raises(StoreError) as caught:
            await storage.store("a", b"1", lock=lock)
        assert caught.value.code == "ERR_ACME_LOCK_LOST"
        async with asyncio.timeout(5), storage.lock("a/b") as new:
            await storage.store("a", b"2", lock=new)


async def test_a_released_lock_is_free_although_a_forked_child_has_a_copy(tmp_path: Path) -> None:
    """Of its descriptor."""
    storage = FileStorage(tmp_path)
    async with storage.lock("a"):
        [descriptor] = [number for number in range(1000) if _leads_to(number, tmp_path / ".locks" / "a")]
        copy = os.dup(descriptor)
    async with asyncio.timeout(5), storage.lock("a"):
        pass
    os.close(copy)


def _leads_to(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


async def test_a_cancelled_write_has_ended_when_its_caller_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written after a lock was released."""
    entered, leave = threading.Event(), threading.Event()
    real = Folder.write

    def write(*arguments: object) -> None:
        entered.set()
        assert leave.wait(10)
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Folder, "write", write)
    task = asyncio.create_task(FileStorage(tmp_path).store("a", b"1"))
    await asyncio.to_thread(entered.wait)
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "a").read_bytes() == b"1"


async def test_the_wait_for_a_lock_asks_ever_less_often(tmp_path: Path) -> None:
    """From a hundredth to a quarter of a second."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            raise ZeroDivisionError

    async with FileStorage(tmp_path).lock("a"):
        with pytest.raises(ZeroDivisionError):
            async with FileStorage(tmp_path, sleep=sleep).lock("a"):
                pass
    assert pauses == [0.01, 0.02, 0.04, 0.08, 0.16, 0.25, 0.25, 0.25]


def test_a_folder_that_is_no_path_is_refused() -> None:
    """At once."""
    for folder in ("", 7, "a\0b"):
        with pytest.raises(UsageError):
            FileStorage(folder)  # type: ignore[arg-type]
