"""What every drawing here begins and ends with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from xml.sax.saxutils import escape

GREYS = {
    "light": ("#1f2328", "#59636e", "#f6f8fa", "#8c959f"),
    "dark": ("#e6edf3", "#9198a1", "#151b23", "#656c76"),
}
"""Text, faint text, areas and lines, as GitHub has them."""


class Look(NamedTuple):
    """How words look."""

    size: int = 13
    bold: bool = False


PLAIN = Look()


def words(x: float, y: float, text: str, colour: str, look: Look = PLAIN) -> str:
    """Words whose middle is at x, on the line y."""
    weight = "600" if look.bold else "400"
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{colour}" font-size="{look.size}" font-weight="{weight}" '
        f'text-anchor="middle">{escape(text)}</text>'
    )


def head(name: str, colour: str, orient: str = "auto") -> str:
    """The head of an arrow, for `marker-end` to name."""
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="5" markerHeight="5" '
        f'orient="{orient}"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
    )


def sheet(width: float, height: float, title: str, drawn: Iterable[str]) -> str:
    """An SVG document with these elements; `title` is for those who cannot see it."""
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">\n'
        f"<title>{escape(title)}</title>\n{body}\n</svg>\n"
    )
