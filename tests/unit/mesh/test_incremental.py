"""After any sequence of edits every map equals that of a mesh that was never edited."""

from __future__ import annotations

import random
from typing import Any

import pytest

from controlplane.envoy.cluster_maps import assignment_maps, cluster_maps
from controlplane.envoy.listeners import inbound_listeners
from controlplane.mesh.checks import checks
from controlplane.mesh.scope import ports, visible
from tests.unit.mesh.world import World, pod, service, slice_of

NAMESPACES = ("one", "two")
EXPORTS = ("'*'", "'.'", "one", "two", "'~'")


def some_service(pick: random.Random) -> tuple[tuple[str, str, str], str]:
    name, namespace = pick.choice("abc"), pick.choice(NAMESPACES)
    extra = pick.choice(("http=80", "http=80:web, grpc=90", "tcp=80"))
    near = pick.choice(("", "", "trafficDistribution: PreferClose", "internalTrafficPolicy: Local"))
    text = service(name, extra, namespace=namespace, ip=pick.choice(("10.96.0.1", '"None"')), extra=near)
    export = f"annotations: {{networking.istio.io/exportTo: {pick.choice(EXPORTS)}}}, creationTimestamp:"
    return ("Service", name, namespace), text.replace("creationTimestamp:", export)


def some_slice(pick: random.Random) -> tuple[tuple[str, str, str], str]:
    name, namespace = pick.choice("abc"), pick.choice(NAMESPACES)
    addresses = ", ".join(
        f"{pick.choice(('', '!', '-'))}10.0.0.{pick.randrange(1, 9)} p{n}" for n in range(3)
    )
    return ("EndpointSlice", f"{name}-a", namespace), slice_of(name, addresses, namespace=namespace)


def some_pod(pick: random.Random) -> tuple[tuple[str, str, str], str]:
    name, namespace = f"p{pick.randrange(3)}", pick.choice(NAMESPACES)
    labels = f"app: {pick.choice('abc')}, version: v{pick.randrange(1, 3)}"
    labels += pick.choice(("", ", security.istio.io/tlsMode: istio"))
    node = f"  nodeName: m{pick.randrange(1, 3)}"
    text = pod(name, f"10.0.0.{pick.randrange(1, 4)}", labels, namespace=namespace, extra=node)
    return ("Pod", name, namespace), text


def some_node(pick: random.Random) -> tuple[tuple[str, str, str], str]:
    name = f"m{pick.randrange(1, 3)}"
    zone = f"topology.kubernetes.io/zone: {pick.choice('ab')}"
    labels = f"topology.kubernetes.io/region: {pick.choice(('eu', 'us'))}, {zone}"
    return (
        "Node",
        name,
        "",
    ), f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n---\n"


def some_entry(pick: random.Random) -> tuple[tuple[str, str, str], str]:
    name, namespace = pick.choice("xy"), pick.choice(NAMESPACES)
    host = pick.choice(("x.example.com", "'*.example.com'", "a.one.svc.cluster.local"))
    created = f"2024-01-0{pick.randrange(1, 9)}T00:00:00Z"
    resolution = pick.choice(("resolution: NONE", "resolution: STATIC\n  endpoints: [{address: 10.0.0.1}]"))
    text = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created!r}}}
spec:
  hosts: [{host}]
  ports: [{{number: 80, name: p, protocol: {pick.choice(("HTTP", "TCP"))}}}]
  exportTo: [{pick.choice(EXPORTS)}]
  {resolution}
---
"""
    return ("ServiceEntry", name, namespace), text


def some_rule(pick: random.Random) -> tuple[tuple[str, str, str], str]:
    name, namespace = pick.choice("rs"), pick.choice((*NAMESPACES, "istio-system"))
    host = pick.choice(("a", "a.one.svc.cluster.local", "'*.svc.cluster.local'", "x.example.com"))
    selector = pick.choice(("", "workloadSelector: {matchLabels: {app: a}}"))
    export = f"exportTo: [{pick.choice(EXPORTS[:4])}]" if not selector and pick.random() < 0.5 else ""
    text = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  host: {host}
  {export}
  {selector}
  trafficPolicy: {{{pick.choice(POLICIES)}}}
  subsets: [{{name: v{pick.randrange(1, 3)}, labels: {{version: v1}}}}]
---
"""
    return ("DestinationRule", name, namespace), text


POLICIES = (
    *(f"loadBalancer: {{simple: {simple}}}" for simple in ("RANDOM", "ROUND_ROBIN", "PASSTHROUGH")),
    "outlierDetection: {consecutive5xxErrors: 1}",
    *(
        f"outlierDetection: {{}}, loadBalancer: {{{setting}}}"
        for setting in (
            "localityLbSetting: {failoverPriority: [version, kubernetes.io/hostname]}",
            "localityLbSetting: {enabled: false}",
            "zoneAwareLbSetting: {enabled: true, failover: [{from: eu, to: us}]}",
        )
    ),
    "loadBalancer: {localityLbSetting: {distribute: [{from: eu, to: {us: 100}}]}}",
    "tunnel: {targetHost: a.b, targetPort: 443}",
    "tls: {mode: SIMPLE, credentialName: c}",
)


def some_route(pick: random.Random) -> tuple[tuple[str, str, str], str]:
    name, namespace = pick.choice("vw"), pick.choice(NAMESPACES)
    text = f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  hosts: [{pick.choice(("a", "b", "x.example.com"))}]
  exportTo: [{pick.choice(("'*'", "'.'"))}]
  http:
  - route: [{{destination: {{host: {pick.choice(("a", "c.two.svc.cluster.local"))}, port: {{number: 80}}}}}}]
---
"""
    return ("VirtualService", name, namespace), text


def some_sidecar(pick: random.Random) -> tuple[tuple[str, str, str], str]:
    hosts = ", ".join(pick.sample(("./*", "two/*", "*/x.example.com", "~two/c.two.svc.cluster.local"), 2))
    hosts = "./*, " + hosts if hosts.startswith("~") else hosts
    quoted = ", ".join(f"{host.strip()!r}" for host in dict.fromkeys(hosts.split(", ")))
    text = f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: s, namespace: one}}
spec: {{egress: [{{hosts: [{quoted}]}}]}}
---
"""
    return ("Sidecar", "s", "one"), text


def some_mesh(pick: random.Random) -> tuple[tuple[str, str, str], str]:
    text = f"kind: MeshConfig\ndefaultDestinationRuleExportTo: [{pick.choice(EXPORTS[:2])}]\n"
    text += pick.choice(("", "", "defaultTrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}}\n"))
    text += pick.choice(("", "", "localityLbSetting: {enabled: false}\n"))
    text += f"enableAutoMtls: {pick.choice(('true', 'false'))}\n---\n"
    return ("MeshConfig", "mesh", ""), text


def some_peer_policy(pick: random.Random) -> tuple[tuple[str, str, str], str]:
    name, namespace = pick.choice("mn"), pick.choice((*NAMESPACES, "istio-system"))
    ports = pick.choice(("", f", portLevelMtls: {{80: {{mode: {pick.choice(MODES)}}}}}"))
    selector = pick.choice(("", f", selector: {{matchLabels: {{app: a}}}}{ports}"))
    text = f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{mtls: {{mode: {pick.choice(MODES)}}}{selector}}}
---
"""
    return ("PeerAuthentication", name, namespace), text


MODES = ("UNSET", "DISABLE", "PERMISSIVE", "STRICT")
MAKERS = (
    some_service,
    some_slice,
    some_pod,
    some_node,
    some_entry,
    some_rule,
    some_route,
    some_sidecar,
    some_mesh,
    some_peer_policy,
)
PROXIES = tuple(
    f"sidecar~10.0.0.{n}~p{n}.{namespace}~{namespace}.svc.cluster.local"
    for namespace in NAMESPACES
    for n in (1, 2)
)


def everything(world: World) -> dict[Any, Any]:
    out: dict[Any, Any] = {"checks": world.map(checks)}
    for number, proxy in enumerate(PROXIES):
        view = world.view(proxy, identity=("", "spiffe://cluster.local/ns/one/sa/a")[number % 2])
        out[proxy] = view
        out[proxy, "cds"] = world.resources(cluster_maps(view))
        out[proxy, "eds"] = world.resources(assignment_maps(view))
        out[proxy, "inbound"] = world.map(inbound_listeners, view.inbound)
        out[proxy, "visible"] = world.map(visible, view.scope)
        out[proxy, "ports"] = {number: part.keys() for number, part in world.map(ports, view.scope).items()}
    return out


@pytest.mark.parametrize("seed", range(6))
def test_edited_equals_fresh(seed: int) -> None:
    pick = random.Random(seed)
    edited = World()
    objects: dict[tuple[str, str, str], str] = {}
    for step in range(80):
        if objects and pick.random() < 0.25:
            kind, name, namespace = gone = pick.choice(sorted(objects))
            edited.delete(kind, name, namespace)
            del objects[gone]
        else:
            key, text = pick.choice(MAKERS)(pick)
            edited.apply(text)
            objects[key] = text
        if step % 4 == 0:
            assert everything(edited) == everything(World("".join(objects.values())))
    assert edited.graph.counters.failed == 0
