"""Takes pages of the project's root into the site: `docs/project/security.md` holds the name of the file alone, `SECURITY.md`.

Their links are written for the root. Those to a page of the site lead there; those to other files lose the link.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]


def setup(app: Sphinx) -> dict[str, Any]:
    """Replace the source of such pages when it is read."""
    app.connect("source-read", _read)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    name = source[0].strip()
    if page.startswith("project/") and re.fullmatch(r"\w+\.md", name):
        app.env.note_dependency(str(ROOT / name))
        text = (ROOT / name).read_text(encoding="utf-8")
        source[0] = re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", _link, text)


def _link(found: re.Match[str]) -> str:
    text, target = found.groups()
    file, _, anchor = target.partition("#")
    here = (
        f"project/{file.lower()}" if "/" not in file else file.removeprefix("docs/")
    )
    if "://" in target:
        return found[0]
    if file.endswith(".md") and (ROOT / "docs" / here).exists():
        return f"[{text}](/{here}{'#' if anchor else ''}{anchor})"
    return text
