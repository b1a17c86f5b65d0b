"""The package as a user gets it: a wheel that was built from the sdist, in an environment of its own."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Package:
    """What was built, and the interpreter of the environment that the wheel was installed in."""

    sdist: Path
    wheel: Path
    python: Path


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Build and install once per run of the tests, also when several processes run them."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "package"
    with (shared / "package.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            build(folder)
            (folder / "complete").touch()
    [sdist] = folder.glob("dist/*.tar.gz")
    [wheel] = folder.glob("dist/*.whl")
    return Package(sdist, wheel, folder / "venv" / "bin" / "python")


def build(folder: Path) -> None:
    """Build the sdist, the wheel from it, and an environment with that wheel; nothing is fetched."""
    succeed("build", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT))
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    [wheel] = folder.glob("dist/*.whl")
    succeed("pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps", str(wheel))
    # The dependencies are those of the environment that runs the tests; tlsio itself is not in its site-packages.
    purelib = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True
    ).stdout.strip()
    Path(purelib, "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")


def succeed(*module: str) -> None:
    """Run a Python module as a program; fail with what it printed."""
    run = subprocess.run([sys.executable, "-m", *module], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
