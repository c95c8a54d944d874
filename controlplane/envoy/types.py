"""The resource types of xDS that this control plane serves, in the order in which they are sent.

Within one flush Envoy wants what is pointed at before what points at it: clusters, their endpoints
and secrets, then listeners, then routes and what of them is asked for on demand
(https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#eventual-consistency-considerations).
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.envoy.pb import TYPE_PREFIX

CLUSTER = TYPE_PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINT = TYPE_PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET = TYPE_PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
LISTENER = TYPE_PREFIX + "envoy.config.listener.v3.Listener"
ROUTE = TYPE_PREFIX + "envoy.config.route.v3.RouteConfiguration"
VIRTUAL_HOST = TYPE_PREFIX + "envoy.config.route.v3.VirtualHost"
EXTENSION = TYPE_PREFIX + "envoy.config.core.v3.TypedExtensionConfig"


@dataclass(frozen=True, slots=True)
class TypeSpec:
    """What the protocol needs to know of one resource type."""

    url: str
    short: str
    """The name in metrics and on the command line: "cds"."""
    wildcard: bool
    """A proxy asks for all resources of the type, not for names; a snapshot is then complete."""
    order: int
    """Place in a flush; removals go the other way."""
    refers_to: str | None = None
    """The type whose names `Resource.refs` holds: Envoy wants those again after a change of this one."""
    on_demand: bool = False
    """Asked for while a request waits, and only what the proxy does not have: a wildcard means nothing,
    and what does not exist is said in so many words."""
    awaited: bool = False
    """What does not exist yet is on its way, as a certificate that is being issued: there is no answer
    before it is there, and never one that says that it is not."""


TYPES: tuple[TypeSpec, ...] = (
    TypeSpec(CLUSTER, "cds", wildcard=True, order=0, refers_to=ENDPOINT),
    TypeSpec(ENDPOINT, "eds", wildcard=False, order=1),
    TypeSpec(SECRET, "sds", wildcard=False, order=2, awaited=True),
    TypeSpec(LISTENER, "lds", wildcard=True, order=3, refers_to=ROUTE),
    TypeSpec(ROUTE, "rds", wildcard=False, order=4),
    TypeSpec(VIRTUAL_HOST, "vhds", wildcard=False, order=5, on_demand=True),
    TypeSpec(EXTENSION, "ecds", wildcard=False, order=6),
)

BY_URL: dict[str, TypeSpec] = {spec.url: spec for spec in TYPES}
BY_SHORT: dict[str, TypeSpec] = {spec.short: spec for spec in TYPES}
