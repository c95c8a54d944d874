"""A route without a policy entry is never open by accident: a real Envoy with half of its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.envoy.filters.chain import Chain
from controlplane.envoy.listeners_parts import chain, http_manager, socket
from controlplane.mesh.authorization import ExtAuthz
from tests.envoy.test_chains import bound, free_port, running, say
from tests.support.guarded import policy
from tests.unit.envoy.traffic import Traffic

pytestmark = pytest.mark.envoy

NODE = "sidecar~10.0.0.1~web-1.foo~foo.svc.cluster.local"
POLICIES = policy("deny", '{action: DENY, rules: [{to: [{operation: {paths: ["/denied"]}}]}]}')
PROVIDER = ExtAuthz("ext", "nowhere", "ext.example.com", timeout=1_000_000_000)


def guarded_routes(policies: str) -> Any:
    """The route configuration of ports that no service names; it answers in the application's place."""
    world = Traffic(policies)
    found = world.routes(world.view(NODE, {"NAMESPACE": "foo"}))["InboundPassthroughCluster"]
    (host,) = found.virtual_hosts
    del host.routes[:]
    host.domains[:] = ["web.foo"]
    for path in ("/", "/denied", "/unguarded"):
        route = host.routes.add(direct_response=pb.route_components.DirectResponseAction(status=200))
        route.match.path = path
    return found


def listener(routes: Any, *providers: ExtAuthz) -> dict[str, Any]:
    manager = http_manager("guarded", routes, Chain("inbound", guarded=True, providers=providers), None)
    message = pb.listener.Listener(name="guarded", address=socket("127.0.0.1", 0))
    message.filter_chains.append(chain("guarded", [manager]))
    return bound(message, free_port())


def ask(port: int, path: str, host: str = "web.foo") -> tuple[int, bytes]:
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    answer = say(port, head.encode())
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


def test_the_entries_open_and_nothing_else_does(tmp_path: Path) -> None:
    routes = guarded_routes(POLICIES)
    with running(tmp_path, listener(routes), []) as port:
        assert ask(port, "/")[0] == 200
        assert ask(port, "/denied") == (403, b"RBAC: access denied")
        # Where no route is found there is nothing that could carry an entry.
        assert ask(port, "/no-such-route")[0] == 403
        assert ask(port, "/", host="another")[0] == 403


@pytest.mark.parametrize("lost", ["all", "allow", "misnamed"])
def test_without_its_entry_a_route_configuration_is_closed(tmp_path: Path, lost: str) -> None:
    routes = guarded_routes(POLICIES)
    entries = routes.typed_per_filter_config
    assert sorted(entries) == ["envoy.filters.http.rbac.allow", "envoy.filters.http.rbac.deny"]
    kept = entries["envoy.filters.http.rbac.allow"]
    if lost == "misnamed":
        entries["envoy.filters.http.rbac"].CopyFrom(kept)
    if lost == "all":
        routes.ClearField("typed_per_filter_config")
    else:
        del entries["envoy.filters.http.rbac.allow"]
    with running(tmp_path, listener(routes), []) as port:
        for path in ("/", "/denied", "/unguarded", "/no-such-route"):
            assert ask(port, path) == (403, b"RBAC: access denied")


def test_without_its_entry_a_provider_is_asked_about_everything(tmp_path: Path) -> None:
    """Here nobody answers at the provider's cluster, which refuses as well."""
    routes = guarded_routes(POLICIES)
    with running(tmp_path, listener(routes, PROVIDER), []) as port:
        for path in ("/", "/unguarded"):
            assert ask(port, path) == (403, b"")


def test_with_its_entry_a_provider_is_asked_about_what_is_named(tmp_path: Path) -> None:
    text = """
kind: MeshConfig
extensionProviders: [{name: ext, envoyExtAuthzGrpc: {service: ext.example.com, port: 80}}]
---
"""
    service = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext, namespace: foo}
spec: {hosts: [ext.example.com], ports: [{number: 80, name: grpc}], resolution: STATIC}
---
"""
    custom = "{action: CUSTOM, provider: {name: ext}, rules: [{to: [{operation: {paths: [/unguarded]}}]}]}"
    routes = guarded_routes(text + service + policy("ask", custom))
    with running(tmp_path, listener(routes, PROVIDER), []) as port:
        assert ask(port, "/")[0] == 200
        assert ask(port, "/unguarded") == (403, b"")
