"""What a dashboard is made of, and how that becomes the JSON that Grafana reads.

Only what the two dashboards beside this file need.  Whoever reads a dashboard's source sees titles, queries
and units; ids, places and the long tail of defaults are made here, the same for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 24
"""Grafana's grid has 24 columns."""
ROW_HEIGHT = 1
SCHEMA = 39
"""Grafana migrates older dashboards, and reads this one from version 10.4 on."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and what its series are called ("{{label}}" is filled in)."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.  `kind` is Grafana's name of it, `unit` Grafana's name of what is measured.

    `about` is what the small i shows.  `reds` is a (threshold, colour) list for numbers that are good or bad.
    """

    title: str
    queries: tuple[Query, ...]
    about: str
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    stacked: bool = False
    least: float | None = 0
    most: float | None = None
    reds: tuple[tuple[float | None, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels below it, from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable that the reader chooses: the values of a label of a metric."""

    name: str
    label: str
    values: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page.  `uid` is its address and never changes."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...] = ()


def number(
    title: str, expr: str, about: str, unit: str = "short", reds: tuple[tuple[float | None, str], ...] = ()
) -> Panel:
    """A small panel that shows one number, as it is now."""
    return Panel(title, (Query(expr),), about, unit, kind="stat", width=4, height=4, reds=reds)


def dashboard(made: Dashboard) -> dict[str, Any]:
    """The JSON of a dashboard."""
    return {
        "uid": made.uid,
        "title": made.title,
        "description": made.about,
        "tags": ["mini-istiod"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "title": "mini-istiod",
                "tags": ["mini-istiod"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": [_source(), *map(_choice, made.choices)]},
        "panels": list(_placed(made.rows)),
    }


def _placed(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Rows below each other; panels that do not fit beside each other begin a new line."""
    number, y = 0, 0
    for row in rows:
        number += 1
        place = {"x": 0, "y": y, "w": WIDTH, "h": ROW_HEIGHT}
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        y += ROW_HEIGHT
        x = tallest = 0
        for one in row.panels:
            if x + one.width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            yield _panel(one, number, {"x": x, "y": y, "w": one.width, "h": one.height})
            x, tallest = x + one.width, max(tallest, one.height)
        y += tallest


def _panel(made: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": made.kind,
        "title": made.title,
        "description": made.about,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [_target(made, query, at) for at, query in enumerate(made.queries)],
        "fieldConfig": {"defaults": _field(made), "overrides": []},
        "options": _OPTIONS[made.kind],
    }


def _target(made: Panel, query: Query, at: int) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + at),
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "format": "heatmap" if made.kind == "heatmap" else "time_series",
        # A number wants its present value, not its history.
        "instant": made.kind == "stat",
        "range": made.kind != "stat",
    }


def _field(made: Panel) -> dict[str, Any]:
    steps = made.reds or ((None, "text" if made.kind == "stat" else "green"),)
    found: dict[str, Any] = {
        "unit": made.unit,
        "color": {"mode": "thresholds" if made.kind == "stat" else "palette-classic"},
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in steps],
        },
    }
    if made.kind == "timeseries":
        found["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if made.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if made.stacked else "none", "group": "A"},
        }
        found |= {
            name: value for name, value in (("min", made.least), ("max", made.most)) if value is not None
        }
    return found


_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "auto",
        "justifyMode": "auto",
        "orientation": "auto",
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
    },
}


def _source() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "current": {},
    }


def _choice(made: Choice) -> dict[str, Any]:
    return {
        "name": made.name,
        "label": made.label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": made.values, "refId": "StandardVariableQuery"},
        "definition": made.values,
        # When the time range changes: services come and go.
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "options": [],
        "current": {"text": ["All"], "value": ["$__all"]},
    }
