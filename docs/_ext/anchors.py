"""Gives each entry of the reference an anchor: a definition, or a row of a table, that begins with a name in code.

The anchor is the name itself, so `options.md#request_cert` and `errors.md#CERT_REVOKED` can be linked to. A second definition of a
name gets the heading above it in front: `options.md#clients-fetch_crl`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

# The first column of their tables holds names of Node, or of systems.
_WITHOUT_ENTRIES = {
    "reference/node-changes",
    "reference/node-names",
    "reference/systems",
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the transform to the build."""
    app.add_transform(AddAnchors)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


class AddAnchors(SphinxTransform):
    """Put a target before the first cell or term of each entry."""

    default_priority = 750  # after MyST has added the anchors of headings, before it resolves links (879)

    def apply(self, **_: Any) -> None:
        """Add the anchors to the page, and to those that MyST finds for a link."""
        page = self.env.docname
        if not page.startswith("reference/") or page in _WITHOUT_ENTRIES:
            return
        taken = {
            identifier
            for node in self.document.findall(nodes.Element)
            for identifier in node["ids"]
        }
        slugs = {}
        # Definitions first: a table that mentions an option is not the option's entry.
        for entry in [*_terms(self.document), *_first_cells(self.document)]:
            for name in _names(entry):
                is_definition = isinstance(entry, nodes.term)
                anchor = (
                    f"{_heading(entry)}-{name}"
                    if is_definition and name in taken
                    else name
                )
                if anchor in taken:
                    continue
                taken.add(anchor)
                slugs[anchor] = (entry.line or 0, anchor, name)
                entry.insert(0, nodes.target("", "", ids=[anchor]))
                if is_definition:
                    entry.append(
                        nodes.raw(
                            "",
                            f'<a class="headerlink" href="#{anchor}" title="Link to {name}">¶</a>',
                            format="html",
                        )
                    )
        self.document.myst_slugs.update(slugs)
        self.env.metadata[page].setdefault("myst_slugs", {}).update(slugs)


def _terms(document: nodes.document) -> Iterator[nodes.Element]:
    yield from document.findall(nodes.term)


def _first_cells(document: nodes.document) -> Iterator[nodes.Element]:
    for row in document.findall(nodes.row):
        if len(row[0]) and isinstance(row[0][0], nodes.paragraph):
            yield row[0][0]


def _names(entry: nodes.Element) -> list[str]:
    """Return the names in code that an entry begins with, separated by commas."""
    names = []
    for node in entry:
        if isinstance(node, nodes.literal):
            names += re.findall(r"^\w+", node.astext())
        elif node.astext().strip() != ",":
            break
    return names


def _heading(entry: nodes.Element) -> str:
    section = entry.parent
    while not isinstance(section, nodes.section):
        section = section.parent
    return str(section["ids"][0])
