"""All kinds.  To add one: write its file and name it in KINDS; everything else derives from that."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.graph import Table
from controlplane.model.kinds.authorization_policy import AUTHORIZATION_POLICY, authorization_policies
from controlplane.model.kinds.cluster import (
    NAMESPACE,
    NODE,
    SERVICE_ACCOUNT,
    namespaces,
    nodes,
    service_accounts,
)
from controlplane.model.kinds.destination_rule import DESTINATION_RULE, destination_rules
from controlplane.model.kinds.endpoints import ENDPOINT_SLICE, ENDPOINTS, endpoint_slices, endpoints
from controlplane.model.kinds.envoy_filter import ENVOY_FILTER, envoy_filters
from controlplane.model.kinds.gateway import GATEWAY, gateways
from controlplane.model.kinds.kind import MESH, Kind, Parsed
from controlplane.model.kinds.mesh_config import MESH_CONFIG, mesh_configs
from controlplane.model.kinds.peer_authentication import PEER_AUTHENTICATION, peer_authentications
from controlplane.model.kinds.pod import POD, pods
from controlplane.model.kinds.proxy_config import PROXY_CONFIG, proxy_configs
from controlplane.model.kinds.request_authentication import (
    REQUEST_AUTHENTICATION,
    request_authentications,
)
from controlplane.model.kinds.secret import SECRET, secrets
from controlplane.model.kinds.service import SERVICE, services
from controlplane.model.kinds.service_entry import SERVICE_ENTRY, service_entries
from controlplane.model.kinds.sidecar import SIDECAR, sidecars
from controlplane.model.kinds.virtual_service import VIRTUAL_SERVICE, virtual_services
from controlplane.model.kinds.workload_entry import WORKLOAD_ENTRY, workload_entries
from controlplane.model.kinds.workload_group import WORKLOAD_GROUP, workload_groups

KINDS: tuple[Kind, ...] = (
    MESH_CONFIG,
    NAMESPACE,
    NODE,
    SERVICE_ACCOUNT,
    SERVICE,
    ENDPOINTS,
    ENDPOINT_SLICE,
    POD,
    GATEWAY,
    VIRTUAL_SERVICE,
    DESTINATION_RULE,
    SERVICE_ENTRY,
    WORKLOAD_ENTRY,
    WORKLOAD_GROUP,
    SIDECAR,
    ENVOY_FILTER,
    PROXY_CONFIG,
    PEER_AUTHENTICATION,
    REQUEST_AUTHENTICATION,
    AUTHORIZATION_POLICY,
    SECRET,
)
"""Every kind that is read; what others refer to comes first."""

BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
TABLES: Mapping[str, Table] = {kind.name: kind.table for kind in KINDS}

__all__ = [
    "BY_NAME",
    "KINDS",
    "MESH",
    "TABLES",
    "Kind",
    "Parsed",
    "authorization_policies",
    "destination_rules",
    "endpoint_slices",
    "endpoints",
    "envoy_filters",
    "gateways",
    "mesh_configs",
    "namespaces",
    "nodes",
    "peer_authentications",
    "pods",
    "proxy_configs",
    "request_authentications",
    "secrets",
    "service_accounts",
    "service_entries",
    "services",
    "sidecars",
    "virtual_services",
    "workload_entries",
    "workload_groups",
]
