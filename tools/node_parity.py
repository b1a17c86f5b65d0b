"""Write docs/reference/node-parity.md: what Node's own tests assert, and which of our tests assert it too.

And node-changes.md beside it, for users: the rows that are changed or left out.

The rows are in tests/node_rows.toml; our tests carry `@pytest.mark.node("row", ...)`. A row without a
test must give the reason, and a row with a test must not claim that there is none.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "node-parity.md"
CHANGES_PAGE = PAGE.with_name("node-changes.md")

# The states of a row, with their names on the page.
STATES = {"done": "done", "changed": "changed on purpose", "left_out": "left out", "not_yet": "not yet"}
PROVEN = {"done", "changed"}

HEAD = """# Node's own tests

What the tests of Node's `tls` assert, under Node's names for them (without `test-` and `.js`), and our tests that assert the same.
`make parity` writes this page from the marks in the tests. The tests of Node's `https` are not included.
"""

CHANGES_HEAD = """# What Node's tests would notice

Node's own tests of `tls` say what Node does in detail. tlsio asserts the same, except for these points. `make parity` writes this page.
[Where tlsio differs from Node](../explanation/differences-from-node.md) has the differences that most programs meet.
"""


@dataclass(frozen=True)
class Row:
    """One test of Node's: what it asserts, its state here, and our tests."""

    name: str
    subject: str
    asserts: str
    state: str
    reason: str
    tests: tuple[str, ...]

    @property
    def problem(self) -> str | None:
        """What is wrong with the row, or None."""
        if self.state not in STATES:
            return f"{self.name}: {self.state} is none of {', '.join(STATES)}"
        if self.state in PROVEN and not self.tests:
            return f"{self.name}: no test has this mark"
        if self.state not in PROVEN and self.tests:
            return f"{self.name}: is {STATES[self.state]}, but marked at {self.tests[0]}"
        return None


def rows(text: str, marks: Mapping[str, list[str]]) -> list[Row]:
    """Return the rows of a list in TOML with the tests that are marked with their names."""
    found = []
    for subject, entries in tomllib.loads(text).items():
        for name, entry in entries.items():
            said = {"asserts": entry} if isinstance(entry, str) else dict(entry)
            asserts = said.pop("asserts")
            [(state, reason)] = said.items() or [("done", "")]
            found.append(Row(name, subject, asserts, state, reason, tuple(marks.get(name, ()))))
    return found


def problems(found: list[Row], marks: Mapping[str, list[str]]) -> list[str]:
    """Return the contradictions between rows and marks."""
    unknown = [f"{tests[0]}: {name} is no row" for name, tests in marks.items() if name not in {row.name for row in found}]
    return unknown + [row.problem for row in found if row.problem]


def marks_of(folder: Path) -> dict[str, list[str]]:
    """Return the tests below a folder, by the rows they are marked with."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.node(" in text:
            for name, test in marks_in(ast.parse(text)):
                found.setdefault(name, []).append(f"{path.relative_to(folder).with_suffix('')}: {test}")
    return found


def marks_in(node: ast.AST, within: str = "") -> Iterator[tuple[str, str]]:
    """Yield each row with the test marked with it; a class counts as a test, marks of parameters as its test's."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            test = f"{within}{child.name.removeprefix('test_')}"
            for part in (part for decorator in child.decorator_list for part in ast.walk(decorator)):
                if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr == "node":
                    yield from ((ast.literal_eval(name), test) for name in part.args)
            if isinstance(child, ast.ClassDef):
                yield from marks_in(child, f"{test}.")


def page(found: list[Row]) -> str:
    """Return the page."""
    counts = Counter(row.state for row in found)
    lines = [HEAD, "| | rows |", "|---|--:|", *(f"| {title} | {counts[state]} |" for state, title in STATES.items())]
    lines.append(f"| total | {len(found)} |")
    subject = ""
    for row in found:
        if row.subject != subject:
            subject = row.subject
            lines += ["", f"## {subject}", "", "| Node's test | asserts | our tests |", "|---|---|---|"]
        lines.append(f"| `{row.name}` | {row.asserts} | {our_tests(row)} |")
    return "\n".join(lines) + "\n"


def changes_page(found: list[Row]) -> str:
    """Return the page for users, without rows that only refer to the row above."""
    lines = [CHANGES_HEAD.rstrip()]
    for state, title in (("changed", "Changed on purpose"), ("left_out", "Left out")):
        rows = [row for row in found if row.state == state and "the same" not in {row.asserts, row.reason}]
        lines += ["", f"## {title}", "", "| in Node | in tlsio |", "|---|---|"]
        lines += [f"| {row.asserts} | {row.reason} |" for row in rows]
    return "\n".join(lines) + "\n"


def our_tests(row: Row) -> str:
    """Return a row's last cell: its state if there is a reason, and the tests by file."""
    files: dict[str, list[str]] = {}
    for test in row.tests:
        file, _, name = test.partition(": ")
        files.setdefault(file, []).append(f"`{name}`")
    state = [f"**{STATES[row.state]}**: {row.reason}"] if row.reason else []
    return ". ".join(state + [f"{file}: {', '.join(names)}" for file, names in files.items()])


def main() -> None:
    """Write the page, or exit with the contradictions."""
    marks = marks_of(ROOT / "tests")
    found = rows((ROOT / "tests" / "node_rows.toml").read_text(encoding="utf-8"), marks)
    if wrong := problems(found, marks):
        sys.exit("\n".join(wrong))
    PAGE.write_text(page(found), encoding="utf-8")
    CHANGES_PAGE.write_text(changes_page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
