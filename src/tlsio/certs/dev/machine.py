"""What there is to know of the machine on which a development authority is trusted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from tlsio.model.environment import read_variable
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Machine", "Result", "this_machine"]

System: TypeAlias = Literal["linux", "macos", "windows"]

_TIMEOUT = 300.0  # seconds; rebuilding a store takes some, and `sudo` may wait for a password
_SYSTEMS: dict[str, System] = {"darwin": "macos", "win32": "windows"}


class Result(NamedTuple):
    """How a command ended.

    Attributes:
        status: Its exit status; 127 if it could not be started, as in shells.
        output: What it printed, errors included.
    """

    status: int
    output: str


def find_program(name: str) -> str | None:
    """Return a program's path. Those of the system's administrator are not on every user's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def run(command: Sequence[str]) -> Result:
    """Run a command, which gets no input; `sudo` asks on the terminal itself."""
    try:
        done = subprocess.run(  # noqa: S603 - the commands of this package, without a shell
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_TIMEOUT, check=False
        )
    except OSError as error:
        return Result(127, f"{command[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Result(127, f"{command[0]} did not end within {_TIMEOUT:.0f} seconds")
    return Result(done.returncode, done.stdout.decode(errors="replace"))


@dataclass(frozen=True)
class Machine:
    """The system, its folders and its programs. Tests describe other machines by it.

    Attributes:
        home: The user's folder.
        top: The folder of the system's files.
        is_root: Whether the user may change the system's files.
        read_variable: Returns a variable of the environment.
        find_program: Returns a program's path, None if it is not installed.
        run: Runs a command.
    """

    system: System
    home: Path
    top: Path = Path("/")
    is_root: bool = False
    read_variable: Callable[[str], str | None] = field(default=read_variable, repr=False)
    find_program: Callable[[str], str | None] = field(default=find_program, repr=False)
    run: Callable[[Sequence[str]], Result] = field(default=run, repr=False)

    def folder(self, variable: str, default: str) -> Path:
        """Return a folder of the user by the XDG base directory specification.

        "All paths set in these environment variables must be absolute. If an implementation
        encounters a relative path in any of these variables it should consider the path invalid and
        ignore it."
        """
        given = Path(self.read_variable(variable) or "")
        return given if given.is_absolute() else self.home / default


def this_machine() -> Machine:
    """Return the machine that this program runs on.

    Raises:
        ConfigError: the user has no folder.
    """
    system = _SYSTEMS.get(sys.platform, "linux")
    is_root = system == "windows" or os.geteuid() == 0
    return Machine(system, _find_home(system), is_root=is_root)


def _find_home(system: System) -> Path:
    given = read_variable("USERPROFILE" if system == "windows" else "HOME")
    if given is not None:
        return Path(given)
    try:
        import pwd  # noqa: PLC0415 - Windows has none

        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except (ImportError, KeyError):
        raise ConfigError("This user has no home folder", hint="Set the variable HOME, or give folder=.") from None
