"""macOS: the user's login keychain, which asks the user itself and needs no root; security(1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.certs.dev.store import Command, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlsio.certs.dev.machine import Machine
    from tlsio.certs.dev.store import Root

__all__ = ["find_stores"]

_TOOL = "/usr/bin/security"


def find_stores(machine: Machine, root: Root) -> Iterator[Store]:
    """Yield the login keychain."""
    if machine.system != "macos":
        return
    keychain = str(machine.home / "Library" / "Keychains" / "login.keychain-db")
    path = str(root.path)
    yield Store(
        "system",
        f"macOS: {keychain}",
        # -r trustRoot: a root. -p: for TLS and chains of certificates, not for e-mail or code.
        add=(Command((_TOOL, "add-trusted-cert", "-r", "trustRoot", "-p", "ssl", "-p", "basic", "-k", keychain, path)),),
        # The first removes the trust, the second the certificate.
        remove=(Command((_TOOL, "remove-trusted-cert", path)), Command((_TOOL, "delete-certificate", "-Z", root.sha1, keychain))),
        # -l: it is an authority. -L: ask nobody else.
        check=(_TOOL, "verify-cert", "-l", "-L", "-p", "basic", "-c", path),
    )
