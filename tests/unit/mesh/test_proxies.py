"""From proxies to projections: which Sidecar is in force, which ports a workload answers on."""

from __future__ import annotations

import pytest

from controlplane.mesh.scope import Binding, Inbound, RouteScope, Scope
from controlplane.mesh.service import ServiceId
from controlplane.model.duration import SECOND
from controlplane.model.keys import Key
from tests.unit.mesh.world import World, pod, service, slice_of

ID = "sidecar~10.0.0.1~reviews-1.default~default.svc.cluster.local"
POD = pod("reviews-1", "10.0.0.1", "app: reviews, version: v1")


def host(name: str) -> ServiceId:
    return ServiceId(f"{name}.default.svc.cluster.local", "default")


def bindings(
    world: World, id: str = ID, metadata: dict[str, object] | None = None
) -> list[tuple[str, int, int, str]]:
    inbound = world.view(id, metadata).inbound
    assert inbound is not None
    return [(b.service.host.split(".")[0], b.port, b.target, b.protocol) for b in inbound.bindings]


def sidecar(
    name: str, namespace: str = "default", spec: str = "egress: [{hosts: ['./*']}]", created: str = ""
) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created!r}}}
spec:
  {spec}
---
"""


def test_a_pods_ports() -> None:
    world = World(
        service("reviews", "http=80:web, grpc-admin=9000, missing=70:nope")
        + service("other", "http=80")
        + POD
    )
    assert bindings(world) == [("reviews", 9000, 9000, "GRPC"), ("reviews", 80, 9080, "HTTP")]


def test_replicas_share_their_projection() -> None:
    world = World(
        service("reviews", "http=80:web")
        + pod("reviews-1", "10.0.0.1", "app: reviews, pod-template-hash: a")
        + pod("reviews-2", "10.0.0.2", "app: reviews, pod-template-hash: b")
    )
    one = world.view(ID)
    two = world.view("sidecar~10.0.0.2~reviews-2.default~default.svc.cluster.local")
    assert one == two
    assert one.scope == Scope("default")


def test_of_two_services_on_one_port_the_oldest_has_it() -> None:
    world = World(
        service("young", "tcp=80:9080", app="reviews", created="2024-02-01T00:00:00Z")
        + service("old", "http=81:9080", app="reviews", created="2024-01-01T00:00:00Z")
        + POD
    )
    assert bindings(world) == [("old", 81, 9080, "HTTP")]


def test_a_pod_is_known_by_its_name_before_its_address_is() -> None:
    world = World(service("reviews", "http=80") + POD.replace("podIP: 10.0.0.1, ", ""))
    assert bindings(world) == [("reviews", 80, 80, "HTTP")]


def test_a_proxy_that_does_not_know_its_address_is_where_its_pod_is() -> None:
    slice_ = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: bare-1, namespace: default, labels: {kubernetes.io/service-name: bare}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.1]}]
---
"""
    world = World(service("bare", "http=80:8080").replace("selector: {app: bare}", "") + slice_ + POD)
    assert bindings(world) == bindings(world, ID.replace("10.0.0.1", "0.0.0.0"))
    assert bindings(world) == [("bare", 80, 8080, "HTTP")]


def test_without_a_pod_the_proxys_own_labels_count() -> None:
    world = World(service("reviews", "http=80"))
    assert bindings(world) == []
    assert bindings(world, metadata={"LABELS": {"app": "reviews"}}) == [("reviews", 80, 80, "HTTP")]


def test_what_the_control_plane_knows_wins_over_what_the_proxy_says() -> None:
    world = World(service("reviews", "http=80") + service("other", "http=80") + POD)
    assert bindings(world, metadata={"LABELS": {"app": "other"}}) == [("reviews", 80, 80, "HTTP")]


def test_an_address_in_a_slice_without_pods() -> None:
    world = World(
        service("reviews", "http=80:web").replace("selector: {app: reviews}", "selector: null")
        + slice_of("reviews", "10.0.0.1, 10.0.0.2", port="http=7070")
    )
    assert bindings(world) == [("reviews", 80, 7070, "HTTP")]


def test_workload_entries_and_inline_endpoints() -> None:
    entry = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: default}
spec:
  hosts: [db.example.com]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  resolution: STATIC
  %s
---
"""
    selecting = World(
        entry % "workloadSelector: {labels: {app: db}}"
        + """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: default}
spec: {address: 10.0.0.1, labels: {app: db}, ports: {http: 7000}}
"""
    )
    assert bindings(selecting) == [("db", 80, 7000, "HTTP")]
    inline = World(entry % "endpoints: [{address: 10.0.0.9}, {address: 10.0.0.1, ports: {http: 6000}}]")
    assert bindings(inline) == [("db", 80, 6000, "HTTP")]
    assert bindings(inline, "sidecar~10.0.0.9~x.default~default.svc.cluster.local") == [
        ("db", 80, 8080, "HTTP")
    ]
    assert bindings(inline, "sidecar~10.0.0.9~x.other~other.svc.cluster.local") == []


def test_the_sidecar_in_force() -> None:
    world = World(
        POD
        + sidecar("root", "istio-system")
        + sidecar(
            "chosen-root",
            "istio-system",
            "workloadSelector: {labels: {app: reviews}}\n  egress: [{hosts: ['./*']}]",
        )
    )
    assert world.view(ID).scope.sidecar == Key("istio-system", "root")
    world.apply(sidecar("b", created="2024-02-01T00:00:00Z") + sidecar("a", created="2024-03-01T00:00:00Z"))
    assert world.view(ID).scope.sidecar == Key("default", "b")
    world.apply(
        sidecar(
            "z",
            spec="workloadSelector: {labels: {app: reviews}}\n  egress: [{hosts: ['./*']}]",
            created="2024-05-01T00:00:00Z",
        )
        + sidecar("y", spec="workloadSelector: {labels: {app: other}}\n  egress: [{hosts: ['./*']}]")
    )
    assert world.view(ID).scope.sidecar == Key("default", "z")


def test_a_gateway_has_no_sidecar_and_nothing_inbound() -> None:
    world = World(sidecar("default") + service("reviews", "http=80") + POD)
    view = world.view(ID.replace("sidecar~", "router~"))
    assert view.scope == Scope("default") and view.inbound is None


def test_ingress_replaces_what_services_imply() -> None:
    spec = """ingress:
  - {port: {number: 9080, protocol: HTTP, name: http}, defaultEndpoint: 127.0.0.1:8080}
  - {port: {number: 7000, protocol: TCP, name: tcp}, defaultEndpoint: 0.0.0.0:7001}
"""
    world = World(service("reviews", "http=80:web, tcp=90") + POD + sidecar("default", spec=spec))
    assert world.view(ID).inbound == Inbound(
        "default",
        (
            Binding(ServiceId("", "default"), 7000, 7000, "TCP", ":7001"),
            Binding(host("reviews"), 80, 9080, "HTTP", "127.0.0.1:8080"),
        ),
    )


def test_without_interception_only_ingress_is_served() -> None:
    world = World(service("reviews", "http=80") + POD)
    assert bindings(world, metadata={"INTERCEPTION_MODE": "NONE"}) == []


def test_inbound_limits_of_the_sidecar_are_part_of_the_projection() -> None:
    world = World(POD + sidecar("default", spec="inboundConnectionPool: {tcp: {maxConnections: 5}}"))
    inbound = world.view(ID).inbound
    assert inbound is not None and inbound.sidecar == Key("default", "default")


def test_rules_that_select_the_workload_are_part_of_its_scope() -> None:
    world = World(
        POD
        + """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: mine, namespace: default}
spec: {host: ratings, workloadSelector: {matchLabels: {app: reviews}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: all, namespace: default}
spec: {host: ratings}
"""
    )
    assert world.view(ID).scope == Scope("default", None, (Key("default", "mine"),))
    assert world.view("sidecar~10.0.0.7~x.default~default.svc.cluster.local").scope == Scope("default")


def test_the_source_labels_that_a_proxy_satisfies() -> None:
    world = World(
        POD
        + """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings, namespace: default}
spec:
  hosts: [ratings]
  http:
  - match: [{sourceLabels: {app: reviews}}, {sourceLabels: {app: other}}]
    route: [{destination: {host: ratings}}]
"""
    )
    view = world.view(ID)
    assert view.matched == ((("app", "reviews"),),)
    assert view.routes == RouteScope(view.scope, view.matched)


def test_the_mesh_may_call_another_namespace_its_root() -> None:
    specs = {
        "PeerAuthentication": "{mtls: {mode: STRICT}}",
        "RequestAuthentication": "{jwtRules: []}",
        "AuthorizationPolicy": "{rules: [{}]}",
    }
    text = "".join(
        f"apiVersion: security.istio.io/v1\nkind: {kind}\n"
        f"metadata: {{name: p, namespace: {namespace}}}\nspec: {spec}\n---\n"
        for kind, spec in specs.items()
        for namespace in ("istio-system", "platform")
    )
    world = World(POD + text)

    def in_force() -> tuple[tuple[Key, ...], ...]:
        inbound = world.view(ID).inbound
        assert inbound is not None
        return inbound.security.peer, inbound.security.requests, inbound.security.authorization

    assert in_force() == ((Key("istio-system", "p"),),) * 3
    world.apply("kind: MeshConfig\nrootNamespace: platform\n")
    assert in_force() == ((Key("platform", "p"),),) * 3


@pytest.mark.parametrize(
    ("said", "timeout"), [("30s", 30 * SECOND), ("0s", None), ("-5s", None), ("so", None)]
)
def test_how_long_connections_may_be_idle(said: str, timeout: int | None) -> None:
    assert World(POD).view(ID, {"IDLE_TIMEOUT": said}).stance.idle_timeout == timeout


def test_how_the_mesh_takes_connections_is_asked_by_those_alone_whose_ports_end_tls() -> None:
    def mode(name: str) -> str:
        return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: istio-system}}
spec: {{mtls: {{mode: {name}}}}}
---
"""

    world = World(POD + service("reviews", "http=9080") + mode("STRICT"))
    before = world.view(ID)
    with world.counting() as runs:
        world.apply(mode("PERMISSIVE"))
        assert world.view(ID) == before
    assert runs["proxies.proxy_view"] == 0
