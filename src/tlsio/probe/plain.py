"""Plain data for JSON from the values of this floor."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

__all__ = ["as_fields", "as_json"]


def as_json(value: object) -> Any:
    """Return dataclasses as dicts, tuples as lists, instants as ISO 8601, bytes as hexadecimal.

    Fields marked with `metadata={"plain": False}`, such as an open socket, are left out.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return as_fields(value)
    if isinstance(value, dict):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value


def as_fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, each as `as_json` does."""
    shown = (field for field in dataclasses.fields(value) if field.metadata.get("plain", True))
    return {field.name: as_json(getattr(value, field.name)) for field in shown}
