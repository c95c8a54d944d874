"""A real Prometheus for a test: Debian's program, on the loopback of a namespace, with a folder of its own.

It is run, never installed as a service: the package's own unit is none of our business.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from controlplane.lab.fetch import Target, answers, fetch
from controlplane.lab.site import Command, Site
from controlplane.lab.waiting import wait_until

CONFIG = Path(__file__).parents[2] / "deploy/prometheus/prometheus.yml"
PLANE = "mini-istiod:15014"
"""The control plane, as the configuration calls it."""
PORT = 9090


_TOOLS = Path(__file__).parents[2] / ".tools/bin"


def program(name: str) -> str | None:
    """Where prometheus or promtool is: what .ci/prometheus got, else the machine's own."""
    return shutil.which(name, path=f"{_TOOLS}:{os.environ['PATH']}")


def missing() -> str:
    """Why there is no Prometheus here, or nothing."""
    found = [name for name in ("prometheus", "promtool") if program(name) is None]
    return f"not there: {' and '.join(found)} (on Debian: .ci/prometheus gets them)" if found else ""


@dataclass(frozen=True)
class Sample:
    """A series of an answer, and its newest value."""

    labels: dict[str, str]
    value: float


class Prometheus:
    """Started when made; it ends with the site."""

    def __init__(self, site: Site, namespace: str, config: str) -> None:
        folder = site.directory / "prometheus"
        folder.mkdir(mode=0o755)
        (folder / "prometheus.yml").write_text(config, encoding="utf-8")
        self.target = Target(namespace, "127.0.0.1", PORT)
        self.log = folder / "prometheus.log"
        binary = program("prometheus")
        assert binary is not None
        argv = (
            binary,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{PORT}",
        )
        environment = {"PATH": os.environ["PATH"], "GOMAXPROCS": "1"}
        self.process = site.start(Command("prometheus", argv, namespace, log=self.log, env=environment))
        assert wait_until(lambda: answers(self.target, "/-/ready"), 60), self.log.read_text()

    def ask(self, expr: str) -> list[Sample]:
        """The series that a query finds now; those without a number (0/0) are left out."""
        found = self._get("query", query=expr)
        kind, result = found["resultType"], found["result"]
        assert kind in ("vector", "scalar"), kind
        rows: Sequence[Any] = result if kind == "vector" else [{"metric": {}, "value": result}]
        samples = [Sample(row["metric"], float(row["value"][1])) for row in rows]
        return [one for one in samples if not math.isnan(one.value)]

    def targets(self) -> dict[str, str]:
        """The health of every target ("up", "down", "unknown"), by job and instance."""
        found = self._get("targets", state="active")["activeTargets"]
        return {f"{one['labels']['job']} {one['labels']['instance']}": one["health"] for one in found}

    def _get(self, what: str, **parameters: str) -> Any:
        answer = fetch(self.target, f"/api/v1/{what}?{urlencode(parameters)}", timeout=30)
        found = json.loads(answer.body)
        assert found["status"] == "success", (parameters, found)
        return found["data"]
