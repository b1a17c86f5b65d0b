"""http-01 by files in the folder of another web server, which serves them on port 80."""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tlsio.acme.solvers.http01 import read_token
from tlsio.acme.storage.uninterrupted import in_thread
from tlsio.model.checks import check_path, wrong_type, wrong_value
from tlsio.model.errors import StoreError, UsageError
from tlsio.model.exported import exported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlsio.acme.client.challenge import Challenge

__all__ = ["Webroot"]

_PLACE = ".well-known/acme-challenge"
_log = logging.getLogger("tlsio.acme")


@exported
class Webroot:
    """Answers http-01 by files below `.well-known/acme-challenge`, which everyone may read.

    Args:
        folder: The root of the web server's files; or a mapping of names and addresses to their
            roots, for these alone.

    Raises:
        UsageError: neither.
    """

    type = "http-01"

    def __init__(self, folder: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]]) -> None:
        self._root: Path | None = None
        self._roots: dict[str, Path] = {}
        if isinstance(folder, str | os.PathLike):
            self._root = Path(check_path("folder", folder)).absolute()
        elif hasattr(folder, "items"):
            self._roots = {name.lower(): Path(check_path("folder", one)).absolute() for name, one in folder.items()}
        else:
            raise wrong_type("folder", "a path, or a mapping of names to paths", folder)

    def can_solve(self, identifier: str, *, is_wildcard: bool, is_ip: bool) -> bool:  # noqa: ARG002 - the contract's
        """Return whether it is not for a wildcard, and there is a folder for it."""
        return not is_wildcard and self._find(identifier) is not None

    async def present(self, challenge: Challenge) -> None:
        """Write the file.

        Raises:
            StoreError: it cannot be written.
        """
        file = self._file(challenge)
        try:
            await in_thread(lambda: _write(file, challenge.key_authorization.encode("ascii")))
        except OSError as error:
            raise StoreError(
                f"Could not write {str(file)!r}: {error.strerror}",
                hint="Check that the folder is there and may be written to by this user.",
            ) from error

    async def clean_up(self, challenge: Challenge) -> None:
        """Remove the file; the folders stay."""
        try:
            file = self._file(challenge)
            await in_thread(lambda: file.unlink(missing_ok=True))
        except UsageError:  # then it was not written
            pass
        except OSError as error:
            _log.warning("The answer of http-01 for %s was not removed: %s", challenge.identifier, error)

    def _find(self, identifier: str) -> Path | None:
        return self._roots.get(identifier.lower(), self._root)

    def _file(self, challenge: Challenge) -> Path:
        root = self._find(challenge.identifier)
        if root is None or read_token(f"/{_PLACE}/{challenge.token}") is None:
            raise wrong_value("challenge", f"for {challenge.identifier!r:.80} has no folder, or its token is not one")
        return root / _PLACE / challenge.token

    def __repr__(self) -> str:
        return f"<Webroot {str(self._root)!r}>" if self._root is not None else f"<Webroot names={len(self._roots)}>"


def _write(file: Path, content: bytes) -> None:
    """Write a file that everyone may read, whatever the umask is; the root must be there."""
    if not file.parents[2].is_dir():
        file.parents[2].stat()  # raises with the reason
        raise NotADirectoryError(20, os.strerror(20), str(file.parents[2]))
    for folder in (file.parents[1], file.parent):
        with suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(0o755)
    temporary = file.with_name(f".{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - an open descriptor, not a path
            os.fchmod(descriptor, 0o644)
            stream.write(content)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
