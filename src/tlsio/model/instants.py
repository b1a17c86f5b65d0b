"""Instants as text for people: one form in all messages and findings."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["print_instant"]


def print_instant(moment: datetime | None) -> str:
    """Return an aware instant as `2026-11-29 21:00 UTC`, which sorts and is read alike everywhere.

    Args:
        moment: The instant; None if a certificate has one that cannot be read.
    """
    return "an unreadable time" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
