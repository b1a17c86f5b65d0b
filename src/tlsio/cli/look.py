"""A connection as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.tree import Tree

from tlsio.cli.output import console, for_people
from tlsio.model.instants import print_instant
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlsio.probe.connect import Certificate, Judgement, Look

__all__ = ["describe_verdict", "print_look", "print_refusal"]


def print_look(look: Look, *, alpn: str | None = None) -> None:
    """Print what was negotiated, the verdict and the chain to standard error.

    Args:
        look: The connection.
        alpn: The protocols that were offered.
    """
    for line in _facts(look, alpn):
        click.echo(line, err=True)
    console().print(_chain(look))


def print_refusal(look: Look) -> None:
    """Print one line to standard error if the server is refused."""
    if not look.verdict.authorized:
        click.secho("Error: ", fg="red", nl=False, err=True)
        click.echo(f"refused ({', '.join(look.verdict.reasons)}): {for_people(look.verdict.message or '')}", err=True)


def _facts(look: Look, offered: str | None) -> Iterator[str]:
    address = f" ({look.address})" if look.address not in {None, look.host} else ""
    yield f"Connected to {look.host}{address} port {look.port}{f' after {look.starttls}' if look.starttls else ''}."
    yield f"  version: {look.version}"
    yield f"  cipher suite: {look.standard_suite}"
    yield from _line("group", look.group)
    yield from _line("signed with", look.signature)
    yield from _line("ALPN", look.alpn or (f"none of {offered}" if offered else None))
    yield from _line("server name", look.server_name)
    if (asked := look.certificate_request) is not None:
        yield f"  client certificate: asked for{', from ' + printable('; '.join(asked.authorities)) if asked.authorities else ''}"
    if look.staple is not None:
        yield f"  OCSP response: {'good' if look.staple.is_good else printable(look.staple.message or look.staple.code or '')}"
    for version, found in (look.resumption or {}).items():
        yield f"  resumption in {version}: {_describe_resumption(found)}"
    yield from (f"  {line}" for line in describe_verdict(look.verdict))


def _describe_resumption(found: object) -> str:
    if not getattr(found, "supported", False):
        return "the server does not have this version"
    offer, resumed = getattr(found, "offer", None), getattr(found, "resumed", None)
    if offer is None:
        return "not offered"
    return f"{offer}, {'could not be tried' if resumed is None else 'works' if resumed else 'offered, but does not work'}"


def describe_verdict(verdict: Judgement, name: str | None = None) -> Iterator[str]:
    """Yield lines of text about a verdict.

    Args:
        verdict: The verdict.
        name: The name that the server was verified for, if the lines before do not have it.
    """
    place = f" for {printable(name)}" if name else ""
    if verdict.authorized:
        yield f"verdict: {click.style('accepted', fg='green')}{place}"
        if verdict.warning:
            yield f"{click.style('warning', fg='yellow')}: {for_people(verdict.warning)}."
        return
    yield f"verdict: {click.style('refused', fg='red')}{place} ({', '.join(verdict.reasons)})"
    if verdict.message:
        yield f"  {for_people(verdict.message)}"
    if verdict.hint and (hint := for_people(verdict.hint, is_hint=True)):
        yield f"  {hint}"


def _line(name: str, value: str | None) -> Iterator[str]:
    if value:
        yield f"  {name}: {printable(value)}"


def _chain(look: Look) -> Tree:
    """Draw the chain: the root on top, each certificate below its issuer."""
    tree = below = Tree("The chain:" if look.chain else "The server sent no certificate.")
    if look.missing_issuer:
        below = below.add(f"missing: {printable(look.missing_issuer)}", style="red")
    for one in reversed(look.chain):
        below = below.add(_describe(one), style="red" if one.reasons else "")
    for one in look.unused:
        tree.add(f"not needed: {_describe(one)}", style="yellow")
    return tree


def _describe(one: Certificate) -> str:
    end = f", until {print_instant(one.not_after)}" if one.not_after else ""
    title = printable(", ".join(one.names) or one.subject)
    place = "" if one.sent else ", from the trusted roots"
    return "\n".join([f"{title}, {one.key}{end}{place}", *(f"! {reason}" for reason in one.reasons)])
