"""The APIs of about a hundred DNS providers, through the package `dns-lexicon`.

It waits in blocking calls, some without a limit, so it runs in a process of its own that can be
ended (`lexicon_process`). The settings, which have the credentials, go there by a pipe: command
lines and environments can be read by others.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import TYPE_CHECKING

from tlsio.acme.solvers.program import run_program
from tlsio.model.checks import check_duration, check_filled_text, wrong_type
from tlsio.model.errors import missing_extra
from tlsio.model.exported import exported

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Lexicon"]

_TIMEOUT = 90.0
_MODULE = "tlsio.acme.solvers.lexicon_process"


@exported
class Lexicon:
    """Changes records through a provider of `dns-lexicon`.

    Args:
        provider: The provider's name there, such as `"cloudflare"`.
        settings: Its options by name, such as `{"auth_token": …}`.
        zone: The zone; None: it is guessed from the list of public suffixes, so give it for a zone
            below the registered name.
        timeout: Seconds for one change.

    Raises:
        ConfigError: the package `dns-lexicon` is missing (`tlsio[acme-lexicon]`).
        UsageError: an invalid argument.
    """

    def __init__(
        self, provider: str, settings: Mapping[str, str | int | bool], *, zone: str | None = None, timeout: float = _TIMEOUT
    ) -> None:
        if importlib.util.find_spec("lexicon") is None:
            raise missing_extra("dns-lexicon", "acme-lexicon")
        self._provider = check_filled_text("provider", provider)
        values = getattr(settings, "values", None)  # of a file, which may have anything
        if values is None or not all(isinstance(one, str | int | bool) for one in values()):
            raise wrong_type("settings", "a mapping of names to texts, numbers and booleans", settings)
        self._settings = dict(settings)
        self._zone = None if zone is None else check_filled_text("zone", zone).lower().removesuffix(".")
        self._timeout = check_duration("timeout", timeout)

    async def add_txt(self, name: str, value: str) -> None:
        """Add a record.

        Raises:
            ACMEError: the provider refuses or does not answer in time (`ERR_ACME_DNS`).
        """
        await self._change("add", name, value)

    async def remove_txt(self, name: str, value: str) -> None:
        """Remove a record.

        Raises:
            ACMEError: the provider refuses or does not answer in time (`ERR_ACME_DNS`).
        """
        await self._change("remove", name, value)

    async def _change(self, verb: str, name: str, value: str) -> None:
        task = {"provider": self._provider, "settings": self._settings, "zone": self._zone, "verb": verb, "name": name, "value": value}
        label = f"dns-lexicon for {self._provider!r}, to {verb} the TXT record of {name},"
        hint = "Check the settings of the provider: https://dns-lexicon.readthedocs.io/en/latest/configuration_reference.html"
        await run_program([sys.executable, "-P", "-m", _MODULE], label, seconds=self._timeout, given=json.dumps(task).encode(), hint=hint)

    def __repr__(self) -> str:
        return f"<Lexicon {self._provider!r}>"
