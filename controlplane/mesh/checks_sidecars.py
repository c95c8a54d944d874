"""Checks of Sidecars: for whom they hold, what they import, and what of them has no effect."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding, as_problem
from controlplane.mesh.checks_selectors import nobody_has
from controlplane.mesh.features import features
from controlplane.mesh.imports import nearest_service
from controlplane.mesh.peer_authentication import peer_modes
from controlplane.mesh.protocols import AUTO, HTTP_LIKE, declared_protocol
from controlplane.mesh.security import security_of
from controlplane.mesh.service import service_ports, services_of_host
from controlplane.mesh.settings import root_namespace
from controlplane.mesh.visibility import Shelf, entry_shelves, kubernetes_shelves
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key
from controlplane.model.kinds import sidecars
from controlplane.model.kinds.sidecar import IstioEgressListener, Sidecar, scope_of
from controlplane.model.problem import Problem

_ROUTED = HTTP_LIKE | {AUTO}


@query
def sidecar_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """The Problems of one Sidecar."""
    found: Sidecar | None = q.get(sidecars, key)
    if found is None:
        return ()
    findings = [*_rivals(q, found), *_nobody(q, found), *_imports(q, found)]
    findings += [*_ports(q, found), *_proxy(q, found), *_secured(q, found)]
    return tuple(as_problem("Sidecar", key, finding) for finding in findings)


def _rivals(q: Q, found: Sidecar) -> Iterator[Finding]:
    """Of several Sidecars for the same workloads the oldest is in force; both are told."""
    own = (found.meta.created, found.meta.key)
    same = q.index(sidecars, "scope", scope_of(found))
    rivals = sorted((q.get(sidecars, key).meta.created, key) for key in same if key != found.meta.key)
    whom = "the same workloads" if found.workload_selector else "the whole namespace"
    if rivals and rivals[0] < own:
        winner = rivals[0][1]
        yield Finding(
            "spec.workloadSelector",
            f"Sidecar {winner.namespace}/{winner.name} holds for {whom} too and is older: "
            "this one is not used",
            "add a workloadSelector, or remove one of them",
        )
    elif rivals:
        losers = ", ".join(f"{key.namespace}/{key.name}" for _, key in rivals)
        yield Finding(
            "spec.workloadSelector",
            f"holds for {whom} in place of Sidecar {losers}, which is younger",
            "remove one of them",
        )


def _nobody(q: Q, found: Sidecar) -> Iterator[Finding]:
    if not found.workload_selector:
        return
    namespace = found.meta.namespace
    if namespace == q(root_namespace):
        yield Finding(
            "spec.workloadSelector",
            "chooses among the workloads of the root namespace alone: for all namespaces it holds without",
            "remove the selector, or put the Sidecar into the workloads' namespace",
        )
    nobody = nobody_has(q, namespace, found.workload_selector)
    if nobody:
        yield Finding(
            "spec.workloadSelector.labels",
            f"{nobody}: the Sidecar holds for nobody",
            "correct the labels, or the Sidecar's namespace",
        )


def _imports(q: Q, found: Sidecar) -> Iterator[Finding]:
    for n, listener in enumerate(found.egress):
        for m, text in enumerate(listener.hosts):
            where, _, host = text.partition("/")
            namespace = found.meta.namespace if where == "." else where
            if where.startswith("~"):
                continue
            if host.startswith("*"):
                # Everybody writes these, whether there is something in them or not.
                usual = ("*", found.meta.namespace, q(root_namespace))
                if namespace not in usual and not q(_offers, namespace, found.meta.namespace):
                    yield Finding(
                        f"spec.egress[{n}].hosts[{m}]",
                        f"namespace {namespace} has no service that is exported to {found.meta.namespace}",
                        "correct the namespace, or remove it",
                    )
                continue
            ids = q(services_of_host, host)
            if not any(namespace in ("*", id.namespace) for id in ids):
                of = "" if namespace == "*" else f" in namespace {namespace}"
                yield Finding(
                    f"spec.egress[{n}].hosts[{m}]",
                    f"there is no service {host}{of}",
                    "use the full host name, or remove it",
                )


@query
def _offers(q: Q, namespace: str, to: str) -> bool:
    """Whether any service of a namespace is seen in another, or in the same."""
    shelves = [Shelf(seen, namespace=namespace) for seen in ("*", to)]
    return any(
        q.keys(q.part(kind, (), one)) for kind in (kubernetes_shelves, entry_shelves) for one in shelves
    )


def _ports(q: Q, found: Sidecar) -> Iterator[Finding]:
    """A listener of a port that none of the hosts has, or not in this protocol; if all are known by name."""
    for n, listener in enumerate(found.egress):
        number = 0 if listener.port is None else listener.port.number
        hosts = [host for text in listener.hosts if (host := _named(text)) is not None]
        if listener.port is None or not number or _is_proxy(listener) or len(hosts) < len(listener.hosts):
            continue
        ids = [id for host in hosts for id in q(services_of_host, host)]
        ports = [port for id in ids for port in q(service_ports, id)]
        said = {port.protocol for port in ports if port.number == number}
        if ports and not said:
            numbers = ", ".join(map(str, sorted({port.number for port in ports})))
            yield Finding(
                f"spec.egress[{n}].port.number",
                f"none of the hosts has port {number}: there is nothing to listen for",
                f"use one of their ports ({numbers}), or protocol HTTP_PROXY",
            )
        elif said and declared_protocol(listener.port.protocol) in HTTP_LIKE and not said & _ROUTED:
            yield Finding(
                f"spec.egress[{n}].port.protocol",
                f"is HTTP, and the hosts say {', '.join(sorted(said))}: requests find no host there",
                "say the same protocol in both",
            )


def _named(text: str) -> str | None:
    where, _, host = text.partition("/")
    return None if host.startswith("*") or where.startswith("~") else host


def _is_proxy(listener: IstioEgressListener) -> bool:
    return listener.port is not None and listener.port.protocol.upper() == "HTTP_PROXY"


def _proxy(q: Q, found: Sidecar) -> Iterator[Finding]:
    policy = found.outbound_traffic_policy
    proxy = None if policy is None else policy.egress_proxy
    if proxy is None:
        return
    host = fqdn(proxy.host, found.meta.namespace)
    id = q(nearest_service, found.meta.namespace, host)
    where = "spec.outboundTrafficPolicy.egressProxy"
    if id is None:
        yield Finding(f"{where}.host", f"there is no service {host}", "use the full host name")
    elif proxy.port is not None and proxy.port not in [port.number for port in q(service_ports, id)]:
        yield Finding(f"{where}.port.number", f"{host} has no port {proxy.port}", "use a port of the service")


def _secured(q: Q, found: Sidecar) -> Iterator[Finding]:
    """TLS of the workload's own, where it does not count."""
    for n, listener in enumerate(found.ingress):
        if listener.tls is None:
            continue
        if not q(features).tls_on_sidecar_ingress:
            yield Finding(
                f"spec.ingress[{n}].tls",
                "is switched off and has no effect",
                "set ENABLE_TLS_ON_SIDECAR_INGRESS=true at the control plane",
            )
            continue
        labels = found.workload_selector or ()
        peers = security_of(q, found.meta.namespace, labels, identified=True).peer
        if q(peer_modes, peers).at(listener.port.number) != "DISABLE":
            yield Finding(
                f"spec.ingress[{n}].tls",
                "has no effect on workloads with a certificate of the mesh: the port takes mutual TLS",
                f"say portLevelMtls {{{listener.port.number}: {{mode: DISABLE}}}} in a PeerAuthentication",
            )
