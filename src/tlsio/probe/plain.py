"""Plain data for JSON from the values of this floor."""

from __future__ import annotations

import dataclasses
from datetime import datetime

__all__ = ["as_data"]


def as_data(value: object) -> object:
    """Return dataclasses as dicts, tuples as lists, instants as ISO 8601, bytes as hexadecimal.

    Fields whose name begins with an underscore, and fields marked with `metadata={"plain": False}`,
    such as an open socket, are left out.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = (field for field in dataclasses.fields(value) if not field.name.startswith("_") and field.metadata.get("plain", True))
        return {field.name: as_data(getattr(value, field.name)) for field in shown}
    if isinstance(value, dict):
        return {str(key): as_data(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [as_data(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value
