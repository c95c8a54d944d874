"""Checks of matches that no request fits: gateways that are not the VirtualService's, ports of nobody."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding
from controlplane.mesh.checks_refused import or_refused
from controlplane.mesh.imports import nearest_service
from controlplane.mesh.service import service_ports
from controlplane.model.describe import shorten
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key
from controlplane.model.kinds import gateways
from controlplane.model.kinds.gateway import Gateway, gateway_key
from controlplane.model.kinds.http_match import HTTPMatchRequest
from controlplane.model.kinds.virtual_service import L4MatchAttributes, TLSMatchAttributes, VirtualService

_Match = HTTPMatchRequest | TLSMatchAttributes | L4MatchAttributes


def idle_matches(q: Q, route: VirtualService) -> Iterator[Finding]:
    """The matches that name a gateway or a port in vain; of the mesh (`None`) or of gateways."""
    namespace = route.meta.namespace
    bound = {gateway_key(text, namespace) for text in route.gateways} or {None}
    for at, match in _matches(route):
        named = {gateway_key(text, namespace) for text in match.gateways}
        for number, text in enumerate(match.gateways):
            yield from _gateway(q, route, f"{at}.gateways[{number}]", text, bound)
        # The hosts and the gateways of a delegate are those of whoever delegates.
        known = _ports(q, route, frozenset(named or bound)) if match.port and route.hosts else None
        if known is not None and match.port not in known:
            yield Finding(
                f"{at}.port",
                f"{match.port} is a port of none of the services or gateways that this is about: "
                "this match takes nothing",
                "use one of their ports: " + (", ".join(map(str, sorted(known))) or "there is none"),
            )


def _matches(route: VirtualService) -> Iterator[tuple[str, _Match]]:
    for n, rule in enumerate(route.http):
        yield from ((f"spec.http[{n}].match[{m}]", one) for m, one in enumerate(rule.match))
    for n, tls in enumerate(route.tls):
        yield from ((f"spec.tls[{n}].match[{m}]", one) for m, one in enumerate(tls.match))
    for n, tcp in enumerate(route.tcp):
        yield from ((f"spec.tcp[{n}].match[{m}]", one) for m, one in enumerate(tcp.match))


def _gateway(q: Q, route: VirtualService, at: str, text: str, bound: set[Key | None]) -> Iterator[Finding]:
    key = gateway_key(text, route.meta.namespace)
    if route.hosts and key not in bound:
        why = f"{shorten(text)} is not in spec.gateways: this match takes nothing of it"
        yield Finding(at, why, "add it there, or remove it here")
    elif key is not None and not route.hosts and not q(_gateway_ports, key):
        missing = Finding(at, f"there is no Gateway {key.namespace}/{key.name}", "create it, or name another")
        yield or_refused(q, missing, "Gateway", key)


def _ports(q: Q, route: VirtualService, among: frozenset[Key | None]) -> set[int] | None:
    """The ports that requests for the hosts come to, at sidecars (None among the gateways) and at gateways.

    None where that is not known: a host that no service has, a gateway that is not there.
    """
    found: set[int] = set()
    for key in among:
        if key is not None:
            ports = q(_gateway_ports, key)
            if not ports:
                return None
            found.update(ports)
    for text in route.hosts if None in among else ():
        id = q(nearest_service, route.meta.namespace, fqdn(text, route.meta.namespace))
        if id is None:
            return None
        found.update(port.number for port in q(service_ports, id))
    return found


@query
def _gateway_ports(q: Q, key: Key) -> tuple[int, ...]:
    """The ports of a Gateway's servers, sorted; none where there is no such Gateway."""
    found: Gateway | None = q.get(gateways, key)
    return () if found is None else tuple(sorted({server.port.number for server in found.servers}))
