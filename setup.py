"""Build the native extension: every C file of the engine plus the Cython binding, linked with OpenSSL.

Which OpenSSL: `TLSIO_OPENSSL=/prefix` when set, otherwise what `pkg-config openssl` finds (3.0 or newer).
`TLSIO_WERROR=1` turns the engine's warnings into errors. `TLSIO_PORTABLE=1`, and any system but Linux: without the driver that needs
epoll. Everything else about the project is in pyproject.toml.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError
from setuptools.modified import newer_group

NATIVE = Path("src/tlsio/native")
ENGINE = NATIVE / "engine"
REACTOR = {"reactor.c", "deadlines.c", "notices.c", "linger.c", "threads.c"}  # what needs epoll
OLDEST_OPENSSL = "3.0.0"

# What to install, by the commands of the usual distributions.
COMPILER = "apt-get install gcc libc6-dev, dnf install gcc, or apk add gcc musl-dev"
PYTHON_HEADERS = "apt-get install python3-dev, dnf install python3-devel, or apk add python3-dev"
PKG_CONFIG = "apt-get install pkg-config, dnf install pkgconf, or apk add pkgconf"
OPENSSL_HEADERS = "apt-get install libssl-dev, dnf install openssl-devel, or apk add openssl-dev"

COMMON_FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"]
# Cython's output keeps parameters that it does not use and compares with both signs; neither is ours to change.
BINDING_FLAGS = [*COMMON_FLAGS, "-Wno-unused-parameter", "-Wno-sign-compare", "-Wno-missing-field-initializers"]
STRICT_FLAGS = ["-Wconversion", "-Werror"]

CYTHON_DIRECTIVES = {"language_level": "3", "embedsignature": False}


def main() -> None:
    """Describe the one extension; everything static stands in pyproject.toml."""
    core = Extension(
        "tlsio.native._core",
        sources=[str(NATIVE / "_core.pyx")],
        depends=sorted(str(path) for pattern in ("*.pyx", "*.pxi", "*.pxd", "engine/**/*.[ch]") for path in NATIVE.glob(pattern)),
    )
    setup(ext_modules=[core], cmdclass={"build_ext": BuildNative})


class BuildNative(build_ext):
    """Compile the engine with its own warnings, then the binding, and link both with the chosen OpenSSL.

    OpenSSL is looked for here and not at import, so that an sdist can be made where no OpenSSL is installed.
    """

    def build_extension(self, ext: Extension) -> None:
        self._require_compiler()
        require_python_headers()
        openssl = find_openssl()
        ext.depends.append(self._record(openssl))
        if not self.force and not newer_group([*ext.sources, *ext.depends], self.get_ext_fullpath(ext.name)):
            return
        ext.include_dirs = [str(ENGINE), *openssl.include_dirs]
        ext.define_macros = [("TIO_PORTABLE", "1")] if is_portable() else []
        ext.extra_objects = [*self._compile_engine(ext), *openssl.static_libraries]
        ext.extra_compile_args = BINDING_FLAGS
        ext.extra_link_args = openssl.link_args
        ext.sources = self._translate(ext)
        super().build_extension(ext)

    def _require_compiler(self) -> None:
        """Stop when there is no C compiler, or when it finds no headers of the C library: a package of its own on Debian."""
        command = self.compiler.compiler_so[0]
        if shutil.which(command) is None:
            raise SystemExit(f"tlsio needs a C compiler and {command} was not found; install one ({COMPILER}), or name another with CC=.")
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "smallest.c")
            source.write_text("#include <stdlib.h>\n", encoding="utf-8")
            try:
                self.compiler.compile([str(source)], output_dir=folder)
            except CompileError as error:
                raise SystemExit(
                    f"tlsio needs a C compiler and {command} cannot compile a file that includes stdlib.h; "
                    f"install the compiler with the C library's headers ({COMPILER}), or name another with CC=."
                ) from error

    def _record(self, openssl: OpenSSL) -> str:
        """Keep what is linked in a file the extension depends on: another OpenSSL then means another build."""
        record = Path(self.build_temp, "openssl.txt")
        record.parent.mkdir(parents=True, exist_ok=True)
        text = f"{openssl}\n{os.environ.get('TLSIO_WERROR', '')}\n{is_portable()}\n"
        if not record.exists() or record.read_text(encoding="utf-8") != text:
            record.write_text(text, encoding="utf-8")
        return str(record)

    def _compile_engine(self, ext: Extension) -> list[str]:
        strict = STRICT_FLAGS if os.environ.get("TLSIO_WERROR") == "1" else []
        return self.compiler.compile(
            engine_sources(portable=is_portable()),
            output_dir=self.build_temp,
            macros=ext.define_macros,
            include_dirs=ext.include_dirs,
            extra_postargs=[*COMMON_FLAGS, *strict],
        )

    def _translate(self, ext: Extension) -> list[str]:
        try:
            from Cython.Build import cythonize  # noqa: PLC0415 - an sdist is made without it
        except ImportError as error:
            raise SystemExit(
                "tlsio needs Cython and this Python has none; pip install 'Cython>=3.1', or build without --no-build-isolation."
            ) from error

        [translated] = cythonize(
            [Extension(ext.name, ext.sources)],
            build_dir=self.build_temp,
            compiler_directives=CYTHON_DIRECTIVES,
            force=self.force,
        )
        return translated.sources


def is_portable() -> bool:
    """Whether to leave out the driver that needs epoll."""
    return sys.platform != "linux" or os.environ.get("TLSIO_PORTABLE") == "1"


def engine_sources(*, portable: bool) -> list[str]:
    """Return the C files of the engine; `portable`: those that do without epoll."""
    sources = set(ENGINE.glob("*.c"))
    if portable:
        sources = {path for path in sources if path.name not in REACTOR} | {ENGINE / "portable" / "reactor.c"}
    return sorted(map(str, sources))


@dataclass(frozen=True)
class OpenSSL:
    """Where the headers and the libraries of one OpenSSL are."""

    version: str
    include_dirs: list[str]
    static_libraries: list[str]
    link_args: list[str]


def find_openssl() -> OpenSSL:
    """Return the OpenSSL to link; stop with the name of the missing package when there is none."""
    prefix = os.environ.get("TLSIO_OPENSSL")
    return openssl_below(Path(prefix)) if prefix else openssl_of_system()


def openssl_below(prefix: Path) -> OpenSSL:
    """Use the OpenSSL under `prefix`: statically when it has static libraries, by rpath otherwise."""
    headers = prefix / "include"
    if not (headers / "openssl" / "ssl.h").is_file():
        raise SystemExit(f"TLSIO_OPENSSL={prefix} does not hold include/openssl/ssl.h; set it to the prefix that OpenSSL was installed to.")
    for library in (prefix / "lib64", prefix / "lib"):
        static = [library / "libssl.a", library / "libcrypto.a"]
        if all(path.is_file() for path in static):
            # Hidden, so that another libssl in the same process (Python's own) never binds to these symbols.
            hidden = ["-Wl,--exclude-libs,ALL", *private_libraries(library)]
            return OpenSSL(header_version(headers), [str(headers)], [str(path) for path in static], hidden)
        if (library / "libssl.so").exists():
            shared = [f"-L{library}", f"-Wl,-rpath,{library}", "-lssl", "-lcrypto"]
            return OpenSSL(header_version(headers), [str(headers)], [], shared)
    raise SystemExit(
        f"TLSIO_OPENSSL={prefix} holds libssl.a or libssl.so neither in lib64 nor in lib; set it to the prefix that OpenSSL was installed to."
    )


def private_libraries(library: Path) -> list[str]:
    """Return what the static libraries need besides, zlib for one when they compress."""
    record = library / "pkgconfig" / "libcrypto.pc"
    found = re.search(r"^Libs\.private:(.*)$", record.read_text(encoding="utf-8"), re.MULTILINE) if record.is_file() else None
    return found[1].split() if found else ["-pthread", "-ldl"]


def openssl_of_system() -> OpenSSL:
    """Ask pkg-config for the system's OpenSSL."""
    if shutil.which("pkg-config") is None:
        raise SystemExit(f"tlsio needs pkg-config to find OpenSSL; install it ({PKG_CONFIG}), or set TLSIO_OPENSSL=/prefix.")
    if subprocess.run(["pkg-config", "--exists", "openssl"], check=False).returncode != 0:
        raise SystemExit(
            f"tlsio needs OpenSSL's headers and pkg-config found none; install them ({OPENSSL_HEADERS}), or set TLSIO_OPENSSL=/prefix."
        )
    version = pkg_config("--modversion")[0]
    if subprocess.run(["pkg-config", f"--atleast-version={OLDEST_OPENSSL}", "openssl"], check=False).returncode != 0:
        raise SystemExit(
            f"tlsio needs OpenSSL {OLDEST_OPENSSL} or newer and pkg-config found {version}; set TLSIO_OPENSSL=/prefix to use another."
        )
    includes = [flag.removeprefix("-I") for flag in pkg_config("--cflags-only-I")]
    return OpenSSL(version, includes, [], pkg_config("--libs"))


def pkg_config(question: str) -> list[str]:
    """Return pkg-config's answer about OpenSSL, split into words."""
    return subprocess.run(["pkg-config", question, "openssl"], check=True, capture_output=True, text=True).stdout.split()


def header_version(headers: Path) -> str:
    """Return the version written in OpenSSL's own header; stop when it is too old."""
    text = (headers / "openssl" / "opensslv.h").read_text(encoding="utf-8")
    found = re.search(r'OPENSSL_VERSION_STR "(\d+)\.([^"]+)"', text)  # the macro is new in 3.0
    if found is None:
        raise SystemExit(
            f"tlsio needs OpenSSL {OLDEST_OPENSSL} or newer and the headers in {headers} are older; set TLSIO_OPENSSL=/prefix to use another."
        )
    return f"{found[1]}.{found[2]}"


def require_python_headers() -> None:
    """Stop when Python was installed without its headers: a package of its own in most distributions."""
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        raise SystemExit(f"tlsio needs Python's headers and {header} does not exist; install them ({PYTHON_HEADERS}).")


if __name__ == "__main__":
    main()
