"""The plot of a soak as SVG: a panel for each quantity, a line for each process."""

from __future__ import annotations

from html import escape
from math import floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verdict import Sample

WIDTH, HEIGHT, LEFT, TOP, GAP = 470, 170, 70, 60, 50
COLUMNS = 2
COLOURS = ("#1f5fa8", "#c8551b", "#3a7d34")
STEPS = 4  # of each axis
# Heading, factor, and where the axis ends at least: noise far below a limit should not fill the panel.
PANELS = {
    "resident": ("Resident memory, MiB", 1 / 1024, 0.0),
    "heap": ("Memory from malloc, MiB", 1 / 1024, 0.0),
    "blocks": ("Python's small objects", 1, 0.0),
    "descriptors": ("Descriptors", 1, 0.0),
    "tasks": ("Tasks", 1, 4.0),
    "natives": ("Connection objects left", 1, 4.0),
    "contexts": ("SecureContext objects", 1, 0.0),
    "held": ("Silent connections while CPU time was measured", 1, 0.0),
    "held_cpu": ("CPU time with silent connections, % of a core", 100, 2.0),
    "idle_cpu": ("CPU time without connections, % of a core", 100, 2.0),
}


def draw(samples: Sequence[Sample], title: str) -> str:
    """Return the picture; the x axis of each panel is time in minutes."""
    rows = -(-len(PANELS) // COLUMNS)
    width, height = COLUMNS * (WIDTH + LEFT) + 30, TOP + rows * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/><text x="20" y="24" font-size="15">{escape(title)}</text>',
    ]
    names = list(dict.fromkeys(one.process for one in samples))
    for number, name in enumerate(names):
        parts.append(f'<text x="{20 + 90 * number}" y="42" fill="{COLOURS[number]}">&#9632; {escape(name)}</text>')
    for number, (quantity, (heading, factor, least)) in enumerate(PANELS.items()):
        x, y = LEFT + number % COLUMNS * (WIDTH + LEFT), TOP + number // COLUMNS * (HEIGHT + GAP) + 14
        lines = [[(one.minutes, getattr(one, quantity) * factor) for one in samples if one.process == name] for name in names]
        parts.append(f'<g transform="translate({x},{y})">{_panel(lines, heading, least)}</g>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(lines: Sequence[Sequence[tuple[float, float]]], heading: str, least: float) -> str:
    end = round_up(max((x for line in lines for x, _ in line), default=0.0))
    top = round_up(max((y for line in lines for _, y in line), default=0.0), least)  # from zero: a picture that zooms in makes noise a leak
    drawn = [f'<text x="0" y="-4" font-weight="bold">{escape(heading)}</text>']
    for step in range(STEPS + 1):
        y = HEIGHT - HEIGHT * step / STEPS
        drawn.append(f'<path d="M0 {y:.1f}H{WIDTH}" stroke="#ddd"/>')
        drawn.append(f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{top * step / STEPS:,.6g}</text>')
        drawn.append(f'<text x="{WIDTH * step / STEPS:.1f}" y="{HEIGHT + 14}" text-anchor="middle">{end * step / STEPS:.6g}</text>')
    for colour, line in zip(COLOURS, lines, strict=False):
        points = " ".join(f"{WIDTH * x / end:.1f},{HEIGHT - HEIGHT * y / top:.1f}" for x, y in line)
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return "".join(drawn)


def round_up(value: float, least: float = 0.0) -> float:
    """Return where an axis ends whose steps are round numbers."""
    step = max(value, least, STEPS / 1000) / STEPS
    magnitude = 10.0 ** floor(log10(step))
    return STEPS * magnitude * next(digit for digit in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10) if digit * magnitude >= step * (1 - 1e-9))
