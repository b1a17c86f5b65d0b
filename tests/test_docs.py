"""The documentation tells of every option, and its Python at least compiles."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tlsio.model.options import ConnectOptionsDict, ContextOptionsDict, ServerOptionsDict

ROOT = Path(__file__).parent.parent
# Their code lists signatures and is read by people only.
SIGNATURES = {"module.md", "server.md", "socket.md"}
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in SIGNATURES)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_in_a_page_compiles(page: Path) -> None:
    """A reader copies it; `await` may stand alone."""
    for source in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("options", [ContextOptionsDict, ServerOptionsDict, ConnectOptionsDict])
def test_every_option_stands_in_the_reference(options: type) -> None:
    """No option without a line in the reference."""
    reference = (ROOT / "docs" / "reference" / "options.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in reference.splitlines() if line.startswith("| `"))))
    assert set(options.__annotations__) <= named
