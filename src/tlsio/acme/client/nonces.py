"""Nonces of an authority, kept for the next requests (RFC 8555 §6.5)."""

from __future__ import annotations

import re

__all__ = ["Nonces"]

_NONCE = re.compile(r"[A-Za-z0-9_-]{1,512}")  # §6.5.1: base64url; others MUST be ignored
_MAX_KEPT = 16  # as many as requests overlap usefully; more would only grow old


class Nonces:
    """Unused nonces. The newest is used first: authorities forget old ones."""

    def __init__(self) -> None:
        self._kept: list[str] = []

    def keep(self, nonce: str | None) -> bool:
        """Keep a nonce that an answer had; False if it had none, or an invalid one."""
        if nonce is None or not _NONCE.fullmatch(nonce):
            return False
        self._kept = [*self._kept[1 - _MAX_KEPT :], nonce]
        return True

    def take(self) -> str | None:
        """Take one out, None if there is none."""
        return self._kept.pop() if self._kept else None

    def forget(self) -> None:
        """Drop all: after one was refused, the older ones probably are too."""
        self._kept.clear()
