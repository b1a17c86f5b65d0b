"""Fragments are gathered in the changelog by their kind, under the version they belong to."""

from __future__ import annotations

from pathlib import Path

import pytest

import changelog as tool
import tlsio

ROOT = Path(__file__).parent.parent
HEAD = "# Changelog\n\nWhat changed.\n"


def test_every_fragment_has_a_kind() -> None:
    """Otherwise a release would not know where to put it."""
    assert {tool.kind(path) for path in tool.fragments(ROOT / "changes")} <= set(tool.KINDS)


@pytest.mark.parametrize("name", ["170.md", "fixed.170.md", "170.mended.md", "x.fixed.md"])
def test_fragment_without_a_kind_is_named(name: str) -> None:
    """The message tells how to name it."""
    with pytest.raises(SystemExit, match=rf"changes/{name}: name it NNN.kind.md, where kind is one of added, changed"):
        tool.kind(Path(name))


def test_version_is_that_of_the_package() -> None:
    """It is read without an import: the package may not be built yet."""
    assert tool.version() == tlsio.__version__


def test_changelog_has_a_section_for_the_version() -> None:
    """A reader finds what is in the version that he installed."""
    assert f"\n## {tlsio.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_first_release() -> None:
    """Kinds stand in one order, entries in that of their numbers, their further lines below the first."""
    entries = [("fixed", "One.\n"), ("added", "Two,\ntwo.\n"), ("fixed", "Three.\n")]
    expected = HEAD + "\n## 1.0\n\n### Added\n\n- Two,\n  two.\n\n### Fixed\n\n- One.\n- Three.\n"
    assert tool.collect(HEAD, "1.0", entries) == expected


def test_section_of_the_version_is_added_to() -> None:
    """What is there stays as it was written."""
    written = tool.collect(HEAD, "1.0", [("added", "One."), ("security", "Two.")])
    expected = HEAD + "\n## 1.0\n\n### Added\n\n- One.\n- Four.\n\n### Fixed\n\n- Three.\n\n### Security\n\n- Two.\n"
    assert tool.collect(written, "1.0", [("fixed", "Three."), ("added", "Four.")]) == expected


def test_next_release_stands_above() -> None:
    """The newest first; older sections do not change."""
    written = tool.collect(HEAD, "1.0", [("added", "One.")])
    assert tool.collect(written, "1.1", [("added", "Two.")]) == HEAD + "\n## 1.1\n\n### Added\n\n- Two.\n" + written.removeprefix(HEAD)


def test_nothing_to_collect_changes_nothing() -> None:
    """A second run does no harm."""
    written = tool.collect(HEAD, "1.0", [("added", "One.")])
    assert tool.collect(written, "1.0", []) == written
