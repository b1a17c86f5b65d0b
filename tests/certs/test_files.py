from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from tlsio.certs import files
from tlsio.certs.files import PRIVATE, PUBLIC, NewFile, write_files
from tlsio.model.errors import UsageValueError

if TYPE_CHECKING:
    from pathlib import Path

# Writes a key and a certificate where only the first one has room, and prints the error.
WITH_LITTLE_ROOM = """
import resource, signal, sys
from tlsio.certs.files import PRIVATE, PUBLIC, NewFile, write_files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_files(NewFile(sys.argv[1], b"k", PRIVATE), NewFile(sys.argv[2], bytes(8192), PUBLIC), overwrite=len(sys.argv) > 3)
except OSError as error:
    print(error.filename)
"""


def pair(folder: Path) -> tuple[NewFile, NewFile]:
    """A key and a certificate in one folder."""
    return NewFile(folder / "key.pem", b"a key", PRIVATE), NewFile(folder / "cert.pem", b"a certificate", PUBLIC)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refuse_links(*_arguments: object, **_options: object) -> None:
    """As a file system without hard links, such as FAT."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_all_files_are_written(tmp_path: Path) -> None:
    """And nothing else is left in the folder."""
    write_files(*pair(tmp_path))
    assert contents(tmp_path) == {"key.pem": b"a key", "cert.pem": b"a certificate"}


@pytest.mark.parametrize("there", ["key.pem", "cert.pem"])
def test_one_that_exists_keeps_all_from_being_written(there: str, tmp_path: Path) -> None:
    """No key without its certificate."""
    (tmp_path / there).write_bytes(b"old")
    with pytest.raises(FileExistsError, match=there):
        write_files(*pair(tmp_path))
    assert contents(tmp_path) == {there: b"old"}


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", [[], ["overwrite"]])
def test_no_room_leaves_nothing_half_written(overwrite: list[str], tmp_path: Path) -> None:
    """The system refuses a file above the process's limit in the middle, as a full disk does."""
    paths = [str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")]
    command = [sys.executable, "-c", WITH_LITTLE_ROOM, *paths, *overwrite]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == paths[1]
    assert contents(tmp_path) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_full_disk_says_so(tmp_path: Path) -> None:
    """A file system of one page."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(disk)], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let root mount")
    try:
        with pytest.raises(OSError, match=r"cert\.pem") as caught:
            write_files(NewFile(disk / "cert.pem", bytes(resource.getpagesize() * 4), PUBLIC))
        assert caught.value.errno == errno.ENOSPC
        assert "no room" in caught.value.hint  # type: ignore[attr-defined]
        assert contents(disk) == {}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("links", [True, False])
def test_overwritten_key_is_put_back_if_its_certificate_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    """A folder is in the place of the certificate; some file systems have no hard links."""
    if not links:
        monkeypatch.setattr(files.os, "link", refuse_links)
    (tmp_path / "key.pem").write_bytes(b"the only copy")
    (tmp_path / "cert.pem").mkdir()
    with pytest.raises(IsADirectoryError, match=r"cert\.pem"):
        write_files(*pair(tmp_path), overwrite=True)
    assert (tmp_path / "key.pem").read_bytes() == b"the only copy"
    assert {path.name for path in tmp_path.iterdir()} == {"key.pem", "cert.pem"}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("old", "links", "method"), [
    ({}, True, "hardlink_to"),
    ({"key.pem": b"old"}, True, "replace"),
    ({"key.pem": b"old", "cert.pem": b"old too"}, True, "replace"),
    ({"key.pem": b"old", "cert.pem": b"old too"}, False, "replace"),
    ({"key.pem": b"old", "cert.pem": b"old too"}, False, "rename"),
])  # fmt: skip
def test_interrupt_between_two_files_undoes_both(
    count: int, old: dict[str, bytes], method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    """Ctrl-C arrives right after a file was moved, or the one before it put aside."""
    calls = 0
    move = getattr(files.Path, method)

    def move_and_interrupt(self: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        move(self, target)
        if calls == count:
            raise KeyboardInterrupt

    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(files.Path, method, move_and_interrupt)
    if not links:
        monkeypatch.setattr(files.os, "link", refuse_links)
    with pytest.raises(KeyboardInterrupt):
        write_files(*pair(tmp_path), overwrite=method != "hardlink_to")
    assert contents(tmp_path) == old


def test_old_file_that_cannot_be_put_back_is_kept_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than lost: the error says where it is."""
    moves = 0
    move = files.Path.replace

    def fail_later(self: Path, target: Path) -> Path:
        nonlocal moves
        moves += 1
        if moves > 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return move(self, target)

    (tmp_path / "key.pem").write_bytes(b"old")
    monkeypatch.setattr(files.Path, "replace", fail_later)
    with pytest.raises(OSError, match=r"cert\.pem") as caught:
        write_files(*pair(tmp_path), overwrite=True)
    [aside] = [path for path in tmp_path.iterdir() if path.name != "key.pem"]
    assert aside.read_bytes() == b"old"
    assert any(str(aside) in note for note in caught.value.__notes__)


def test_one_path_for_two_files_is_refused(tmp_path: Path) -> None:
    """However it is spelt: one of them would replace the other."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for one, other in [("a.pem", "a.pem"), ("a.pem", "real/../a.pem"), ("real/a.pem", "link/a.pem")]:
        with pytest.raises(UsageValueError, match="different for each file"):
            write_files(NewFile(tmp_path / one, b"a key", PRIVATE), NewFile(tmp_path / other, b"", PUBLIC), overwrite=True)
    assert contents(tmp_path / "real") == {}


def test_link_to_the_other_file_is_a_path_of_its_own(tmp_path: Path) -> None:
    """It is replaced, not followed, so nothing is lost."""
    (tmp_path / "cert.pem").symlink_to("key.pem")
    write_files(*pair(tmp_path), overwrite=True)
    assert contents(tmp_path) == {"key.pem": b"a key", "cert.pem": b"a certificate"}


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """It is not created: its permissions are the caller's matter."""
    with pytest.raises(FileNotFoundError) as caught:
        write_files(NewFile(tmp_path / "nowhere" / "key.pem", b"a key", PRIVATE))
    assert caught.value.filename == str(tmp_path / "nowhere" / "key.pem")
    assert "create it" in caught.value.hint  # type: ignore[attr-defined]


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    """The kernel's /proc refuses new files to root, too."""
    with pytest.raises(OSError, match="/proc/key") as caught:
        write_files(NewFile("/proc/key.pem", b"a key", PRIVATE))
    assert caught.value.hint  # type: ignore[attr-defined]


def test_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    """The file that was asked for, not the temporary one."""
    (tmp_path / "plain").touch()
    with pytest.raises(NotADirectoryError) as caught:
        write_files(NewFile(tmp_path / "plain" / "key.pem", b"a key", PRIVATE))
    assert caught.value.filename == str(tmp_path / "plain" / "key.pem")
    assert "is a file" in caught.value.hint  # type: ignore[attr-defined]


def test_a_folder_in_place_of_the_file_is_kept(tmp_path: Path) -> None:
    """With what was to be written next to it gone."""
    (tmp_path / "cert.pem").mkdir()
    with pytest.raises(IsADirectoryError, match=r"cert\.pem"):
        write_files(pair(tmp_path)[1], overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["cert.pem"]


@pytest.mark.parametrize("path", [".", "/"])
def test_a_folder_without_a_name_is_no_file(path: str) -> None:
    """The path has no last part that a file could have."""
    with pytest.raises(IsADirectoryError) as caught:
        write_files(NewFile(path, b"a key", PRIVATE))
    assert caught.value.filename == path


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path, *, overwrite: bool) -> None:
    """Also one that leads nowhere: a key must not appear elsewhere."""
    target = tmp_path / "elsewhere"
    (tmp_path / "key.pem").symlink_to(target)
    with nullcontext() if overwrite else pytest.raises(FileExistsError):
        write_files(NewFile(tmp_path / "key.pem", b"a key", PRIVATE), overwrite=overwrite)
    assert not target.exists()
    assert (tmp_path / "key.pem").is_symlink() is not overwrite


def test_without_hard_links_a_file_that_exists_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT has none."""
    monkeypatch.setattr(files.Path, "hardlink_to", refuse_links)
    write_files(*pair(tmp_path))
    with pytest.raises(FileExistsError):
        write_files(NewFile(tmp_path / "key.pem", b"another", PRIVATE))
    assert contents(tmp_path) == {"key.pem": b"a key", "cert.pem": b"a certificate"}
