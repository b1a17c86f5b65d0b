"""Windows: the user's store Root, which asks the user itself and needs no administrator.

certutil is that of Windows, which has other options than NSS's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.certs.dev.store import Command, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlsio.certs.dev.machine import Machine
    from tlsio.certs.dev.store import Root

__all__ = ["find_stores"]


def find_stores(machine: Machine, root: Root) -> Iterator[Store]:
    """Yield the store of the user."""
    if machine.system != "windows":
        return
    # By its path: NSS has a program of the same name.
    folder = machine.read_variable("SystemRoot") or r"C:\Windows"
    tool = rf"{folder}\System32\certutil.exe"
    yield Store(
        "system",
        "Windows: the user's trusted roots",
        add=(Command((tool, "-user", "-addstore", "Root", str(root.path))),),
        remove=(Command((tool, "-user", "-delstore", "Root", root.sha1)),),
        check=(tool, "-user", "-store", "Root", root.sha1),
    )
