"""Sphinx configuration: Markdown through MyST, warnings are errors (`make docs`)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "tlsio"
copyright = "the tlsio contributors"
extensions = ["myst_parser", "anchors"]
myst_enable_extensions = ["deflist"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "tlsio"
myst_heading_anchors = 3
