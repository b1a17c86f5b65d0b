"""SoftHSM: a token of PKCS#11 in files, with keys of the tests in it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from foreign_peers import find

if TYPE_CHECKING:
    import pki

PIN = "1234"
TOKEN = "tests"
_MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so", "/usr/lib64/pkcs11/libsofthsm2.so")


def find_module() -> str:
    """Return the library."""
    return next((path for path in _MODULES if Path(path).exists()), _MODULES[0])


def make_token(folder: Path, **identities: pki.Identity) -> dict[str, str]:
    """Make a token with these keys, by label; return the environment in which the library finds it."""
    tool = find("softhsm2-util", "softhsm2")
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    environment = {"SOFTHSM2_CONF": str(configuration)}
    _run(tool, environment, "--init-token", "--free", "--label", TOKEN, "--so-pin", "5678")
    for number, (label, identity) in enumerate(identities.items(), 1):
        file = folder / f"{label}.pem"
        file.write_bytes(identity.key_pem)
        _run(tool, environment, "--import", str(file), "--token", TOKEN, "--label", label, "--id", f"{number:02x}")
        file.unlink()
    return environment


def _run(tool: str, environment: dict[str, str], *arguments: str) -> None:
    subprocess.run([tool, *arguments, "--pin", PIN], check=True, capture_output=True, env=environment)
