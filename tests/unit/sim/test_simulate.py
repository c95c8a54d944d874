"""Whole configurations, as the control plane makes them, from the YAML that users write."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError

from controlplane.envoy.types import BY_SHORT
from controlplane.sim import Call, Http, Served, Tls, dumped, onward, served, simulate
from tests.golden.harness import Case, readable
from tests.unit.sim.messages import edge, tcp

VIP = "10.96.0.3"
DOCS = Path(__file__).parents[3] / "docs"


@cache
def golden(name: str) -> dict[str, dict[str, bytes]]:
    return {
        url: {one.name: one.body for one in found.values()} for url, found in Case(name).resources.items()
    }


def test_a_canary() -> None:
    outcome = simulate(served(golden("canary")), Call(VIP, 9080, Http("/", "reviews")))
    v1, v3 = (f"outbound|9080|{version}|reviews.default.svc.cluster.local" for version in ("v1", "v3"))
    assert outcome.clusters() == pytest.approx({v1: 0.9, v3: 0.1})
    at = [step.at for step in outcome.steps]
    assert at == [
        "listener",
        "listener filter",
        "filter chain",
        "route configuration",
        "virtual host",
        "route",
        "cluster",
    ]
    assert [step.config.rpartition("v1/")[2] for step in outcome.steps if step.config] == [
        "namespaces/default/virtual-service/reviews",
        "namespaces/default/destination-rule/reviews",
    ]
    there = onward(outcome.end, outcome.end.hosts[0], Call(VIP, 9080, Http("/", "reviews")))
    assert there is not None
    assert (there.address, there.port, there.way) == ("10.1.0.10", 9080, "inbound")
    assert there.http is not None and there.http.authority == "reviews"


def canary_dump() -> dict[str, Any]:
    """What an Envoy that is served the canary shows, and a listener that is warming."""
    kinds = {"lds": "Listeners", "cds": "Clusters", "rds": "Routes", "eds": "Endpoints"}
    inner: dict[str, Callable[[Any], dict[str, Any]]] = {
        "lds": lambda one: {"dynamic_listeners": [{"name": one["name"], "active_state": {"listener": one}}]},
        "cds": lambda one: {"dynamic_active_clusters": [{"cluster": one}]},
        "rds": lambda one: {"dynamic_route_configs": [{"route_config": one}]},
        "eds": lambda one: {"dynamic_endpoint_configs": [{"endpoint_config": one}]},
    }
    found: list[dict[str, Any]] = []
    for short, kind in kinds.items():
        type_url = f"type.googleapis.com/envoy.admin.v3.{kind}ConfigDump"
        made = Case("canary").resources[BY_SHORT[short].url].values()
        found += ({"@type": type_url, **inner[short](readable(one))} for one in made)
    warming = {"name": "warming", "warming_state": {"listener": {"name": "warming"}}}
    return {"configs": [*found, {"@type": found[0]["@type"], "dynamic_listeners": [warming]}]}


def test_what_an_envoy_dumps() -> None:
    """The same outcome from the JSON of an Envoy's administration as from the bytes it was served."""
    made = served(golden("canary"))
    read = dumped(canary_dump())
    assert read.listeners == made.listeners
    call = Call(VIP, 9080, Http("/", "reviews"))
    assert simulate(read, call).shares == simulate(made, call).shares


@pytest.mark.parametrize(
    "name", ["canary", "authorization", "mutual-tls-strict", "request-authentication", "protocols", "effects"]
)
def test_every_call_has_an_end(name: str) -> None:
    found = served(golden(name))
    made = calls(found)
    assert len(made) > 20
    for call in made:
        outcome = simulate(found, call)
        assert sum(share.probability for share in outcome.shares) == pytest.approx(1.0), call
        assert outcome.end.kind != "unknown", (call, outcome)
        assert outcome.steps
        assert outcome == simulate(found, call)


def calls(found: Served) -> list[Call]:
    addresses = {
        (one.address.socket_address.address, one.address.socket_address.port_value)
        for one in found.listeners.values()
    }
    hosts = {
        domain
        for configuration in found.routes.values()
        for host in configuration.virtual_hosts
        for domain in host.domains
    }
    requests = [Http("/", host.replace("*", "x"), http2=len(host) % 2 == 0) for host in sorted(hosts)[:5]]
    made: list[Call] = []
    for address, port in sorted(addresses):
        dialled = "10.99.0.1" if address == "0.0.0.0" else address
        for way in ("outbound", "inbound", "direct"):
            made += (Call(dialled, port, http, way=way) for http in requests)
            for tls in (None, Tls("a.test", ("istio",), "spiffe://cluster.local/ns/a/sa/b")):
                made.append(Call(dialled, port, None, tls, way))
    return made


def test_bytes_that_are_no_message_are_the_callers_mistake() -> None:
    with pytest.raises(DecodeError):
        served({BY_SHORT["lds"].url: {"x": b"\xff"}})


def test_what_is_packed_and_is_no_message_is_not_known() -> None:
    listener = edge(tcp("c"))
    listener.filter_chains[0].filters[0].typed_config.value = b"\xff"
    end = simulate(Served({"l": listener}), Call("10.0.0.1", 80, way="direct")).end
    assert end.kind == "unknown"
    assert "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" in end.details


def test_the_documented_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config_dump.json").write_text(json.dumps(canary_dump()))
    monkeypatch.chdir(tmp_path)
    example, further = re.findall(
        r"^```python\n(.*?)^```", (DOCS / "simulator.md").read_text(), re.DOTALL | re.MULTILINE
    )
    exec(example + further, {})
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [
        "90% outbound|9080|v1|reviews.default.svc.cluster.local ['10.1.0.10:9080']",
        "10% outbound|9080|v3|reviews.default.svc.cluster.local ['10.1.0.12:9080']",
    ]
    assert told[2].startswith("listener 0.0.0.0_9080 because virtualOutbound hands on")
