"""A real Envoy accepts what any policy comes to: hundreds of drawn ones, for HTTP and for TCP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings

from controlplane.envoy import pb
from controlplane.envoy.authorization_network import network_guards
from controlplane.envoy.authorization_routes import route_guard
from controlplane.envoy.filters.chain import Chain
from controlplane.envoy.guard import guard
from controlplane.envoy.listeners_parts import chain, http_manager, port_match, socket, tcp_proxy
from controlplane.mesh.projections import Security
from controlplane.model.keys import Key
from controlplane.model.kinds import authorization_policies
from controlplane.model.kinds.authorization_policy import AuthorizationPolicy, Rule
from controlplane.model.meta import Meta
from tests.envoy.test_accepts import check, envoy
from tests.support.generated_policies import policies
from tests.unit.mesh.world import World

__all__ = ["envoy"]
pytestmark = pytest.mark.envoy

MANY = 150
MESH = """
kind: MeshConfig
trustDomain: corp.example
trustDomainAliases: [old.example]
extensionProviders: [{name: known, envoyExtAuthzGrpc: {service: ext.example.com, port: 80}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext, namespace: foo}
spec: {hosts: [ext.example.com], ports: [{number: 80, name: grpc}], resolution: STATIC}
"""


ASKS = AuthorizationPolicy(Meta("foo", "asks"), action="CUSTOM", rules=(Rule(),), provider="known")
"""Whatever is drawn, one policy asks the provider: its filters are to be accepted, too."""


def drawn() -> list[AuthorizationPolicy]:
    found = [ASKS]

    @settings(max_examples=MANY, suppress_health_check=list(HealthCheck), database=None, deadline=None)
    @given(policies())
    def draw(policy: AuthorizationPolicy) -> None:
        found.append(policy)

    draw()
    return found


def configuration(many: list[AuthorizationPolicy]) -> dict[str, Any]:
    """One listener with a virtual host for each policy, one with a filter chain for each."""
    world = World(MESH)
    keys = [Key("foo", f"p{number}") for number in range(len(many))]
    rows = zip(keys, many, strict=True)
    world.graph.commit(
        [
            (authorization_policies, key, replace(one, meta=replace(one.meta, name=key.name)))
            for key, one in rows
        ]
    )
    routes = pb.route.RouteConfiguration(name="all")
    tcp = pb.listener.Listener(name="tcp", address=socket("127.0.0.1", 1))
    providers: set[Any] = set()
    for number, key in enumerate(keys, 1):
        security = Security(authorization=(key,))
        of_routes = pb.route.RouteConfiguration.FromString(world.read(route_guard, "foo", security))
        host = routes.virtual_hosts.add(name=key.name, domains=[f"{key.name}.example"])
        for name, entry in of_routes.typed_per_filter_config.items():
            host.typed_per_filter_config[name].CopyFrom(entry)
        of_listener = world.read(guard, "foo", security)
        filters = network_guards(of_listener.tcp)
        tcp.filter_chains.append(chain(key.name, [*filters, tcp_proxy("to", "to", None)], port_match(number)))
        providers.update(of_listener.providers)
    assert len(providers) == 1
    where = Chain("inbound", guarded=True, providers=tuple(providers))
    http = pb.listener.Listener(name="http", address=socket("127.0.0.1", 2))
    http.filter_chains.append(chain("http", [http_manager("http", routes, where, None)]))
    listeners = [json_format.MessageToDict(one, preserving_proto_field_name=True) for one in (http, tcp)]
    # As in the bootstrap: the longest pattern of an identity is longer than Envoy's own limit.
    layer = {"name": "static", "static_layer": {"re2.max_program_size.error_level": 1024}}
    return {"static_resources": {"listeners": listeners}, "layered_runtime": {"layers": [layer]}}


def test_drawn_policies_are_accepted(envoy: Path, tmp_path: Path) -> None:
    many = drawn()
    assert len(many) >= MANY // 2
    check(envoy, configuration(many), tmp_path)
