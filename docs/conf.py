"""Sphinx configuration: Markdown through MyST, warnings are errors (`make docs`)."""

project = "tlsio"
copyright = "the tlsio contributors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "tlsio"
myst_heading_anchors = 3
