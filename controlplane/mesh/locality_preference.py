"""Which preference for near endpoints is in force for a cluster.

The first of these that says something decides, as in Istio:

    DestinationRule zoneAwareLbSetting, then localityLbSetting; switched off there, it is off
    the Service's trafficDistribution
    MeshConfig zoneAwareLbSetting, then localityLbSetting

Priorities need outlier detection, without which nobody would know that those first in line have failed; a
Service's trafficDistribution is an exception, for it means endpoints that are ready.  What results is part of
a cluster's `Spec`, so that clusters without any are the same for all callers.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.graph import Q, query
from controlplane.mesh.locality import NODE, REGION, SUBZONE, ZONE, Preference
from controlplane.mesh.networks import networks, spans_networks
from controlplane.mesh.rules import merged_rule, policy_of
from controlplane.mesh.service import Service, ServiceId, service
from controlplane.mesh.settings import mesh_config
from controlplane.model.keys import Key
from controlplane.model.kinds.destination_rule import TrafficPolicy
from controlplane.model.kinds.load_balancing import LoadBalancerSettings
from controlplane.model.kinds.locality_setting import (
    LocalityLoadBalancerSetting,
    ZoneAwareLoadBalancerSetting,
)
from controlplane.model.kinds.service import NETWORK

_DISTRIBUTIONS = {
    "PreferSameZone": (NETWORK, REGION, ZONE),
    "PreferSameNode": (NETWORK, REGION, ZONE, SUBZONE, NODE),
}
_NOTHING = LoadBalancerSettings()


class Defaults(NamedTuple):
    """What the mesh prefers where neither rule nor service says; None: nothing of that kind."""

    zones: ZoneAwareLoadBalancerSetting | None
    locality: LocalityLoadBalancerSetting | None


@query
def locality_defaults(q: Q) -> Defaults:
    """The mesh's preference; by locality if nothing else is said."""
    config = q(mesh_config)
    zones, locality = (
        config.zone_aware_lb_setting,
        config.locality_lb_setting or LocalityLoadBalancerSetting(),
    )
    return Defaults(
        zones if zones is not None and zones.enabled else None,
        None if locality.enabled is False else locality,
    )


def prefers_near(q: Q, found: Service, rule: tuple[Key, ...]) -> bool:
    """Whether any cluster of a service depends on where the caller stands."""
    if rule:
        near: bool = q(_prefers_near, found.id, rule)
        return near
    return preference_of(q, found, policy_of(q, None, 0)) is not None


@query
def _prefers_near(q: Q, id: ServiceId, rule: tuple[Key, ...]) -> bool:
    found, merged = q(service, id), q(merged_rule, rule)
    if found is None:
        return False
    subsets = ("", *(subset.name for subset in merged.subsets))
    policies = (policy_of(q, merged, port.number, subset) for port in found.ports for subset in subsets)
    return any(preference_of(q, found, policy) is not None for policy in policies)


def preference_of(q: Q, found: Service, policy: TrafficPolicy) -> Preference | None:
    """The preference in force for a service's clusters under this policy; None: all callers are alike."""
    ranked = policy.outlier_detection is not None
    chosen = _chosen(q, found, policy.load_balancer or _NOTHING, ranked=ranked)
    if found.node_local:
        chosen = (chosen or Preference())._replace(on_node=True)
    # Reading endpoints for it would cost everybody something, and most meshes have one network.
    spanning: bool = q(spans_networks, found.id) if q(networks) else False
    if spanning:
        chosen = (chosen or Preference())._replace(networks=True)
    return chosen


def _chosen(q: Q, found: Service, said: LoadBalancerSettings, *, ranked: bool) -> Preference | None:
    zones, locality = said.zone_aware_lb_setting, said.locality_lb_setting
    if zones is not None and zones.enabled is not False:
        return _by_zones(zones, ranked=ranked)
    if locality is not None:
        return None if locality.enabled is False else _by_locality(locality, ranked=ranked)
    if zones is not None:
        return None
    labels = _DISTRIBUTIONS.get(found.traffic_distribution)
    if labels is not None:
        return Preference(ranked=True, labels=labels)
    defaults = q(locality_defaults)
    if defaults.zones is not None:
        return _by_zones(defaults.zones, ranked=ranked)
    return None if defaults.locality is None else _by_locality(defaults.locality, ranked=ranked)


def _by_zones(said: ZoneAwareLoadBalancerSetting, *, ranked: bool) -> Preference | None:
    if not ranked:
        return None
    return Preference(
        ranked=True,
        failover=said.failover,
        labels=said.failover_priority,
        zones=True,
        smallest=said.min_cluster_size,
    )


def _by_locality(said: LocalityLoadBalancerSetting, *, ranked: bool) -> Preference | None:
    if said.distribute:
        return Preference(distribute=said.distribute)
    if not ranked:
        return None
    return Preference(ranked=True, failover=said.failover, labels=said.failover_priority)
