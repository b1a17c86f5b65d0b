"""Java's store, `cacerts`, of the Java in JAVA_HOME or else on the PATH."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tlsio.certs.dev.store import Command, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlsio.certs.dev.machine import Machine
    from tlsio.certs.dev.store import Root

__all__ = ["find_stores"]

_PASSWORD = "changeit"  # noqa: S105 - keytool's documentation: "the initial password of the cacerts keystore file"
_PLACES = ("lib/security/cacerts", "jre/lib/security/cacerts")  # since Java 9, and before


def find_stores(machine: Machine, root: Root) -> Iterator[Store]:
    """Yield the store, if there is a Java."""
    home = _find_home(machine)
    path = next((home / one for one in _PLACES if (home / one).is_file()), None) if home is not None else None
    if home is None or path is None:
        return
    tool = home / "bin" / ("keytool.exe" if machine.system == "windows" else "keytool")
    needs_root = not os.access(path, os.W_OK)
    base = ("-keystore", str(path), "-storepass", _PASSWORD, "-alias", root.name)
    yield Store(
        "java",
        f"Java: {path}",
        add=(Command((str(tool), "-importcert", "-noprompt", *base, "-file", str(root.path)), needs_root=needs_root),),
        remove=(Command((str(tool), "-delete", *base), needs_root=needs_root),),
        check=(str(tool), "-list", *base),
        problem=None if tool.is_file() else f"{tool} does not exist: is JAVA_HOME right?",
    )


def _find_home(machine: Machine) -> Path | None:
    if given := machine.read_variable("JAVA_HOME"):
        return Path(given)
    found = machine.find_program("keytool")
    return Path(found).resolve().parent.parent if found else None
