"""Writes the dashboards: python deploy/grafana/make.py

The JSON is what Grafana's provisioning reads.  A test compares it with its source, and asks every query of a
real Prometheus that watches a real mesh.
"""

from __future__ import annotations

import json
from pathlib import Path

from control_plane import CONTROL_PLANE
from panels import dashboard

from mesh import MESH

FOLDER = Path(__file__).with_name("dashboards")


def written() -> dict[Path, str]:
    """The text of every dashboard, by file."""
    files = {"control-plane.json": CONTROL_PLANE, "mesh.json": MESH}
    return {
        FOLDER / name: json.dumps(dashboard(made), indent=1, ensure_ascii=False) + "\n"
        for name, made in files.items()
    }


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
