"""The stores of the Linux distributions: a folder of certificates, and a program that reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlsio.certs.dev.store import Command, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlsio.certs.dev.machine import Machine
    from tlsio.certs.dev.store import Root

__all__ = ["find_stores"]


class _Layout(NamedTuple):
    """Where a family of distributions keeps added roots.

    Attributes:
        suffix: Files with other names are ignored.
        program: Reads the folder.
        update: Its arguments after an addition.
        renew: Its arguments after a removal.
    """

    family: str
    folder: str
    suffix: str
    program: str
    update: tuple[str, ...]
    renew: tuple[str, ...]


# The first whose folder exists.
_LAYOUTS = (
    # update-ca-trust(8)
    _Layout("Fedora", "etc/pki/ca-trust/source/anchors", ".pem", "update-ca-trust", ("extract",), ("extract",)),
    # update-ca-certificates(8) of Debian and Alpine: without --fresh, links to a removed file stay.
    _Layout("Debian", "usr/local/share/ca-certificates", ".crt", "update-ca-certificates", (), ("--fresh",)),
    # trust(1) of p11-kit
    _Layout("Arch", "etc/ca-certificates/trust-source/anchors", ".crt", "trust", ("extract-compat",), ("extract-compat",)),
    # update-ca-certificates(8) of SUSE; /usr is read-only on some systems.
    _Layout("SUSE", "etc/pki/trust/anchors", ".pem", "update-ca-certificates", (), ()),
)


def find_stores(machine: Machine, root: Root) -> Iterator[Store]:
    """Yield the system's store, if it is of a known family."""
    if machine.system != "linux":
        return
    found = next((one for one in _LAYOUTS if (machine.top / one.folder).is_dir()), None)
    if found is None:
        return
    path = machine.top / found.folder / f"{root.name}{found.suffix}"
    tool = machine.find_program(found.program)
    update, renew = ((tool or found.program, *words) for words in (found.update, found.renew))
    yield Store(
        "system",
        f"the system's store ({found.family}: {path.parent})",
        add=(Command(("install", "-m", "644", str(root.path), str(path)), needs_root=True), Command(update, needs_root=True)),
        remove=(Command(("rm", "-f", str(path)), needs_root=True), Command(renew, needs_root=True)),
        check=path,
        problem=None if tool else f"{found.program} is not installed: install the package ca-certificates.",
    )
