"""Checks of Gateways, and of the VirtualServices that are bound to them: does everybody find everybody?"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.checks_finding import Finding, as_problem
from controlplane.mesh.checks_refused import or_refused
from controlplane.mesh.checks_secrets import has_authorities, has_pair
from controlplane.mesh.features import features
from controlplane.mesh.gateways import (
    RESERVED,
    Refusal,
    ServerId,
    Socket,
    authorities_of,
    credentials_of,
    edge_of,
    served,
    sockets,
)
from controlplane.mesh.gateways_hosts import common_names
from controlplane.mesh.inbound import Workload
from controlplane.mesh.projections import Edge
from controlplane.mesh.workload import pod_facts, pod_state
from controlplane.model.describe import shorten
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import gateways, pods, workload_entries
from controlplane.model.kinds.gateway import ENCRYPTED, Gateway, Server, ServerHost, gateway_key
from controlplane.model.kinds.tls import CIPHER_SUITES, ECDH_CURVES
from controlplane.model.kinds.virtual_service import VirtualService
from controlplane.model.kinds.workload_entry import WorkloadEntry
from controlplane.model.problem import Problem

_WORKLOADS = (pods, workload_entries)
_LEFT_OUT = "this server is left out"


@query
def gateway_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """The Problems of one Gateway."""
    found: Gateway | None = q.get(gateways, key)
    if found is None:
        return ()
    findings = list(_selected(q, found))
    # Where no workload is known the gateway may be anywhere: "" is every namespace.
    within = _within(q, key)
    namespaces = q(_namespaces, within, found.selector) or (within,)
    for number, server in enumerate(found.servers):
        at = f"spec.servers[{number}]"
        findings += _server(at, server)
        for namespace in namespaces:
            findings += _credentials(q, at, server, namespace)
    findings += (_clash(key, refusal) for refusal in q(_refusals, key, found.selector))
    return tuple(as_problem("Gateway", key, finding) for finding in findings)


def _within(q: Q, key: Key) -> str:
    """The only namespace in which a Gateway selects workloads; "" = it does in all."""
    return key.namespace if q(features).scope_gateway_to_namespace else ""


def _clash(key: Key, refusal: Refusal) -> Finding:
    """A server of the Gateway that is left out, or one of another's that is because of it."""
    if refusal.server.gateway == key:
        at, why = refusal.server.number, f"{_LEFT_OUT}: {refusal.why}"
        return Finding(f"spec.servers[{at}]", why, "use another port or other hosts")
    assert refusal.rival is not None, "who is told of another's server has something to do with it"
    other = refusal.server
    why = f"keeps out server {other.number} of Gateway {other.namespace}/{other.name}: {refusal.why}"
    return Finding(
        f"spec.servers[{refusal.rival.number}]",
        why,
        "the older one counts; give one of them another port or host",
    )


def _selected(q: Q, found: Gateway) -> Iterator[Finding]:
    """A Gateway speaks for the workloads that it selects, wherever they are."""
    within = _within(q, found.meta.key)
    if found.selector and not any(q.select(table, within, found.selector) for table in _WORKLOADS):
        labels = ", ".join(f"{name}={value}" for name, value in found.selector)
        why = (
            f"no Pod or WorkloadEntry is known with the labels {labels}: "
            "a gateway that connects with them in its metadata is served all the same"
        )
        yield Finding(
            "spec.selector", why, "correct the labels, or make the gateway known by a WorkloadEntry"
        )


def _server(at: str, server: Server) -> Iterator[Finding]:
    if server.port.number in RESERVED:
        why = f"port {server.port.number} is the proxy's own, unless a Service leads to another"
        yield Finding(f"{at}.port.number", why, "use another port")
    if server.tls is None or server.port.protocol not in ENCRYPTED:
        return
    for field, given, known in (
        ("cipherSuites", server.tls.cipher_suites, CIPHER_SUITES),
        ("ecdhCurves", server.tls.ecdh_curves, ECDH_CURVES),
    ):
        for name in given:
            if name not in known:
                why = f"{name} is unknown to proxies and left out"
                yield Finding(f"{at}.tls.{field}", why, "use " + ", ".join(sorted(known)))


def _credentials(q: Q, at: str, server: Server, namespace: str) -> Iterator[Finding]:
    """A gateway serves the Secrets of its own namespace, whatever that of the Gateway is."""
    home = f"namespace {namespace}, where the gateway is" if namespace else "the namespace of the gateway"
    for name in credentials_of(server):
        if "/" in name:
            yield Finding(
                f"{at}.tls.credentialName",
                f"{shorten(name)} names a Secret of another place: a gateway has those of its own namespace",
                f"name a Secret of {home}, without a slash",
            )
        elif not has_pair(q, namespace, name):
            yield Finding(
                f"{at}.tls.credentialName",
                f"there is no Secret {_place(namespace, name)} with a certificate and its key",
                f"create it in {home}",
            )
    yield from _authorities(q, at, server, namespace, home)


def _authorities(q: Q, at: str, server: Server, namespace: str, home: str) -> Iterator[Finding]:
    """Whether there is what clients are checked by: in a Secret of its own, or in that of the certificate."""
    name = authorities_of(server)
    if server.tls is None or name is None:
        return
    said = server.tls.ca_cert_credential_name
    if said is not None and "/" in said:
        yield Finding(
            f"{at}.tls.caCertCredentialName",
            f"{shorten(said)} names something else than a Secret of the gateway's namespace",
            f"store the authorities as ca.crt in a Secret of {home}, and name it without a slash",
        )
    elif not has_authorities(q, namespace, name):
        beside = "" if said else ", or add ca.crt to the Secret of the certificate"
        yield Finding(
            f"{at}.tls.{'caCertCredentialName' if said else 'credentialName'}",
            f"there is no Secret {_place(namespace, said or name)} with a ca.crt, "
            "and clients are checked by it",
            f"create it in {home}{beside}",
        )


def _place(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else f"{name} in any namespace"


@query
def _namespaces(q: Q, within: str, selector: Labels) -> tuple[str, ...]:
    """Where the workloads of a Gateway are; nowhere for one that selects everything."""
    if not selector:
        return ()
    found = {key.namespace for table in _WORKLOADS for key in q.select(table, within, selector)}
    return tuple(sorted(found))


@keyed
def gateway_homes(q: Q) -> Plan:
    """Namespace -> the Gateways that select workloads there."""
    return group(q.members(gateways), _homes)


@query
def _homes(q: Q, key: Key) -> tuple[tuple[str, Key], ...]:
    found: Gateway = q.get(gateways, key)
    return tuple((namespace, key) for namespace in q(_namespaces, _within(q, key), found.selector))


@query
def _refusals(q: Q, key: Key, selector: Labels) -> tuple[Refusal, ...]:
    """The servers of a Gateway that lose to others on some of its workloads, and others' that lose to it."""
    if not selector:
        return ()
    found: dict[ServerId, Refusal] = {}
    within = _within(q, key)
    edges = {q(_edge_of_pod, pod) for pod in q.select(pods, within, selector)}
    edges |= {q(_edge_of_entry, one) for one in q.select(workload_entries, within, selector)}
    for edge in sorted(edges):
        for refusal in q(_refused_at, edge, key):
            found.setdefault(refusal.server, refusal)
    return tuple(found[server] for server in sorted(found))


@query
def _edge_of_pod(q: Q, key: Key) -> Edge:
    facts, state = q(pod_facts, key), q(pod_state, key)
    ips = () if state is None else state.ips
    labels = () if facts is None else facts.labels
    return edge_of(q, Workload(key.namespace, ips, labels, key, None), privileged=True)


@query
def _edge_of_entry(q: Q, key: Key) -> Edge:
    entry: WorkloadEntry = q.get(workload_entries, key)
    workload = Workload(key.namespace, (entry.spec.address,), entry.labels, None, key)
    return edge_of(q, workload, privileged=True)


@query
def _refused_at(q: Q, edge: Edge, key: Key) -> tuple[Refusal, ...]:
    """The refusals on a gateway that this Gateway has to do with."""
    return q.keys(q.part(_refused, (edge,), key))


@keyed
def _refused(q: Q, edge: Edge) -> Plan:
    """Gateway -> the refusals on a gateway that it has to do with, as the one or the other."""
    return group(q.map(sockets, edge), _refused_on, edge)


@query
def _refused_on(q: Q, edge: Edge, socket: Socket) -> tuple[tuple[Key, Refusal], ...]:
    refused = q(served, edge, socket).refused
    concerned = ((one.server, one.rival) if one.rival else (one.server,) for one in refused)
    sides = zip(refused, concerned, strict=True)
    return tuple(dict.fromkeys((id.gateway, one) for one, ids in sides for id in ids))


def is_refusal(problem: Problem) -> bool:
    """Whether a Problem says that a server is not served because of others."""
    return problem.kind == "Gateway" and problem.message.startswith(_LEFT_OUT)


def bindings(q: Q, route: VirtualService) -> Iterator[Finding]:
    """Whether the gateways of a VirtualService exist, and serve any of its hosts."""
    namespace = route.meta.namespace
    hosts = tuple(sorted({fqdn(host, namespace) for host in route.hosts}))
    for number, text in enumerate(route.gateways):
        key = gateway_key(text, namespace)
        if key is None:
            continue
        at = f"spec.gateways[{number}]"
        found = q(_offered, key)
        if found is None:
            why = f"there is no Gateway {key.namespace}/{key.name}"
            missing = Finding(at, why, "create it, or name one that exists as namespace/name")
            yield or_refused(q, missing, "Gateway", key)
        elif hosts and not any(common_names(one, hosts, namespace) for one in found):
            why = f"Gateway {key.namespace}/{key.name} serves none of the hosts for namespace {namespace}"
            yield Finding(at, why, "add the hosts to one of its servers")


@query
def _offered(q: Q, key: Key) -> tuple[tuple[ServerHost, ...], ...] | None:
    """The hosts of each server of a Gateway; None where there is no such Gateway."""
    found: Gateway | None = q.get(gateways, key)
    return None if found is None else tuple(server.hosts for server in found.servers)
