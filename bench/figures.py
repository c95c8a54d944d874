"""Distributions and tables: what is said about many measurements of one thing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Summary = dict[str, float]


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of the sorted values lies (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(values: Iterable[float], scale: float = 1.0) -> Summary:
    """Count, least, median, tails and most; `scale` multiplies (1000 makes milliseconds of seconds)."""
    ordered = sorted(value * scale for value in values)
    if not ordered:
        return {"n": 0}
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    found = {name: quantile(ordered, share) for name, share in shares.items()}
    return {"n": len(ordered), "min": ordered[0], **found, "max": ordered[-1]}


def median(values: Iterable[float]) -> float:
    """The upper median."""
    return quantile(sorted(values), 0.5)


def thinned(values: Iterable[float], points: int = 400) -> list[float]:
    """A sorted sample that draws the same curve."""
    ordered = sorted(values)
    if len(ordered) <= points:
        return ordered
    step = (len(ordered) - 1) / (points - 1)
    return [ordered[round(n * step)] for n in range(points)]


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
