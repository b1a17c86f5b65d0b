"""The process in which `dns-lexicon` changes one record: `python -m` and the name of this module.

Reads what to do from standard input, and ends with 0 when it is done. What it prints is shown to
users, so that is the error's own text, without the settings.
"""

from __future__ import annotations

import json
import sys
from typing import Any

__all__ = ["main"]


def main() -> None:
    """Do what standard input says."""
    task: dict[str, Any] = json.load(sys.stdin)
    try:
        _change(task)
    except Exception as error:  # noqa: BLE001 - whatever the provider's code raises
        sys.exit(_without(f"{type(error).__name__}: {error}", task["settings"]))


def _change(task: dict[str, Any]) -> None:
    from lexicon.client import Client  # noqa: PLC0415 - in `main`'s try
    from lexicon.config import ConfigResolver  # noqa: PLC0415

    name, provider = task["name"], task["provider"]
    settings = {"provider_name": provider, "domain": task["zone"] or name, "ttl": 60, provider: task["settings"]}
    if task["zone"]:
        settings["delegated"] = task["zone"]
    with Client(ConfigResolver().with_dict(settings)) as operations:  # type: ignore[no-untyped-call]
        change = operations.create_record if task["verb"] == "add" else operations.delete_record
        arguments = {"rtype": "TXT", "name": name, "content": task["value"]}
        if not change(**arguments):
            raise RuntimeError("the provider did not accept the change")


def _without(text: str, settings: dict[str, Any]) -> str:
    """Return a text without values that may be secrets: some errors quote the request."""
    for value in settings.values():
        if isinstance(value, str) and len(value) > 3:  # noqa: PLR2004 - shorter ones are words such as "v4"
            text = text.replace(value, "…")
    return text


if __name__ == "__main__":
    main()
