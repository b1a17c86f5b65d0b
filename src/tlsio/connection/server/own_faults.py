"""Logs failed handshakes that the server itself has caused: its configuration or a hook."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlsio.model.errors import TLSError

__all__ = ["OwnFaults"]

_log = logging.getLogger("tlsio")

# Seconds. Clients choose how often a handshake fails, so each kind of failure is logged once in
# this time, and only so many kinds are told apart.
_INTERVAL = 60.0
_MAX_KINDS = 64


class OwnFaults:
    """The faults of one server that were logged recently."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def log(self, error: TLSError) -> None:
        """Log a fault, unless one with the same code was logged within the last minute."""
        kind = error.code
        now = time.monotonic()
        last = self._logged.get(kind)
        if (last is None and len(self._logged) >= _MAX_KINDS) or (last is not None and now - last < _INTERVAL):
            return
        self._logged[kind] = now
        # The text alone: the traceback's frames hold what the hook was given, such as its socket.
        text = f"{error} {error.hint}" if error.hint else str(error)
        _log.warning("A client could not be served, which is this server's own fault: %s", text)
