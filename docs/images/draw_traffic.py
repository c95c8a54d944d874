"""Draws traffic-light.svg and traffic-dark.svg: python docs/images/draw_traffic.py

What a request meets at its sidecar, and which kinds decide there.
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
    way: str


THEMES = {"light": Theme(*GREYS["light"], "#0969da"), "dark": Theme(*GREYS["dark"], "#4493f8")}

WIDTH, HEIGHT = 984, 236
LEFT, STRIDE, WIDE, TOP, TALL = 92, 178, 144, 26, 66
# What a request meets; by what it goes on from there; which kinds say so.
STOPS = (
    ("listener", "address and port", ("Service", "ServiceEntry", "Sidecar")),
    ("virtual host", "Host", ("Service", "ServiceEntry", "VirtualService")),
    ("route", "path and headers", ("VirtualService",)),
    ("cluster", "service and subset", ("DestinationRule", "PeerAuthentication", "MeshConfig")),
    ("endpoint", "health, place, load", ("Pod, EndpointSlice", "WorkloadEntry", "DestinationRule")),
)


def stops(theme: Theme) -> list[str]:
    """The boxes, and below each the kinds."""
    drawn = []
    for n, (name, by, kinds) in enumerate(STOPS):
        x = LEFT + STRIDE * n
        drawn.append(
            f'<rect x="{x}" y="{TOP}" width="{WIDE}" height="{TALL}" rx="6" fill="{theme.fill}" '
            f'stroke="{theme.line}"/>'
        )
        middle = x + WIDE / 2
        drawn.append(words(middle, TOP + 28, name, theme.text, Look(15, bold=True)))
        drawn.append(words(middle, TOP + 50, by, theme.faint))
        foot = TOP + TALL
        drawn.append(
            f'<path d="M{middle:g} {foot}v18" stroke="{theme.line}" stroke-dasharray="3 4" fill="none"/>'
        )
        drawn += (words(middle, foot + 38 + 20 * row, kind, theme.text) for row, kind in enumerate(kinds))
    return drawn


def way(theme: Theme) -> list[str]:
    """The arrows from left to right."""
    y = TOP + TALL / 2
    starts = [18, *(LEFT + STRIDE * n + WIDE for n in range(len(STOPS) - 1))]
    return [
        f'<path d="M{start} {y:g}H{LEFT + STRIDE * n - 4}" fill="none" stroke="{theme.way}" '
        f'stroke-width="2" marker-end="url(#way)"/>'
        for n, start in enumerate(starts)
    ] + [words(48, y - 12, "request", theme.way)]


def picture(theme: Theme) -> str:
    """One SVG."""
    drawn = ["<defs>", head("way", theme.way), "</defs>", *stops(theme), *way(theme)]
    last = HEIGHT - 14
    drawn.append(
        words(
            WIDTH / 2,
            last,
            "EnvoyFilter changes any of it; a Gateway puts the listener and its hosts at the edge",
            theme.faint,
        )
    )
    title = (
        "A request meets a listener, a virtual host, a route, a cluster and an endpoint; beside each stands "
        "which kinds decide there."
    )
    return sheet(WIDTH, HEIGHT, title, drawn)


if __name__ == "__main__":
    for name, theme in THEMES.items():
        Path(__file__).with_name(f"traffic-{name}.svg").write_text(picture(theme), encoding="utf-8")
