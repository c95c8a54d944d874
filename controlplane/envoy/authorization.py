"""The names and the rules of external authorization, which HTTP and TCP share.

Envoy's ext_authz asks about every request.  So that only those are asked about that a policy names, an RBAC
filter before it tries the policy's rules without enforcing them, and notes which one matched; ext_authz is
enabled by that note.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.authorization_rbac import rules
from controlplane.mesh.authorization_ir import AllOf, ExtAuthz, Grant, Stage

PREFIX = "istio_ext_authz_"
_NOTE = f"{PREFIX}shadow_effective_policy_id"


def asked(provider: str, stage: Stage) -> Any:
    """The rules that say when a provider is asked; DENY, for that is what a match is about."""
    return rules(
        "DENY", (replace(grant, name=asked_name(provider, grant.name)) for grant in stage.enforced or ())
    )


def everything(provider: str) -> Any:
    """Rules by which a provider is always asked: what holds until a route says better."""
    return rules("DENY", (Grant(f"{_mark(provider)}]", (AllOf(),), (AllOf(),)),))


def apply_enabled(message: Any, provider: ExtAuthz, rbac: str) -> None:
    """Ask where the RBAC filter, whose metadata is called `rbac`, noted a rule of this provider."""
    matcher = message.filter_enabled_metadata
    matcher.filter = rbac
    matcher.path.add(key=_NOTE)
    matcher.value.string_match.prefix = _mark(provider.name)


def apply_grpc(message: Any, provider: ExtAuthz) -> None:
    """How a provider is asked by gRPC."""
    service = message.grpc_service
    service.envoy_grpc.cluster_name = provider.cluster
    service.envoy_grpc.authority = provider.authority
    service.timeout.CopyFrom(pb.duration(provider.timeout))


def asked_name(provider: str, rule: str) -> str:
    """What a rule is called where it says when a provider is asked."""
    return f"istio-ext-authz-{provider}-{rule}"


def _mark(provider: str) -> str:
    """What the names of a provider's rules begin with; no other provider's name can be a part of it."""
    return asked_name(provider, "ns[")
