"""The HTTP rules of a VirtualService as routes, for one listener port and one kind of client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controlplane.graph import Q, query
from controlplane.mesh.routing_delegates import http_rules
from controlplane.mesh.routing_effects import (
    DEFAULT_RETRIES,
    authority_of,
    translate_cors,
    translate_direct_response,
    translate_fault,
    translate_headers,
    translate_redirect,
    translate_retries,
    translate_rewrite,
)
from controlplane.mesh.routing_hash import hash_keys
from controlplane.mesh.routing_ir import (
    UNKNOWN_HOST,
    Action,
    Destination,
    Forward,
    HashKey,
    Match,
    Mirror,
    PathMatch,
    Retries,
    Route,
    Target,
)
from controlplane.mesh.routing_match import Client, admits, translate_match
from controlplane.mesh.service import service_ports, services_of_host
from controlplane.mesh.settings import mesh_config
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key, Ref
from controlplane.model.kinds import http_route as model
from controlplane.model.kinds import virtual_services
from controlplane.model.kinds.http_match import HTTPMatchRequest
from controlplane.model.kinds.virtual_service import VirtualService

DEFAULT_ROUTE = "default"


class Place(NamedTuple):
    """Where rules are translated for: whose namespace names short hosts, the listener port, the client."""

    namespace: str
    port: int
    client: Client


@query
def default_retries(q: Q) -> Retries | None:
    """The retries of routes that do not say: MeshConfig's, else Istio's."""
    return translate_retries(q(mesh_config).default_http_retry_policy, DEFAULT_RETRIES)


@query
def http_routes(q: Q, key: Key, port: int, client: Client) -> tuple[Route, ...]:
    """The routes of a VirtualService; () when none of its rules is meant for this port and client.

    Nothing follows a route that catches all: Envoy would never reach it.
    """
    found: VirtualService | None = q.get(virtual_services, key)
    if found is None:
        return ()
    place = Place(key.namespace, port, client)
    source = Ref("VirtualService", key.namespace, key.name)
    out: list[Route] = []
    for rule in http_rules(q, found):
        for match in rule.match or (None,):
            if match is not None and not admits(match, client, port, key.namespace):
                continue
            route = _route(q, place, rule, match, source)
            if route is None:
                continue
            out.append(route)
            if route.match.catches_all:
                return tuple(out)
    return tuple(out)


def _route(
    q: Q, place: Place, rule: model.HTTPRoute, match: HTTPMatchRequest | None, source: Ref
) -> Route | None:
    translated = Match() if match is None else translate_match(match, claims=place.client.gateway is not None)
    action = _action(q, place, rule, translated)
    if action is None:
        return None
    parts = (rule.name, "" if match is None else match.name)
    return Route(
        name=".".join(part for part in parts if part) or DEFAULT_ROUTE,
        match=translated,
        action=action,
        operation=_operation(action, source.name, place.port, translated.path),
        headers=translate_headers(rule.headers),
        fault=translate_fault(rule.fault),
        cors=translate_cors(rule.cors_policy),
        stat_prefix=(match.stat_prefix or "") if match is not None else "",
        source=source,
    )


def _action(q: Q, place: Place, rule: model.HTTPRoute, match: Match) -> Action | None:
    """What the rule does; None for one that does nothing that can be translated."""
    if rule.redirect is not None:
        return translate_redirect(rule.redirect, place.port)
    if rule.direct_response is not None:
        return translate_direct_response(rule.direct_response)
    destinations = tuple(_destinations(q, place, rule.route))
    if not destinations:
        return None
    keys = _hash_keys(q, place, destinations)
    rewritten = rule.rewrite.authority if rule.rewrite is not None else None
    return Forward(
        destinations=destinations,
        timeout=rule.timeout or 0,
        retries=_retries(q, rule, hashed=bool(keys)),
        rewrite=translate_rewrite(rule.rewrite, match.path),
        authority=rewritten or authority_of(rule.headers),
        mirrors=tuple(
            Mirror(target_of(q, place, mirror.destination), percent)
            for mirror in rule.mirrors
            if (percent := 100.0 if mirror.percentage is None else mirror.percentage) > 0
        ),
        hash_keys=keys,
    )


def _destinations(
    q: Q, place: Place, shares: tuple[model.HTTPRouteDestination, ...]
) -> Iterator[Destination]:
    """The destinations that get something: all of the weight where there is only one."""
    for share in shares:
        weight = 1 if len(shares) == 1 else share.weight
        if weight > 0:
            yield Destination(
                target=target_of(q, place, share.destination),
                weight=weight,
                headers=translate_headers(share.headers),
                authority=authority_of(share.headers),
            )


def _retries(q: Q, rule: model.HTTPRoute, *, hashed: bool) -> Retries | None:
    """The rule's retries; with affinity a retry must be free to choose the same host again."""
    retries = translate_retries(rule.retries, q(default_retries))
    return without_avoidance(retries) if hashed else retries


def without_avoidance(retries: Retries | None) -> Retries | None:
    """The same retries, but hosts that were tried already may be tried again."""
    if retries is None or not retries.avoid_previous_hosts:
        return retries
    return Retries(
        attempts=retries.attempts,
        on=retries.on,
        status_codes=retries.status_codes,
        per_try_timeout=retries.per_try_timeout,
        backoff=retries.backoff,
        remote_localities=retries.remote_localities,
        avoid_previous_hosts=False,
    )


def _hash_keys(q: Q, place: Place, destinations: Iterable[Destination]) -> tuple[HashKey, ...]:
    keys = (key for share in destinations for key in hash_keys(q, place.client.affinity, share.target))
    return tuple(dict.fromkeys(keys))


def target_of(q: Q, place: Place, destination: model.Destination) -> Target:
    """The service port that is meant: the said one, else the service's only one, else the listener's."""
    if not destination.host:
        return Target(UNKNOWN_HOST, place.port)
    host = fqdn(destination.host, place.namespace)
    port = destination.port or q(only_port, host) or place.port
    return Target(host, port, destination.subset or "")


@query
def only_port(q: Q, host: str) -> int | None:
    """The port of a service that has just one; None for others and for hosts that nobody defines."""
    for id in q(services_of_host, host)[:1]:
        ports = q(service_ports, id)
        if len(ports) == 1:
            return ports[0].number
    return None


def _operation(action: Action, name: str, port: int, path: PathMatch) -> str:
    """What traces call requests that take the route: its only destination, else its VirtualService."""
    text = path.value + ("*" if path.kind in ("prefix", "segments") else "")
    if isinstance(action, Forward) and len(action.destinations) == 1:
        target = action.destinations[0].target
        return f"{target.host}:{target.port}{text}"
    return f"{name}:{port}{text}"
