"""The dashboards of deploy/grafana as data, and their queries as Prometheus takes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[2] / "deploy/grafana"
FILES = sorted((FOLDER / "dashboards").glob("*.json"))

# "$1" is PromQL's.
_VARIABLE = re.compile(r"\$([a-z_]\w*|\{\w+\})")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAMES = re.compile(r"\b((?:pilot|mini_istiod|citadel|istiod|process|envoy)_\w+)")


class Asked(NamedTuple):
    """A query of a panel, with every variable still in it."""

    dashboard: str
    row: str
    panel: str
    expr: str

    @property
    def called(self) -> str:
        return f"{self.dashboard}: {self.row} / {self.panel}"

    def variables(self) -> set[str]:
        return {found.strip("{}") for found in _VARIABLE.findall(self.expr)}

    def filled(self, values: dict[str, str]) -> str:
        """As Grafana sends it."""
        return _VARIABLE.sub(lambda found: values[found[1].strip("{}")], self.expr)

    def metrics(self) -> set[str]:
        """The names of the metrics that it is about."""
        return set(_NAMES.findall(_STRING.sub('""', self.expr)))


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def asked() -> Iterator[Asked]:
    """Every query of every panel."""
    for path in FILES:
        row = ""
        for panel in load(path)["panels"]:
            if panel["type"] == "row":
                row = panel["title"]
            for target in panel.get("targets", ()):
                yield Asked(path.stem, row, panel["title"], target["expr"])
