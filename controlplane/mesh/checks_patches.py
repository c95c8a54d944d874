"""Checks of EnvoyFilters: does anybody have the labels, and is there anything that the patches could match?

What a proxy is given is not looked at; but a service that nobody has, a Gateway that is not there or a filter
that is never generated match nothing at any proxy.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding, as_problem
from controlplane.mesh.checks_refused import or_refused
from controlplane.mesh.checks_selectors import nobody_has, reach
from controlplane.mesh.patches import GATEWAY, OUTBOUND
from controlplane.mesh.service import service_ports, services_of_host
from controlplane.model.describe import shorten
from controlplane.model.keys import Key
from controlplane.model.kinds import envoy_filters, gateways
from controlplane.model.kinds.envoy_filter import ConfigPatch, EnvoyFilter
from controlplane.model.kinds.envoy_filter_match import ClusterMatch, RouteConfigurationMatch
from controlplane.model.kinds.gateway import Gateway
from controlplane.model.problem import Problem

NOT_HERE = {
    "istio.alpn": "clusters say what they offer by ALPN",
    "istio.metadata_exchange": "proxies are stock Envoys",
    "istio.stats": "proxies are stock Envoys",
    "istio_authn": "tokens are checked by envoy.filters.http.jwt_authn",
    "envoy.filters.http.wasm": "no Wasm is loaded",
}
"""Filters of Istio's own Envoy that users put theirs beside -> why there is none of this name here."""


@query
def envoy_filter_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """The Problems of one EnvoyFilter."""
    found: EnvoyFilter | None = q.get(envoy_filters, key)
    if found is None:
        return ()
    findings: list[Finding] = []
    nobody = nobody_has(q, reach(q, key.namespace), found.selector)
    if nobody:
        why = f"{nobody}: nobody is patched but proxies that say so of themselves"
        remedy = "correct the labels, or the EnvoyFilter's namespace"
        findings.append(Finding("spec.workloadSelector.labels", why, remedy))
    for index, patch in enumerate(found.patches):
        findings += (
            one._replace(field=f"spec.configPatches[{index}].{one.field}") for one in _patch(q, patch)
        )
    return tuple(as_problem("EnvoyFilter", key, finding) for finding in findings)


def _patch(q: Q, patch: ConfigPatch) -> Iterator[Finding]:
    match = patch.match
    if not patch.effective or match.context == "WAYPOINT":
        return
    # What is added is added whatever the match of clusters says.
    if match.cluster is not None and patch.operation != "ADD":
        yield from _cluster(q, match.cluster, outbound=match.context in (OUTBOUND, GATEWAY))
    if match.route is not None and match.context in ("ANY", "GATEWAY"):
        yield from _route(q, match.route)
    chain = None if match.listener is None else match.listener.chain
    if chain is not None:
        yield from _filter(chain.filter, "match.listener.filterChain.filter.name")
        yield from _filter(chain.sub_filter, "match.listener.filterChain.filter.subFilter.name")


def _cluster(q: Q, wanted: ClusterMatch, *, outbound: bool) -> Iterator[Finding]:
    at, host, port = "match.cluster.service", wanted.service, wanted.port
    parts = wanted.name.split("|")
    if len(parts) == 4 and parts[0] == "outbound" and parts[1].isdigit():
        at, host, port = "match.cluster.name", parts[3], int(parts[1])
    if not host or (wanted.name and at == "match.cluster.service"):
        return
    found = q(services_of_host, host)
    if not found:
        yield Finding(
            at,
            f"matches nothing: there is no service {shorten(host)}",
            "write the full name of a service, like reviews.default.svc.cluster.local",
        )
    elif (
        port
        and (wanted.name or outbound)
        and not any(one.number == port for id in found for one in q(service_ports, id))
    ):
        yield Finding(
            at if wanted.name else "match.cluster.portNumber",
            f"matches nothing: {shorten(host)} has no port {port}",
            "use a port of the service",
        )


def _route(q: Q, wanted: RouteConfigurationMatch) -> Iterator[Finding]:
    if not wanted.gateway:
        return
    namespace, _, name = wanted.gateway.partition("/")
    found: Gateway | None = q.get(gateways, Key(namespace, name))
    at = "match.routeConfiguration.gateway"
    if found is None:
        message = f"matches nothing: there is no Gateway {shorten(wanted.gateway)}"
        missing = Finding(at, message, "write namespace/name of a Gateway")
        yield or_refused(q, missing, "Gateway", Key(namespace, name))
    elif all(server.port.protocol.upper() != "HTTPS" for server in found.servers):
        message = (
            f"matches nothing: {shorten(wanted.gateway)} has no HTTPS server; other routes are of no Gateway"
        )
        yield Finding(at, message, "use portNumber")


def _filter(name: str, at: str) -> Iterator[Finding]:
    why = NOT_HERE.get(name)
    if why is not None:
        yield Finding(
            at,
            f"matches nothing: there is no filter {shorten(name)} here, for {why}",
            "put it beside envoy.filters.http.router, or another filter that is there",
        )
