"""The TLS engine in C and its binding. Only this folder knows libssl."""

import sys


def require_lock(gil: int | None) -> None:
    """Refuse to be loaded where the interpreter's lock was turned off for good; `gil` is `sys.flags.gil` (3.13 and newer).

    A free-threaded Python turns its lock on again when it loads an extension that has not declared that it works without it, and
    warns of that; ours has not. With PYTHON_GIL=0 it does not, and two threads could work on the memory of one connection.

    Raises:
        ImportError: it is off.
    """
    if gil == 0:
        raise ImportError(
            "tlsio needs the global interpreter lock, and this Python was told to stay without it."
            " Unset PYTHON_GIL and leave out -X gil=0: the lock is then turned on when tlsio is imported."
        )


require_lock(getattr(sys.flags, "gil", None))
