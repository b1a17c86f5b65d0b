"""`tlsio bench`: how fast a server is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tlsio.cli.client_options import client_options, run_client
from tlsio.cli.failures import FINDING, INTERRUPTED
from tlsio.cli.help import Command
from tlsio.cli.output import is_json, json_option, print_json, print_lines
from tlsio.cli.parameters import ENDPOINT
from tlsio.cli.progress import progress
from tlsio.probe.measure import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tlsio.cli.parameters import Endpoint
    from tlsio.probe.measure import Measurement, Progress, Rate

__all__ = ["bench"]

_BAR = 40  # columns of the slowest bar


@click.command(
    cls=Command,
    examples="""
    tlsio bench localhost:8443 --ca "$(tlsio dev where)/root.pem"   of `tlsio listen 8443`
    tlsio bench localhost:8443 --seconds 10 --concurrency 8 --size 16384
    """,
)
@click.argument("target", type=ENDPOINT, metavar="HOST[:PORT]")
@client_options
@click.option("--seconds", type=click.FloatRange(0.01), default=3.0, show_default=True, help="For handshakes, and for echoes.")
@click.option("--concurrency", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Connections at the same time.")
@click.option("--size", type=click.IntRange(1, 1 << 20), default=64, show_default=True, help="Bytes of a message.")
@click.option("--echo/--no-echo", default=True, show_default=True, help="Measure echoes too, if the server sends back what it gets.")
@json_option
def bench(target: Endpoint, **options: Any) -> int:
    """Measure handshakes and echoes per second, with percentiles.

    It loads the server as much as it can: measure servers of your own. The exit code is 1 if the
    first connection fails, or if no handshake succeeds after it. After Ctrl-C, it shows what was
    measured until then.
    """
    partial: list[Measurement] = []
    try:
        found = run_client(options, lambda given: _measure(target, partial.append, given))
    except KeyboardInterrupt:
        if not partial:
            raise
        click.echo("Interrupted: this was measured until then.", err=True)
        _print(partial[0])
        return INTERRUPTED
    _print(found)
    return 0 if found.handshakes.count else FINDING


async def _measure(target: Endpoint, keep: Callable[[Measurement], None], options: dict[str, Any]) -> Measurement:
    with progress(f"Measuring {target.host}") as report:
        return await measure(target.host, target.port, on_progress=_reporter(report), on_cancel=keep, **options)


def _reporter(report: Callable[..., None]) -> Callable[[Progress], None]:
    return lambda one: report(f"{one.count} {one.phase}", one.done)


def _print(found: Measurement) -> None:
    if is_json():
        print_json(found.as_json())
    else:
        print_lines(_lines(found))


def _lines(found: Measurement) -> Iterator[str]:
    yield f"{found.version}, {found.suite}"
    yield from _rate("handshakes", found.handshakes)
    if found.echoes is not None:
        yield from _rate("echoes", found.echoes)


def _rate(name: str, rate: Rate) -> Iterator[str]:
    failed = f", {rate.failures} failed" if rate.failures else ""
    yield f"{name}: {rate.per_second:.0f} per second ({rate.count} in {rate.seconds:.1f} s{failed})"
    longest = max(rate.percentiles.values(), default=0)
    for percent, milliseconds in rate.percentiles.items():
        bar = "█" * max(1, round(_BAR * milliseconds / longest)) if longest else ""
        yield f"  {percent:3} %  {milliseconds:9.3f} ms  {bar}"
