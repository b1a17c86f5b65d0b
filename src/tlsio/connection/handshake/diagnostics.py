"""What is written down about connections for whoever looks on: secrets for a key log, a trace, the clients' hellos.

All of it is off unless an option, a listener or the environment asks for it. Secrets go to the file and the listeners that were
asked for, and nowhere else: not into logs, messages or reprs.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import warnings
from functools import cache
from typing import TYPE_CHECKING

from tlsio.model.environment import read_variable

if TYPE_CHECKING:
    from tlsio.model.options.connect import ConnectOptions
    from tlsio.model.options.server import ServerOptions
    from tlsio.native._core import Connection

__all__ = ["Diagnostics", "warn_of_trace"]

_log = logging.getLogger("tlsio")


class Diagnostics:
    """What one server, or one client connection, was told to write down."""

    __slots__ = ("_key_file", "offer", "trace")

    def __init__(self, options: ServerOptions | ConnectOptions) -> None:
        """Find out, and try the file.

        Raises:
            OSError: the key log cannot be written.
        """
        self._key_file = options.keylog_file or read_variable("SSLKEYLOGFILE") or None
        self.trace = options.enable_trace
        self.offer = bool(getattr(options, "client_hello", False))
        if self._key_file is not None:
            _try(self._key_file)
            _warn_of_keys(self._key_file)
        if self.trace:
            warn_of_trace(stacklevel=5)

    @property
    def keys(self) -> bool:
        """Secrets are wanted."""
        return self._key_file is not None

    def begin(self, connection: Connection) -> None:
        """Tell a connection what to record."""
        if self._key_file is not None or self.trace or self.offer:
            connection.record(keys=self.keys, offer=self.offer, trace=self.trace)

    def keep(self, lines: bytes) -> None:
        """Write lines of the key log, all of a connection's in one piece. A disk that is full ends no connection."""
        if self._key_file is not None:
            try:
                _append(self._key_file, lines)
            except OSError as error:
                _log.warning("The key log %s cannot be written: %s", self._key_file, error.strerror)


def _try(path: str) -> None:
    try:
        _append(path, b"")
    except OSError as error:
        error.add_note("It is the file of options.keylog_file, or of SSLKEYLOGFILE.")
        raise


def _append(path: str, data: bytes) -> None:
    """Opened each time: a file that was moved away or removed is begun anew, and a fork shares nothing.

    The folder may be one in which others can write, such as /tmp: the file must be ours and nothing else's. O_NONBLOCK is for a FIFO,
    which would hold up the whole loop until it is read.

    Raises:
        OSError: the file cannot be written, or others could read what is.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        if (problem := _find_problem(os.fstat(descriptor))) is not None:
            raise PermissionError(errno.EPERM, f"The key log holds secrets, but {problem}", path)
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _find_problem(found: os.stat_result) -> str | None:
    if not stat.S_ISREG(found.st_mode):
        return "this is not a regular file"
    if found.st_uid != os.geteuid():
        return "the file belongs to another user"
    if found.st_mode & 0o077:
        return f"other users have rights to the file (mode {stat.S_IMODE(found.st_mode):04o}, not 0600)"
    return None if found.st_nlink <= 1 else "the file has another name besides (a hard link)"


@cache
def _warn_of_keys(path: str) -> None:
    message = f"The secrets of TLS connections are written to {path}: whoever reads it can decrypt them"
    warnings.warn(message, stacklevel=6)


def warn_of_trace(*, stacklevel: int = 3) -> None:
    """Say what a trace gives away."""
    warnings.warn("A TLS trace exposes sensitive data: show it to nobody", stacklevel=stacklevel)
