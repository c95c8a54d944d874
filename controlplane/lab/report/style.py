"""Figures as SVG that reads well on white and on black.

The background is transparent; text and axes are a grey that has contrast with both.  In a page the grey
gives way to the page's own colour of text.
"""

from __future__ import annotations

import importlib
import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controlplane.base.errors import MiniIstiodError

GREY = "#808a94"
OURS, THEIRS = "#2f7fd1", "#e07b39"
SERIES = (OURS, THEIRS, "#3a9d5d", "#9a6fd0", "#c9a227", "#d1495b", "#3aa5a5")
"""Of curves and bars, in this order; told apart by people with any kind of sight for the first four."""

_STYLE = {
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "font.size": 10,
    "legend.frameon": False,
    "svg.fonttype": "none",
    # The same results give the same file.
    "svg.hashsalt": "mini-istiod",
}


_GROWTHS = 12
_LABEL = 44
"""Characters in a line of a label."""


class PlotError(MiniIstiodError):
    """There is nothing to draw with."""


def pyplot() -> Any:
    """matplotlib's pyplot, set up to write files; PlotError says how to get it."""
    try:
        importlib.import_module("matplotlib").use("svg")
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise PlotError(f"plots need matplotlib ({error}): pip install 'mini-istiod[lab]'") from None


@contextmanager
def figure(
    path: Path, columns: int = 1, rows: int = 1, size: tuple[float, float] = (4.6, 3.4), **options: Any
) -> Iterator[list[Any]]:
    """Axes to draw on, row by row; the file is written at the end of the block.

    `size` is that of one of the axes in inches; `options` are those of `pyplot.subplots`.
    """
    plt = pyplot()
    with plt.rc_context(_STYLE):
        whole = (size[0] * columns + 1.2, size[1] * rows)
        drawn, axes = plt.subplots(rows, columns, figsize=whole, squeeze=False, **options)
        try:
            yield [axis for row in axes for axis in row]
            _fit(drawn)
            drawn.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})
        finally:
            plt.close(drawn)


def _fit(drawn: Any) -> None:
    """Margins for labels and legends; the figure grows as long as they leave no room for the axes."""
    for _ in range(_GROWTHS):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Tight layout not applied", UserWarning)
            try:
                drawn.tight_layout()
            except UserWarning as no_room:
                wide, high = drawn.get_size_inches()
                across = "left and right" in str(no_room) or "width" in str(no_room)
                drawn.set_size_inches((wide * 1.3, high) if across else (wide, high * 1.3))
            else:
                return


def wrapped(label: str) -> str:
    """A label of several lines when it is long, as those of groups with many differences are."""
    return "\n".join(textwrap.fill(line, _LABEL) for line in label.split("\n"))


def row_height(labels: Sequence[str], least: float) -> float:
    """Inches from one row to the next, so that the wrapped labels beside them do not meet."""
    lines = max((wrapped(label).count("\n") + 1 for label in labels), default=1)
    return max(least, 0.18 * lines + 0.1)


def cumulative(axis: Any, ordered: Sequence[float], color: str, label: str, **options: Any) -> None:
    """The share of values that are at most x, for sorted values (or a sample of them with both ends)."""
    shares = [at / len(ordered) for at in range(len(ordered) + 1)]
    axis.plot([ordered[0], *ordered], shares, drawstyle="steps-post", color=color, label=label, **options)


def colors(count: int) -> list[str]:
    """A colour for each of `count` things."""
    return [SERIES[at % len(SERIES)] for at in range(count)]


def short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def log_ticks(axis: Any) -> None:
    """Plain numbers instead of powers of ten, about half a dozen of them."""
    low, high = axis.get_xlim()
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        known = [step * 10.0**power for power in range(-4, 7) for step in steps]
        ticks = [tick for tick in known if low <= tick <= high]
        if len(ticks) >= 4:
            break
    else:
        # So narrow that it might as well be linear.
        raw = (high - low) / 5
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(unit * one for one in (1, 2, 5, 10) if unit * one >= raw)
        ticks = [step * at for at in range(math.ceil(low / step), math.floor(high / step) + 1)]
    axis.set_xticks(ticks, [f"{tick:,.6g}" for tick in ticks])
    axis.minorticks_off()
