"""What others wrote, on a terminal."""

from __future__ import annotations

from rich.text import Text


def harmless(value: object) -> Text:
    """A value as it may be shown: who names proxies, files and containers must not steer a terminal."""
    return Text("".join(c if c.isprintable() else "?" for c in str(value)))
