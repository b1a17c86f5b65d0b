"""What commands print about long work where standard error is not a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tlsio.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(("is_long", "expected"), [(True, "Searching\n"), (False, "")], ids=["long", "short"])
def test_title_is_printed_once(capsys: pytest.CaptureFixture[str], *, is_long: bool, expected: str) -> None:
    """At the first sign of work that takes minutes; not of work that takes seconds."""
    report: Callable[..., None]
    with progress("Searching", is_long=is_long) as report:
        assert capsys.readouterr().err == ""
        report("1 candidate")
        report("2 candidates")
    assert capsys.readouterr().err == expected
