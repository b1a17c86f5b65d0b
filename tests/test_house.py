"""The house rules: who may import whom, which words are too vague for a module, and what must not be written anywhere.

The floors are those of ARCHITECTURE.md. A file imports from its own folder or from a lower floor, never upward and never sideways.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tlsio

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "tlsio"

FLOORS = {
    "model": 0,
    "native": 1,
    "trust": 2,
    "session": 2,
    "connection": 3,
    "certs": 4,
    "interop": 4,
    "acme": 5,
    "probe": 5,
    "testing": 5,
    "https": 6,
    "cli": 7,
}
HIGHEST_EXPORTED = 3
# What each room of a folder, or file next to the rooms, may know. Lower ones know nothing of higher ones.
ROOMS = {
    "connection": {
        "tasks": 0,
        "waiters": 0,
        "drivers": 1,
        "emitter": 1,
        "revocation": 1,
        "context": 2,
        "handshake": 3,
        "socket": 4,
        "client": 5,
        "pair": 5,
        "server": 5,
        "asyncio_face": 6,
    },
    "acme": {
        "certbot_tree": 0,
        "loop_lock": 0,
        "client": 1,
        "storage": 1,
        "solvers": 2,
        "issuers": 3,
        "manager": 4,
        "plans": 5,
        "certbot": 6,
    },
    "https": {
        "address": 0,
        "asgi": 0,
        "host": 0,
        "limits": 0,
        "deadline": 1,
        "tls": 1,
        "plain_http": 2,
        "proxy": 2,
        "applications": 3,
        "protocols": 3,
        "layers": 4,
        "server": 5,
        "serve": 6,
        "process": 7,
    },
}
# Time, randomness and bytes are arguments down there; a module that cannot import these cannot fetch them itself.
NO_WORLD = {"asyncio", "http", "random", "secrets", "select", "selectors", "socket", "ssl", "subprocess", "threading", "time", "urllib"}
PURE = {"model", "trust"}
# Ways to another TLS library. `interop` works with libraries that name the standard library's `ssl`, and may look at it.
OTHER_TLS = {"OpenSSL", "_ssl", "cffi", "ctypes", "ssl"}
MAY_SEE_SSL = {"interop"}
CLOCKS = {"now", "today", "utcnow"}
VAGUE = {"common", "helper", "helpers", "misc", "util", "utils"}

TEXT_FOLDERS = ("src", "tests", "docs", "examples", "bench", "changes", "tools", ".ci")
TEXT_NAMES = {".gitattributes", ".gitignore", "Makefile", "run"}
TEXT_SUFFIXES = {".c", ".cfg", ".h", ".in", ".md", ".pxd", ".pxi", ".py", ".pyi", ".pyx", ".sh", ".toml", ".txt", ".yml"}
MACHINE_PATH = re.compile(r"(?<![\w./$}-])/(?:home|root|Users|work)/\w")


def modules() -> list[Path]:
    """Return every Python and Cython file of the package."""
    return [path for path in sorted(PACKAGE.rglob("*")) if path.suffix in {".py", ".pyi", ".pyx", ".pxi", ".pxd"}]


def folder(path: Path) -> str:
    """Return the floor's folder of a file, "" for the files beside the folders."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def floor(path: Path) -> int:
    """Return the floor of a file of the package."""
    return FLOORS[folder(path)] if folder(path) else {"__init__": HIGHEST_EXPORTED, "__main__": max(FLOORS.values())}[path.stem]


def imports(path: Path) -> Iterator[str]:
    """Yield the full dotted name of everything that a file imports, relative names resolved, wherever in the file it stands."""
    names = python_imports(path) if path.suffix in {".py", ".pyi"} else cython_imports(path)
    for name, level in names:
        if level:
            package = ("tlsio", *path.relative_to(PACKAGE).parts[:-1])
            yield ".".join((*package[: len(package) - level + 1], *filter(None, [name])))
        else:
            yield name


def python_imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each imported name with its number of leading dots."""
    return names_in(ast.parse(path.read_text(encoding="utf-8")))


def names_in(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield what the import statements below a node name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}" if node.module else alias.name, node.level) for alias in node.names)


def cython_imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each imported name with its number of leading dots; a search by line, for there is no parser to ask."""
    for found in re.finditer(r"^\s*(?:from|c?import)\s+(\.*)([\w.]*)", path.read_text(encoding="utf-8"), re.MULTILINE):
        yield found[2], len(found[1])


def foreign_packages(path: Path) -> set[str]:
    """Return the outside packages that a file loads; what it names for its annotations only does not count."""
    if path.suffix == ".pyi":
        return set()
    found = {name.partition(".")[0] for name in imports(path)}
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                found -= {name.partition(".")[0] for name, _ in names_in(node)}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
class TestModule:
    """Rules that hold for each file of the package."""

    def test_lives_on_a_known_floor(self, path: Path) -> None:
        """A folder without a floor is a folder without rules."""
        assert folder(path) in {"", *FLOORS}

    def test_imports_downward_or_from_its_own_folder(self, path: Path) -> None:
        """If something from above is needed, it stands on the wrong floor, or a value has to be passed in."""
        for name in imports(path):
            package, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if package == "tlsio" and target in FLOORS and target != folder(path):
                allowed = floor(path) if not folder(path) else floor(path) - 1
                assert FLOORS[target] <= allowed, f"{folder(path) or path.stem} imports {name}"

    def test_imports_from_lower_rooms(self, path: Path) -> None:
        """So there is no circle among them."""
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] not in ROOMS or parts[1] == "__init__":
            return
        rooms = ROOMS[parts[0]]
        for name in imports(path):
            names = name.split(".")
            if names[:2] == ["tlsio", parts[0]] and names[2] != parts[1]:
                assert rooms[names[2]] < rooms[parts[1]], f"{parts[1]} imports {name}"

    def test_imports_no_other_tls_library(self, path: Path) -> None:
        """Only `native` knows libssl, and it is the one that we link."""
        if folder(path) not in MAY_SEE_SSL:
            assert not foreign_packages(path) & OTHER_TLS

    def test_declares_no_openssl_outside_native(self, path: Path) -> None:
        """OpenSSL's headers are declared in one place."""
        assert folder(path) == "native" or not re.search(r"extern\s+from\s+.<?openssl/", path.read_text(encoding="utf-8"))

    def test_pure_floors_know_no_world(self, path: Path) -> None:
        """`model` and `trust` know no sockets, no loop, no clock and no chance."""
        if folder(path) in PURE:
            assert not foreign_packages(path) & NO_WORLD

    def test_pure_floors_read_no_clock(self, path: Path) -> None:
        """`datetime` is a value there; the time of day is an argument."""
        if folder(path) in PURE and path.suffix == ".py":
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            called = [node.func for node in nodes if isinstance(node, ast.Call)]
            assert not [ast.unparse(call) for call in called if isinstance(call, ast.Attribute) and call.attr in CLOCKS]

    def test_reads_the_environment_in_one_place(self, path: Path) -> None:
        """There it is ignored for programs that have more rights than the user who started them."""
        if path != PACKAGE / "model" / "environment.py":
            assert not re.search(r"\bos\.environ|\bgetenv\b|\bimport .*\benviron\b", path.read_text(encoding="utf-8"))

    def test_marks_each_look_into_another_object(self, path: Path) -> None:
        """What objects share is declared. An exception stands on its line, with its reason."""
        assert not re.search(r"^# ruff: noqa(?:$|:.*\bSLF001\b)", path.read_text(encoding="utf-8"), re.MULTILINE)

    def test_is_a_noun_for_one_thing(self, path: Path) -> None:
        """A vague name collects what has no place."""
        assert path.stem not in VAGUE
        assert path.stem != "manager" or folder(path) == "acme"


def modules_after(source: str) -> set[str]:
    """Return the names of the modules that a new interpreter has loaded after it ran `source`."""
    program = f"import json, sys\n{source}\nprint(json.dumps(list(sys.modules)))"
    return set(json.loads(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout))


def test_import_tlsio_loads_no_more_than_the_defaults() -> None:
    """`import tlsio` checks the interpreter and the environment, and imports nothing that takes time."""
    loaded = modules_after("import tlsio")
    own = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("tlsio")}
    assert own == {"tlsio", "tlsio.model", "tlsio.native"}
    assert "tlsio.native._core" not in loaded
    assert loaded.isdisjoint({"asyncio", "ssl", "cryptography", "certifi", "logging"})


def test_the_exported_names_load_only_the_lower_floors() -> None:
    """The names of `tlsio` load no HTTP, no ACME and no command line."""
    loaded = modules_after("from tlsio import *")
    own = {name.split(".")[1] for name in loaded if name.startswith("tlsio.")}
    assert {name for name in own & FLOORS.keys() if FLOORS[name] > HIGHEST_EXPORTED} == set()
    assert {name.partition(".")[0] for name in loaded}.isdisjoint(
        {"acme", "aiohttp", "anyio", "click", "h11", "h2", "http", "httpcore", "httpx", "prometheus_client", "redis"}
    )


def test_clients_and_servers_do_not_load_x509_of_cryptography() -> None:
    """Importing it takes as long as all of asyncio, and only a program with objects of it needs it."""
    source = "import tlsio; tlsio.connect, tlsio.Server, tlsio.TLSSocket; tlsio.create_secure_context()"
    assert "cryptography.x509" not in modules_after(source)


def test_each_exported_name_is_imported_from_where_type_checkers_find_it() -> None:
    """The table that a program uses says the same as the imports that a type checker reads."""
    tree = ast.parse(Path(tlsio.__file__).read_text(encoding="utf-8"))
    [checked] = [node.body for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = {
        name.asname or name.name: (node.module, name.name) for node in checked if isinstance(node, ast.ImportFrom) for name in node.names
    }
    for name, (module, attribute) in imports.items():
        assert getattr(tlsio, name) is getattr(importlib.import_module(str(module)), attribute)
    assert {*imports, "constants", "defaults", "root_certificates", "__version__"} == set(tlsio.__all__)


@pytest.mark.parametrize(("module", "other"), [("httpx", "aiohttp"), ("aiohttp", "httpx")])
def test_interop_loads_one_library(module: str, other: str) -> None:
    """A program with one of them need not have the other."""
    source = f"import sys; sys.modules[{other!r}] = None; import tlsio.interop.{module}"
    subprocess.run([sys.executable, "-c", source], check=True)


def texts() -> Iterator[Path]:
    """Yield every text file of the project."""
    found = [*sorted(ROOT.iterdir()), *(path for name in TEXT_FOLDERS for path in sorted((ROOT / name).rglob("*")))]
    for path in found:
        if path.is_file() and (path.suffix in TEXT_SUFFIXES or path.name in TEXT_NAMES) and "_build" not in path.parts:
            yield path


def test_no_text_names_somebodys_machine() -> None:
    """A path below somebody's home means nothing to anyone else."""
    found = []
    for path in texts():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []
