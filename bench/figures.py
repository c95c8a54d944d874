"""Tables, and the distributions in them (which the lab computes)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controlplane.lab.latency.statistics import Summary, median, quantile, summary, thinned

__all__ = ("Summary", "median", "quantile", "summary", "table", "thinned")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, aligned for a terminal."""
    shown = [list(head), *([_show(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    lines = [" | ".join(map(_pad, row, widths, range(len(row)))) for row in shown]
    rule = "|".join("-" * (width + 1) + (":" if at else "-") for at, width in enumerate(widths))
    return "\n".join((f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])))


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def _show(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return "" if cell is None else str(cell)
