"""Each line of the threat model names tests, and they exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "explanation" / "threat-model.md"
ROWS = re.findall(r"^\| (?!attempt )(.+) \| (.+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.(?:py|c))::([\w:]+)`")


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the tests of a file: functions and methods as pytest names them, or what a C file runs."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".c":
        return frozenset(re.findall(r"\bRUN\((\w+)\)", text))
    found: set[str] = set()
    for node in ast.parse(text).body:
        for name, part in [(f"{node.name}::", part) for part in node.body] if isinstance(node, ast.ClassDef) else [("", node)]:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and part.name.startswith("test_"):
                found.add(name + part.name)
    return frozenset(found)


def test_there_are_rows() -> None:
    """Or the tests below would prove nothing."""
    assert len(ROWS) > 90


@pytest.mark.parametrize(("attempt", "outcome", "tests"), ROWS, ids=[row[0][:40] for row in ROWS])
def test_line_names_tests_that_exist(attempt: str, outcome: str, tests: str) -> None:
    """One or more, and nothing else stands in that column."""
    named = NAMED.findall(tests)
    assert named
    assert NAMED.sub("", tests).strip() == "", f"{attempt}: {outcome}"
    assert [f"{path}::{name}" for path, name in named if name not in names_in(TESTS / path)] == []
