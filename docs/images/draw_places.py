"""Draws places-light.svg and places-dark.svg: python docs/images/draw_places.py

Endpoints by region and zone, in the order in which a caller in north/a is sent to them.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sheet import GREYS, Look, head, sheet, words


class Theme(NamedTuple):
    """Colours."""

    text: str
    faint: str
    fill: str
    line: str
    first: str


THEMES = {"light": Theme(*GREYS["light"], "#1a7f37"), "dark": Theme(*GREYS["dark"], "#3fb950")}

WIDTH, HEIGHT = 984, 282
TOP, TALL, WIDE = 64, 132, 150
# Region, its left edge, its width; zones: left edge, name, priority, why.
REGIONS = (
    ("region north", 30, 400, ((50, "zone a", 0, "the caller's zone"), (260, "zone b", 1, "its region"))),
    ("region south", 470, 200, ((495, "zone c", 2, "the heir: failover"),)),
    ("region west", 710, 200, ((735, "zone d", 3, "elsewhere"),)),
)


def regions(theme: Theme) -> list[str]:
    drawn = []
    for name, left, wide, zones in REGIONS:
        drawn.append(
            f'<rect x="{left}" y="16" width="{wide}" height="{TALL + 66}" rx="10" fill="none" '
            f'stroke="{theme.line}" stroke-width="2" stroke-dasharray="2 5" stroke-linecap="round"/>'
        )
        drawn.append(words(left + wide / 2, 42, name, theme.text, Look(bold=True)))
        for x, zone, priority, why in zones:
            drawn += one_zone(theme, x, (zone, priority, why))
    return drawn


def one_zone(theme: Theme, x: float, what: tuple[str, int, str]) -> list[str]:
    zone, priority, why = what
    colour = theme.first if priority == 0 else theme.line
    middle = x + WIDE / 2
    return [
        f'<rect x="{x}" y="{TOP}" width="{WIDE}" height="{TALL}" rx="6" fill="{theme.fill}" '
        f'stroke="{colour}" stroke-width="{2 if priority == 0 else 1}"/>',
        words(middle, TOP + 24, zone, theme.faint),
        words(
            middle, TOP + 72, str(priority), theme.first if priority == 0 else theme.text, Look(34, bold=True)
        ),
        words(middle, TOP + 94, "priority", theme.faint, Look(11)),
        words(middle, TOP + 118, why, theme.text),
    ]


def order(theme: Theme) -> list[str]:
    """The arrow below: when nobody is well there."""
    y = HEIGHT - 40
    return [
        f'<path d="M60 {y}H900" fill="none" stroke="{theme.line}" stroke-width="2" marker-end="url(#next)"/>',
        words(480, y + 26, "when too few there are well; and back, when they are", theme.faint),
    ]


def picture(theme: Theme) -> str:
    """One SVG."""
    drawn = ["<defs>", head("next", theme.line), "</defs>", *regions(theme), *order(theme)]
    title = (
        "A caller in north/a, and the endpoints of a service by zone in the order in which it is sent to "
        "them: north/a, north/b, south/c, west/d."
    )
    return sheet(WIDTH, HEIGHT, title, drawn)


if __name__ == "__main__":
    for name, theme in THEMES.items():
        Path(__file__).with_name(f"places-{name}.svg").write_text(picture(theme), encoding="utf-8")
