"""NSS's databases: those of Firefox, and on Linux those of Chromium, Chrome and their relatives.

On macOS and Windows these browsers use the system's store; Firefox does so there too since 120, but
may be told not to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.certs.dev.store import Command, Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tlsio.certs.dev.machine import Machine
    from tlsio.certs.dev.store import Root

__all__ = ["find_stores"]

_DATABASE = "cert9.db"
# Chromium reads ~/.pki/nssdb if it exists, else $XDG_DATA_HOME/pki/nssdb (seen with 156). Snap and
# Flatpak have folders of their own.
_OWN = ".pki/nssdb"
_SHARED = ("snap/chromium/current/.pki/nssdb", ".var/app/org.chromium.Chromium/.pki/nssdb", ".var/app/com.google.Chrome/.pki/nssdb")
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "brave-browser", "microsoft-edge", "vivaldi")
_PROFILES = (
    ".mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    "Library/Application Support/Firefox/Profiles",
)
_TOOLS = "libnss3-tools (Debian), nss-tools (Fedora), nss (Arch, Homebrew) or mozilla-nss-tools (SUSE)"


def find_stores(machine: Machine, root: Root) -> Iterator[Store]:
    """Yield the databases that exist, and one that Chromium will read if it has none yet."""
    if machine.system == "windows":
        return
    for folder in _find_databases(machine):
        yield _describe(machine, root, folder, is_new=False)
    own = machine.home / _OWN
    if not any((folder / _DATABASE).exists() for folder in _shared_folders(machine)) and any(map(machine.find_program, _CHROMIUMS)):
        yield _describe(machine, root, own, is_new=True)


def _shared_folders(machine: Machine) -> tuple[Path, ...]:
    """Return the databases that belong to no browser alone, in the order of Chromium."""
    return machine.home / _OWN, machine.folder("XDG_DATA_HOME", ".local/share") / "pki" / "nssdb"


def _find_databases(machine: Machine) -> Iterator[Path]:
    folders = [*_shared_folders(machine), *(machine.home / one for one in _SHARED)]
    profiles = [*(machine.home / one for one in _PROFILES), machine.folder("XDG_CONFIG_HOME", ".config") / "mozilla" / "firefox"]
    for folder in profiles:
        folders += sorted(folder.glob("*"))
    yield from (folder for folder in folders if (folder / _DATABASE).exists())


def _describe(machine: Machine, root: Root, folder: Path, *, is_new: bool) -> Store:
    tool = machine.find_program("certutil")
    base = (tool or "certutil", "-d", f"sql:{folder}")
    # C: trusted to issue server certificates; not for e-mail, not for code.
    add = Command((*base, "-A", "-t", "C,,", "-n", root.name, "-i", str(root.path)))
    begin = (Command(("mkdir", "-p", "-m", "700", str(folder))), Command((*base, "-N", "--empty-password"))) if is_new else ()
    return Store(
        "nss",
        f"NSS: {folder}",
        add=(*begin, add),
        remove=(Command((*base, "-D", "-n", root.name)),),
        check=(*base, "-L", "-n", root.name),
        problem=None if tool else f"certutil of NSS is not installed: install {_TOOLS}.",
    )
