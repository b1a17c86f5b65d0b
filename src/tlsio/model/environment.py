"""Environment variables: which of them count, and for whom."""

import ctypes
import os
from functools import cache

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
        getauxval = ctypes.CDLL(None).getauxval
    except (OSError, AttributeError):  # no Linux: the numbers of users and groups have to do
        return False
    getauxval.restype = ctypes.c_ulong
    getauxval.argtypes = (ctypes.c_ulong,)
    return getauxval(_AT_SECURE) != 0
