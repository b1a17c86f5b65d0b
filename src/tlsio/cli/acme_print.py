"""What the commands of `tlsio acme` print about certificates."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from tlsio.cli.output import for_people, is_json, print_json, use_colors
from tlsio.model.instants import print_instant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tlsio.acme.manager.trouble import Trouble
    from tlsio.acme.plans.keeper import Outcome
    from tlsio.acme.plans.plan import Plan
    from tlsio.acme.plans.survey import Standing

__all__ = ["print_dropped", "print_outcomes", "print_standings"]

_WIDE = 200  # columns of a table where the output is no terminal
_REASONS = {
    "suggested": "suggested by the authority",
    "time": "by its age",
    "emergency": "it ends soon",
    "expired": "it has expired",
    "not_yet_valid": "it is not valid yet",
    "missing": "there is none",
    "revoked": "it was revoked",
    "names": "other names",
    "asked": "asked for",
}


def print_outcomes(outcomes: Sequence[Outcome], *, note: str = "", place: str = "") -> None:
    """Print what became of each plan.

    Args:
        outcomes: Of each plan.
        note: What is said about a certificate that is kept, whose files are written all the same.
        place: The storage.
    """
    if is_json():
        print_json([_as_json(one) for one in outcomes])
        return
    if not outcomes:
        click.echo(f"There is nothing to renew in {place}: `tlsio acme obtain` has obtained no certificate there.")
    for one in outcomes:
        click.echo(f"{', '.join(one.plan.names)}: {_describe(one, note)}")
        if one.plan.cert is not None and (one.state == "obtained" or (one.state == "kept" and note)):
            click.echo(f"  written to {' and '.join(dict.fromkeys(path for path in (one.plan.cert, one.plan.key) if path))}")
        if one.late_hooks:
            click.echo("  its new deploy hook was run" if len(one.late_hooks) == 1 else "  its new deploy hooks were run")


def print_dropped(old: Plan, new: Plan) -> None:
    """Print what renewals no longer do, because a new plan has replaced an old one."""
    lost = [f"--{name.replace('_', '-')}" for name in ("cert", "key") if getattr(old, name) and not getattr(new, name)]
    lost += [
        f"--{kind}-hook" for kind in ("pre", "post", "deploy") if set(getattr(old, f"{kind}_hooks")) - set(getattr(new, f"{kind}_hooks"))
    ]
    lost += sorted(set(old.names) - set(new.names))
    if lost:
        click.echo(f"The new plan drops what the previous one had: {', '.join(lost)}", err=True)


def _describe(one: Outcome, note: str) -> str:
    if one.state == "obtained" and one.certificate is not None:
        return f"obtained, until {print_instant(one.certificate.not_after)}"
    if one.state == "rehearsed":
        return "would be renewed, and the staging server has issued a certificate"
    if one.state == "kept":
        return f"not due before {print_instant(one.renewal.at)}{note}"
    if one.state == "waiting" and one.trouble.next_try is not None:
        return (
            f"failed {one.trouble.failures} times, next try {print_instant(one.trouble.next_try)}: {for_people(one.trouble.message or '')}"
        )
    return f"due: {_REASONS[one.renewal.reason]}"


def _as_json(one: Outcome) -> dict[str, Any]:
    return {
        "names": list(one.plan.names),
        "state": one.state,
        "not_after": None if one.certificate is None else one.certificate.not_after.isoformat(),
        "renews_at": one.renewal.at.isoformat(),
        "reason": one.renewal.reason,
    }


def print_standings(found: Sequence[Standing], now: datetime) -> None:
    """Print a table of all certificates, and below it what has gone wrong."""
    from rich.console import Console  # noqa: PLC0415 - most commands need none
    from rich.table import Table  # noqa: PLC0415

    table = Table("name", "authority", "ends", "renewal", box=None, pad_edge=False, show_edge=False)
    for one in found:
        names = one.names[0] + (f" +{len(one.names) - 1}" if len(one.names) > 1 else "")
        table.add_row(names, one.issuer or "none", _end(one, now), _renewal(one))
    is_plain = use_colors() is False
    width = None if sys.stdout.isatty() else _WIDE
    Console(file=sys.stdout, markup=False, highlight=False, emoji=False, width=width, no_color=is_plain).print(table)
    for one in found:
        if one.trouble.failures or one.trouble.message:
            _print_trouble(one.names[0], "", one.trouble)
            if one.issuer is None and one.plan is None:
                click.echo(f"  Unless a server obtains it, `tlsio acme delete {one.names[0]}` removes this note.")
        if one.deployment.failures:
            _print_trouble(one.names[0], " to put the certificate in place", one.deployment)
        if one.unrevoked:
            what = "a certificate that was replaced is" if one.unrevoked == 1 else f"{one.unrevoked} certificates that were replaced are"
            click.secho(f"{one.names[0]}: {what} not revoked yet; `tlsio acme renew` tries again", fg="red")


def _print_trouble(name: str, aim: str, trouble: Trouble) -> None:
    number = trouble.failures
    count = f"{number} {'try' if number == 1 else 'tries'}{aim} failed" if number else "The last try failed"
    then = "" if trouble.next_try is None else f", the next is {print_instant(trouble.next_try)}"
    then = ", and the next one will fail too" if trouble.needs_action else then
    click.secho(f"{name}: {count}{then}: {for_people(trouble.message or '')}", fg="red")
    if trouble.hint is not None and (hint := for_people(trouble.hint, is_hint=True)):
        click.echo(f"  {hint}")


def _end(one: Standing, now: datetime) -> str:
    if one.not_after is None:
        return "-"
    return f"{print_instant(one.not_after)}{' (expired)' if one.not_after <= now else ''}"


def _renewal(one: Standing) -> str:
    if one.renews_at is None:
        return "no, it was revoked" if one.reason == "revoked" else "no"
    return f"{print_instant(one.renews_at)}, {_REASONS[one.reason]}"
