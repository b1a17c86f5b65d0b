"""Environment variables: which of them count, and for whom."""

import os

__all__ = ["read_variable"]


def read_variable(name: str) -> str | None:
    """Return an environment variable, None when it is not set.

    None too for a program that runs with other rights than those of whoever started it (setuid, setgid): who started it
    must not choose whom it trusts. (secure_getenv(3); Node does the same.)
    """
    if os.getuid() != os.geteuid() or os.getgid() != os.getegid():
        return None
    return os.environ.get(name)
