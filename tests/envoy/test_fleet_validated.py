"""A synthetic proxy has what a real Envoy of the same node has, while a mesh is edited at random.

Compared is what Envoy runs with, its config_dump, with the bytes that the synthetic proxy holds: every
cluster, listener and route configuration, field by field, and every endpoint.  Envoy is connected
all the time; the synthetic proxy is away for some of the edits, and stalled for others.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from controlplane.envoy import pb
from controlplane.envoy.types import BY_SHORT
from controlplane.lab.fetch import Admin
from controlplane.lab.fleet import Fleet, FleetOptions
from controlplane.lab.pods import Lab, PodSpec, Sidecar
from tests.support.edits import Editor
from tests.support.envoys import MARKS, laboratory, normal_form, warming
from tests.support.files import MeshFiles
from tests.support.plane import Served, serving_files

pytestmark = MARKS

EDITS = 160
BURST = 8
SPEC = PodSpec("web-1", "front", "10.244.200.2", labels={"app": "web", "version": "v1"})

View = dict[str, dict[str, Any]]
"""Type -> name -> what can be compared."""


def envoys_view(admin: Admin, wanted: View) -> View:
    """What Envoy runs with; endpoints of the clusters that fetch them."""
    dump = normal_form(admin)
    assert warming(dump) == []
    clusters = [one["cluster"] for one in dump["ClustersConfigDump"].get("dynamic_active_clusters", [])]
    listeners = [
        one["active_state"]["listener"] for one in dump["ListenersConfigDump"].get("dynamic_listeners", [])
    ]
    routes = [one["route_config"] for one in dump["RoutesConfigDump"].get("dynamic_route_configs", [])]
    found: View = {}
    for short, every in (("cds", clusters), ("lds", listeners), ("rds", routes)):
        found[short] = {one["name"]: canonical(short, _message(short, one)) for one in every}
    assignments = [
        one["endpoint_config"]
        for one in dump["EndpointsConfigDump"].get("dynamic_endpoint_configs", [])
        if one["endpoint_config"].get("cluster_name") in wanted["eds"]
    ]
    found["eds"] = {one["cluster_name"]: canonical("eds", _message("eds", one)) for one in assignments}
    return found


def fleets_view(contents: Mapping[str, Mapping[str, bytes]]) -> View:
    """What a synthetic proxy has."""
    return {
        short: {name: canonical(short, pb.parse(BY_SHORT[short].url, body)) for name, body in every.items()}
        for short, every in contents.items()
    }


def _message(short: str, dumped: dict[str, Any]) -> Any:
    """The message that Envoy wrote as JSON."""
    plain = {key: value for key, value in dumped.items() if key != "@type"}
    return json_format.ParseDict(plain, pb.parse(BY_SHORT[short].url, b""))


def canonical(short: str, message: Any) -> Any:
    if short == "eds":
        return sorted(
            (
                one.locality.region,
                one.locality.zone,
                one.priority,
                host.endpoint.address.socket_address.address,
                host.endpoint.address.socket_address.port_value,
                host.load_balancing_weight.value or 1,
                json.dumps(json_format.MessageToDict(host.metadata), sort_keys=True),
            )
            for one in message.endpoints
            for host in one.lb_endpoints
        )
    return _sorted(json_format.MessageToDict(message))


def _sorted(value: Any) -> Any:
    """Inline endpoints in any order: Envoy keeps them in that of a hash table."""
    if isinstance(value, dict):
        return {key: _endpoints(key, _sorted(item)) for key, item in value.items()}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _endpoints(key: str, value: Any) -> Any:
    unordered = key in ("endpoints", "lbEndpoints") and isinstance(value, list)
    return sorted(value, key=lambda one: json.dumps(one, sort_keys=True)) if unordered else value


def differences(ours: View, theirs: View) -> list[str]:
    """What the synthetic proxy (ours) and Envoy do not agree on, a line each."""
    return [
        f"{short} {name}: fleet {left.get(name)}, Envoy {right.get(name)}"
        for short in ("cds", "eds", "lds", "rds")
        for left, right in [(ours.get(short, {}), theirs.get(short, {}))]
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    ]


async def agree(served: Served, fleet: Fleet, admin: Admin) -> View:
    await served.quiet()
    await asyncio.to_thread(fleet.quiet, 0.1)
    ours = fleets_view(await asyncio.to_thread(fleet.contents, fleet.proxies[0]))
    found = differences(ours, await asyncio.to_thread(envoys_view, admin, ours))
    assert not found, "\n".join(found)
    return ours


@pytest.mark.parametrize("protocol", ["DELTA_GRPC", "GRPC"])
def test_the_same_node_has_the_same(tmp_path: Path, protocol: Any) -> None:
    async def scene(lab: Lab) -> None:
        files = MeshFiles(lab.directory / "config")
        editor = Editor(files, seed=7)
        editor.begin()
        rng = random.Random(7)
        seen: set[str] = set()
        async with serving_files(files, lab.directory / "xds.sock") as served:
            pod = lab.start(SPEC, Sidecar(served.address, protocol))
            await asyncio.to_thread(lab.wait_ready)
            with Fleet(served.address, [SPEC.node], FleetOptions(protocol=protocol)) as fleet:
                await asyncio.to_thread(fleet.connect)
                done = 0
                while done < EDITS:
                    served.envoys = 2
                    absence = rng.choice((None, fleet.drop, fleet.stall))
                    if absence is not None:
                        await asyncio.to_thread(absence)
                    size = min(rng.randrange(1, 2 * BURST), EDITS - done)
                    for _ in range(size):
                        editor.edit()
                    done += size
                    editor.mend()
                    await served.taken_in()
                    await asyncio.to_thread(fleet.resume)
                    await asyncio.to_thread(fleet.reconnect)
                    view = await agree(served, fleet, pod.admin)
                    seen |= {f"{short} {name}" for short, every in view.items() for name in every}
                assert await asyncio.to_thread(pod.admin.rejected) == {}
                gone = seen - {f"{short} {name}" for short, every in view.items() for name in every}
                # Something was compared, in every kind, and something went away meanwhile.
                assert all(len(view[short]) > 3 for short in ("cds", "eds", "lds", "rds"))
                assert {name.split()[0] for name in gone} >= {"cds", "eds"}

    with laboratory(tmp_path) as lab:
        asyncio.run(scene(lab))
