"""Draws data-flow-light.svg and data-flow-dark.svg: python docs/images/draw.py

GitHub shows the one that suits the reader's theme; both come from here, so that they cannot differ.
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
    flow: str
    answer: str


THEMES = {
    "light": Theme(*GREYS["light"], "#0969da", "#1a7f37"),
    "dark": Theme(*GREYS["dark"], "#4493f8", "#3fb950"),
}

WIDTH, HEIGHT = 984, 272
_BOTH = "auto-start-reverse"
BOX, GAP, TOP, TALL = 124, 46, 46, 108
BOXES = (
    ("sources", ("directory of", "Istio YAML")),
    ("store", ("parse, keep the", "last valid,", "debounce")),
    ("graph", ("queries with", "recorded", "dependencies")),
    ("bytes", ("serialized once,", "shared by all", "who see the same")),
    ("streams", ("difference,", "order, ACKs,", "NACKs")),
    ("Envoys", ("stock, without", "an agent")),
)
FLOWS = ("changes", "a revision", "resources", "what changed", "responses")
STAGES = (
    # What the push trace calls each moment, by its place: (column, fraction of the column's box).
    ("source", 0, 0.5),
    ("debounce_in", 1, 0.1),
    ("commit", 1, 1.0),
    ("compute", 3, 0.0),
    ("plan", 4, 0.3),
    ("write", 4, 1.0),
    ("ack", 5, 0.5),
)


def left(column: int) -> float:
    return 5 + column * (BOX + GAP)


def arrow(x: float, y: float, to: float, colour: str, name: str) -> str:
    return (
        f'<line x1="{x:g}" y1="{y:g}" x2="{to:g}" y2="{y:g}" stroke="{colour}" stroke-width="2" '
        f'marker-end="url(#{name})"/>'
    )


def box(theme: Theme, column: int, name: str, lines: tuple[str, ...]) -> list[str]:
    x, middle = left(column), left(column) + BOX / 2
    depth = 2 if name == "Envoys" else 0
    drawn = [
        f'<rect x="{x + 5 * n:g}" y="{TOP - 5 * n}" width="{BOX - 5 * depth}" height="{TALL}" rx="6" '
        f'fill="{theme.fill}" stroke="{theme.line}"/>'
        for n in range(depth, -1, -1)
    ]
    middle -= 2.5 * depth
    drawn.append(words(middle, TOP + 28, name, theme.text, Look(16, bold=True)))
    drawn += (words(middle, TOP + 52 + 18 * n, line, theme.faint) for n, line in enumerate(lines))
    return drawn


def trace(theme: Theme) -> list[str]:
    y = TOP + TALL + 58
    points = [(left(column) + fraction * BOX, name) for name, column, fraction in STAGES]
    start, end = points[0][0], points[-1][0]
    drawn = [
        f'<line x1="{start:g}" y1="{y}" x2="{end:g}" y2="{y}" stroke="{theme.line}" stroke-width="2"/>',
        words(
            (start + end) / 2,
            y + 50,
            "the push trace: every change, timed from its source to the last ACK",
            theme.faint,
        ),
    ]
    for x, name in points:
        colour = theme.answer if name == "ack" else theme.flow
        drawn.append(f'<circle cx="{x:g}" cy="{y}" r="5" fill="{colour}"/>')
        drawn.append(words(x, y + 24, name, theme.text))
    return drawn


def picture(theme: Theme) -> str:
    """One SVG."""
    drawn = ["<defs>", head("flow", theme.flow, _BOTH), head("answer", theme.answer, _BOTH), "</defs>"]
    for column, (name, lines) in enumerate(BOXES):
        drawn += box(theme, column, name, lines)
    for column, name in enumerate(FLOWS):
        x = left(column) + BOX
        drawn.append(arrow(x + 4, TOP + 44, x + GAP - 4, theme.flow, "flow"))
        drawn.append(words(x + GAP / 2, TOP - 12, name, theme.flow))
    x = left(4) + BOX
    drawn.append(arrow(x + GAP - 4, TOP + 76, x + 4, theme.answer, "answer"))
    drawn.append(words(x + GAP / 2, TOP + TALL + 20, "ACK, NACK", theme.answer))
    drawn += trace(theme)
    title = (
        "Sources feed a store; the store commits to a graph; the graph yields bytes; "
        "streams send each Envoy the difference."
    )
    return sheet(WIDTH, HEIGHT, title, drawn)


if __name__ == "__main__":
    for name, theme in THEMES.items():
        Path(__file__).with_name(f"data-flow-{name}.svg").write_text(picture(theme), encoding="utf-8")
