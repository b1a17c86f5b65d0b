"""The process in which `dns-lexicon` changes one record: `python -m` and the name of this module.

Reads what to do from standard input, and ends with 0 when it is done. What it prints is shown to
users, so that is the error's own text, without the settings.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from importlib import import_module
from typing import Any

__all__ = ["main"]

_TTL = 60  # seconds: the record lives for minutes; some providers have a larger minimum of their own


def main() -> None:
    """Do what standard input says."""
    task: dict[str, Any] = json.load(sys.stdin)
    try:
        _change(task)
    except Exception as error:  # noqa: BLE001 - whatever the provider's code raises
        sys.exit(_without(f"{type(error).__name__}: {error}", task["settings"]))


def _change(task: dict[str, Any]) -> None:
    from lexicon.client import Client  # noqa: PLC0415 - in `main`'s try
    from lexicon.config import ConfigResolver, DictConfigSource  # noqa: PLC0415

    # Otherwise each new installation downloads the list of public suffixes first.
    suffixes: Any = import_module("tldextract")
    suffixes.TLDExtract = partial(suffixes.TLDExtract, suffix_list_urls=())
    name, provider, zone = task["name"], task["provider"], task["zone"]
    settings = {"domain": zone, **task["settings"]} if zone else task["settings"]  # "ddns" looks for it there
    config = ConfigResolver()  # type: ignore[no-untyped-call]
    config.with_dict({"provider_name": provider, "domain": name, "ttl": _TTL, provider: settings})
    client = Client(config)
    if zone:
        config.add_config_source(DictConfigSource({"domain": zone}), 0)  # in place of the guess
    with client as operations:
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
