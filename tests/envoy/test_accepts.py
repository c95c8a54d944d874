"""A real Envoy accepts every listener, route and cluster that is made for the golden inputs.

They become static ones, the listeners with their routes written into them instead of fetched; Envoy checks
the whole configuration and exits.  It knows rules that no protobuf check does: domains that occur
twice, filter chains that overlap, regular expressions, header names.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from controlplane.app.commands import main
from controlplane.app.features import settle_features
from controlplane.base.errors import EnvironmentUnfit
from controlplane.envoy import pb
from controlplane.envoy.bootstrap import ControlPlane, Node, bootstrap
from controlplane.lab.tools import find_envoy
from controlplane.model.kinds import BY_NAME
from tests.golden.harness import secrets_of
from tests.support.servers import Issuer
from tests.unit.app.test_bootstrap_command import LOCAL, NODE
from tests.unit.app.test_started import START
from tests.unit.envoy.traffic import Traffic

pytestmark = pytest.mark.envoy

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(path.name for path in GOLDEN.iterdir() if (path / "proxy.yaml").is_file())
# How names are resolved is to be an extension one day; older Envoys know these fields alone.
_RESOLVING = re.compile(
    r"Cluster\.(dns_jitter|dns_(failure_)?refresh_rate|respect_dns_ttl|dns_lookup_family)'"
)
HCM = "envoy.filters.network.http_connection_manager"


@pytest.fixture(scope="module")
def envoy() -> Path:
    try:
        return find_envoy(os.environ)
    except EnvironmentUnfit as missing:
        pytest.skip(str(missing))


def inline(listener: Any, routes: dict[str, Any]) -> Any:
    """The listener with each route configuration in place of its name."""
    chains = [*listener.filter_chains]
    if listener.HasField("default_filter_chain"):
        chains.append(listener.default_filter_chain)
    for chain in chains:
        for filter_ in chain.filters:
            if filter_.name == HCM:
                manager = pb.hcm.HttpConnectionManager.FromString(filter_.typed_config.value)
                if manager.HasField("rds"):
                    manager.route_config.CopyFrom(routes[manager.rds.route_config_name])
                filter_.typed_config.CopyFrom(pb.pack(manager))
    return listener


def check(envoy: Path, config: dict[str, Any], folder: Path) -> None:
    path = folder / "envoy.json"
    path.write_text(json.dumps(config))
    done = subprocess.run(
        [envoy, "--mode", "validate", "-c", path, "-l", "warning"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    complaints = [line for line in done.stderr.splitlines() if "deprecated" in line.lower()]
    assert [line for line in complaints if not _RESOLVING.search(line)] == []


@pytest.mark.parametrize("case", CASES)
def test_listeners_and_routes(envoy: Path, case: str, tmp_path: Path) -> None:
    world = Traffic(of_use((GOLDEN / case / "in.yaml").read_text()))
    described = GOLDEN / case / "out" / "objects.yaml"
    if described.exists():
        # What the case's containers are.
        world.apply(yaml.safe_dump_all(yaml.safe_load(described.read_text())))
    proxy = yaml.safe_load((GOLDEN / case / "proxy.yaml").read_text())
    world.graph.commit(secrets_of(proxy))
    settle_features(world.graph, proxy.get("features", {}))
    view = world.view(proxy["id"], proxy["metadata"], proxy.get("identity", ""))
    routes = world.routes(view)
    listeners = [inline(one, routes) for one in world.listeners(view).values()]
    assert len(listeners) > (view.gateway is None)
    # The bootstrap is there for what endpoints and secrets are fetched from.
    config = bootstrap(Node("10.0.0.1", "a-1", "default"), ControlPlane("127.0.0.1:15010"))
    config["static_resources"]["listeners"] = plain(listeners)
    clusters = plain(world.clusters(view).values())
    config["static_resources"]["clusters"] += [one for one in clusters if can_be_static(one)]
    check(envoy, with_files(config, tmp_path), tmp_path)


def of_use(text: str) -> str:
    """The objects without those that are refused, which some cases have to show just that."""
    found = [raw for raw in yaml.safe_load_all(text) if raw]
    return yaml.safe_dump_all([raw for raw in found if BY_NAME[raw["kind"]].parse(raw).value is not None])


def with_files(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The configuration with what it names in /etc/certs put into a folder that there is."""
    text = json.dumps(config)
    names = set(re.findall(r"/etc/certs/([\w.-]+)", text))
    issuer = Issuer()
    pairs = {"": issuer.issue("a.example.com"), "rsa": issuer.issue("a.example.com", of_rsa=True)}
    for name in names:
        pair = pairs["rsa" if "rsa" in name else ""]
        content = pair.key if "key" in name else pair.chain
        if "crl" in name:
            content = issuer.revoked()
        elif name == "ca.pem":
            content = issuer.certificate
        (folder / name).write_bytes(content)
    found: dict[str, Any] = json.loads(text.replace("/etc/certs", str(folder)))
    return found


def can_be_static(cluster: dict[str, Any]) -> bool:
    """Certificates in files are not here but at the proxy; and none come before there is a stream for them.

    Over the latter Envoy ends itself, but for clusters by EDS, which it loads after the stream is made.
    """
    text = json.dumps(cluster)
    return "/etc/certs" not in text and ("sds_config" not in text or cluster["type"] == "EDS")


def plain(messages: Iterable[Any]) -> list[dict[str, Any]]:
    return [json_format.MessageToDict(one, preserving_proto_field_name=True) for one in messages]


@pytest.mark.parametrize(
    "address", ["unix:/run/control.sock", "127.0.0.1:15010", "istiod.mesh:15012", "[::1]:1"]
)
@pytest.mark.parametrize("protocol", ["GRPC", "DELTA_GRPC"])
def test_bootstrap(envoy: Path, address: str, protocol: Any, tmp_path: Path) -> None:
    node = Node("10.0.0.1", "a-1", "default", labels={"app": "a"}, locality="eu/eu-1/rack")
    check(envoy, bootstrap(node, ControlPlane(address, protocol), stats_prefixes=("http.",)), tmp_path)


ROOTED = ["--root-file", "/r/root.pem"]
TOKEN = [*ROOTED, "--token-file", "/t/token"]
CERTIFIED = [*ROOTED, "--cert-file", "/c/cert.pem", "--key-file", "/c/key.pem"]


@pytest.mark.parametrize("files", [TOKEN, CERTIFIED, []])
def test_bootstrap_as_the_command_writes_it(envoy: Path, files: list[str], tmp_path: Path) -> None:
    node = ["--ip", "10.0.0.1", "--name", "a-1", "--labels", "app=a,version=v1", "--kind", "router"]
    plane = ["--control-plane", "istiod.mesh:15012", *(files or ["--plaintext"])]
    assert main(["bootstrap", *node, *plane, "--out", str(tmp_path / "made")]) == 0
    made = json.loads((tmp_path / "made" / "envoy.json").read_text())
    check(envoy, made, tmp_path)
    beside = sorted(path.name for path in (tmp_path / "made").iterdir() if path.name != "envoy.json")
    assert len(beside) == len(files) // 2 - (files is CERTIFIED)
    for name in beside:
        # Envoy starts with what is there: no path is a wrong one.
        hidden = (tmp_path / "made" / name).rename(tmp_path / name)
        with pytest.raises(AssertionError, match=f"{name}' does not exist"):
            check(envoy, made, tmp_path)
        hidden.rename(tmp_path / "made" / name)


def test_bootstrap_of_a_mesh_that_says_how_proxies_start(
    envoy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects, made = tmp_path / "mesh.yaml", tmp_path / "envoy.json"
    objects.write_text(START)
    assert main(["bootstrap", *NODE, *LOCAL, "--objects", str(objects)]) == 0
    said = capsys.readouterr()
    made.write_text(said.out)
    flags = said.err.removeprefix("start Envoy with ").split()
    assert flags
    command = [str(envoy), "--mode", "validate", "-c", str(made), *flags]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert answer.returncode == 0, answer.stderr
