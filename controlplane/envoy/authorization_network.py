"""TCP authorization: network filters before the TCP proxy, in the listener.

Connections have no routes that could carry policies.  Where no policy holds there is no filter, and a policy
that comes or changes is a change of the listener.
"""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.authorization import PREFIX, apply_enabled, apply_grpc, asked
from controlplane.envoy.authorization_rbac import apply
from controlplane.mesh.authorization import ExtAuthz, TcpGuard
from controlplane.mesh.authorization_ir import NOTHING, Stage

RBAC = "envoy.filters.network.rbac"
EXT_AUTHZ = "envoy.filters.network.ext_authz"
_STATISTICS = "tcp."


def network_guards(tcp: TcpGuard) -> list[Any]:
    """The network filters that connections must pass before they are proxied."""
    guards = tcp.guards
    found: list[Any] = []
    for provider, stage in guards.custom:
        found += (_whether(provider, stage), _ask(provider))
    for action, stage in (("AUDIT", guards.audit), ("DENY", guards.deny), ("ALLOW", guards.allow)):
        if stage != NOTHING:
            config = pb.network_rbac.RBAC(stat_prefix=_STATISTICS)
            apply(config, action, stage)
            found.append(_filter(f"{RBAC}.{action.lower()}", config))
    return found


def _whether(provider: ExtAuthz, stage: Stage) -> Any:
    config = pb.network_rbac.RBAC(
        stat_prefix=_STATISTICS,
        shadow_rules=asked(provider.name, stage),
        shadow_rules_stat_prefix=PREFIX,
    )
    return _filter(f"{RBAC}.custom.{provider.name}", config)


def _ask(provider: ExtAuthz) -> Any:
    config = pb.network_ext_authz.ExtAuthz(
        stat_prefix=_STATISTICS,
        failure_mode_allow=provider.fail_open,
        transport_api_version=pb.config_source.ApiVersion.V3,
    )
    apply_grpc(config, provider)
    apply_enabled(config, provider, RBAC)
    return _filter(f"{EXT_AUTHZ}.{provider.name}", config)


def _filter(name: str, config: Any) -> Any:
    return pb.listener_components.Filter(name=name, typed_config=pb.pack(config))
