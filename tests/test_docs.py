"""The documentation tells of every option, method, event, code and variable. test_pages.py runs its code."""

from __future__ import annotations

import dataclasses
import pickle
import re
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

import tlsio
import tlsio.acme
import tlsio.certs
import tlsio.https
import tlsio.testing
from tlsio.connection.pair import Cleartext, Encrypted
from tlsio.https.process.settings import Settings, Site
from tlsio.https.tls.client_identity import ClientIdentity
from tlsio.model import errors
from tlsio.model.codes import X509_CODES, x509_code
from tlsio.model.options.connect import ConnectOptionsDict
from tlsio.model.options.context import ContextOptionsDict
from tlsio.model.options.server import ServerOptionsDict
from tlsio.testing import plugin

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parent.parent


def definitions(page: str) -> set[str]:
    """Return the names that a page of the reference defines: a line that begins with them, and below it one that begins with a colon."""
    text = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    terms = re.findall(r"^((?:`\w+`(?:, )?)+)[^\n]*\n: ", text, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", "".join(terms)))


@pytest.mark.parametrize("options", [ContextOptionsDict, ServerOptionsDict, ConnectOptionsDict])
def test_every_option_stands_in_the_reference(options: type) -> None:
    """Each has a definition, whose name is its anchor on the site."""
    assert set(options.__annotations__) <= definitions("options.md")


@pytest.mark.parametrize("thing", [tlsio.Server, tlsio.TLSSocket])
def test_every_method_and_event_stands_in_the_reference(thing: type) -> None:
    """And the reference tells of none that is not there."""
    page = "server" if thing is tlsio.Server else "socket"
    reference = (ROOT / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
    names = {name for name in dir(thing) if not name.startswith("_") and hasattr(thing, name)}  # not other libraries' names
    assert names <= set(re.findall(r"\w+", reference))
    assert set(re.findall(rf"(?<!\w){page}\.(\w+)", reference)) <= names
    events = set(re.findall(r"`(\w+)`", reference))
    assert not thing._EVENTS - events  # type: ignore[attr-defined]


def test_every_call_of_a_pair_stands_in_the_reference() -> None:
    """Those of its ends that sockets do not have."""
    reference = (ROOT / "docs" / "reference" / "pair.md").read_text(encoding="utf-8")
    own = {name for thing in (Encrypted, Cleartext) for name in vars(thing) if not name.startswith("_") and hasattr(thing, name)}
    assert own <= set(re.findall(r"`(\w+)", reference))
    assert set(re.findall(r"`(\w+)`", reference)) >= Cleartext._EVENTS


def test_every_public_name_stands_in_the_reference() -> None:
    """What `import tlsio` gives."""
    reference = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    assert set(tlsio.__all__) <= set(re.findall(r"\w+", reference))


@pytest.mark.parametrize("module", [tlsio.certs, tlsio.testing])
def test_every_name_of_other_floors_stands_in_the_reference(module: ModuleType) -> None:
    """With signature and docstring; what is about files, on a page of its own."""
    folder = ROOT / "docs" / "reference"
    reference = "".join(page.read_text(encoding="utf-8") for page in folder.glob("*.md"))
    described = set(re.findall(r"`(\w+)", (folder / "certificate-files.md").read_text(encoding="utf-8")))
    assert set(module.__all__) <= set(re.findall(r"(?m)^\.\. auto\w+:: (\w+)$", reference)) | described


def test_every_option_of_https_stands_in_the_reference() -> None:
    """Of servers a definition; of limits, HSTS and the file a line in the table of its section."""
    text = (ROOT / "docs" / "reference" / "https.md").read_text(encoding="utf-8")
    own = {name for name, one in signature(tlsio.https.Server).parameters.items() if one.kind is not one.VAR_KEYWORD}
    assert own == definitions("https.md")
    sections = {part.partition("\n")[0].strip("`"): part for part in text.split("\n## ")}
    for title, kinds in {"Limits": [tlsio.https.Limits], "HSTS": [tlsio.https.HSTS], "The TOML file": [Settings, Site]}.items():
        fields = {field.name for kind in kinds for field in dataclasses.fields(kind)} - {"sites", "limits", "file"}
        firsts = re.findall(r"(?m)^\| (`[^|]*`) \|", sections[title])
        assert fields | ({"limits", "site"} if title == "The TOML file" else set()) == set(re.findall(r"\w+", " ".join(firsts)))


def test_every_name_of_https_stands_in_the_reference() -> None:
    """With what its objects have."""
    text = (ROOT / "docs" / "reference" / "https.md").read_text(encoding="utf-8")
    words = set(re.findall(r"`[^`]*`", text))
    names = set(re.findall(r"\w+", " ".join(words)))
    assert {*tlsio.https.__all__} <= names
    methods = {name for name in vars(tlsio.https.Server) if not name.startswith("_")}
    assert methods | {field.name for field in dataclasses.fields(ClientIdentity)} <= names


def test_every_name_of_the_acme_client_stands_in_the_reference() -> None:
    """With the methods of client and issuer."""
    text = (ROOT / "docs" / "reference" / "acme.md").read_text(encoding="utf-8")
    names = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]*`", text))))
    methods = {name for kind in (tlsio.acme.Client, tlsio.acme.ACMEIssuer) for name in vars(kind) if not name.startswith("_")}
    assert {name for name, home in tlsio.acme._HOMES.items() if home.startswith("tlsio.acme.client.")} | methods <= names


def test_every_fixture_has_a_line() -> None:
    """In the guide."""
    guide = (ROOT / "docs" / "how-to" / "testing.md").read_text(encoding="utf-8")
    assert {*plugin.__all__} <= set(re.findall(r"`(tlsio_\w+)`", guide))


def test_every_code_of_ours_stands_in_the_reference() -> None:
    """Programs compare them."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.p[yx]*") if path.suffix != ".pyc")
    reference = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    codes = set(re.findall(r'"(ERR_\w*|OCSP_\w*|E[A-Z]*(?:RESET|PIPE|OUT))"', sources)) | set(X509_CODES.values()) | {x509_code(-1)}
    assert codes <= set(re.findall(r"`(\w+)`", reference))


def test_every_exception_stands_in_the_reference() -> None:
    """Those that users meet are exported, under the name by which they are printed."""
    reference = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    kinds = [errors.TLSError]
    for kind in kinds:
        kinds += [one for one in kind.__subclasses__() if one.__module__.split(".")[0] == "tlsio"]
    assert all(getattr(tlsio, kind.__name__, None) is kind for kind in kinds)
    assert {kind.__name__ for kind in kinds} <= set(re.findall(r"`(\w+)`", reference))


def test_public_classes_are_of_the_package() -> None:
    """Tracebacks print `tlsio.CertificateError`, not the module that happens to have it."""
    public = [value for name in tlsio.__all__ if isinstance(value := getattr(tlsio, name), type)]
    assert {one.__module__ for one in public} == {"tlsio"}
    assert pickle.loads(pickle.dumps(tlsio.UsageTypeError("no"))).message == "no"  # noqa: S301 - our own


def test_every_variable_stands_in_the_reference() -> None:
    """And the reference names none that has no effect."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert set(re.findall(r'"(TLSIO_?[A-Z_]+|SSL(?:KEYLOGFILE|_CERT_[A-Z]+))"', sources)) == definitions("environment.md")


def test_code_fits_into_the_column_of_the_site() -> None:
    """So that readers need not scroll. `docs/_ext/narrow.py` looks at all that the site shows, which takes longer."""
    wide = []
    for page in (ROOT / "docs").rglob("*.md"):
        blocks = [token for token in MarkdownIt().parse(page.read_text(encoding="utf-8")) if token.type in {"fence", "code_block"}]
        wide += [f"{page.name}: {line}" for block in blocks for line in block.content.splitlines() if len(line) > 85]
    assert not wide


def test_every_module_of_the_lower_floors_stands_in_the_architecture() -> None:
    """It says which file a change belongs to."""
    architecture = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    modules = {path.name for floor in ("model", "trust", "session") for path in (ROOT / "src" / "tlsio" / floor).rglob("*.py")}
    assert modules - {"__init__.py"} <= set(re.findall(r"`(?:options/)?(\w+\.py)`", architecture))
