"""Inbound ports: which services a workload answers for, and on which of its own ports.

The workload is what the control plane knows of it (a Pod or WorkloadEntry at the proxy's address);
where it knows nothing, the labels in the proxy's own metadata count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.graph import Q
from controlplane.mesh.features import features
from controlplane.mesh.hosts import kubernetes_host, kubernetes_key
from controlplane.mesh.kubernetes_endpoints import slice_owner, slice_ports
from controlplane.mesh.projections import Binding, Lasting
from controlplane.mesh.protocols import declared_protocol
from controlplane.mesh.selected_endpoints import entry_port
from controlplane.mesh.service import Port, Service, ServiceId, service
from controlplane.mesh.workload import pod_facts, pod_state
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import (
    endpoint_slices,
    endpoints,
    pods,
    service_entries,
    services,
    workload_entries,
)
from controlplane.model.kinds.service_entry import ServiceEntry
from controlplane.model.kinds.sidecar import Sidecar
from controlplane.model.kinds.workload_entry import WorkloadEntry
from controlplane.model.proxy import Proxy

_UNTRANSLATED = "experimental.istio.io/disable-gateway-port-translation"
"""The label of a Service whose target ports do not count for Gateways."""
_SECURED = {"HTTPS": "HTTP", "TLS": "TCP"}
"""What comes out of TLS that ends here."""
_LOOPBACK_OF = ("127.0.0.1", "::1")
_UNSPECIFIED = frozenset({"0.0.0.0", "::"})
"""What stands for an address that is not known yet: a container has none before it runs."""


class Workload(NamedTuple):
    """What stands behind a proxy; `pod` and `entry` are None where the control plane knows no such object."""

    namespace: str
    ips: tuple[str, ...]
    labels: Labels
    pod: Key | None
    entry: Key | None


def workload_of(q: Q, proxy: Proxy) -> Workload:
    """The workload of a proxy, by its name, else by its address."""
    pod = _pod_of(q, proxy)
    facts = None if pod is None else q(pod_facts, pod)
    if facts is not None:
        return Workload(proxy.namespace, _own_addresses(q, proxy, pod), facts.labels, pod, None)
    ips = proxy.ips or (proxy.ip,)
    for ip in ips:
        for key in q.index(workload_entries, "address", ip):
            if key.namespace == proxy.namespace:
                entry: WorkloadEntry = q.get(workload_entries, key)
                return Workload(proxy.namespace, ips, entry.labels, None, key)
    return Workload(proxy.namespace, ips, proxy.labels, None, None)


def _own_addresses(q: Q, proxy: Proxy, pod: Key | None) -> tuple[str, ...]:
    """What the proxy says, or where its pod is if it could not know when its bootstrap was written."""
    claimed = proxy.ips or (proxy.ip,)
    state = None if pod is None or not _UNSPECIFIED.issuperset(claimed) else q(pod_state, pod)
    return claimed if state is None else state.ips


def _pod_of(q: Q, proxy: Proxy) -> Key | None:
    named = Key(proxy.namespace, proxy.name)
    if q(pod_facts, named) is not None:
        return named
    for ip in proxy.ips or (proxy.ip,):
        found: tuple[Key, ...] = q.index(pods, "ip", ip)
        for key in found:
            facts = q(pod_facts, key)
            # Pods on the host's network share its address, which then names none of them.
            if key.namespace == proxy.namespace and facts is not None and not facts.host_network:
                return key
    return None


def bindings_of(q: Q, workload: Workload, sidecar: Sidecar | None, *, captured: bool) -> tuple[Binding, ...]:
    """The workload's ports, sorted; a Sidecar's ingress replaces those that the services imply.

    `captured` False: no traffic is redirected to the proxy, which then serves ingress ports only.
    """
    implied = _implied(q, workload)
    if sidecar is not None and sidecar.ingress:
        chosen = _ingress(q, workload, sidecar, implied, captured=captured)
    elif captured:
        chosen = implied
    else:
        chosen = {}
    if sidecar is not None:
        chosen = {target: _lasting(binding, sidecar) for target, binding in chosen.items()}
    return tuple(chosen[target] for target in sorted(chosen))


def _implied(q: Q, workload: Workload) -> dict[int, Binding]:
    """By target port; where services share one, the oldest has it."""
    found = [service_ for id in _service_ids(q, workload) if (service_ := q(service, id)) is not None]
    out: dict[int, Binding] = {}
    for service_ in sorted(found, key=_age):
        for port in service_.ports:
            target = _target(q, workload, service_, port)
            if target is not None:
                out.setdefault(target, Binding(service_.id, port.number, target, port.protocol))
    return out


def translated_ports(q: Q, workload: Workload) -> tuple[tuple[int, int], ...]:
    """(service port, workload's port) pairs of the Services in front of a workload, sorted.

    Where several Services have a port, the oldest says where it leads.
    """
    found = [service_ for id in _service_ids(q, workload) if (service_ := q(service, id)) is not None]
    out: dict[int, int] = {}
    for service_ in sorted(found, key=_age):
        if _UNTRANSLATED in dict(service_.labels):
            continue
        for port in service_.ports:
            target = _target(q, workload, service_, port)
            if target is not None:
                out.setdefault(port.number, target)
    return tuple(sorted(out.items()))


def _age(found: Service) -> tuple[str, bool, ServiceId]:
    return (found.created, found.source.kind != "Service", found.id)


def _service_ids(q: Q, workload: Workload) -> set[ServiceId]:
    namespace = workload.namespace
    found: set[ServiceId] = set()
    for key in q.selecting(services, namespace, workload.labels):
        id = ServiceId(kubernetes_host(key), namespace)
        selected = q(service, id)
        if selected is not None and selected.selector:
            found.add(id)
    for ip in workload.ips:
        owners = {q(slice_owner, key) for key in q.index(endpoint_slices, "address", ip)}
        owners.update(q.index(endpoints, "address", ip))
        hosts = {kubernetes_host(key) for key in owners if key is not None and key.namespace == namespace}
        found.update(ServiceId(host, namespace) for host in hosts)
    for key in _entry_keys(q, workload):
        entry: ServiceEntry = q.get(service_entries, key)
        found.update(ServiceId(host, namespace) for host in entry.hosts)
    return found


def _entry_keys(q: Q, workload: Workload) -> Iterator[Key]:
    yield from q.selecting(service_entries, workload.namespace, workload.labels)
    for ip in workload.ips:
        for key in q.index(service_entries, "address", ip):
            if key.namespace == workload.namespace:
                yield key


def _target(q: Q, workload: Workload, found: Service, port: Port) -> int | None:
    if found.source.kind == "ServiceEntry":
        return _entry_target(q, workload, found, port)
    if found.selector and not isinstance(port.target, str):
        return port.target or port.number
    facts = None if workload.pod is None else q(pod_facts, workload.pod)
    if found.selector and facts is not None and isinstance(port.target, str):
        return facts.port(port.target)
    key = kubernetes_key(found.id.host)
    assert key is not None, "a Kubernetes Service has a host of its own"
    for ip in workload.ips:
        for name, number in q(slice_ports, key, ip):
            if name == port.name:
                return number
    return None


def _entry_target(q: Q, workload: Workload, found: Service, port: Port) -> int:
    if workload.entry is not None:
        entry: WorkloadEntry = q.get(workload_entries, workload.entry)
        return entry_port(entry.spec, port)
    listed: ServiceEntry = q.get(service_entries, Key(found.source.namespace, found.source.name))
    for endpoint in listed.endpoints:
        if endpoint.address in workload.ips:
            return entry_port(endpoint, port)
    return port.target if isinstance(port.target, int) else port.number


def _ingress(
    q: Q, workload: Workload, sidecar: Sidecar, implied: dict[int, Binding], *, captured: bool
) -> dict[int, Binding]:
    out: dict[int, Binding] = {}
    with_tls = q(features).tls_on_sidecar_ingress
    for listener in sidecar.ingress:
        number, protocol = listener.port.number, declared_protocol(listener.port.protocol)
        if protocol is None or number in out:
            continue
        same = implied.get(number)
        binding = Binding(
            service=ServiceId("", workload.namespace) if same is None else same.service,
            port=number if same is None else same.port,
            target=number,
            protocol=protocol,
            endpoint=_local_endpoint(listener.default_endpoint or ""),
        )
        if with_tls and listener.tls is not None and listener.tls.files and protocol in _SECURED:
            binding = binding._replace(protocol=_SECURED[protocol], tls=listener.tls)
        if not captured or listener.capture_mode == "NONE":
            binding = _bound(binding, listener.bind or workload.ips[0], workload.ips[0])
        out[number] = binding
    return out


def _lasting(binding: Binding, sidecar: Sidecar) -> Binding:
    """How long connections may last, if the Sidecar says so for the port or for all."""
    pools = (one.connection_pool for one in sidecar.ingress if one.port.number == binding.target)
    pool = next((one for one in pools if one is not None), sidecar.inbound_connection_pool)
    if pool is None or pool.tcp is None:
        return binding
    return binding._replace(lasting=Lasting(pool.tcp.idle_timeout, pool.tcp.max_connection_duration))


def _bound(binding: Binding, bind: str, own: str) -> Binding:
    """A listener that callers dial; where they wanted to go then says nothing about the application."""
    endpoint = binding.endpoint or _at(_LOOPBACK_OF[":" in bind], binding.target)
    if endpoint.startswith(":"):
        endpoint = _at(own, int(endpoint[1:]))
    return binding._replace(bind=bind, endpoint=endpoint)


def _at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _local_endpoint(text: str) -> str:
    """`defaultEndpoint` with the instance's own address left out, which is not the same for all replicas."""
    for own in ("0.0.0.0:", "[::]:"):
        if text.startswith(own):
            return ":" + text.removeprefix(own)
    return text
