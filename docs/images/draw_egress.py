"""Draws egress-light.svg and egress-dark.svg: python docs/images/draw_egress.py

A connection to a server outside, which leaves by the egress gateway: two hops, each a rule of its own.
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
    allowed: str
    refused: str


THEMES = {
    "light": Theme(*GREYS["light"], "#1a7f37", "#cf222e"),
    "dark": Theme(*GREYS["dark"], "#3fb950", "#f85149"),
}

WIDTH, HEIGHT = 984, 250
TOP, TALL, WIDE = 56, 88, 190
# Left edge, name, what it is.
BOXES = (
    (24, "client", ("and its sidecar", "in the mesh")),
    (397, "egress gateway", ("10.244.0.21:8443", "reads the name only")),
    (770, "news.example.com", ("203.0.113.10:443", "outside")),
)
HOPS = (("by server name", "gateways: [mesh]"), ("by server name", "gateways: [egress]"))


def boxes(theme: Theme) -> list[str]:
    drawn = []
    for x, name, lines in BOXES:
        drawn.append(
            f'<rect x="{x}" y="{TOP}" width="{WIDE}" height="{TALL}" rx="6" fill="{theme.fill}" '
            f'stroke="{theme.line}"/>'
        )
        middle = x + WIDE / 2
        drawn.append(words(middle, TOP + 30, name, theme.text, Look(15, bold=True)))
        drawn += (words(middle, TOP + 52 + 20 * n, line, theme.faint) for n, line in enumerate(lines))
    return drawn


def hops(theme: Theme) -> list[str]:
    """The two ways that are allowed, and the one that is not."""
    drawn = []
    y = TOP + TALL / 2
    for (left, _, _), (right, _, _), (by, rule) in zip(BOXES, BOXES[1:], HOPS, strict=False):
        start, end = left + WIDE, right - 4
        drawn.append(
            f'<path d="M{start} {y:g}H{end}" fill="none" stroke="{theme.allowed}" stroke-width="2" '
            f'marker-end="url(#allowed)"/>'
        )
        drawn.append(words((start + end) / 2, y - 10, by, theme.allowed))
        drawn.append(words((start + end) / 2, y + 20, rule, theme.text))
    first, last = BOXES[0][0] + WIDE / 2, BOXES[-1][0]
    low, foot = TOP + TALL + 42, TOP + TALL
    drawn.append(
        f'<path d="M{first:g} {foot}V{low}H{last - 44}" fill="none" stroke="{theme.refused}" '
        f'stroke-width="2" stroke-dasharray="6 5"/>'
    )
    drawn.append(
        f'<path d="M{last - 44} {low - 7}l14 14m0 -14l-14 14" stroke="{theme.refused}" stroke-width="3"/>'
    )
    drawn.append(words(485, low - 10, "whatever nobody registered: REGISTRY_ONLY", theme.refused))
    drawn.append(words(485, 30, "TLS of the client's, from end to end", theme.text, Look(bold=True)))
    drawn.append(
        words(485, HEIGHT - 18, "both rules stand in one VirtualService for news.example.com", theme.faint)
    )
    return drawn


def picture(theme: Theme) -> str:
    """One SVG."""
    drawn = ["<defs>", head("allowed", theme.allowed), "</defs>", *boxes(theme), *hops(theme)]
    title = (
        "The client's sidecar sends the connection to the egress gateway by its server name, and the gateway "
        "sends it to the server outside; each hop is one rule of the VirtualService."
    )
    return sheet(WIDTH, HEIGHT, title, drawn)


if __name__ == "__main__":
    for name, theme in THEMES.items():
        Path(__file__).with_name(f"egress-{name}.svg").write_text(picture(theme), encoding="utf-8")
