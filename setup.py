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
from dataclasses import dataclass
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

NATIVE = Path("src/tlsio/native")
ENGINE = NATIVE / "engine"
REACTOR = {"reactor.c", "deadlines.c", "notices.c", "linger.c"}  # what needs epoll
OLDEST_OPENSSL = "3.0.0"

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
        openssl = find_openssl()
        require_python_headers()
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
        from Cython.Build import cythonize  # noqa: PLC0415 - an sdist is made without it

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
        raise SystemExit(f"TLSIO_OPENSSL={prefix}: there is no include/openssl/ssl.h below it.")
    for library in (prefix / "lib64", prefix / "lib"):
        static = [library / "libssl.a", library / "libcrypto.a"]
        if all(path.is_file() for path in static):
            # Hidden, so that another libssl in the same process (Python's own) never binds to these symbols.
            hidden = ["-Wl,--exclude-libs,ALL", *private_libraries(library)]
            return OpenSSL(header_version(headers), [str(headers)], [str(path) for path in static], hidden)
        if (library / "libssl.so").exists():
            shared = [f"-L{library}", f"-Wl,-rpath,{library}", "-lssl", "-lcrypto"]
            return OpenSSL(header_version(headers), [str(headers)], [], shared)
    raise SystemExit(f"TLSIO_OPENSSL={prefix}: neither lib64 nor lib below it holds libssl.a or libssl.so.")


def private_libraries(library: Path) -> list[str]:
    """Return what the static libraries need besides, zlib for one when they compress."""
    record = library / "pkgconfig" / "libcrypto.pc"
    found = re.search(r"^Libs\.private:(.*)$", record.read_text(encoding="utf-8"), re.MULTILINE) if record.is_file() else None
    return found[1].split() if found else ["-pthread", "-ldl"]


def openssl_of_system() -> OpenSSL:
    """Ask pkg-config for the system's OpenSSL."""
    if shutil.which("pkg-config") is None:
        raise SystemExit("pkg-config is needed to find OpenSSL. Install it: apt-get install pkg-config libssl-dev")
    if subprocess.run(["pkg-config", "--exists", "openssl"], check=False).returncode != 0:
        raise SystemExit("OpenSSL's headers were not found. Install them (apt-get install libssl-dev), or set TLSIO_OPENSSL=/prefix")
    version = pkg_config("--modversion")[0]
    if subprocess.run(["pkg-config", f"--atleast-version={OLDEST_OPENSSL}", "openssl"], check=False).returncode != 0:
        raise SystemExit(
            f"OpenSSL {OLDEST_OPENSSL} or newer is needed, pkg-config found {version}. Set TLSIO_OPENSSL=/prefix to use another."
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
        raise SystemExit(f"TLSIO_OPENSSL: OpenSSL {OLDEST_OPENSSL} or newer is needed, the headers in {headers} are older.")
    return f"{found[1]}.{found[2]}"


def require_python_headers() -> None:
    """Stop with the package's name when Python was installed without its headers."""
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        raise SystemExit(f"{header} is missing: Python's headers are needed. Install them: apt-get install python3-dev")


if __name__ == "__main__":
    main()
