"""Draws sidecar-light.svg and sidecar-dark.svg: python docs/images/draw_sidecar.py

What a service of a Compose file becomes: three containers that share one network namespace.
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
    plain: str


THEMES = {
    "light": Theme(*GREYS["light"], "#1a7f37", "#0969da"),
    "dark": Theme(*GREYS["dark"], "#3fb950", "#4493f8"),
}

WIDTH, HEIGHT = 984, 330
TOP, TALL = 92, 128
# Left edge, width, name, what it is; from left to right as traffic comes in.
BOXES = (
    (
        214,
        236,
        "X-envoy",
        ("the stock Envoy, user 1337", "owns the namespace:", "X's networks, names, ports"),
    ),
    (482, 130, "X-init", ("runs once, ends:", "the rules that", "redirect traffic")),
    (644, 126, "X", ("your program,", "unchanged")),
)
START = ("1", "2", "3")


def arrow(points: str, colour: str, name: str) -> str:
    return f'<path d="{points}" fill="none" stroke="{colour}" stroke-width="2" marker-end="url(#{name})"/>'


def boxes(theme: Theme) -> list[str]:
    drawn = []
    for (x, wide, name, lines), number in zip(BOXES, START, strict=True):
        dashes = ' stroke-dasharray="5 4"' if name.endswith("init") else ""
        drawn.append(
            f'<rect x="{x}" y="{TOP}" width="{wide}" height="{TALL}" rx="6" fill="{theme.fill}" '
            f'stroke="{theme.line}"{dashes}/>'
        )
        middle = x + wide / 2
        drawn.append(words(middle, TOP + 30, name, theme.text, Look(16, bold=True)))
        drawn += (words(middle, TOP + 54 + 18 * n, line, theme.faint) for n, line in enumerate(lines))
        drawn.append(f'<circle cx="{x + 14}" cy="{TOP + 14}" r="9" fill="{theme.line}"/>')
        drawn.append(words(x + 14, TOP + 18.5, number, theme.fill, Look(12, bold=True)))
    return drawn


def traffic(theme: Theme) -> list[str]:
    """Incoming above, outgoing below: each passes through Envoy."""
    envoy, program = BOXES[0], BOXES[2]
    left, right = envoy[0], envoy[0] + envoy[1]
    above, below = TOP - 22, TOP + TALL + 24
    inside = program[0] + program[1] / 2
    return [
        arrow(f"M30 {TOP + 36}H{left - 4}", theme.mutual, "mutual"),
        words(112, TOP + 28, "mutual TLS, to 15006", theme.mutual),
        arrow(f"M{right - 60} {TOP}V{above}H{inside}V{TOP - 4}", theme.plain, "plain"),
        words((right + inside) / 2 - 10, above - 8, "plaintext, within the namespace", theme.plain),
        arrow(f"M{inside} {TOP + TALL}V{below}H{right - 60}V{TOP + TALL + 4}", theme.plain, "plain"),
        words((right + inside) / 2 - 10, below + 18, "what X asks others, redirected to 15001", theme.plain),
        arrow(f"M{left} {TOP + TALL - 28}H34", theme.mutual, "mutual"),
        words(112, TOP + TALL - 36, "mutual TLS", theme.mutual),
    ]


def picture(theme: Theme) -> str:
    """One SVG."""
    drawn = ["<defs>", head("mutual", theme.mutual), head("plain", theme.plain), "</defs>"]
    drawn.append(
        f'<rect x="186" y="16" width="612" height="{HEIGHT - 58}" rx="10" fill="none" stroke="{theme.line}" '
        f'stroke-width="2" stroke-dasharray="2 5" stroke-linecap="round"/>'
    )
    drawn.append(words(492, 40, "one network namespace", theme.text, Look(bold=True)))
    drawn += boxes(theme)
    drawn += traffic(theme)
    drawn.append(words(92, 40, "other services", theme.text, Look(bold=True)))
    for n, line in enumerate(("ready: it is configured", "starts after 1, ends", "starts after both")):
        y = TOP + 34 + 30 * n
        drawn.append(f'<circle cx="820" cy="{y - 4.5}" r="9" fill="{theme.line}"/>')
        drawn.append(words(820, y, str(n + 1), theme.fill, Look(12, bold=True)))
        drawn.append(words(906, y, line, theme.faint))
    drawn.append(
        words(
            WIDTH / 2,
            HEIGHT - 10,
            "network_mode: service:X-envoy puts X and X-init into the namespace of the sidecar",
            theme.faint,
        )
    )
    title = (
        "A service X is three containers in one network namespace: the Envoy that owns it, a job that "
        "redirects traffic, and the program."
    )
    return sheet(WIDTH, HEIGHT, title, drawn)


if __name__ == "__main__":
    for name, theme in THEMES.items():
        Path(__file__).with_name(f"sidecar-{name}.svg").write_text(picture(theme), encoding="utf-8")
