"""The package as a user gets it: what is in it, its version, and its types under mypy and pyright."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tlsio

if TYPE_CHECKING:
    from conftest import Package

pytestmark = pytest.mark.slow  # building takes more than a minute

PROGRAM = Path(__file__).parents[1] / "typing" / "api.py"
# Each `type: ignore` in the program stands at a mistake: one that a checker does not see is an error as well.
PYRIGHT = {"typeCheckingMode": "strict", "reportUnnecessaryTypeIgnoreComment": "error"}


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`, without the settings that show Python another tlsio."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "MYPYPATH"}}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def user(tmp_path: Path, package: Package) -> Path:
    """A folder with a user's program, outside the project and its settings."""
    shutil.copy(PROGRAM, tmp_path / "program.py")
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(PYRIGHT), encoding="utf-8")
    where = run(tmp_path, package.python, "-c", "import tlsio; print(tlsio.__file__)").stdout
    assert where.startswith(str(package.python.parents[1]))
    return tmp_path


def test_mypy_checks_a_program(user: Path, package: Package) -> None:
    """It takes the types from the installed wheel, and sees the mistakes."""
    checked = run(user, sys.executable, "-m", "mypy", "--strict", "--python-executable", package.python, "program.py")
    assert checked.stdout == "Success: no issues found in 1 source file\n"


def test_pyright_checks_a_program(user: Path, package: Package) -> None:
    """And so does the other checker, in its strict mode."""
    checked = run(user, sys.executable, "-m", "pyright", "--pythonpath", package.python, "program.py")
    assert checked.stdout.splitlines()[-1] == "0 errors, 0 warnings, 0 informations", checked.stdout


def test_every_public_name_has_a_type(user: Path, package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pyright judges the package as a whole; for this it asks the first `python` on PATH."""
    monkeypatch.setenv("PATH", f"{package.python.parent}{os.pathsep}{os.environ['PATH']}")
    checked = run(user, sys.executable, "-m", "pyright", "--ignoreexternal", "--verifytypes", "tlsio").stdout
    assert 'Symbols exported by "tlsio": 0' not in checked
    assert re.findall(r"With unknown type: (\d+)", checked) == ["0", "0"], checked


def test_wheel_holds_what_a_user_needs(package: Package) -> None:
    """The types, the licence, and the version that the module tells."""
    with zipfile.ZipFile(package.wheel) as wheel:
        names = set(wheel.namelist())
        info = f"tlsio-{tlsio.__version__}.dist-info"
        metadata = wheel.read(f"{info}/METADATA").decode()
    assert {"tlsio/py.typed", "tlsio/native/_core.pyi", f"{info}/licenses/LICENSE"} <= names
    assert not [name for name in names if not name.startswith(("tlsio/", info))]
    for line in (f"Version: {tlsio.__version__}", "License-Expression: Apache-2.0", "Author: tlsio contributors"):
        assert line in metadata.splitlines()


def test_sdist_holds_the_project(package: Package) -> None:
    """The engine, the tests and the documents, nothing that was built."""
    with tarfile.open(package.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"CHANGELOG.md", "LICENSE", "SECURITY.md", "Makefile", "src/tlsio/native/engine/engine.h", "tests/conftest.py"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc", ".o")) or name.startswith("build/")]


def test_installing_the_sdist_says_what_is_missing(tmp_path: Path, package: Package) -> None:
    """Pip prints what the build said."""
    (tmp_path / "bin").mkdir()
    pip = ("pip", "--python", str(package.python), "install", "--no-index", "--no-deps", "--no-build-isolation", "--force-reinstall")
    environment = os.environ | {"PATH": str(tmp_path / "bin"), "CC": "cc"}
    installed = subprocess.run([sys.executable, "-m", *pip, package.sdist], env=environment, capture_output=True, text=True, check=False)
    assert installed.returncode == 1
    assert "tlsio needs a C compiler and cc was not found; install one" in installed.stderr
