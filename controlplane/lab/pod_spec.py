"""What is to run: an application, the pod that it is in, and how the pod's Envoy finds the control plane.

Not everything that the lab starts is a pod of the cluster.  What makes the difference is the address
(controlplane.lab.fabric), whether there is an Envoy, and which objects the mesh is told: a machine that has
joined is known by a WorkloadEntry, a server outside by a ServiceEntry or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from controlplane.envoy.bootstrap import Node
from controlplane.lab.volumes import Kubelet


@dataclass(frozen=True, slots=True)
class App:
    """A Python script.  It is ready once `port` answers GET /healthz and `opens` takes connections, if given.

    It has the standard library only, and any user's Python.  One that needs `libraries` runs with ours, as
    whoever we are: our environment may lie where nobody else may go.  Either way it is not Envoy's user.
    """

    script: Path
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    opens: int | None = None
    libraries: bool = False


@dataclass(frozen=True, slots=True)
class PodSpec:
    """What a Pod object would say; `app` None is a pod to run commands in."""

    name: str
    namespace: str
    ip: str
    labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str = "default"
    workload: str = ""
    app: App | None = None
    kind: Literal["sidecar", "router"] = "sidecar"
    """A router is a gateway: its Envoy listens by itself, and nothing is redirected to it."""
    locality: str = ""
    """What its Envoy says of where it is, "region/zone/subzone"; a Pod's node says so as well."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """What its Envoy says of itself beyond that, as Istio's node metadata ("DNS_CAPTURE": "true")."""
    nameservers: tuple[str, ...] = ()
    """Whom its programs ask for names, by their resolv.conf; without any, those of this machine."""

    @property
    def node(self) -> Node:
        """The identity under which its Envoy asks for configuration."""
        return Node(
            ip=self.ip,
            name=self.name,
            namespace=self.namespace,
            labels=self.labels,
            service_account=self.service_account,
            workload=self.workload,
            kind=self.kind,
            locality=self.locality,
            metadata=self.metadata,
        )


@dataclass(frozen=True, slots=True)
class Sidecar:
    """How a pod's Envoy reaches the control plane; `stats` are prefixes kept beyond the default set.

    With a `kubelet` it speaks TLS and sends the token of its service account, both from files that the
    kubelet keeps fresh; without, it is nobody on a local socket.
    """

    address: str
    protocol: Literal["GRPC", "DELTA_GRPC"] = "DELTA_GRPC"
    stats: tuple[str, ...] = ()
    kubelet: Kubelet | None = None
