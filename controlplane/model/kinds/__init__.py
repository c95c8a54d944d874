"""All kinds.  To add one: write its file and name it in KINDS; everything else derives from that."""

from __future__ import annotations

from controlplane.model.kinds.cluster import namespaces, nodes, service_accounts
from controlplane.model.kinds.destination_rule import destination_rules
from controlplane.model.kinds.endpoints import endpoint_slices, endpoints
from controlplane.model.kinds.mesh_config import mesh_configs
from controlplane.model.kinds.pod import pods
from controlplane.model.kinds.service import services
from controlplane.model.kinds.service_entry import service_entries, workload_entries
from controlplane.model.kinds.sidecar import sidecars
from controlplane.model.kinds.virtual_service import virtual_services

__all__ = [
    "destination_rules",
    "endpoint_slices",
    "endpoints",
    "mesh_configs",
    "namespaces",
    "nodes",
    "pods",
    "service_accounts",
    "service_entries",
    "services",
    "sidecars",
    "virtual_services",
    "workload_entries",
]
