"""docs/reference/node-parity.md and node-changes.md are what tools/node_parity.py makes of the marks, and the marks are true to the list."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import node_parity as tool

ROOT = Path(__file__).parent.parent


def test_page_is_up_to_date() -> None:
    """Else `make parity` writes it anew."""
    marks = tool.marks_of(ROOT / "tests")
    rows = tool.rows((ROOT / "tests" / "node_rows.toml").read_text(encoding="utf-8"), marks)
    assert tool.problems(rows, marks) == []
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(rows)
    assert tool.CHANGES_PAGE.read_text(encoding="utf-8") == tool.changes_page(rows)


@pytest.mark.parametrize(
    ("entry", "marks", "problem"),
    [
        ('a = "it"', {"a": ["x: y"]}, None),
        ('a = "it"', {}, "a: no test has this mark"),
        ('a = { asserts = "it", changed = "so" }', {"a": ["x: y"]}, None),
        ('a = { asserts = "it", changed = "so" }', {}, "a: no test has this mark"),
        ('a = { asserts = "it", left_out = "so" }', {}, None),
        ('a = { asserts = "it", left_out = "so" }', {"a": ["x: y"]}, "a: is left out, but marked at x: y"),
        ('a = { asserts = "it", not_yet = "so" }', {"a": ["x: y"]}, "a: is not yet, but marked at x: y"),
        ('a = { asserts = "it", changes = "so" }', {"a": ["x: y"]}, "a: changes is none of done, changed, left_out, not_yet"),
        ('a = { asserts = "it", left_out = "so" }', {"b": ["x: y"]}, "x: y: b is no row"),
    ],
)
def test_rows_and_marks_agree(entry: str, marks: dict[str, list[str]], problem: str | None) -> None:
    """No row is held without a test, and no test holds what is not listed or not held."""
    assert tool.problems(tool.rows(f"[subject]\n{entry}", marks), marks) == ([problem] if problem else [])


def test_marks_are_found() -> None:
    """At functions, methods, classes and parameters."""
    source = """
@pytest.mark.node("a", "b")
async def test_one(): ...

@pytest.mark.slow
@pytest.mark.node("c")
class TestTwo:
    @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.node("d"))])
    def test_three(self, x): ...
"""
    assert list(tool.marks_in(ast.parse(source))) == [("a", "one"), ("b", "one"), ("c", "TestTwo"), ("d", "TestTwo.three")]
