"""Draws compose-light.svg and compose-dark.svg: python docs/images/draw_compose.py

What talks to what in a meshed Compose project.
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
    mutual: str
    control: str
    watch: str


THEMES = {
    "light": Theme(*GREYS["light"], "#1a7f37", "#0969da", "#9a6700"),
    "dark": Theme(*GREYS["dark"], "#3fb950", "#4493f8", "#d29922"),
}

WIDTH, HEIGHT = 984, 452


class Box(NamedTuple):
    """A container, or something that is none (`thing`)."""

    x: float
    y: float
    wide: float
    name: str
    about: str = ""
    thing: bool = False
    tall: float = 50


BOXES = (
    Box(10, 24, 168, "Docker's socket", "on the machine", thing=True),
    Box(246, 24, 214, "mini-istiod-docker", "lets five questions through"),
    Box(10, 124, 168, "./mesh/*.yaml", "Istio's API", thing=True),
    Box(246, 110, 214, "mini-istiod", "the control plane", tall=78),
    Box(246, 228, 214, "mini-istiod-provision", "once: tokens, bootstraps"),
    Box(10, 344, 168, "a visitor", "127.0.0.1:8080", thing=True),
    Box(246, 344, 214, "ingressgateway", "Envoy"),
    Box(560, 344, 180, "productpage-envoy", "+ productpage"),
    Box(800, 262, 174, "details-envoy", "+ details"),
    Box(800, 344, 174, "reviews-v1-envoy", "+ reviews v1, v2, v3"),
    Box(560, 24, 180, "prometheus", "127.0.0.1:9090"),
    Box(800, 24, 174, "grafana", "127.0.0.1:3000"),
)


class Way(NamedTuple):
    """An arrow along a path, and what it is called, at a place."""

    path: str
    kind: str
    text: str
    x: float
    y: float


WAYS = (
    Way("M246 49H184", "control", "", 0, 0),
    Way("M353 110V80", "control", "what runs, and where", 428, 98),
    Way("M178 149H240", "control", "", 0, 0),
    Way("M460 149H690V338", "control", "xDS over TLS with a token, 15012, to every Envoy", 768, 140),
    Way("M353 278V338", "control", "", 0, 0),
    Way("M460 170H482V356H466", "control", "", 0, 0),
    Way("M690 149H887V256", "control", "", 0, 0),
    Way("M178 369H240", "visitor", "", 0, 0),
    Way("M460 376H554", "mutual", "mutual TLS", 508, 396),
    Way("M740 369H794", "mutual", "", 0, 0),
    Way("M740 356H768V287H794", "mutual", "", 0, 0),
    Way("M560 49H530V128H466", "watch", "", 0, 0),
    Way("M800 49H746", "watch", "", 0, 0),
    Way("M600 74V338", "watch", "statistics, 15090", 538, 220),
)


def drawn_box(theme: Theme, one: Box) -> list[str]:
    middle, fill = one.x + one.wide / 2, "none" if one.thing else theme.fill
    dashes = ' stroke-dasharray="5 4"' if one.thing or one.name.endswith("provision") else ""
    first = one.y + one.tall / 2 - 4
    return [
        f'<rect x="{one.x:g}" y="{one.y:g}" width="{one.wide:g}" height="{one.tall:g}" rx="6" '
        f'fill="{fill}" stroke="{theme.line}"{dashes}/>',
        words(middle, first, one.name, theme.text, Look(14, bold=True)),
        words(middle, first + 18, one.about, theme.faint),
    ]


def picture(theme: Theme) -> str:
    """One SVG."""
    colours = {"mutual": theme.mutual, "control": theme.control, "watch": theme.watch, "visitor": theme.line}
    drawn = ["<defs>", *(head(name, colour) for name, colour in colours.items()), "</defs>"]
    for one in BOXES:
        drawn += drawn_box(theme, one)
    for way in WAYS:
        colour = colours[way.kind]
        drawn.append(
            f'<path d="{way.path}" fill="none" stroke="{colour}" stroke-width="2" '
            f'marker-end="url(#{way.kind})"/>'
        )
        if way.text:
            drawn.append(words(way.x, way.y, way.text, colour))
    said = "every request between services passes two Envoys, in mutual TLS; only the gateway is published"
    drawn.append(words(WIDTH / 2, HEIGHT - 18, said, theme.faint))
    title = (
        "The control plane learns of containers through a filter, of rules from a folder, and configures "
        "every Envoy; services speak mutual TLS; Prometheus reads the statistics."
    )
    return sheet(WIDTH, HEIGHT, title, drawn)


if __name__ == "__main__":
    for name, theme in THEMES.items():
        Path(__file__).with_name(f"compose-{name}.svg").write_text(picture(theme), encoding="utf-8")
