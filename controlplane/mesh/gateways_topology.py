"""What stands in front of one gateway: what its own proxy says, else its Pod, else the mesh of all.

The proxy says it in its node's metadata: PROXY_CONFIG, which Istio's proxies send, is all that holds for one.
So it is with how connections are treated.
"""

from __future__ import annotations

import json

from controlplane.graph import Q
from controlplane.mesh.inbound import Workload
from controlplane.mesh.workload import pod_surroundings
from controlplane.model.kinds.proxy_annotation import NOTHING_SAID, Surroundings, read_surroundings
from controlplane.model.proxy import ProxyMetadata
from controlplane.model.reader import Reader
from controlplane.model.report import Report


def surroundings_of(q: Q, workload: Workload, metadata: ProxyMetadata) -> Surroundings:
    """What is said of this gateway alone."""
    said = _claimed(metadata.proxy_config) if metadata.proxy_config else NOTHING_SAID
    if workload.pod is None:
        return said
    of_pod = q(pod_surroundings, workload.pod)
    return Surroundings(said.topology or of_pod.topology, said.connections or of_pod.connections)


def _claimed(text: str) -> Surroundings:
    """What a node's PROXY_CONFIG says; what is wrong in it counts as not said."""
    report = Report("", None, strict=False)
    found = read_surroundings(Reader(json.loads(text), "", report))
    return NOTHING_SAID if report.failed else found
