"""Move the fragments of changes/ into CHANGELOG.md, under the version that the package has.

`make changelog` runs this before a release. The section of the version is made when it does not exist, and added to when it does.
The lines stay as the fragments' authors wrote them: whoever releases puts those of one subject together.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parent.parent
KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")


def main() -> None:
    """Collect the fragments and remove their files."""
    files = fragments(ROOT / "changes")
    changelog = ROOT / "CHANGELOG.md"
    entries = [(kind(path), path.read_text(encoding="utf-8")) for path in files]
    changelog.write_text(collect(changelog.read_text(encoding="utf-8"), version(), entries), encoding="utf-8")
    for path in files:
        path.unlink()
    sys.stdout.write(f"{len(files)} fragments moved to CHANGELOG.md\n")


def fragments(folder: Path) -> list[Path]:
    """Return the fragments of a folder in the order of their numbers."""
    return sorted(path for path in folder.glob("*.md") if path.name != "README.md")


def kind(path: Path) -> str:
    """Return the kind of change that a fragment's name tells.

    Raises:
        SystemExit: the name is not of the form NNN.kind.md.
    """
    number, _, rest = path.name.partition(".")
    found = rest.removesuffix(".md")
    if not number.isdecimal() or found not in KINDS:
        raise SystemExit(f"changes/{path.name}: name it NNN.kind.md, where kind is one of {', '.join(KINDS)}")
    return found


def version() -> str:
    """Return the version of the package, without importing it."""
    module = ast.parse((ROOT / "src" / "tlsio" / "__init__.py").read_text(encoding="utf-8"))
    [value] = [node.value for node in module.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"]
    return str(ast.literal_eval(value))


def collect(changelog: str, release: str, entries: Iterable[tuple[str, str]]) -> str:
    """Return the changelog with each entry, a kind and a text, under its kind in the section of a release."""
    head, *sections = changelog.rstrip().split("\n## ")
    if not sections or title(sections[0]) != release:
        sections.insert(0, release)
    name, *groups = sections[0].split("\n### ")
    found = {title(group).lower(): group.rstrip() for group in groups}
    for entry_kind, text in entries:
        group = found.get(entry_kind, f"{entry_kind.capitalize()}\n")
        found[entry_kind] = group + "\n- " + text.strip().replace("\n", "\n  ")
    sections[0] = "\n\n### ".join([name.rstrip(), *(found[one] for one in KINDS if one in found)])
    return "\n\n## ".join(section.rstrip() for section in (head, *sections)) + "\n"


def title(section: str) -> str:
    """Return the first word of a section: its version or kind, without a date after it."""
    return section.split(maxsplit=1)[0]


if __name__ == "__main__":
    main()
