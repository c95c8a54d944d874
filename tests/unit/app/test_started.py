"""`--objects`: what ProxyConfig and MeshConfig say of how proxies start, where bootstraps are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.app.commands import main
from tests.unit.app.test_bootstrap_command import LOCAL, NODE
from tests.unit.app.test_provision_command import REVIEWS, node, provision

OBJECTS = """
kind: MeshConfig
defaultConfig:
  concurrency: 8
  proxyMetadata: {ISTIO_META_HTTP10: "1"}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: all, namespace: prod}
spec:
  concurrency: 2
  environmentVariables: {ISTIO_META_DNS_CAPTURE: "true", TZ: UTC}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: web, namespace: prod}
spec: {selector: {matchLabels: {app: web}}, concurrency: 0}
---
apiVersion: v1
kind: Service
metadata: {name: of-no-interest}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mesh" / "deep").mkdir(parents=True)
    (tmp_path / "mesh" / "deep" / "objects.yaml").write_text(OBJECTS)
    (tmp_path / "mesh" / "README.md").write_text("not: [an object")
    return tmp_path / "mesh"


def made(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Any, str]:
    """The node that is printed, and what is said beside it."""
    assert main(["bootstrap", *NODE, *LOCAL, *words]) == 0
    said = capsys.readouterr()
    return json.loads(said.out)["node"], said.err


def test_threads_are_printed_and_variables_are_metadata(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, said = made(capsys, "--objects", str(folder))
    assert found["metadata"]["DNS_CAPTURE"] == "true"
    assert found["metadata"]["HTTP10"] == "1"
    assert "TZ" not in found["metadata"]
    lines = said.strip().splitlines()
    assert lines[-1] == "start Envoy with --concurrency 2"
    assert "spec.environmentVariables['TZ']: has no effect" in lines[0]


def test_a_selected_proxy_may_have_them_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, said = made(capsys, "--objects", str(folder), "--label", "app=web")
    assert "--concurrency" not in said
    # Its own namespace counts, not another's.
    found, said = made(capsys, "--objects", str(folder / "deep" / "objects.yaml"), "--namespace", "other")
    assert "start Envoy with --concurrency 8" in said
    assert "DNS_CAPTURE" not in found["metadata"]


def test_without_objects_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert made(capsys)[1] == ""


def test_each_proxy_of_a_project_is_started_by_what_holds_for_it(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--objects", str(folder))
    assert provision(tmp_path, REVIEWS, "cart=prod/cart", more=more) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("; start Envoy with --concurrency 8")
    assert lines[1].endswith("; start Envoy with --concurrency 2")
    assert node(tmp_path, "cart")["metadata"]["DNS_CAPTURE"] == "true"
    assert "DNS_CAPTURE" not in node(tmp_path, "reviews-v1")["metadata"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "line 1"),
        (OBJECTS.replace("concurrency: 2", "concurrency: many"), "ProxyConfig cannot be used"),
        (OBJECTS + "---\nkind: MeshConfig\n", "several MeshConfigs"),
    ],
)
def test_what_cannot_be_used_ends_the_command(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "objects.yaml"
    file.write_text(text)
    assert main(["bootstrap", *NODE, *LOCAL, "--objects", str(file)]) == 2
    said = capsys.readouterr()
    assert (said.out, message in said.err) == ("", True), said.err
    assert main(["bootstrap", *NODE, *LOCAL, "--objects", str(tmp_path / "nowhere")]) == 2
    assert "is not there" in capsys.readouterr().err


START = """
kind: MeshConfig
defaultConfig:
  drainDuration: 90s
  fileFlushInterval: 2s
  fileFlushMinSizeKb: 16
  proxyAdminPort: 15999
  meshId: corp
  interceptionMode: TPROXY
  proxyStatsMatcher: {inclusionPrefixes: [a.], inclusionSuffixes: [.b], inclusionRegexps: ["c[0-9]"]}
  runtimeValues: {envoy.x: "true", envoy.y: "7", envoy.z: text}
"""


def test_all_that_only_a_bootstrap_can_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(START)
    assert main(["bootstrap", *NODE, *LOCAL, "--objects", str(file)]) == 0
    said = capsys.readouterr()
    flags = "--drain-time-s 90 --file-flush-interval-msec 2000 --file-flush-min-size-kb 16"
    assert said.err == f"start Envoy with {flags}\n"
    found = json.loads(said.out)
    assert (found["node"]["metadata"]["MESH_ID"], found["node"]["metadata"]["INTERCEPTION_MODE"]) == (
        "corp",
        "TPROXY",
    )
    assert found["admin"]["address"]["socket_address"]["port_value"] == 15999
    patterns = found["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]
    assert patterns[-3:] == [{"prefix": "a."}, {"suffix": ".b"}, {"safe_regex": {"regex": "c[0-9]"}}]
    static = found["layered_runtime"]["layers"][0]["static_layer"]
    assert {name: static[name] for name in ("envoy.x", "envoy.y", "envoy.z")} == {
        "envoy.x": True,
        "envoy.y": 7,
        "envoy.z": "text",
    }
    assert "re2.max_program_size.error_level" in static
    # What is said on the command line counts more.
    assert main(["bootstrap", *NODE, *LOCAL, "--objects", str(file), "--admin-port", "15998"]) == 0
    assert json.loads(capsys.readouterr().out)["admin"]["address"]["socket_address"]["port_value"] == 15998


def test_a_project_is_started_so_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(START)
    assert provision(tmp_path, "cart=prod/cart", more=("--objects", str(file))) == 0
    assert "start Envoy with --drain-time-s 90 " in capsys.readouterr().out
    assert node(tmp_path, "cart")["metadata"]["MESH_ID"] == "corp"
