"""What clusters say about themselves to tools and telemetry, under the metadata key "istio"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from controlplane.mesh.hosts import kubernetes_key
from controlplane.mesh.rules import MergedRule
from controlplane.mesh.service import Port, Service, ServiceId


def describe_outbound(message: Any, found: Service, port: int, subset: str, rule: MergedRule | None) -> None:
    """The service, its port, the subset and the oldest DestinationRule behind a cluster."""
    fields = message.metadata.filter_metadata["istio"].fields
    if rule is not None:
        oldest = rule.sources[0]
        fields[
            "config"
        ].string_value = (
            f"/apis/networking.istio.io/v1/namespaces/{oldest.namespace}/destination-rule/{oldest.name}"
        )
    if subset:
        fields["subset"].string_value = subset
    if found.external:
        fields["external"].bool_value = True
    fields["default_original_port"].number_value = port
    _services(fields, (found.id,))


def stat_name(pattern: str, found: Service, port: Port, subset: str) -> str:
    """How a cluster's statistics are called: a pattern of the mesh with its words filled in."""
    key = kubernetes_key(found.id.host)
    words = {
        "%SERVICE%": found.id.host if key is None else f"{key.name}.{key.namespace}",
        "%SERVICE_FQDN%": found.id.host,
        "%SERVICE_PORT%": str(port.number),
        "%SERVICE_PORT_NAME%": port.name,
        "%TARGET_PORT%": str(port.target or port.number),
        "%SUBSET_NAME%": subset,
    }
    for word, value in words.items():
        pattern = pattern.replace(word, value)
    return pattern


def describe_inbound(message: Any, ids: Iterable[ServiceId]) -> None:
    """The services that the workload answers for."""
    _services(message.metadata.filter_metadata["istio"].fields, ids)


def _services(fields: Any, ids: Iterable[ServiceId]) -> None:
    entries = fields["services"].list_value.values
    for id in ids:
        key = kubernetes_key(id.host)
        entry = entries.add().struct_value.fields
        entry["host"].string_value = id.host
        entry["name"].string_value = id.host if key is None else key.name
        entry["namespace"].string_value = id.namespace
