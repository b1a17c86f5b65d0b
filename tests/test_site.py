"""The site: every page is built without a warning, and the reference can be linked to."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tlsio
from tlsio.model.options.connect import ConnectOptionsDict
from tlsio.model.options.context import ContextOptionsDict
from tlsio.model.options.server import ServerOptionsDict

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow
# TypedDicts of options, which the page of options explains.
VALUES = {"tlsio.ConnectOptions", "tlsio.ContextOptions", "tlsio.ServerOptions"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it. The extensions in docs/_ext warn of code and tables that are too wide, and of definitions that do not render."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(ROOT / "docs"), str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return folder


def anchors(site: Path, page: str) -> set[str]:
    """Return the ids of a page."""
    return set(re.findall(r'\bid="([^"]+)"', (site / f"{page}.html").read_text(encoding="utf-8")))


def headings(text: str) -> set[str]:
    """Return the anchors of a document's headings, as code hosts make them."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "bench/README.md"])
def test_links_of_documents_outside_the_site(site: Path, document: str) -> None:
    """Sphinx checks those between the pages."""
    text = (ROOT / document).read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?![a-z]+:)([^)#]*)#?([^)]*)\)", text):
        path = ROOT / document if not target else (ROOT / document).parent / target
        assert path.exists(), target
        if anchor and path.is_relative_to(ROOT / "docs"):
            assert anchor in anchors(site, str(path.relative_to(ROOT / "docs").with_suffix(""))), f"{target}#{anchor}"
        elif anchor:
            assert anchor in headings(path.read_text(encoding="utf-8")), f"{target}#{anchor}"


@pytest.mark.parametrize("options", [ContextOptionsDict, ServerOptionsDict, ConnectOptionsDict])
def test_each_option_has_an_anchor(site: Path, options: type) -> None:
    """Its own name."""
    assert set(options.__annotations__) <= anchors(site, "reference/options")


@pytest.mark.parametrize("thing", [tlsio.Server, tlsio.TLSSocket])
def test_each_event_has_an_anchor(site: Path, thing: type) -> None:
    """On the page of its emitter."""
    page = "server" if thing is tlsio.Server else "socket"
    assert anchors(site, f"reference/{page}") >= thing._EVENTS  # type: ignore[attr-defined]


def test_each_error_code_has_an_anchor(site: Path) -> None:
    """Those of ours, and Node's that the page lists."""
    text = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    rows = [*re.findall(r"^\| (`[^|]+)\|", text, re.MULTILINE), *re.findall(r"^(`.+)\n: ", text, re.MULTILINE)]
    codes = {code for row in rows for code in re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`", row)}
    assert codes
    assert codes <= anchors(site, "reference/errors")


def test_the_api_is_in_the_inventory(site: Path) -> None:
    """So that other projects can link to it."""
    listed = subprocess.run(
        [sys.executable, "-m", "sphinx.ext.intersphinx", str(site / "objects.inv")], capture_output=True, text=True, check=True
    )
    assert {f"tlsio.{name}" for name in tlsio.__all__ if callable(getattr(tlsio, name))} - VALUES <= set(listed.stdout.split())
