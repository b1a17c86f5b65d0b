"""Sphinx configuration: Markdown through MyST, warnings are errors (`make docs`)."""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

project = "tlsio"
author = "the tlsio contributors"
copyright = "the tlsio contributors. Licence: Apache-2.0"
release = re.search(
    r'__version__ = "(.+)"',
    (DOCS.parent / "src/tlsio/__init__.py").read_text(encoding="utf-8"),
)[1]
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "anchors",
    "narrow",
    "root_pages",
]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = [
    "_build",
    "reference/node-parity.md",
]  # the latter is for the project: users have node-changes.md

# Docstrings put code between single backticks.
napoleon_custom_sections = [("Events", "params_style")]
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 85

html_theme = "furo"
html_title = f"tlsio {release}"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_copy_source = True
html_show_sourcelink = True
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
