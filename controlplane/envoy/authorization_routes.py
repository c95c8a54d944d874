"""HTTP authorization travels with the routes: each route configuration says what its requests must pass.

The filters stand in every guarded chain and hold no policy.  Left to themselves they let nothing pass and
put everything to the providers, so that a route configuration without these entries is closed:

    filter                                the listener says      a route configuration says
    envoy.filters.http.rbac.custom.<p>    ask about everything   ask where a CUSTOM policy of <p> matches
    envoy.filters.http.rbac.audit         nothing                the AUDIT policies
    envoy.filters.http.rbac.deny          nothing                the DENY policies
    envoy.filters.http.rbac.allow         allow nothing          the ALLOW policies; empty: all may pass

A policy that comes, changes or goes is one route configuration, in force on open connections at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.authorization import PREFIX, asked
from controlplane.envoy.authorization_rbac import apply
from controlplane.graph import Q, query
from controlplane.mesh.authorization import http_guards
from controlplane.mesh.authorization_ir import NOTHING, Guards
from controlplane.mesh.authorization_providers import authorizer_names
from controlplane.mesh.projections import Security

RBAC = "envoy.filters.http.rbac"
AUDIT, DENY, ALLOW = f"{RBAC}.audit", f"{RBAC}.deny", f"{RBAC}.allow"


def custom_name(provider: str) -> str:
    """The filter that finds out whether a provider is asked."""
    return f"{RBAC}.custom.{provider}"


@query
def route_guard(q: Q, namespace: str, security: Security) -> bytes:
    """RouteConfiguration.typed_per_filter_config of a workload under these policies, serialized.

    To be appended to a route configuration whose filters are guarded: the field (16) is the last one.
    """
    return q(_bytes, http_guards(q, security))


@query
def _bytes(q: Q, guards: Guards) -> bytes:
    message = pb.route.RouteConfiguration()
    for name, config in _entries(guards, q(authorizer_names)):
        message.typed_per_filter_config[name].CopyFrom(pb.pack(pb.http_rbac.RBACPerRoute(rbac=config)))
    return pb.deterministic(message)


def _entries(guards: Guards, providers: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Filter name -> RBAC; of ALLOW always, and of all providers: an old listener may still have them."""
    stages = {provider.name: stage for provider, stage in guards.custom}
    for provider in providers:
        config = pb.http_rbac.RBAC(shadow_rules_stat_prefix=PREFIX)
        if provider in stages:
            config.shadow_rules.CopyFrom(asked(provider, stages[provider]))
        yield custom_name(provider), config
    for name, action, stage in ((AUDIT, "AUDIT", guards.audit), (DENY, "DENY", guards.deny)):
        if stage != NOTHING:
            yield name, _config(action, stage)
    yield ALLOW, _config("ALLOW", guards.allow)


def _config(action: str, stage: Any) -> Any:
    config = pb.http_rbac.RBAC()
    apply(config, action, stage)
    return config
