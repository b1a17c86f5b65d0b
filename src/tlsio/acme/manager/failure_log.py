"""The log of failed orders."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tlsio.model.instants import print_instant

if TYPE_CHECKING:
    from tlsio.acme.manager.managed import Managed

__all__ = ["FailureLog"]

_log = logging.getLogger("tlsio.acme")

_MAX_KNOWN = 1000  # messages


class FailureLog:
    """Logs a permanent failure once, and not for each name and each day."""

    def __init__(self) -> None:
        self._known: set[str] = set()  # messages of permanent failures

    def clear(self) -> None:
        """Log each failure again."""
        self._known.clear()

    def write(self, managed: Managed) -> None:
        """Log why there is no certificate."""
        trouble = managed.trouble
        then = "" if trouble.next_try is None else f", next try at {print_instant(trouble.next_try)}"
        is_known = trouble.needs_action and trouble.message in self._known
        if trouble.needs_action and trouble.message is not None and len(self._known) < _MAX_KNOWN:
            self._known.add(trouble.message)
        hint = "" if trouble.hint is None else f". {trouble.hint}"
        _log.log(
            logging.DEBUG if is_known else logging.WARNING,
            "No certificate for %s%s: %s%s",
            ", ".join(managed.names),
            then,
            trouble.message,
            hint,
        )
