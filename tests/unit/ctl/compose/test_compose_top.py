"""The docker-compose.yml at the top is what the command makes of the plain bookstore, written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from controlplane.ctl.compose import project

ROOT = Path(__file__).parents[4]


def test_the_file_at_the_top_is_what_the_command_makes() -> None:
    text = (ROOT / "deploy/bookstore/docker-compose.yml").read_text()
    made = yaml.safe_load(project.meshed(text, "bookstore", {"gateway": True}, lambda path: {})[0])
    shown = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert set(made["volumes"]) <= set(shown["volumes"])
    assert made["services"].keys() - shown["services"].keys() == set()
    ours = [
        name
        for name in made["services"]
        if name.startswith("mini-istiod") or name.endswith(("-envoy", "-init"))
    ]
    assert len(ours) > 10
    for name in [*ours, "ingressgateway"]:
        one, other = (_compared(name, file["services"][name]) for file in (made, shown))
        assert one == other, name


def _compared(name: str, service: dict[str, Any]) -> dict[str, Any]:
    """A service without what differs on purpose: where things are built, and what goes without saying."""
    found = {key: value for key, value in service.items() if key not in ("build", "x-mini-istiod")}
    if found.get("networks") == ["default"]:
        del found["networks"]
    if found.get("labels") == {"mini-istiod.init": "true"}:
        del found["labels"]
    if name == "productpage-envoy":
        # At the top the gateway is the way in.
        found.pop("ports", None)
    if name == "mini-istiod-docker":
        # At the top it waits until the image that it shares has been built.
        found.pop("depends_on", None)
    for key in ("command", "volumes"):
        if name == "mini-istiod-provision":
            found[key] = sorted(found[key])
    return found
