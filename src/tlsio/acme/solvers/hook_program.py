"""A program of the user's that changes the DNS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.acme.solvers.program import run_program
from tlsio.model.checks import check_duration, check_filled_text, wrong_type
from tlsio.model.exported import exported

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

__all__ = ["HookProgram"]

_TIMEOUT = 60.0
_HINT = "The program gets three arguments: add or remove, the name of the TXT record, and its value."


@exported
class HookProgram:
    """Runs a program for each record, with three more arguments: `add` or `remove`, name, value.

    It must end with 0 when the change was accepted, and may be run several times at once. Adding
    what is there, and removing what is not there, must not be errors; other values of the name must
    stay. It is killed, with all that it has started, after `timeout` and when the caller is
    cancelled.

    Args:
        command: The path of the program, or a list of it and its first arguments. There is no
            shell.
        timeout: Seconds for one run.

    Raises:
        UsageError: an invalid argument.
    """

    def __init__(self, command: str | os.PathLike[str] | Sequence[str], *, timeout: float = _TIMEOUT) -> None:
        parts = list(command) if isinstance(command, list | tuple) else [command]
        self._command = [
            check_filled_text("command", one if isinstance(one, str) else getattr(one, "__fspath__", lambda: None)()) for one in parts
        ]
        if not self._command:
            raise wrong_type("command", "a path, or a list that begins with one", command)
        self._timeout = check_duration("timeout", timeout)

    async def add_txt(self, name: str, value: str) -> None:
        """Run it to add a record.

        Raises:
            ACMEError: it failed, or took too long (`ERR_ACME_DNS`).
        """
        await self._run("add", name, value)

    async def remove_txt(self, name: str, value: str) -> None:
        """Run it to remove a record.

        Raises:
            ACMEError: it failed, or took too long (`ERR_ACME_DNS`).
        """
        await self._run("remove", name, value)

    async def _run(self, verb: str, name: str, value: str) -> None:
        label = f"The program {self._command[0]!r}, called to {verb} the TXT record of {name},"
        await run_program([*self._command, verb, name, value], label, seconds=self._timeout, hint=_HINT)

    def __repr__(self) -> str:
        return f"<HookProgram {self._command[0]!r}>"
