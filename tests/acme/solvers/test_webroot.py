"""http-01 by files for another web server."""

from __future__ import annotations

import logging
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from challenges import challenge
from tlsio.acme import Webroot
from tlsio.model.errors import StoreError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

ASKED = challenge("http-01", "a.example.test")


async def test_the_file_is_there_from_presenting_to_cleaning_up(tmp_path: Path) -> None:
    """For everyone to read, whatever the umask; nothing else is left."""
    before = os.umask(0o077)
    try:
        solver = Webroot(tmp_path)
        await solver.present(ASKED)
    finally:
        os.umask(before)
    folder = tmp_path / ".well-known" / "acme-challenge"
    assert (folder / ASKED.token).read_text() == ASKED.key_authorization
    assert stat.S_IMODE((folder / ASKED.token).stat().st_mode) == 0o644
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o755
    await solver.clean_up(ASKED)
    assert os.listdir(folder) == []  # noqa: PTH208 - names alone
    await solver.clean_up(ASKED)


async def test_the_rights_of_folders_that_exist_stay(tmp_path: Path) -> None:
    """Somebody has chosen them."""
    folder = tmp_path / ".well-known"
    folder.mkdir(mode=0o711)
    await Webroot(tmp_path).present(ASKED)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o711


async def test_a_mapping_has_a_folder_for_each_name(tmp_path: Path) -> None:
    """Other names are not solved."""
    (tmp_path / "a").mkdir()
    solver = Webroot({"A.example.test": tmp_path / "a"})
    assert solver.can_solve("a.example.test", is_wildcard=False, is_ip=False)
    assert not solver.can_solve("b.example.test", is_wildcard=False, is_ip=False)
    await solver.present(ASKED)
    assert (tmp_path / "a" / ".well-known" / "acme-challenge" / ASKED.token).exists()
    with pytest.raises(UsageError):
        await solver.present(challenge("http-01", "b.example.test"))
    await solver.clean_up(challenge("http-01", "b.example.test"))


@pytest.mark.parametrize(("is_wildcard", "is_ip", "can"), [(False, False, True), (False, True, True), (True, False, False)])
def test_solves_names_and_addresses_but_no_wildcards(is_wildcard: bool, is_ip: bool, can: bool) -> None:  # noqa: FBT001 - a table
    """A file on one host does not prove all hosts below it."""
    assert Webroot("root").can_solve("a", is_wildcard=is_wildcard, is_ip=is_ip) is can


@pytest.mark.parametrize("token", ["../x", "a/b", "", ".", "a b"])
async def test_a_token_that_leads_elsewhere_is_refused(tmp_path: Path, token: str) -> None:
    """Before anything is written."""
    asked = challenge("http-01", "a.example.test", "x")
    object.__setattr__(asked, "token", token)
    with pytest.raises(UsageError):
        await Webroot(tmp_path).present(asked)
    assert list(tmp_path.rglob("*")) == []  # noqa: ASYNC240 - a small folder


async def test_a_root_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """It is a misspelt path, or a disk that is not mounted."""
    for root in (tmp_path / "missing", tmp_path / "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError) as caught:
            await Webroot(root).present(ASKED)
        assert str(root) in caught.value.message
        assert "Check that the folder is there" in str(caught.value.hint)


async def test_a_failing_clean_up_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It does not hide the result."""
    (tmp_path / ".well-known" / "acme-challenge" / ASKED.token).mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        await Webroot(tmp_path).clean_up(ASKED)
    assert "http-01 for a.example.test was not removed" in caplog.text


@pytest.mark.parametrize("folder", ["", 7, None, {"a": ""}, {"a": 7}], ids=repr)
def test_what_is_no_folder_is_refused(folder: Any) -> None:
    """At once."""
    with pytest.raises(UsageError):
        Webroot(folder)


def test_its_repr_says_where(tmp_path: Path) -> None:
    """Or for how many names."""
    assert repr(Webroot(tmp_path)) == f"<Webroot '{tmp_path}'>"
    assert repr(Webroot({"a": tmp_path})) == "<Webroot names=1>"
