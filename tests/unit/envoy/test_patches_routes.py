"""EnvoyFilters of route configurations and virtual hosts, in the graph."""

from __future__ import annotations

from typing import Any

from controlplane.mesh.checks import checks
from controlplane.mesh.patches import UNPATCHED
from controlplane.model.keys import Ref
from tests.support.envoy_filters import envoy_filter, patch
from tests.unit.envoy.patching import OUT, WEB, sidecar, world
from tests.unit.mesh.world import pod, service


def test_a_configuration_is_patched_outside_of_its_virtual_hosts() -> None:
    value = {"name": "other", "max_direct_response_body_size_bytes": 7, "virtual_hosts": [{"name": "v"}]}
    made = world(
        envoy_filter(patch("ROUTE_CONFIGURATION", "MERGE", value, routeConfiguration={"portNumber": 80}))
    )
    found = made.routes(sidecar(made))["80"]
    assert (found.name, found.max_direct_response_body_size_bytes.value) == ("80", 7)
    assert [host.name for host in found.virtual_hosts][-2:] == ["allow_any", "v"]
    assert made.routes(sidecar(made))["inbound|8080||"].max_direct_response_body_size_bytes.value == 1048576


def test_routes_of_a_gateway_are_found_by_either_port_and_by_their_server() -> None:
    gateway = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: prod}
spec:
  selector: {app: gw}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [b.example.com],
     tls: {mode: SIMPLE, credentialName: c}}
---
"""

    def named(what: str, **match: Any) -> dict[str, Any]:
        value = {"response_headers_to_remove": [what]}
        return patch("ROUTE_CONFIGURATION", "MERGE", value, context="GATEWAY", routeConfiguration=match)

    made = world(
        gateway,
        service("gw", "http=80:8080, https=443:8443", ip="10.96.0.9"),
        pod("gw-1", "10.0.0.9", "app: gw"),
        envoy_filter(
            named("service", portNumber=80),
            named("own", portNumber=8080),
            named("other", portNumber=81),
            named("server", gateway="prod/g", portName="https", name="https.443.https.g.prod"),
            named("nobody", gateway="prod/h"),
        ),
    )
    view = made.view("router~10.0.0.9~gw-1.default~default.svc.cluster.local", {"NAMESPACE": "default"})
    found = {name: list(one.response_headers_to_remove) for name, one in made.routes(view).items()}
    # What is said of a server says nothing of plaintext routes, which are those of all servers of a port.
    assert found == {"http.8080": ["service", "own"], "https.443.https.g.prod": ["server"]}


def test_plaintext_routes_are_of_no_gateway() -> None:
    gateway = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: prod}
spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}]}
---
"""
    match = {"context": "GATEWAY", "routeConfiguration": {"gateway": "prod/g"}}
    made = world(gateway, envoy_filter(patch("VIRTUAL_HOST", "REMOVE", **match)))
    (found,) = made.map(checks)[Ref("EnvoyFilter", "default", "it")]
    assert found.field == "spec.configPatches[0].match.routeConfiguration.gateway"
    assert found.message == "matches nothing: 'prod/g' has no HTTPS server; other routes are of no Gateway"


def test_virtual_hosts_are_removed_replaced_and_added() -> None:
    def named(name: str) -> dict[str, Any]:
        return {"context": OUT, "routeConfiguration": {"name": "80", "vhost": {"name": name}}}

    made = world(
        envoy_filter(
            patch("VIRTUAL_HOST", "REMOVE", **named(f"{WEB}:80")),
            patch(
                "VIRTUAL_HOST", "REPLACE", {"name": "new", "domains": ["api"]}, **named(f"api.{WEB[4:]}:80")
            ),
            patch("VIRTUAL_HOST", "ADD", {"name": "more", "domains": ["more"]}, **named("any")),
        )
    )
    hosts = [host.name for host in made.routes(sidecar(made))["80"].virtual_hosts]
    assert hosts == ["new", "allow_any", "more"]


def test_bytes_that_nothing_changes_are_the_shared_ones() -> None:
    same = patch("VIRTUAL_HOST", "MERGE", {"include_request_attempt_count": True}, context=OUT)
    made = world(envoy_filter(same))
    mine = made.route_resources(sidecar(made))["80"]
    assert mine is made.route_resources(sidecar(made)._replace(patches=UNPATCHED))["80"]
