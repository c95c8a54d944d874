"""Patches of one virtual host and of its routes."""

from __future__ import annotations

from typing import Any

from controlplane.envoy.patches.lists import Same, change_list
from controlplane.envoy.patches.merge import merge
from controlplane.envoy.patches.todo import Patch, of
from controlplane.model.kinds.envoy_filter_match import RouteMatch

_ACTIONS = {"ROUTE": "route", "REDIRECT": "redirect", "DIRECT_RESPONSE": "direct_response"}


def patch_host(host: Any, patches: list[Patch]) -> bool:
    """Patch a VirtualHost in place, by patches that are all for it; False where it is to go."""
    for patch in of(patches, "VIRTUAL_HOST"):
        if patch.operation == "REMOVE":
            return False
        if patch.merges:
            merge(host, patch.value, replace_lists=patch.replaces_lists)
        elif patch.operation == "REPLACE":
            host.CopyFrom(patch.value)
    routes = of(patches, "HTTP_ROUTE")
    # As in Istio what changes routes comes before what adds some.
    for patch in routes:
        _change(host.routes, patch)
    for patch in routes:
        if not patch.merges and patch.operation != "REMOVE":
            change_list(host.routes, patch.operation, patch.value, _same(patch))
    return True


def _change(routes: Any, patch: Patch) -> None:
    same = _same(patch)
    if patch.merges:
        for route in routes:
            if same is None or same(route):
                merge(route, patch.value, replace_lists=patch.replaces_lists)
    elif patch.operation == "REMOVE":
        change_list(routes, "REMOVE", patch.value, same or (lambda _: True))


def _same(patch: Patch) -> Same | None:
    """Which route a patch means; None for any."""
    host = None if patch.match.route is None else patch.match.route.host
    wanted = None if host is None else host.route
    if wanted is None or wanted == RouteMatch():
        return None
    name, action = wanted.name, _ACTIONS.get(wanted.action)

    def same(route: Any) -> bool:
        return (not name or route.name == name) and (not action or route.WhichOneof("action") == action)

    return same
