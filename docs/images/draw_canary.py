"""Draws canary-light.svg and canary-dark.svg from canary.json: python docs/images/draw_canary.py

The data is what Prometheus answered to the panel "Requests per second by version" while somebody edited the
weights in mesh/reviews.yaml, on the containers of docker-compose.yml.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sheet import sheet


class Theme(NamedTuple):
    """Colours."""

    text: str
    faint: str
    line: str
    old: str
    new: str


THEMES = {
    "light": Theme("#1f2328", "#59636e", "#d1d9e0", "#0969da", "#1a7f37"),
    "dark": Theme("#e6edf3", "#9198a1", "#3d444d", "#4493f8", "#3fb950"),
}
DATA = json.loads(Path(__file__).with_name("canary.json").read_text(encoding="utf-8"))

WIDTH, HEIGHT = 984, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 956, 40, 218
MOST = 40
"""Requests per second at the upper edge."""


def x(second: float) -> float:
    return LEFT + (RIGHT - LEFT) * second / DATA["seconds"][-1]


def y(rate: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * rate / MOST


def words(
    at: float, down: float, text: str, colour: str, *, anchor: str = "middle", bold: bool = False
) -> str:
    weight = "600" if bold else "400"
    return (
        f'<text x="{at:.1f}" y="{down:.1f}" fill="{colour}" font-size="13" font-weight="{weight}" '
        f'text-anchor="{anchor}">{text}</text>'
    )


def area(lower: Sequence[float], upper: Sequence[float], colour: str) -> str:
    """What lies between two curves."""
    seconds = DATA["seconds"]
    there = [f"{x(t):.1f} {y(rate):.1f}" for t, rate in zip(seconds, upper, strict=True)]
    back = [f"{x(t):.1f} {y(rate):.1f}" for t, rate in zip(seconds, lower, strict=True)]
    return (
        f'<path d="M{"L".join(there + back[::-1])}Z" fill="{colour}" fill-opacity="0.3" '
        f'stroke="{colour}" stroke-width="1.5"/>'
    )


def picture(theme: Theme) -> str:
    """One SVG."""
    drawn = []
    for rate in range(0, MOST + 1, 10):
        drawn.append(f'<path d="M{LEFT} {y(rate):.1f}H{RIGHT}" stroke="{theme.line}"/>')
        drawn.append(words(LEFT - 8, y(rate) + 4, str(rate), theme.faint, anchor="end"))
    seconds = range(0, DATA["seconds"][-1] + 1, 30)
    drawn += (words(x(second), BOTTOM + 20, f"{second} s", theme.faint) for second in seconds)
    old, new = (DATA["requests_per_second"][version] for version in ("v1", "v2"))
    both = [one + other for one, other in zip(old, new, strict=True)]
    drawn.append(area([0] * len(old), old, theme.old))
    drawn.append(area(old, both, theme.new))
    for second, weights in DATA["weights"]:
        at = x(max(second, 0))
        drawn.append(
            f'<path d="M{at:.1f} {TOP - 6}V{BOTTOM}" stroke="{theme.faint}" stroke-dasharray="3 4"/>'
        )
        drawn.append(words(at + 6, TOP - 10, f"v1/v2: {weights}", theme.text, anchor="start", bold=True))
    drawn.append(words(x(30), y(8), "reviews v1", theme.old, bold=True))
    drawn.append(words(x(222), y(8), "reviews v2", theme.new, bold=True))
    drawn.append(
        words(
            LEFT,
            HEIGHT - 6,
            "requests per second, over the last 20 s, as they arrive",
            theme.faint,
            anchor="start",
        )
    )
    title = "A canary: the requests for reviews move from v1 to v2 as the weights in a file are edited."
    return sheet(WIDTH, HEIGHT, title, drawn)


if __name__ == "__main__":
    for name, theme in THEMES.items():
        Path(__file__).with_name(f"canary-{name}.svg").write_text(picture(theme), encoding="utf-8")
