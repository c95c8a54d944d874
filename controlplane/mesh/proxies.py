"""From a proxy to the projections that it shares with others: where proxies end and scopes begin."""

from __future__ import annotations

from controlplane.graph import Q, contains, query
from controlplane.mesh.features import features
from controlplane.mesh.gateways import edge_of
from controlplane.mesh.gateways_topology import surroundings_of
from controlplane.mesh.inbound import bindings_of, workload_of
from controlplane.mesh.listening import stance_of
from controlplane.mesh.patches import patches_of
from controlplane.mesh.peer_authentication import PeerModes, peer_modes
from controlplane.mesh.place import place_of
from controlplane.mesh.projections import (
    Binding,
    Capture,
    GatewayScope,
    Inbound,
    ProxyView,
    RouteScope,
    Scope,
)
from controlplane.mesh.routing import source_selectors
from controlplane.mesh.security import security_of
from controlplane.mesh.settings import http_proxy_port, root_namespace
from controlplane.model.identity import Holder
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import destination_rules, sidecars
from controlplane.model.kinds.sidecar import Sidecar
from controlplane.model.proxy import Proxy


@query
def proxy_view(q: Q, proxy: Proxy) -> ProxyView:
    """Everything that a proxy's configuration depends on."""
    workload = workload_of(q, proxy)
    place = place_of(q, proxy, workload)
    patches = patches_of(q, proxy, workload.labels)
    matched = tuple(selector for selector in q(source_selectors) if contains(workload.labels, selector))
    identified = proxy.identity is not None
    holder = None if proxy.identity is None else Holder(proxy.identity, proxy.id)
    rules = q.selecting(destination_rules, proxy.namespace, workload.labels)
    if proxy.type == "router":
        # Gateways have no application behind them, and no Sidecar limits what they see.
        scope = Scope(proxy.namespace, rules=rules)
        security = security_of(q, proxy.namespace, workload.labels, identified=identified)
        gateway = GatewayScope(
            edge=edge_of(q, workload, privileged=not proxy.metadata.unprivileged_pod),
            routes=RouteScope(scope, matched),
            # How a sidecar's ports take connections says nothing about a gateway's.
            security=security._replace(peer=()),
            surroundings=surroundings_of(q, workload, proxy.metadata),
            frugal=q(features).filter_gateway_cluster_config,
            wildcards=stance_of(q, proxy, binds=False).wildcards,
        )
        view = ProxyView(scope, None, matched, identified, holder, gateway, place=place)
        return view._replace(patches=patches)
    key = _sidecar_of(q, proxy.namespace, workload.labels)
    sidecar: Sidecar | None = None if key is None else q.get(sidecars, key)
    capture = _capture_of(q, proxy)
    bindings = bindings_of(q, workload, sidecar, captured=capture.mode != "NONE")
    settings = key if sidecar is not None and _limits_inbound(sidecar) else None
    security = security_of(q, proxy.namespace, workload.labels, identified=identified)
    # Asked by those alone whom it concerns: for the others a change of the mesh's mode is nothing new here.
    if any(binding.tls for binding in bindings):
        modes = q(peer_modes, security.peer)
        bindings = tuple(_unless_mutual(binding, modes, identified=identified) for binding in bindings)
    inbound = Inbound(proxy.namespace, bindings, settings, security)
    scope = Scope(proxy.namespace, key, rules)
    stance = stance_of(q, proxy, binds=sidecar is not None or capture.mode == "NONE")
    view = ProxyView(scope, inbound, matched, identified, holder, capture=capture, place=place, stance=stance)
    return view._replace(patches=patches)


def _capture_of(q: Q, proxy: Proxy) -> Capture:
    node = proxy.metadata
    port = q(http_proxy_port) if node.http_proxy_port is None else node.http_proxy_port
    return Capture(node.interception_mode, node.dns_capture, port)


def _unless_mutual(binding: Binding, modes: PeerModes, *, identified: bool) -> Binding:
    """TLS of the workload's own is for ports that take no mutual TLS: there it would be taken for that."""
    if binding.tls is None:
        return binding
    mode = modes.at(binding.target)
    plain = mode == "DISABLE" or (mode == "PERMISSIVE" and not identified)
    return binding if plain else binding._replace(tls=None, protocol="TCP")


def _sidecar_of(q: Q, namespace: str, labels: Labels) -> Key | None:
    """The Sidecar in force: one that selects the workload, else the namespace's, else the root's."""
    found = {key: q.get(sidecars, key) for key in q.selecting(sidecars, namespace, labels)}
    if not found:
        of_root = q.index(sidecars, "namespace", q(root_namespace))
        found = {key: sidecar for key in of_root if not (sidecar := q.get(sidecars, key)).workload_selector}
    return min(
        found,
        key=lambda key: (not found[key].workload_selector, found[key].meta.created, key),
        default=None,
    )


def _limits_inbound(sidecar: Sidecar) -> bool:
    return sidecar.inbound_connection_pool is not None or any(
        listener.connection_pool is not None for listener in sidecar.ingress
    )
