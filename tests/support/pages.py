"""The meshes that pages of the documentation describe, made of what stands there.

The YAML of a page is parsed, committed to a graph and served as to a proxy; the simulator takes it on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import yaml

from controlplane.envoy.patches.judge import judged
from controlplane.envoy.snapshot import snapshot
from controlplane.envoy.types import SECRET
from controlplane.graph import Graph
from controlplane.mesh.checks import checks
from controlplane.model.identity import parse_spiffe
from controlplane.model.keys import Key
from controlplane.model.kinds import BY_NAME, TABLES, secrets
from controlplane.model.kinds.secret import Secret
from controlplane.model.meta import Meta
from controlplane.model.problem import Problem
from controlplane.model.proxy import parse_node
from controlplane.sim import Call, End, Http, Outcome, Served, served, simulate
from controlplane.store.sight import Sight
from tests.support.addresses import settle_addresses
from tests.support.snippets import blocks


def documents_of(page: str) -> list[Any]:
    """Every YAML document in the blocks of a page, a path in the repository."""
    found = blocks(page, "yaml")
    return list(itertools.chain.from_iterable(map(yaml.safe_load_all, found)))


def objects_of(page: str) -> list[dict[str, Any]]:
    """Of these the objects of kinds that are read, in their order."""
    return [one for one in documents_of(page) if isinstance(one, dict) and one.get("kind") in BY_NAME]


def of_text(text: str) -> list[dict[str, Any]]:
    """Objects of YAML that a page takes for granted."""
    return [one for one in yaml.safe_load_all(text) if one is not None]


def pod(name: str, namespace: str, ip: str, node: str = "", **labels: str) -> dict[str, Any]:
    """A Pod that is ready and has a sidecar, with the service account of its `app`."""
    app = labels.get("app", name)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": app, "security.istio.io/tlsMode": "istio", **labels},
        },
        "spec": {"serviceAccountName": app, "nodeName": node, "containers": [{"name": "app"}]},
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def service(name: str, namespace: str, ip: str, *ports: dict[str, Any], **selector: str) -> dict[str, Any]:
    """A Service that selects the pods of its name, if nothing else is said."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": ip, "selector": selector or {"app": name}, "ports": list(ports)},
    }


HTTP = {"name": "http", "port": 80}
CLIENT = "10.244.0.9"
"""The address of who calls."""


class Described:
    """The mesh of these objects; `problems` is everything that is wrong with them."""

    def __init__(self, objects: Iterable[Mapping[str, Any]], held: Iterable[str] = ()) -> None:
        """`held` are Secrets that there are, "namespace/name"."""
        self.graph = Graph()
        self._parsed: list[Problem] = []
        self.graph.commit(Sight(lambda table: self.graph.rows(table).values).seen(self._writes(objects)))
        names = (Key(*one.split("/")) for one in held)
        self.graph.commit(
            (secrets, key, Secret(Meta(*key), b"certificate", b"key", b"authorities", "1")) for key in names
        )
        settle_addresses(self.graph)

    def _writes(self, objects: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Any, Key, Any]]:
        for raw in objects:
            kind = BY_NAME[raw["kind"]]
            parsed = judged(kind, kind.parse(dict(raw)), None)
            self._parsed += parsed.problems
            if parsed.value is not None and parsed.key is not None:
                yield TABLES[kind.name], parsed.key, parsed.value

    @property
    def problems(self) -> list[str]:
        """What there is to say of the objects, and where, sorted."""
        lease = self.graph.lease(checks)
        self.graph.settle()
        found = [*self._parsed, *(one for ref in lease.keys() for one in lease.get(ref))]
        lease.release()
        return sorted(f"{it.kind} {it.namespace}/{it.name} {it.field}: {it.message}" for it in found)

    def served_to(self, name: str, ip: str, kind: str = "sidecar", **metadata: Any) -> Served:
        """What the proxy of the Pod "namespace/name" is served; `kind` is sidecar or router.

        It has an identity, and the certificates that it asks for.
        """
        namespace, _, pod_name = name.partition("/")
        node = f"{kind}~{ip}~{pod_name}.{namespace}~{namespace}.svc.cluster.local"
        proxy = parse_node(node, {"NAMESPACE": namespace, **metadata})
        identity = parse_spiffe(f"spiffe://cluster.local/ns/{namespace}/sa/{pod_name}")
        found = snapshot(self.graph, replace(proxy, identity=identity))
        bodies = {
            url: {one: resource.body for one, resource in its.items()}
            for url, its in found.items()
            if url != SECRET
        }
        return served(bodies, [ip])


def hosts(end: End) -> dict[str, float]:
    """Of the endpoints of an end those that are called, and how often."""
    return {host.address: host.share for host in end.hosts if host.share}


def request(proxy: Served, address: str, port: int, host: str, path: str = "/", **headers: str) -> Outcome:
    """A request of the proxy's workload; names of headers have "_" for "-"."""
    said = {name.replace("_", "-"): (value,) for name, value in headers.items()}
    return simulate(proxy, Call(address, port, Http(path, host, headers=said)))
