"""Trusting a development authority in the stores of this machine, and undoing it.

Every change is a command line that the user could type; a dry run returns them and changes nothing.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from tlsio.certs.dev import java, linux, macos, nss, windows
from tlsio.certs.dev.store import Root
from tlsio.model.checks import wrong_type, wrong_value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from tlsio.certs.dev.machine import Machine
    from tlsio.certs.dev.store import Command, Store, StoreKind

__all__ = ["STORE_KINDS", "Outcome", "add_root", "find_removals", "find_stores", "is_trusted", "remove_root"]

State: TypeAlias = Literal["added", "to be added", "present", "removed", "to be removed", "absent", "failed"]

STORE_KINDS: tuple[StoreKind, ...] = ("system", "nss", "java")
_NAME = re.compile(r"\btlsio-dev-[0-9a-f]{16}\b")  # of any root: `Root.read`
_LAST_LINES = 3  # of a failed command's output: its error is at the end


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one store.

    Attributes:
        store: The store.
        state: `"added"` or `"removed"`; `"to be added"` or `"to be removed"` after a dry run;
            `"present"` or `"absent"` if there was nothing to do; `"failed"`.
        commands: The command lines that were run, or would be; for a shell.
        problem: Why it failed, and what to do.
    """

    store: Store
    state: State
    commands: tuple[str, ...] = ()
    problem: str | None = None


def find_stores(root: Root, machine: Machine, *, only: Collection[str] = STORE_KINDS) -> list[Store]:
    """Return the stores of a machine.

    Args:
        root: The root that they would trust.
        machine: Whose stores.
        only: Kinds of stores: `"system"`, `"nss"`, `"java"`.

    Raises:
        UsageError: `only` is not a collection, or has another word.
    """
    if isinstance(only, str):
        raise wrong_type("only", "a list of kinds of stores", only, hint=f"Write only=[{only!r:.40}].")
    if unknown := set(only) - set(STORE_KINDS):
        raise wrong_value("only", f"must be of {', '.join(STORE_KINDS)}, got {min(unknown)!r:.40}")
    return [store for finder in (linux, macos, windows, nss, java) for store in finder.find_stores(machine, root) if store.kind in only]


def is_trusted(store: Store, root: Root, machine: Machine) -> bool:
    """Tell whether a store has the root."""
    if isinstance(store.check, Path):
        return store.check.is_file() and store.check.read_bytes() == root.pem
    return store.problem is None and machine.run(store.check).status == 0


def add_root(root: Root, machine: Machine, *, only: Collection[str] = STORE_KINDS, dry_run: bool = False) -> tuple[Outcome, ...]:
    """Add a root to every store. One that fails is left as it was, and does not stop the others."""
    return tuple(_add(store, root, machine, dry_run=dry_run) for store in find_stores(root, machine, only=only))


def _add(store: Store, root: Root, machine: Machine, *, dry_run: bool) -> Outcome:
    if is_trusted(store, root, machine):
        return Outcome(store, "present")
    try:
        outcome = _change(store, store.add, machine, dry_run=dry_run)
    except BaseException:  # Ctrl-C: a half addition would look like a whole one later
        _undo(store, root, machine)
        raise
    if outcome is not None:
        if outcome.commands and not dry_run:
            _undo(store, root, machine)
        return outcome
    lines = tuple(_lines(store.add, machine))
    if dry_run:
        return Outcome(store, "to be added", lines)
    if not is_trusted(store, root, machine):
        return Outcome(store, "failed", lines, "The commands succeeded, but the store does not have the root.")
    return Outcome(store, "added", lines)


def _undo(store: Store, root: Root, machine: Machine) -> None:
    """Remove what a failed addition may have left."""
    if is_trusted(store, root, machine):
        _change(store, store.remove, machine, dry_run=False)


def remove_root(root: Root, machine: Machine, *, only: Collection[str] = STORE_KINDS, dry_run: bool = False) -> tuple[Outcome, ...]:
    """Remove a root from every store that has it."""
    return tuple(_remove(store, root, machine, dry_run=dry_run) for store in find_stores(root, machine, only=only))


def find_removals(machine: Machine, *, only: Collection[str] = STORE_KINDS) -> list[str]:
    """Return command lines that remove the roots of every development authority.

    The stores of macOS and Windows do not list them by their names.
    """
    nameless = Root(Path(), b"", "tlsio-dev-", "")
    names = {name for store in find_stores(nameless, machine, only=only) for name in _NAME.findall(_list(store, nameless, machine))}
    roots = [Root(Path(), b"", name, "") for name in sorted(names)]
    found = [(store, root) for root in roots for store in find_stores(root, machine, only=only)]
    return [line for store, root in found if root.name in _list(store, root, machine) for line in _lines(store.remove, machine)]


def _list(store: Store, root: Root, machine: Machine) -> str:
    """Return what a store says that it has, with the names of roots among it."""
    if isinstance(store.check, Path):
        return "\n".join(one.name for one in store.check.parent.iterdir())
    *command, _option, name = store.check
    return machine.run(command).output if store.problem is None and name == root.name else ""


def _remove(store: Store, root: Root, machine: Machine, *, dry_run: bool) -> Outcome:
    if store.problem is None and not is_trusted(store, root, machine):
        return Outcome(store, "absent")
    outcome = _change(store, store.remove, machine, dry_run=dry_run)
    if outcome is not None:
        return outcome
    lines = tuple(_lines(store.remove, machine))
    if dry_run:
        return Outcome(store, "to be removed", lines)
    if is_trusted(store, root, machine):
        return Outcome(store, "failed", lines, "The commands succeeded, but the store still has the root.")
    return Outcome(store, "removed", lines)


def _change(store: Store, commands: Sequence[Command], machine: Machine, *, dry_run: bool) -> Outcome | None:
    """Run commands up to the first that fails; return the failure, None if there is none."""
    if store.problem is not None:
        return Outcome(store, "failed", (), store.problem)
    needs_help = any(one.needs_root for one in commands) and not machine.is_root
    if needs_help and machine.find_program("sudo") is None:
        return Outcome(store, "failed", (), "This store belongs to root, and sudo is not installed: run the command as root.")
    if dry_run:
        return None
    for number, command in enumerate(commands, start=1):
        result = machine.run(_elevated(command, machine))
        if result.status != 0:
            lines = tuple(_lines(commands[:number], machine))
            said = " ".join(result.output.strip().splitlines()[-_LAST_LINES:])
            return Outcome(store, "failed", lines, f"`{lines[-1]}` failed with the status {result.status}: {said:.500}")
    return None


def _elevated(command: Command, machine: Machine) -> tuple[str, ...]:
    return ("sudo", "--", *command.words) if command.needs_root and not machine.is_root else command.words


def _lines(commands: Sequence[Command], machine: Machine) -> Iterator[str]:
    return (shlex.join(_elevated(one, machine)) for one in commands)
