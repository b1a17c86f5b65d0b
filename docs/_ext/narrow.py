"""Warns where a page does not fit its column: long lines of code, wide tables, definitions that were not recognised."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# Characters that the theme's column shows at 1280 px: of code, and of a table with its padding.
CODE = 85
TABLE = 85
# Signatures of the package, and pages of the project that are read in the sources.
WIDE = ("reference/api", "project/")
_log = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at each page when its links are resolved."""
    app.connect("doctree-resolved", _look)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _look(_app: Sphinx, doctree: nodes.document, page: str) -> None:
    for node in doctree.findall(nodes.literal_block):
        width = max(map(len, node.astext().splitlines()), default=0)
        if width > CODE and not page.startswith(WIDE):
            _log.warning("code is wider than %s characters", CODE, location=node)
    for node in doctree.findall(nodes.table):
        if (width := _narrowest(node)) > TABLE:
            _log.warning(
                "the table needs at least %s characters, and has %s",
                width,
                TABLE,
                location=node,
            )
    for node in doctree.findall(nodes.paragraph):
        if re.match(r"[^\n]+\n: ", node.astext()):
            _log.warning(
                "a definition was not recognised: %.60s",
                node.astext(),
                location=node,
            )


def _narrowest(table: nodes.table) -> int:
    """Return the characters that a table needs when cells are broken at spaces, and long names in code anywhere."""
    rows = [
        [_longest_word(cell) for cell in row.findall(nodes.entry)]
        for row in table.findall(nodes.row)
    ]
    return sum(max(column) + 2 for column in zip(*rows, strict=True))


def _longest_word(cell: nodes.entry) -> int:
    plain = " ".join(
        text.astext()
        for text in cell.findall(nodes.Text)
        if not isinstance(text.parent, nodes.literal)
    )
    code = " ".join(literal.astext() for literal in cell.findall(nodes.literal))
    return (
        max(map(len, plain.split()), default=0)
        if not code
        else max(15, *map(len, plain.split()), 0)
    )
