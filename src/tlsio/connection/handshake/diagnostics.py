"""Diagnostics of connections: secrets for a key log, a trace, the ClientHello.

All of it is off unless an option, a listener or the environment enables it. Secrets go to the key
log file and to `keylog` listeners, and nowhere else: not into logs, messages or reprs.
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
from tlsio.model.errors import add_hint

if TYPE_CHECKING:
    from tlsio.model.options.connect import ConnectOptions
    from tlsio.model.options.server import ServerOptions
    from tlsio.native._core import Connection

__all__ = ["Diagnostics", "warn_of_trace"]

_log = logging.getLogger("tlsio")


class Diagnostics:
    """The diagnostics that one server or client connection records."""

    __slots__ = ("_key_file", "offer", "trace")

    def __init__(self, options: ServerOptions | ConnectOptions) -> None:
        """Read the options and the environment, and check that the key log can be written.

        Raises:
            OSError: the key log cannot be written.
        """
        self._key_file = options.keylog_file or read_variable("SSLKEYLOGFILE") or None
        self.trace = options.enable_trace
        self.offer = bool(getattr(options, "client_hello", False))
        if self._key_file is not None:
            _check_writable(self._key_file)
            _warn_of_keys(self._key_file)
        if self.trace:
            warn_of_trace(stacklevel=5)

    @property
    def keys(self) -> bool:
        """Whether secrets are written to a file."""
        return self._key_file is not None

    def attach(self, connection: Connection) -> None:
        """Let a connection record what is enabled."""
        if self._key_file is not None or self.trace or self.offer:
            connection.record(keys=self.keys, offer=self.offer, trace=self.trace)

    def write_keys(self, lines: bytes) -> None:
        """Append a connection's lines to the key log; a failure (full disk) is only logged."""
        if self._key_file is not None:
            try:
                _append(self._key_file, lines)
            except OSError as error:
                _log.warning("Cannot write the key log %s: %s", self._key_file, error.strerror)


def _check_writable(path: str) -> None:
    try:
        _append(path, b"")
    except OSError as error:
        add_hint(error, "The file was given by keylog_file= or SSLKEYLOGFILE: check its path and permissions.")
        raise


def _append(path: str, data: bytes) -> None:
    """Append to the key log, which is opened for each call.

    So a file that was moved or removed is created again, and processes after a fork share no
    descriptor. Other users may be able to write to the directory, such as /tmp, so the file must
    belong to this user and be no link. Without O_NONBLOCK, opening a FIFO would block the whole
    loop until it is read.

    Raises:
        OSError: the file cannot be written, or other users could read it.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        if (problem := _find_problem(os.fstat(descriptor))) is not None:
            raise PermissionError(errno.EPERM, f"The key log contains secrets, but {problem}", path)
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _find_problem(found: os.stat_result) -> str | None:
    if not stat.S_ISREG(found.st_mode):
        return "the path is not a regular file"
    if found.st_uid != os.geteuid():
        return "the file belongs to another user"
    if found.st_mode & 0o077:
        return f"other users can access the file (its mode is {stat.S_IMODE(found.st_mode):04o} instead of 0600)"
    return None if found.st_nlink <= 1 else "the file has another hard link"


@cache
def _warn_of_keys(path: str) -> None:
    message = f"The secrets of TLS connections are written to {path}: anyone who can read it can decrypt them"
    warnings.warn(message, stacklevel=6)


def warn_of_trace(*, stacklevel: int = 3) -> None:
    """Warn of the secrets in a trace."""
    warnings.warn("A TLS trace exposes sensitive data: do not share it", stacklevel=stacklevel)
