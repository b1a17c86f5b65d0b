"""Environment variables: which of them count, and for whom."""

import os
import struct
from functools import cache
from pathlib import Path

__all__ = ["read_variable"]

_AT_SECURE = 23  # getauxval(3)


def read_variable(name: str) -> str | None:
    """Return an environment variable, None when it is not set.

    None too for a program that runs with other rights than those of the user who started it (setuid, setgid, file capabilities): that
    user must not choose what the program trusts, nor where it writes. (secure_getenv(3); Node does the same.)
    """
    if os.getuid() != os.geteuid() or os.getgid() != os.getegid() or _started_with_more_rights():
        return None
    return os.environ.get(name)


@cache
def _started_with_more_rights() -> bool:
    """What the kernel said when the program was started: it knows of file capabilities, and of rights given up since."""
    try:
        words = struct.iter_unpack("@LL", Path("/proc/self/auxv").read_bytes())
    except FileNotFoundError:  # no Linux, or no /proc: the numbers of users and groups have to do
        return False
    except PermissionError:  # such a program may not look at itself (proc(5), PR_SET_DUMPABLE)
        return True
    return any(kind == _AT_SECURE and value for kind, value in words)
