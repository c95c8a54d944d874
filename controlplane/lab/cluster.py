"""What a cluster adds to the objects that people write: addresses, pods and endpoints.

The lab plays the API server (service addresses), the controllers (a Pod per Deployment replica, an
EndpointSlice per Service) and the kubelet (addresses, readiness, the variables that tell a container
where services are).  Everything here is pure: objects in, objects out, the same names every time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from controlplane.lab import fabric
from controlplane.lab.pod_spec import App, PodSpec
from controlplane.model.tls_mode import MUTUAL, TLS_MODE

Object = dict[str, Any]

# What the API server keeps for kubectl and controllers, but nobody asks the control plane to read.
_NOT_FOR_THE_MESH = ("Deployment",)


_INJECTION, _INJECT = "istio-injection", "sidecar.istio.io/inject"
_TEMPLATES = "inject.istio.io/templates"
# What injection writes on a pod: connections to it may be mutual TLS.
_CAPABLE = {TLS_MODE: MUTUAL}


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod to be: the object that Kubernetes would show, and what the lab starts for it.

    `meshed`: it gets a sidecar, by its namespace's label or its own.
    """

    manifest: Object
    spec: PodSpec
    meshed: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """The objects of an application, completed; `manifests` are ready for a watched directory."""

    manifests: tuple[Object, ...]
    workloads: tuple[Workload, ...]

    def workload(self, prefix: str) -> Workload:
        """The workload of the Deployment called `prefix`; KeyError when there is none."""
        for workload in self.workloads:
            if workload.spec.workload == prefix:
                return workload
        raise KeyError(prefix)

    def service(self, name: str) -> Object:
        """The Service called `name`; KeyError when there is none."""
        for manifest in self.manifests:
            if manifest["kind"] == "Service" and manifest["metadata"]["name"] == name:
                return manifest
        raise KeyError(name)

    def service_address(self, name: str) -> str:
        """The virtual address of the Service called `name`; KeyError when there is none."""
        return str(self.service(name)["spec"]["clusterIP"])


def load(path: Path) -> tuple[Object, ...]:
    """The objects of one YAML file, in the file's order."""
    with path.open(encoding="utf-8") as text:
        return tuple(found for found in yaml.safe_load_all(text) if found is not None)


def dump(objects: Sequence[Object]) -> str:
    """Objects as one YAML file."""
    return yaml.safe_dump_all(objects, sort_keys=False)


def complete(objects: Sequence[Object], programs: Path) -> Cluster:
    """Hand out addresses and pods.  Scripts that containers run are looked up by name in `programs`.

    Pods with a sidecar are labelled as able to do mutual TLS, which takes sidecars with an identity.
    Those that are injected with the template for gateways are gateways.
    """
    services = [found for found in objects if found["kind"] == "Service"]
    addressed = tuple(
        {**found, "spec": {**found["spec"], "clusterIP": fabric.service_address(number)}}
        for number, found in enumerate(services)
    )
    others = tuple(found for found in objects if found["kind"] not in ("Service", *_NOT_FOR_THE_MESH))
    variables = service_variables(addressed)
    deployments = [found for found in objects if found["kind"] == "Deployment"]
    replicas = [
        (deployment, replica)
        for deployment in deployments
        for replica in range(deployment["spec"].get("replicas", 1))
    ]
    injected = {
        found["metadata"]["name"]
        for found in objects
        if found["kind"] == "Namespace" and found["metadata"].get("labels", {}).get(_INJECTION) == "enabled"
    }
    kubelet = _Kubelet(programs, variables, frozenset(injected))
    workloads = tuple(
        _workload(deployment, replica, fabric.pod_address(number), kubelet)
        for number, (deployment, replica) in enumerate(replicas)
    )
    return Cluster((*others, *addressed), workloads)


def service_variables(services: Sequence[Object]) -> dict[str, str]:
    """NAME_SERVICE_HOST and NAME_SERVICE_PORT of every service, as a kubelet sets them."""
    variables = {}
    for service in services:
        prefix = service["metadata"]["name"].upper().replace("-", "_")
        variables[f"{prefix}_SERVICE_HOST"] = str(service["spec"]["clusterIP"])
        variables[f"{prefix}_SERVICE_PORT"] = str(service["spec"]["ports"][0]["port"])
    return variables


def endpoint_slices(cluster: Cluster, ready: bool) -> tuple[Object, ...]:
    """One EndpointSlice per Service with the pods that its selector picks, all of them ready or none."""
    services = [found for found in cluster.manifests if found["kind"] == "Service"]
    return tuple(_endpoint_slice(service, cluster.workloads, ready) for service in services)


def _endpoint_slice(service: Object, workloads: Sequence[Workload], ready: bool) -> Object:
    meta = service["metadata"]
    selector = service["spec"]["selector"].items()
    picked = [
        workload
        for workload in workloads
        if workload.spec.namespace == meta["namespace"] and selector <= workload.spec.labels.items()
    ]
    ports = [
        {"name": port["name"], "port": port.get("targetPort", port["port"]), "protocol": "TCP"}
        for port in service["spec"]["ports"]
    ]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{meta['name']}-{_suffix(meta['name'])}",
            "namespace": meta["namespace"],
            "labels": {"kubernetes.io/service-name": meta["name"]},
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(workload.spec, ready) for workload in picked],
        "ports": ports,
    }


def _endpoint(spec: PodSpec, ready: bool) -> Object:
    return {
        "addresses": [spec.ip],
        "conditions": {"ready": ready, "serving": ready, "terminating": False},
        "targetRef": {"kind": "Pod", "name": spec.name, "namespace": spec.namespace},
    }


@dataclass(frozen=True, slots=True)
class _Kubelet:
    """What the place where pods run adds to them."""

    programs: Path
    variables: Mapping[str, str]
    injected: frozenset[str]

    def meshes(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a pod with these labels gets a sidecar; its own label decides over its namespace's."""
        own = labels.get(_INJECT)
        return namespace in self.injected if own is None else own == "true"


def _workload(deployment: Object, replica: int, address: str, kubelet: _Kubelet) -> Workload:
    name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
    template = deployment["spec"]["template"]
    generation = _suffix(name)
    labels = {**template["metadata"]["labels"], "pod-template-hash": generation}
    meshed = kubelet.meshes(namespace, labels)
    gateway = template["metadata"].get("annotations", {}).get(_TEMPLATES) == "gateway"
    if meshed and not gateway:
        labels.update(_CAPABLE)
    spec = PodSpec(
        name=f"{name}-{generation}-{_suffix(f'{name}/{replica}')}",
        namespace=namespace,
        ip=address,
        labels=labels,
        service_account=template["spec"].get("serviceAccountName", "default"),
        workload=name,
        app=_app(template["spec"]["containers"][0], kubelet),
        kind="router" if gateway else "sidecar",
    )
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": spec.name, "namespace": namespace, "labels": labels},
        "spec": template["spec"],
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    return Workload(manifest, spec, meshed)


def _app(container: Object, kubelet: _Kubelet) -> App | None:
    command = container.get("command", ())
    script = next((part for part in command if part.endswith(".py")), None)
    if script is None:
        return None  # `sleep infinity`: a pod to run commands in; or a gateway, which is an Envoy alone
    arguments = tuple(command[command.index(script) + 1 :])
    port = container["ports"][0]["containerPort"]
    return App(kubelet.programs / Path(script).name, arguments, kubelet.variables, port)


def _suffix(text: str) -> str:
    # As random-looking as Kubernetes' own, but the same in every run.
    return hashlib.sha256(text.encode()).hexdigest()[:6]
