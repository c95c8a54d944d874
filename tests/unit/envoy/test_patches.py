"""EnvoyFilters in the graph: for whom they are, in which order they count, what they share and run."""

from __future__ import annotations

import json
from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.types import CLUSTER, EXTENSION, LISTENER, ROUTE, VIRTUAL_HOST
from controlplane.mesh.checks import checks
from controlplane.mesh.patches import UNPATCHED
from controlplane.mesh.projections import ProxyView
from controlplane.model.keys import Ref
from tests.unit.envoy.traffic import Traffic
from tests.unit.mesh.world import pod, service

WEB = "web.default.svc.cluster.local"
OUT = "SIDECAR_OUTBOUND"


def envoy_filter(*patches: dict[str, Any], name: str = "it", **spec: Any) -> str:
    meta = {"name": name, "namespace": spec.pop("namespace", "default")}
    if "created" in spec:
        meta["creationTimestamp"] = spec.pop("created")
    if "app" in spec:
        spec["workloadSelector"] = {"labels": {"app": spec.pop("app")}}
    found = {"kind": "EnvoyFilter", "apiVersion": "networking.istio.io/v1alpha3", "metadata": meta}
    return json.dumps({**found, "spec": {"configPatches": patches, **spec}}) + "\n---\n"


def patch(what: str, how: str, value: Any = None, **match: Any) -> dict[str, Any]:
    change = {"operation": how} | ({} if value is None else {"value": value})
    return {"applyTo": what, "match": match, "patch": change}


def timeout(seconds: int, **match: Any) -> dict[str, Any]:
    return patch("CLUSTER", "MERGE", {"connect_timeout": f"{seconds}s"}, **match)


def world(*filters: str) -> Traffic:
    made = Traffic(
        service("web", "http=80:8080", ip="10.96.0.1")
        + service("api", "http=80:8080", ip="10.96.0.2")
        + pod("web-1", "10.0.0.1", "app: web")
        + pod("api-1", "10.0.0.2", "app: api")
    )
    for text in filters:
        made.apply(text)
    return made


def sidecar(made: Traffic, app: str = "web", **metadata: Any) -> ProxyView:
    address = {"web": "10.0.0.1", "api": "10.0.0.2"}[app]
    id = f"sidecar~{address}~{app}-1.default~default.svc.cluster.local"
    return made.view(id, {"NAMESPACE": "default", "LABELS": {"app": app}, **metadata})


def timeouts(made: Traffic, view: ProxyView) -> dict[str, int]:
    found = made.clusters(view)
    return {name.split("|")[-1]: one.connect_timeout.seconds for name, one in found.items() if "|80|" in name}


# -- for whom -----------------------------------------------------------------------------------------


def test_only_those_whom_a_selector_chooses_leave_the_shared_maps() -> None:
    made = world(envoy_filter(timeout(3), app="web"))
    assert set(timeouts(made, sidecar(made)).values()) == {3}
    other = sidecar(made, "api")
    assert other.patches == UNPATCHED
    assert feeds(other)[CLUSTER] == feeds(sidecar(world(), "api"))[CLUSTER]
    # Of the one who was chosen only the clusters are its own.
    bare = sidecar(made)._replace(patches=UNPATCHED)
    for url in (LISTENER, ROUTE):
        assert feeds(sidecar(made))[url] == feeds(bare)[url]


def test_one_of_the_root_namespace_is_for_the_mesh_and_one_of_another_for_nobody_here() -> None:
    made = world(
        envoy_filter(timeout(3), namespace="istio-system"), envoy_filter(timeout(4), namespace="prod")
    )
    assert set(timeouts(made, sidecar(made)).values()) == {3}


def test_targets_are_of_no_sidecar() -> None:
    refs = [{"kind": "Gateway", "name": "g"}]
    made = world(envoy_filter(timeout(3), targetRefs=refs))
    assert sidecar(made).patches == UNPATCHED


def test_a_proxy_is_matched_by_its_version_and_by_what_it_says() -> None:
    made = world(
        envoy_filter(
            timeout(3, proxy={"proxyVersion": r"^1\.2"}, cluster={"service": WEB}),
            timeout(
                4, proxy={"metadata": {"CLUSTER_ID": "west"}}, cluster={"name": f"outbound|80||api.{WEB[4:]}"}
            ),
        )
    )
    silent = timeouts(made, sidecar(made))
    assert silent == {WEB: 10, f"api.{WEB[4:]}": 10}
    told = timeouts(made, sidecar(made, ISTIO_VERSION="1.29.0", CLUSTER_ID="west"))
    assert told == {WEB: 3, f"api.{WEB[4:]}": 4}
    assert timeouts(made, sidecar(made, ISTIO_VERSION="2.1.2", CLUSTER_ID="east")) == silent


def test_contexts() -> None:
    made = world(
        envoy_filter(
            timeout(3, context="SIDECAR_INBOUND"), timeout(4, context=OUT), timeout(5, context="GATEWAY")
        )
    )
    found = {name: one.connect_timeout.seconds for name, one in made.clusters(sidecar(made)).items()}
    inbound = {name for name, seconds in found.items() if seconds == 3}
    assert inbound == {"inbound|8080||", "InboundPassthroughCluster"}
    assert {found[name] for name in found.keys() - inbound} == {4}
    gateway = made.view("router~10.0.0.9~gw.default~default.svc.cluster.local", {"NAMESPACE": "default"})
    assert {one.connect_timeout.seconds for one in made.clusters(gateway).values()} == {5}


# -- in which order -----------------------------------------------------------------------------------


def test_priority_then_the_root_namespace_then_age_then_name() -> None:
    def said(made: Traffic) -> str:
        view = sidecar(made)
        return "".join(ref.key.name for ref in view.patches.outbound.clusters)

    made = world(
        envoy_filter(timeout(1), name="b", created="2024-01-02T00:00:00Z"),
        envoy_filter(timeout(1), name="a", created="2024-01-02T00:00:00Z"),
        envoy_filter(timeout(1), name="c", created="2024-01-01T00:00:00Z"),
        envoy_filter(timeout(1), name="r", created="2024-01-09T00:00:00Z", namespace="istio-system"),
        envoy_filter(timeout(1), name="l", priority=5, namespace="istio-system"),
        envoy_filter(timeout(1), name="f", priority=-5),
    )
    assert said(made) == "frcabl"
    # A new patch does not move its EnvoyFilter, and all of one EnvoyFilter's stand together.
    made.apply(envoy_filter(timeout(1), timeout(2), name="c", created="2024-01-01T00:00:00Z"))
    assert said(made) == "frccabl"


# -- what is shared, and what runs --------------------------------------------------------------------


def test_what_no_patch_is_for_keeps_its_bytes() -> None:
    made = world(envoy_filter(timeout(3, cluster={"service": WEB})))
    mine = made.resources(feeds(sidecar(made))[CLUSTER])
    theirs = made.resources(feeds(sidecar(made)._replace(patches=UNPATCHED))[CLUSTER])
    assert {name for name in mine if mine[name] is not theirs[name]} == {
        f"outbound|80||{WEB}",
        "inbound|8080||",
    }


def test_proxies_with_equal_patches_share_what_comes_out() -> None:
    made = world(envoy_filter(timeout(3)))
    first, second = (
        made.resources(feeds(sidecar(made))[CLUSTER]),
        made.resources(feeds(sidecar(made, "api"))[CLUSTER]),
    )
    shared = {name for name in first.keys() & second.keys() if name != "inbound|8080||"}
    assert len(shared) > 3
    assert all(first[name] is second[name] for name in shared)


def test_an_edit_of_a_value_runs_what_it_is_applied_to() -> None:
    match = {"context": OUT, "cluster": {"service": WEB}}
    listener = {"context": OUT, "listener": {"portNumber": 80}}
    limit = patch("LISTENER", "MERGE", {"per_connection_buffer_limit_bytes": 9}, **listener)
    made = world(envoy_filter(timeout(3, **match), limit))
    view = sidecar(made)
    made.clusters(view), made.listeners(view)
    with made.counting() as runs:
        made.apply(envoy_filter(timeout(4, **match), limit))
        assert timeouts(made, view)[WEB] == 4
        made.listeners(view)
    assert sidecar(made) == view
    assert runs["clusters.patched_cluster"] == 1
    assert runs["listeners.patched_listener"] == 0
    assert runs["clusters.cluster"] == 0


def test_an_edit_of_one_virtual_host_patches_no_other() -> None:
    everywhere = patch("VIRTUAL_HOST", "MERGE", {"include_attempt_count_in_response": True}, context=OUT)
    made = world(envoy_filter(everywhere))
    for number in range(20):
        made.apply(service(f"s{number}", "http=80", ip=f"10.96.1.{number}"))
    view = sidecar(made)
    assert all(host.include_attempt_count_in_response for host in made.routes(view)["80"].virtual_hosts)
    with made.counting() as runs:
        made.apply(service("s3", "http=80, more=81", ip="10.96.1.99"))
        made.routes(view)
    assert runs["routes.patched_host"] <= 2
    assert runs["routes.patched_configuration"] <= 2


def test_nothing_is_left_when_an_envoy_filter_goes() -> None:
    made = world()
    before = made.resources(feeds(sidecar(made))[CLUSTER])
    made.apply(envoy_filter(timeout(3), patch("CLUSTER", "ADD", {"name": "more", "type": "STATIC"})))
    assert "more" in made.resources(feeds(sidecar(made))[CLUSTER])
    made.delete("EnvoyFilter", "it")
    assert made.resources(feeds(sidecar(made))[CLUSTER]) == before


# -- clusters, listeners and extensions that are added -------------------------------------------------


def test_what_is_there_already_is_not_added() -> None:
    made = world(
        envoy_filter(
            patch("CLUSTER", "ADD", {"name": f"outbound|80||{WEB}", "type": "STATIC"}),
            patch("CLUSTER", "ADD", {"name": "twice", "type": "STATIC"}),
            patch("CLUSTER", "ADD", {"name": "twice", "type": "EDS"}),
            patch("LISTENER", "ADD", {"name": "virtualOutbound"}),
        )
    )
    found = made.clusters(sidecar(made))
    assert found[f"outbound|80||{WEB}"].type == pb.cluster.Cluster.EDS
    assert found["twice"].type == pb.cluster.Cluster.STATIC
    assert made.listeners(sidecar(made))["virtualOutbound"].address.socket_address.port_value == 15001


def test_removed_and_added_is_replaced() -> None:
    name = f"outbound|80||{WEB}"
    eds = {"name": name, "type": "EDS", "eds_cluster_config": {"service_name": "other"}}
    made = world(
        envoy_filter(patch("CLUSTER", "REMOVE", cluster={"name": name}), patch("CLUSTER", "ADD", eds))
    )
    view = sidecar(made)
    assert made.clusters(view)[name].eds_cluster_config.service_name == "other"
    assert made.resources(feeds(view)[CLUSTER])[name].refs == ("other",)


def test_extensions_are_a_type_of_their_own() -> None:
    value = {
        "name": "e",
        "typed_config": {"@type": f"{pb.TYPE_PREFIX}google.protobuf.Struct", "value": {"a": 1}},
    }
    made = world(envoy_filter(patch("EXTENSION_CONFIG", "ADD", value)))
    (found,) = made.resources(feeds(sidecar(made))[EXTENSION]).values()
    assert pb.extension.TypedExtensionConfig.FromString(found.body).name == "e"
    assert EXTENSION not in feeds(sidecar(world()))


def test_a_sidecar_whose_virtual_hosts_are_patched_is_given_all_of_them() -> None:
    named = patch("VIRTUAL_HOST", "MERGE", {"include_attempt_count_in_response": True}, context=OUT)
    assert VIRTUAL_HOST not in feeds(sidecar(world(envoy_filter(named))), on_demand=True)
    assert VIRTUAL_HOST in feeds(sidecar(world(envoy_filter(timeout(3)))), on_demand=True)


# -- routes -------------------------------------------------------------------------------------------


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
