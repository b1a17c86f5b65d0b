"""Free-threaded interpreters: the extension has not declared that it works without the lock."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

import pytest

from tlsio.native import require_lock

is_free_threaded = pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python always has its lock")


def test_a_lock_that_stays_off_is_refused() -> None:
    """The message says what to change."""
    with pytest.raises(ImportError, match=r"PYTHON_GIL"):
        require_lock(0)


@pytest.mark.parametrize("gil", [None, 1])
def test_a_lock_that_is_on_or_may_be_turned_on_is_accepted(gil: int | None) -> None:
    """None is what an interpreter says that was told nothing, and what we make of one that has no such flag."""
    require_lock(gil)


@is_free_threaded
def test_the_import_turns_the_lock_on_with_a_warning() -> None:
    """Python itself says so, with the name of the module."""
    done = _import(PYTHON_GIL=None)
    assert done.stdout == "True\n"
    assert "RuntimeWarning" in done.stderr
    assert "tlsio.native._core" in done.stderr


@is_free_threaded
def test_the_import_fails_where_the_lock_has_to_stay_off() -> None:
    """Before anything of the extension is loaded."""
    done = _import(PYTHON_GIL="0")
    assert done.returncode == 1
    assert "ImportError: tlsio needs the global interpreter lock" in done.stderr


def _import(**variables: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in (os.environ | variables).items() if value is not None}
    code = "import sys, tlsio; print(sys._is_gil_enabled())"
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment)
