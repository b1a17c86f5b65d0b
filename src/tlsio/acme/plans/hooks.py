"""Runs the hooks of a plan: command lines for the shell, as certbot has them.

A hook gets `RENEWED_DOMAINS`, the names with spaces between them, and `RENEWED_LINEAGE`, the folder
of the plan's files, so that hooks written for certbot work. It gets no private key otherwise.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tlsio.acme.solvers.program import run_to_end
from tlsio.model.environment import with_variables
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlsio.acme.plans.plan import Plan

__all__ = ["run_hook", "run_hooks"]

_log = logging.getLogger("tlsio.acme")

# A reload of a service takes seconds; systemctl gives up after 90.
_TIMEOUT = 300.0
_SHOWN = 2000  # bytes of its output in an error
_HINT = "Correct the command."
_DEPLOYED = (
    "The certificate itself is in place, and `tlsio acme renew` runs the hooks again. Correct the command by another `tlsio acme obtain`."
)


async def run_hooks(commands: Sequence[str], plan: Plan, *, is_deployed: bool = False) -> None:
    """Run hooks one after the other, all of them, also after a failure.

    Args:
        commands: For `/bin/sh`.
        plan: What they are about.
        is_deployed: A new certificate is in place, which an error says.

    Raises:
        ConfigError: the first failure; others are logged.
    """
    failures = []
    for command in commands:
        try:
            await run_hook(command, plan, hint=_DEPLOYED if is_deployed else _HINT)
        except ConfigError as error:
            failures.append(error)
    for failure in failures[1:]:
        _log.error("%s", failure)
    if failures:
        raise failures[0]


async def run_hook(command: str, plan: Plan, *, hint: str = _HINT, timeout: float = _TIMEOUT) -> None:  # noqa: ASYNC109 - a limit of the hook's own
    """Run one hook to its end. A cancellation ends it, with the processes that it has started.

    Args:
        command: For `/bin/sh`.
        plan: What it is about.
        hint: What an error says to do.
        timeout: Seconds after which it is killed.

    Raises:
        ConfigError: it failed or took too long (`ERR_ACME_HOOK`).
    """
    variables = with_variables({"RENEWED_DOMAINS": " ".join(plan.names)})
    if plan.cert is not None:
        variables["RENEWED_LINEAGE"] = str(Path(plan.cert).parent.absolute())
    try:
        ended = await run_to_end(["/bin/sh", "-c", command], seconds=timeout, most=_SHOWN, variables=variables)
    except TimeoutError:
        raise _failed(command, f"has not ended after {timeout:g} seconds, and was killed", hint) from None
    text = ended.output.decode(errors="replace").strip()
    if ended.code != 0:
        raise _failed(command, f"ended with {ended.code}", hint, text)
    if text:
        _log.info("The hook %r printed: %s", command, text)


def _failed(command: str, problem: str, hint: str, output: str = "") -> ConfigError:
    shown = f": {output}" if output else ""
    return ConfigError(f"The hook {command!r} {problem}{shown}", code="ERR_ACME_HOOK", hint=hint)
