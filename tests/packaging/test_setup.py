"""A build that lacks something ends with one sentence that says what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(folder: Path, prelude: str = "", **environment: str) -> str:
    """Build the extension from `folder`, which must fail; return the last line that it prints."""
    arguments = ["setup.py", "-q", "build_ext", "--build-lib", str(folder), "--build-temp", str(folder)]
    program = f"import runpy, sys; sys.argv = {arguments}; {prelude}\nrunpy.run_path('setup.py', run_name='__main__')"
    complete = {name: value for name, value in os.environ.items() if name != "CC"} | environment
    run = subprocess.run([sys.executable, "-c", program], env=complete, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    return run.stderr.splitlines()[-1]


def tool(folder: Path, name: str, script: str) -> str:
    """Put a program of that name alone into a folder; return the folder as a PATH."""
    path = folder / "tools" / name
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path.parent)


@pytest.mark.slow
class TestMissing:
    """What a machine may lack; each test runs a build."""

    def test_compiler(self, tmp_path: Path) -> None:
        """PATH does not hold the compiler that Python was built with."""
        said = build(tmp_path, PATH=str(tmp_path))
        assert said.startswith("tlsio needs a C compiler and ")
        assert "was not found; install one (apt-get install gcc libc6-dev," in said

    def test_named_compiler(self, tmp_path: Path) -> None:
        """CC names a compiler that is not installed."""
        assert "tlsio needs a C compiler and no-such-cc was not found" in build(tmp_path, CC="no-such-cc")

    def test_headers_of_the_c_library(self, tmp_path: Path) -> None:
        """On Debian they are a package of their own: the compiler runs and cannot compile anything."""
        path = tool(tmp_path, "bare-cc", "echo 'stdlib.h: No such file or directory' >&2; exit 1")
        said = build(tmp_path, PATH=f"{path}:{os.environ['PATH']}", CC="bare-cc")
        assert "bare-cc cannot compile a file that includes stdlib.h; install the compiler with the C library's headers" in said

    def test_python_headers(self, tmp_path: Path) -> None:
        """Most distributions install Python without them."""
        prelude = f"import sysconfig; sysconfig.get_path = lambda name: {str(tmp_path)!r}"
        said = build(tmp_path, prelude)
        assert said.startswith(
            f"tlsio needs Python's headers and {tmp_path}/Python.h does not exist; install them (apt-get install python3-dev,"
        )

    def test_pkg_config(self, tmp_path: Path) -> None:
        """Without it the build does not know where OpenSSL is."""
        said = build(tmp_path, PATH=tool(tmp_path, "cc", "exit 0"), CC="cc", TLSIO_OPENSSL="")
        assert said.startswith("tlsio needs pkg-config to find OpenSSL; install it (apt-get install pkg-config,")

    def test_openssl_headers(self, tmp_path: Path) -> None:
        """The development package of OpenSSL is not installed."""
        said = build(tmp_path, PKG_CONFIG_LIBDIR=str(tmp_path), TLSIO_OPENSSL="")
        assert said.startswith("tlsio needs OpenSSL's headers and pkg-config found none; install them (apt-get install libssl-dev,")

    def test_new_enough_openssl(self, tmp_path: Path) -> None:
        """The system's OpenSSL is older than 3.0."""
        (tmp_path / "openssl.pc").write_text("Name: OpenSSL\nDescription: TLS\nVersion: 1.1.1w\n", encoding="utf-8")
        said = build(tmp_path, PKG_CONFIG_LIBDIR=str(tmp_path), TLSIO_OPENSSL="")
        assert said == "tlsio needs OpenSSL 3.0.0 or newer and pkg-config found 1.1.1w; set TLSIO_OPENSSL=/prefix to use another."

    def test_openssl_below_a_prefix(self, tmp_path: Path) -> None:
        """The prefix lacks headers, then libraries, then has headers that are too old."""
        headers = tmp_path / "include" / "openssl"
        said = build(tmp_path, TLSIO_OPENSSL=str(tmp_path))
        assert said.startswith(f"TLSIO_OPENSSL={tmp_path} does not hold include/openssl/ssl.h;")
        headers.mkdir(parents=True)
        (headers / "ssl.h").touch()
        (headers / "opensslv.h").write_text('#define OPENSSL_VERSION_TEXT "OpenSSL 1.1.1w"\n', encoding="utf-8")
        assert build(tmp_path, TLSIO_OPENSSL=str(tmp_path)).startswith(f"TLSIO_OPENSSL={tmp_path} holds libssl.a or libssl.so neither")
        (tmp_path / "lib").mkdir()
        (tmp_path / "lib" / "libssl.so").touch()
        assert f"OpenSSL 3.0.0 or newer and the headers in {tmp_path}/include are older" in build(tmp_path, TLSIO_OPENSSL=str(tmp_path))

    def test_cython(self, tmp_path: Path) -> None:
        """A build without isolation needs the build tools in the environment."""
        said = build(tmp_path, "sys.modules['Cython.Build'] = None", CC="true")
        assert said.startswith("tlsio needs Cython and this Python has none; pip install 'Cython>=3.1'")
