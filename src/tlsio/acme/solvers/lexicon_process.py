"""The process in which `dns-lexicon` changes one record: `python -m` and the name of this module.

Reads what to do from standard input, and ends with 0 when it is done. What it prints is shown to
users: what the provider's code has printed and logged, and its error, without the settings.
"""

from __future__ import annotations

import html
import io
import json
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import quote, quote_plus

__all__ = ["main"]

_TTL = 60  # seconds: the record lives for minutes; some providers have a larger minimum of their own
_SHORTEST = 4  # characters of what may be a secret; shorter ones are words such as "v4"


def main() -> None:
    """Do what standard input says."""
    task: dict[str, Any] = json.load(sys.stdin)
    printed = io.StringIO()  # some providers print requests, or the reason why there is no error
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            _change(task)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the provider's code raises
        text = f"{printed.getvalue()}\n{type(error).__name__}: {error}"
        sys.exit(_without(text, task["settings"]))


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
    forms = {form for value in settings.values() if not isinstance(value, bool) for form in _forms(str(value))}
    # The longest first: one value may be a part of another. A server may change the case of %2b.
    found = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.sub(found, "…", text, flags=re.IGNORECASE) if found else text


def _forms(value: str) -> set[str]:
    """Return how a value, and each of its parts, may stand in a URL, in JSON, HTML or a repr."""
    parts = {one for one in (value, *value.split(":")) if len(one) >= _SHORTEST}
    encoders = (
        str,
        quote,
        partial(quote, safe=""),
        quote_plus,
        html.escape,
        lambda one: json.dumps(one)[1:-1],
        lambda one: repr(one)[1:-1],
    )
    return {encode(part) for part in parts for encode in encoders}


if __name__ == "__main__":
    main()
