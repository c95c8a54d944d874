"""What every drawing here begins and ends with."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape


def sheet(width: float, height: float, title: str, drawn: Iterable[str]) -> str:
    """An SVG document with these elements; `title` is for those who cannot see it."""
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">\n'
        f"<title>{escape(title)}</title>\n{body}\n</svg>\n"
    )
