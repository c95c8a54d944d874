"""Patches of a filter chain, of its network filters, and of the HTTP filters inside one of those."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.patches.directions import VIRTUAL
from controlplane.envoy.patches.lists import change_list, same_name
from controlplane.envoy.patches.merge import merge_extension, merge_holding_socket
from controlplane.envoy.patches.todo import Patch, merges_last, of, todo
from controlplane.graph import Q, query
from controlplane.mesh.patches import Head, Refs, heads
from controlplane.model.kinds.envoy_filter_match import HTTP_MANAGERS, FilterChainMatch

_ANY_CHAIN = FilterChainMatch()
FilterChain = pb.listener_components.FilterChain

_ENDS = tuple(
    f"envoy.filters.network.{name}"
    for name in (
        "dubbo_proxy",
        "echo",
        "direct_response",
        "generic_proxy",
        "http_connection_manager",
        "redis_proxy",
        "tcp_proxy",
        "thrift_proxy",
    )
)
"""Network filters that take a connection: nothing may come after one."""

_AUTHENTICATES = ("envoy.filters.http.jwt_authn",)
_AUTHORIZES = ("envoy.filters.http.rbac", "envoy.filters.http.ext_authz")
_COUNTS = ("envoy.filters.http.grpc_stats",)
_LAST_HTTP = "envoy.filters.http.router"


@query
def patched_chain(q: Q, listener: str, frame: bytes, refs: Refs) -> bytes | None:
    """A serialized chain of the listener of this name under these patches; None where it is to go."""
    chain = FilterChain.FromString(frame)
    mine = [head for head in q(heads, refs) if _matches(listener, chain, head)]
    if not mine:
        return frame
    return pb.deterministic(chain) if patch_chain(listener, chain, todo(q, mine)) else None


def patch_chain(listener: str, chain: Any, patches: list[Patch]) -> bool:
    """Patch a chain of the listener of this name in place; False where it is to go."""
    mine = [patch for patch in patches if _matches(listener, chain, patch)]
    for patch in of(mine, "FILTER_CHAIN"):
        if patch.operation == "REMOVE":
            return False
        if patch.merges:
            merge_holding_socket(chain, patch.value, replace_lists=patch.replaces_lists)
    for patch in merges_last(of(mine, "NETWORK_FILTER")):
        _patch_network_filters(chain.filters, patch)
    inner = of(mine, "HTTP_FILTER")
    for one in chain.filters if inner else ():
        if one.name in HTTP_MANAGERS:
            _patch_http_filters(one, inner)
    return True


def chain_of(patch: Patch | Head) -> FilterChainMatch:
    """What a patch asks of a chain."""
    listener = patch.match.listener
    return _ANY_CHAIN if listener is None or listener.chain is None else listener.chain


def _matches(listener: str, chain: Any, patch: Patch | Head) -> bool:
    wanted, match = chain_of(patch), chain.filter_chain_match
    port = match.destination_port.value
    said = patch.match.listener
    # The port of a listener that takes those of all ports is that of a chain.
    if listener in VIRTUAL and said is not None and said.port and said.port != port:
        return False
    if wanted.name and wanted.name != chain.name:
        return False
    if wanted.sni and wanted.sni not in match.server_names:
        return False
    if wanted.transport_protocol and wanted.transport_protocol != match.transport_protocol:
        return False
    if wanted.transport_socket and wanted.transport_socket != chain.transport_socket.name:
        return False
    if wanted.destination_port and wanted.destination_port != port:
        return False
    return set(wanted.application_protocols) <= set(match.application_protocols)


def _patch_network_filters(filters: Any, patch: Patch) -> None:
    same = same_name(chain_of(patch).filter)
    if patch.merges:
        for one in filters:
            if same is None or same(one):
                merge_extension(one, patch.value)
    elif patch.operation == "ADD" and filters and filters[-1].name in _ENDS and patch.value.name not in _ENDS:
        filters.insert(len(filters) - 1, patch.value)
    else:
        change_list(filters, patch.operation, patch.value, same)


def _patch_http_filters(one: Any, patches: list[Patch]) -> None:
    """The filters inside a network filter that speaks HTTP."""
    manager = pb.hcm.HttpConnectionManager.FromString(one.typed_config.value)
    for patch in merges_last(patches):
        outer = same_name(chain_of(patch).filter)
        if outer is not None and not outer(one):
            continue
        same = same_name(chain_of(patch).sub_filter)
        if patch.merges:
            for inner in manager.http_filters:
                if same is None or same(inner):
                    merge_extension(inner, patch.value)
        elif patch.operation == "ADD":
            manager.http_filters.insert(_place(manager.http_filters, patch), patch.value)
        else:
            change_list(manager.http_filters, patch.operation, patch.value, same)
    one.typed_config.CopyFrom(pb.pack(manager))


def _place(filters: Any, patch: Patch) -> int:
    """Where a filter is added: as its class says, otherwise before the router, which is the last."""
    found = [one.name for one in filters]
    last = len(found) - (bool(found) and found[-1] == _LAST_HTTP)
    if patch.filter_class == "STATS":
        return min((index for index, name in enumerate(found) if name.startswith(_COUNTS)), default=last)
    if patch.filter_class == "UNSPECIFIED":
        return last
    before = _AUTHENTICATES if patch.filter_class == "AUTHN" else (*_AUTHENTICATES, *_AUTHORIZES)
    return max((index + 1 for index, name in enumerate(found) if name.startswith(before)), default=0)
