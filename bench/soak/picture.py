"""The picture of a soak: a panel for each quantity, a line for each process, as SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verdict import Sample

WIDTH, HEIGHT, LEFT, TOP, GAP = 470, 170, 70, 60, 50
COLUMNS = 2
COLOURS = ("#1f5fa8", "#c8551b", "#3a7d34")
PANELS = {
    "resident": ("Resident memory", "KiB"),
    "heap": ("Memory from malloc", "KiB"),
    "blocks": ("Python's small objects", ""),
    "descriptors": ("Descriptors", ""),
    "tasks": ("Tasks", ""),
    "natives": ("Connection objects left", ""),
    "contexts": ("SecureContext objects", ""),
    "held": ("Silent connections while CPU was measured", ""),
    "held_cpu": ("CPU with silent connections", "of a core"),
    "idle_cpu": ("CPU without connections", "of a core"),
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
    for number, (quantity, (heading, unit)) in enumerate(PANELS.items()):
        x, y = LEFT + number % COLUMNS * (WIDTH + LEFT), TOP + number // COLUMNS * (HEIGHT + GAP) + 14
        lines = [[(one.minutes, float(getattr(one, quantity))) for one in samples if one.process == name] for name in names]
        parts.append(f'<g transform="translate({x},{y})">{_panel(lines, f"{heading}, {unit}" if unit else heading)}</g>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(lines: Sequence[Sequence[tuple[float, float]]], heading: str) -> str:
    end = max((x for line in lines for x, _ in line), default=1.0) or 1.0
    top = max((y for line in lines for _, y in line), default=0.0) * 1.1 or 1.0  # from zero: a picture that zooms in makes noise a leak
    drawn = [f'<text x="0" y="-4" font-weight="bold">{escape(heading)}</text>']
    for step in range(5):
        y = HEIGHT - HEIGHT * step / 4
        drawn.append(f'<path d="M0 {y:.1f}H{WIDTH}" stroke="#ddd"/>')
        drawn.append(f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{top * step / 4:,.5g}</text>')
        drawn.append(f'<text x="{WIDTH * step / 4:.1f}" y="{HEIGHT + 14}" text-anchor="middle">{end * step / 4:.3g}</text>')
    for colour, line in zip(COLOURS, lines, strict=False):
        points = " ".join(f"{WIDTH * x / end:.1f},{HEIGHT - HEIGHT * y / top:.1f}" for x, y in line)
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return "".join(drawn)
