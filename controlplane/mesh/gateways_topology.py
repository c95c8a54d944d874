"""What stands in front of one gateway: what its own proxy says, else its Pod, else the mesh of all.

The proxy says it in its node's metadata: PROXY_CONFIG, which Istio's proxies send, is all that holds for one.
"""

from __future__ import annotations

import json

from controlplane.graph import Q
from controlplane.mesh.inbound import Workload
from controlplane.mesh.workload import pod_topology
from controlplane.model.kinds.gateway_topology import GatewayTopology, read_topology
from controlplane.model.proxy import ProxyMetadata
from controlplane.model.reader import Reader
from controlplane.model.report import Report


def topology_of(q: Q, workload: Workload, metadata: ProxyMetadata) -> GatewayTopology | None:
    """The topology of this gateway alone; None where only the mesh speaks of it."""
    said = _claimed(metadata.proxy_config) if metadata.proxy_config else None
    if said is not None or workload.pod is None:
        return said
    return q(pod_topology, workload.pod)


def _claimed(text: str) -> GatewayTopology | None:
    """The topology in a node's PROXY_CONFIG; what is wrong in it counts as not said."""
    found = json.loads(text)
    report = Report("", None, strict=False)
    topology = Reader(found, "", report).message("gatewayTopology", read_topology)
    return None if report.failed else topology
