"""Reads environment variables, unless the program runs with raised privileges."""

import os
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path

__all__ = ["move_home", "read_variable", "take_variable", "with_variables"]

_AT_SECURE = 23  # getauxval(3)


def read_variable(name: str) -> str | None:
    """Return an environment variable, None if it is not set.

    Also None if the program has other privileges than the user who started it (setuid, setgid, file
    capabilities): that user must not choose what the program trusts or where it writes.
    (secure_getenv(3); Node does the same.)
    """
    if os.getuid() != os.geteuid() or os.getgid() != os.getegid() or _started_privileged():
        return None
    return os.environ.get(name)


def take_variable(name: str) -> str:
    """Remove a variable by which the starting process passes something to this one alone.

    Such as the numbers of open sockets: nothing that the program trusts. So it counts for a program
    with raised privileges too. "" if it is not set.
    """
    return os.environ.pop(name, "")


def move_home(old: str, new: str) -> None:
    """Make `new` the home of this process and of those that it starts, if it is `old` now."""
    if os.environ.get("HOME") == old:
        os.environ["HOME"] = new


def with_variables(given: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with other variables, for a process that it starts."""
    return {**os.environ, **given}


@cache
def _started_privileged() -> bool:
    """Return the kernel's AT_SECURE.

    It covers file capabilities, and privileges that the program has dropped since its start.
    """
    try:
        words = struct.iter_unpack("@LL", Path("/proc/self/auxv").read_bytes())
    except FileNotFoundError:  # not Linux, or /proc is not mounted: only user and group ids can be compared
        return False
    except PermissionError:  # the kernel denies this to privileged programs (proc(5), PR_SET_DUMPABLE)
        return True
    return any(kind == _AT_SECURE and value for kind, value in words)
