"""What /debug shows: plain data, read from its owners when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from controlplane.app.findings import Findings
from controlplane.app.rejections import Rejections, lease_of
from controlplane.envoy.types import BY_SHORT
from controlplane.graph import Graph, Lease, explain
from controlplane.mesh.endpoints import endpoints
from controlplane.mesh.service import ServiceId, service
from controlplane.mesh.visibility import entry_shelves, kubernetes_shelves
from controlplane.model.problem import Problem
from controlplane.store.ingest import Ingest
from controlplane.telemetry.http import Response, Route
from controlplane.xds import status
from controlplane.xds.server import XdsServer
from controlplane.xds.view import GraphViews

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Mesh:
    """What the views below are made of; `shelves` are leased for as long as the app lives."""

    graph: Graph
    ingest: Ingest
    views: GraphViews
    findings: Findings
    rejections: Rejections
    shelves: tuple[Lease, ...]


def problems(mesh: Mesh) -> list[Problem]:
    """All that is wrong with the input: files, objects, what they say of each other, what proxies refuse."""
    found = [*mesh.ingest.problems(), *mesh.findings.problems(), *mesh.rejections.problems()]
    return sorted(found, key=lambda p: (p.file, p.line or 0, p.kind, p.namespace, p.name, p.field, p.message))


def services(mesh: Mesh) -> list[ServiceId]:
    """All services that are known, sorted."""
    ids: set[ServiceId] = set()
    for shelf in mesh.shelves:
        for key in shelf.keys():
            ids.update(shelf.get(key).keys())
    return sorted(ids)


def routes(mesh: Mesh, traces: Callable[[Query], Iterator[Any]]) -> tuple[Route, ...]:
    """The debug paths that do not belong to the xDS server."""
    return (
        Route("/debug/problems", "mistakes in the input", lambda q: [p.as_json() for p in problems(mesh)]),
        Route("/debug/configz", "all objects as they were read", lambda q: _objects(mesh, q)),
        Route("/debug/registryz", "all services", lambda q: [_service(mesh, id) for id in services(mesh)]),
        Route("/debug/endpointz", "endpoints by service and port", lambda q: _endpoints(mesh)),
        Route("/debug/traces", "what became of the last changes (id, kind, namespace, name, limit)", traces),
        Route("/debug/why", "why a resource is as it is (proxyID, type, name)", lambda q: _why(mesh, q)),
        Route("/debug/graph", "size and work of the graph", lambda q: _graph(mesh)),
    )


def plain(value: Any) -> Any:
    """A model value as JSON can hold it; what a repr leaves out is a secret, and is not shown here either."""
    if is_dataclass(value) and not isinstance(value, type):
        shown = {
            field.name: plain(found) if field.repr or not found else status.REDACTED
            for field in fields(value)
            for found in (getattr(value, field.name),)
        }
        return {name: item for name, item in shown.items() if item not in (None, [], {}, "")}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [plain(item) for item in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _objects(mesh: Mesh, query: Query) -> Iterator[dict[str, Any]]:
    for stored in mesh.ingest.objects():
        if query.get("kind", stored.name.kind) != stored.name.kind:
            continue
        yield {
            "kind": stored.name.kind,
            "namespace": stored.name.key.namespace,
            "name": stored.name.key.name,
            "file": stored.origin.file if stored.origin else "",
            "line": stored.origin.line if stored.origin else None,
            "current": stored.current,
            "used": stored.used,
            "value": plain(stored.value),
        }


def _service(mesh: Mesh, id: ServiceId) -> Any:
    return plain(mesh.graph.read(service, id))


def _endpoints(mesh: Mesh) -> Iterator[dict[str, Any]]:
    for id in services(mesh):
        found = mesh.graph.read(service, id)
        for port in found.ports if found else ():
            yield {
                "service": id.host,
                "namespace": id.namespace,
                "port": port.number,
                "endpoints": [plain(endpoint) for endpoint in mesh.graph.read(endpoints, id, port.number)],
            }


def _why(mesh: Mesh, query: Query) -> Any:
    """The path from a resource, as one proxy is served it, down to the input that last changed it."""
    view = next((v for v in mesh.views.views if v.proxy.id == query.get("proxyID")), None)
    spec = BY_SHORT.get(query.get("type", ""))
    if view is None or spec is None:
        known = ", ".join(sorted(v.proxy.id for v in mesh.views.views)[:20])
        return Response(
            404, body=f"give proxyID (connected: {known}), type ({', '.join(BY_SHORT)})\n".encode()
        )
    name = query.get("name", "")
    lease = lease_of(view.feeds[spec.url], name)
    if lease is not None:
        steps = explain.why(mesh.graph, lease, name)
        return {
            "path": [{"node": step.node, "revision": step.revision} for step in steps],
            "sources": [{"table": table, "key": plain(key)} for table, key in explain.sources(lease, name)],
        }
    return Response(404, body=f"{view.proxy.id} is served no {spec.short} resource {name!r}\n".encode())


def _graph(mesh: Mesh) -> dict[str, Any]:
    counters = mesh.graph.counters
    return {
        "revision": mesh.graph.revision,
        "settled": mesh.graph.settled,
        "nodes": mesh.graph.size(),
        "runs": counters.runs,
        "equal": counters.equal,
        "validated": counters.validated,
        "failed": counters.failed,
        "freed": counters.freed,
        "by_query": dict(sorted(counters.by_query.items())),
    }


def shelf_leases(graph: Graph) -> tuple[Lease, ...]:
    """The leases that make `services` cheap: services by where they are visible."""
    return (graph.lease(kubernetes_shelves), graph.lease(entry_shelves))


def xds_routes(xds: XdsServer, epoch: float) -> tuple[Route, ...]:
    """The debug paths about the streams; `epoch` is wall clock minus monotonic clock, in seconds."""
    return (
        Route("/debug/syncz", "how far each proxy is", lambda q: status.syncz(xds.streams, epoch)),
        Route("/debug/adsz", "who watches what", lambda q: status.adsz(xds.streams, epoch)),
        Route("/debug/connections", "who is connected", lambda q: status.connections(xds.streams, epoch)),
        Route("/debug/push_status", "all proxies together", lambda q: status.push_status(xds.streams)),
        Route("/debug/config_dump", "what a proxy has (proxyID, types=cds,rds)", lambda q: _dump(xds, q)),
    )


def _dump(xds: XdsServer, query: Query) -> Any:
    found = status.find(xds.streams, query.get("proxyID", ""))
    if found is None:
        known = ", ".join(sorted({stream.connection.proxy.id for stream in xds.streams})[:20])
        return Response(404, body=f"give proxyID (connected: {known})\n".encode())
    types = [name for name in query.get("types", "").split(",") if name]
    unknown = sorted(set(types) - set(BY_SHORT))
    if unknown:
        return Response(400, body=f"types {unknown} are not among {', '.join(BY_SHORT)}\n".encode())
    return status.config_dump(found, types)
