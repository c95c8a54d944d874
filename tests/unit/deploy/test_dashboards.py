"""The dashboards are what their source says, are what Grafana reads, and ask for metrics that exist."""

from __future__ import annotations

import re
import runpy
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.telemetry.metrics import Metrics
from tests.support.dashboards import FILES, FOLDER, Asked, asked, load

# Of Grafana's units (@grafana/data, valueFormats/categories): those that are used here.
UNITS = {"short", "s", "ms", "ops", "reqps", "bytes", "Bps", "percentunit"}
QUERIES = list(asked())


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(request.param)


def test_they_are_what_their_source_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    written = runpy.run_path(str(FOLDER / "make.py"))["written"]()
    assert sorted(written) == FILES
    for path, text in written.items():
        assert path.read_text(encoding="utf-8") == text, "run python deploy/grafana/make.py"


def test_a_dashboard_is_one_that_grafana_provisions(dashboard: dict[str, Any]) -> None:
    assert re.fullmatch(r"[a-z-]{1,40}", dashboard["uid"])
    assert dashboard["title"].startswith("mini-istiod: ")
    # A number would be the one that it has in somebody's database.
    assert "id" not in dashboard
    assert dashboard["schemaVersion"] >= 36
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_no_panel_lies_on_another_or_beside_the_page(dashboard: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    for at in places:
        assert at["w"] > 0
        assert at["h"] > 0
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_every_panel_says_what_it_shows_in_which_unit(dashboard: dict[str, Any]) -> None:
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            assert panel["collapsed"] is False
            assert panel["panels"] == []
            continue
        assert panel["type"] in ("timeseries", "stat", "heatmap")
        assert len(panel["description"]) >= 10, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        values = [step["value"] for step in steps]
        assert values[0] is None
        assert values[1:] == sorted(values[1:])
        assert panel["options"]


def test_every_query_goes_to_the_chosen_prometheus(dashboard: dict[str, Any]) -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == source
        refs = [target["refId"] for target in panel["targets"]]
        assert refs == sorted(set(refs))
        for target in panel["targets"]:
            assert target["datasource"] == source
            assert target["expr"]
            # A number needs one answer, a curve needs many.
            assert (target["instant"], target["range"]) == (panel["type"] == "stat", panel["type"] != "stat")
            assert target["format"] == ("heatmap" if panel["type"] == "heatmap" else "time_series")


def test_variables_are_declared_before_they_are_used(dashboard: dict[str, Any]) -> None:
    declared = {"__rate_interval", "__range"}
    for variable in dashboard["templating"]["list"]:
        used = set(re.findall(r"\$(\w+)", str(variable.get("definition", ""))))
        assert used <= declared, variable["name"]
        declared.add(variable["name"])
        assert variable["type"] in ("datasource", "query")
        if variable["type"] == "query":
            assert variable["query"]["query"] == variable["definition"]
    for query in QUERIES:
        if load(FOLDER / f"dashboards/{query.dashboard}.json")["uid"] == dashboard["uid"]:
            assert query.variables() <= declared, query.called


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.called)
def test_brackets_match_and_something_is_asked_for(query: Asked) -> None:
    for opened, closed in ("()", "{}", "[]"):
        assert query.expr.count(opened) == query.expr.count(closed)
    assert query.metrics() or "up{" in query.expr or "__name__" in query.expr


def test_the_control_plane_has_every_metric_that_its_dashboard_shows() -> None:
    text = Metrics("0", lambda: 0.0).text()[1].decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    known = {
        f"{name}{part}"
        for name, kind in kinds.items()
        for part in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }
    shown = {name for query in QUERIES if query.dashboard == "control-plane" for name in query.metrics()}
    assert len(shown) > 25
    assert shown <= known


def test_grafana_finds_them_and_prometheus() -> None:
    provisioning = FOLDER / "provisioning"
    (source,) = _yaml(provisioning / "datasources/prometheus.yaml")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert source["isDefault"] is True
    interval = _yaml(FOLDER.parent / "prometheus/prometheus.yml")["global"]["scrape_interval"]
    # What $__rate_interval is made of.
    assert source["jsonData"]["timeInterval"] == interval
    (provider,) = _yaml(provisioning / "dashboards/mini-istiod.yaml")["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
    services = _yaml(FOLDER.parents[1] / "docker-compose.yml")["services"]
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/mesh.json"
    assert "prometheus" in services


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_they_are_there_when_asked_for_and_for_this_machine_alone(name: str) -> None:
    found = _yaml(FOLDER.parents[1] / "docker-compose.yml")["services"][name]
    assert found["profiles"] == ["observability"]
    assert all(port.startswith("127.0.0.1:") for port in found["ports"])
    assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", found["image"]), "a version that does not move"
    assert not any("docker.sock" in mount or "mesh-docker" in mount for mount in found["volumes"])


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_the_ready_made_file_has_them_as_the_bookstore_has(name: str) -> None:
    # One is part of a mesh; the other joins any mesh from outside, and can be copied without anchors.
    text = (FOLDER.parent / "observability.yml").read_text(encoding="utf-8")
    assert not re.search(r"[&*]\w|<<:", re.sub(r"#.*", "", text))
    alone, here = yaml.safe_load(text), _yaml(FOLDER.parents[1] / "docker-compose.yml")
    known = {
        key: value
        for key, value in here["services"][name].items()
        if key not in ("profiles", "labels") and (name, key) != ("prometheus", "depends_on")
    }
    # Paths begin at the folder of the file.
    known["volumes"] = [mount.replace("./deploy/", "./") for mount in known["volumes"]]
    assert alone["services"][name] == known
    assert list(alone["services"]) == ["prometheus", "grafana"]
    assert alone["volumes"].items() <= here["volumes"].items()


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
