"""Draws mutual-tls-light.svg and mutual-tls-dark.svg: python docs/images/draw_mutual_tls.py

What becomes of three kinds of connections at a port whose protocol is opaque, by mode.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sheet import GREYS, Look, sheet, words


class Theme(NamedTuple):
    """Colours."""

    text: str
    faint: str
    fill: str
    line: str
    mutual: str
    plain: str
    refused: str


THEMES = {
    "light": Theme(*GREYS["light"], "#1a7f37", "#0969da", "#cf222e"),
    "dark": Theme(*GREYS["dark"], "#3fb950", "#4493f8", "#f85149"),
}

WIDTH, HEIGHT = 984, 250
ROWS = (
    ("a sidecar with an identity", "TLS, ALPN istio"),
    ("an application's own TLS", "TLS, any other ALPN or none"),
    ("plaintext", ""),
)
MODES = ("DISABLE", "PERMISSIVE", "STRICT")
# By mode, from the first row to the last.
OUTCOMES = (
    ("as it comes", "as it comes", "as it comes"),
    ("mutual TLS", "as it comes", "as it comes"),
    ("mutual TLS", "refused", "refused"),
)
LABEL, COLUMN, TOP, ROW = 250, 236, 56, 62


def cell(theme: Theme, x: float, y: float, outcome: str) -> list[str]:
    colours = {"mutual TLS": theme.mutual, "as it comes": theme.plain, "refused": theme.refused}
    colour = colours[outcome]
    end = x + COLUMN - 92
    line = f'<line x1="{x + 14:g}" y1="{y:g}" x2="{end:g}" y2="{y:g}" stroke="{colour}" stroke-width="2"'
    drawn = [words((x + end) / 2 + 7, y - 9, outcome, colour, Look(14))]
    if outcome == "refused":
        drawn.append(f'{line} stroke-dasharray="5 4"/>')
        cross = f"M{end - 5:g} {y - 6:g}l12 12m0-12l-12 12"
        drawn.append(f'<path d="{cross}" stroke="{colour}" stroke-width="2" fill="none"/>')
    else:
        drawn.append(f"{line}/>")
        drawn.append(f'<path d="M{end:g} {y - 5:g}l9 5l-9 5z" fill="{colour}"/>')
    return drawn


def picture(theme: Theme) -> str:
    """One SVG."""
    drawn: list[str] = []
    for row, (who, how) in enumerate(ROWS):
        y = TOP + 30 + row * ROW
        drawn.append(words(LABEL / 2, y - 4 if how else y + 5, who, theme.text, Look(14, bold=True)))
        if how:
            drawn.append(words(LABEL / 2, y + 15, how, theme.faint, Look(13)))
    for column, (mode, outcomes) in enumerate(zip(MODES, OUTCOMES, strict=True)):
        x = LABEL + column * COLUMN
        drawn.append(words(x + (COLUMN - 92) / 2 + 7, TOP - 22, mode, theme.text, Look(15, bold=True)))
        box = x + COLUMN - 74
        drawn.append(
            f'<rect x="{box}" y="{TOP}" width="62" height="{ROW * 3 - 6}" rx="6" '
            f'fill="{theme.fill}" stroke="{theme.line}"/>'
        )
        drawn.append(words(box + 31, TOP + ROW * 1.5, "port", theme.faint, Look(13)))
        for row, outcome in enumerate(outcomes):
            drawn += cell(theme, x, TOP + 30 + row * ROW, outcome)
    title = (
        "What an opaque port takes: under PERMISSIVE mutual TLS, an application's own TLS and "
        "plaintext; under STRICT mutual TLS alone."
    )
    return sheet(WIDTH, HEIGHT, title, drawn)


if __name__ == "__main__":
    for name, theme in THEMES.items():
        Path(__file__).with_name(f"mutual-tls-{name}.svg").write_text(picture(theme), encoding="utf-8")
