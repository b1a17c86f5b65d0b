"""The TLS engine in C and its binding. Only this folder knows libssl."""

import sys


def require_lock(gil: int | None) -> None:
    """Refuse to load if the interpreter's lock is off for good.

    A free-threaded Python turns its lock on, with a warning, when it loads an extension that does
    not declare that it works without the lock. Ours does not declare that. With PYTHON_GIL=0 the
    lock stays off, and two threads could work on the memory of one connection.

    Args:
        gil: `sys.flags.gil` (3.13 and newer), else None.

    Raises:
        ImportError: the lock is off.
    """
    if gil == 0:
        raise ImportError(
            "tlsio needs the global interpreter lock, but this Python runs with the lock disabled."
            " Unset PYTHON_GIL and do not use -X gil=0: importing tlsio then turns the lock on."
        )


require_lock(getattr(sys.flags, "gil", None))
