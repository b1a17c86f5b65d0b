"""Help that begins with examples."""

from __future__ import annotations

import inspect
import re
from contextlib import nullcontext
from typing import Any

import click

from tlsio.cli.failures import report
from tlsio.cli.output import is_json
from tlsio.cli.unknown_words import check_options, describe_extra, describe_unknown_command
from tlsio.cli.wording import log_for_people

__all__ = ["Command", "Group"]


class _ExamplesFirst(click.Command):
    """A command whose help shows what to type before it explains."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        kwargs["context_settings"] = {"help_option_names": ["-h", "--help"], **kwargs.get("context_settings", {})}
        super().__init__(*args, **kwargs)
        # A command line and, after three spaces or more, what it is for.
        self.examples = [tuple(re.split(r" {3,}", line, maxsplit=1)) for line in inspect.cleandoc(examples).splitlines()]

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, those of each command last."""
        return sorted(super().get_params(ctx), key=lambda one: bool({"--json", "--help"}.intersection(one.opts)))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words after the command."""
        if not ctx.resilient_parsing:
            check_options(ctx, args)
        allows_extra, ctx.allow_extra_args = ctx.allow_extra_args, True  # refused here, with a hint
        extra = super().parse_args(ctx, args)
        if extra and not allows_extra and not ctx.resilient_parsing:
            ctx.fail(describe_extra(ctx, extra))
        return extra

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, and then what click writes."""
        formatter.write("Examples:\n")
        for line, *notes in self.examples:
            formatter.write("".join(f"  # {note}\n" for note in notes) + f"  {line}\n")
        formatter.write_paragraph()
        super().format_help(ctx, formatter)


class Command(_ExamplesFirst):
    """One command. Its errors are reported while its options are known.

    With `logs_itself`, the command prints what the library logs.
    """

    def __init__(self, *args: Any, logs_itself: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._logs_itself = logs_itself

    def invoke(self, ctx: click.Context) -> Any:
        """Run it, and return its exit code."""
        try:
            with nullcontext() if self._logs_itself else log_for_people():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - the top of the command; what is not known is raised again
            return report(error, as_json=is_json())


class Group(_ExamplesFirst, click.Group):
    """A group of commands. Subclasses may know the line about each without importing it."""

    command_class = Command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say what there is instead."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            ctx.fail(describe_unknown_command(ctx, args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def line_about(self, name: str) -> str:
        """Return the line about a command."""
        return self.commands[name].get_short_help_str(limit=200)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.line_about(name)) for name in self.list_commands(ctx)])
