"""Objects of kinds that are not read: silence, "not supported yet", or "no such kind".

Directories hold whole applications, so what belongs to Kubernetes but means nothing to a mesh is
ignored without a word.  What would change traffic in Istio and does not here must be said: silence
would be a lie.  The rest is probably a typing error.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from controlplane.model.kinds import BY_NAME
from controlplane.model.problem import Origin, Problem
from controlplane.sources.naming import Name


def _kinds(names: str) -> frozenset[str]:
    return frozenset(names.split())


IGNORED: Mapping[str, frozenset[str]] = {
    "": _kinds(
        "Binding ComponentStatus ConfigMap Event LimitRange PersistentVolume PersistentVolumeClaim "
        "PodTemplate ReplicationController ResourceQuota"
    ),
    "admissionregistration.k8s.io": _kinds(
        "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration "
        "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration"
    ),
    "apiextensions.k8s.io": _kinds("CustomResourceDefinition"),
    "apiregistration.k8s.io": _kinds("APIService"),
    "apps": _kinds("ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet"),
    "autoscaling": _kinds("HorizontalPodAutoscaler"),
    "batch": _kinds("CronJob Job"),
    "certificates.k8s.io": _kinds("CertificateSigningRequest"),
    "coordination.k8s.io": _kinds("Lease"),
    "events.k8s.io": _kinds("Event"),
    "flowcontrol.apiserver.k8s.io": _kinds("FlowSchema PriorityLevelConfiguration"),
    "kustomize.config.k8s.io": _kinds("Component Kustomization"),
    "networking.k8s.io": _kinds("NetworkPolicy"),
    "node.k8s.io": _kinds("RuntimeClass"),
    "policy": _kinds("PodDisruptionBudget"),
    "rbac.authorization.k8s.io": _kinds("ClusterRole ClusterRoleBinding Role RoleBinding"),
    "scheduling.k8s.io": _kinds("PriorityClass"),
    "storage.k8s.io": _kinds(
        "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass"
    ),
}
"""Kinds of Kubernetes that say nothing to a mesh, by API group; objects of these are ignored quietly."""

UNSUPPORTED: Mapping[str, frozenset[str]] = {
    "extensions.istio.io": _kinds("TrafficExtension WasmPlugin"),
    "gateway.networking.k8s.io": _kinds(
        "BackendTLSPolicy GRPCRoute Gateway GatewayClass HTTPRoute ListenerSet ReferenceGrant "
        "TCPRoute TLSRoute UDPRoute"
    ),
    "gateway.networking.x-k8s.io": _kinds("XBackendTrafficPolicy XListenerSet XMesh"),
    "inference.networking.k8s.io": _kinds("InferencePool"),
    "install.istio.io": _kinds("IstioOperator"),
    "multicluster.x-k8s.io": _kinds("ServiceExport ServiceImport"),
    "networking.k8s.io": _kinds("Ingress IngressClass"),
    "telemetry.istio.io": _kinds("Telemetry"),
}
"""Kinds that Istio acts upon, and that KINDS has not."""


def verdict(name: Name, origin: Origin | None) -> Problem | None:
    """What to say about an object of a kind that is not read; None = nothing."""
    group, kind, _ = name
    if kind in IGNORED.get(group, ()):
        return None
    if kind in UNSUPPORTED.get(group, ()):
        message = f"{kind} ({group}) is not supported yet: the object has no effect"
        return _warning(name, origin, message, "remove it, or keep it for later")
    known = {*BY_NAME, *(one for kinds in (*IGNORED.values(), *UNSUPPORTED.values()) for one in kinds)}
    where = f"the API group {group}" if group else "the core API"
    close = get_close_matches(kind, sorted(known), n=1, cutoff=0.75)
    remedy = "correct kind and apiVersion, or remove the object"
    if close:
        versions = BY_NAME[close[0]].api_versions if close[0] in BY_NAME else ()
        remedy = f"did you mean {close[0]}{' in ' + ' or '.join(versions) if versions else ''}?"
    return _warning(name, origin, f"no kind {kind} is known in {where}: the object has no effect", remedy)


def _warning(name: Name, origin: Origin | None, message: str, remedy: str) -> Problem:
    file, line = origin or ("", None)
    key = name.key
    return Problem("warning", name.kind, key.namespace, key.name, file, line, "kind", message, remedy)
