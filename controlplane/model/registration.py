"""What a machine that joins a WorkloadGroup is as an object, and whether it may.

The machine's Envoy says which group it is of (node metadata AUTO_REGISTER_GROUP).  Who has joined is given
traffic that was meant for the group's services, so it has to prove that it is who the group says it is.
"""

from __future__ import annotations

from controlplane.model.keys import Key
from controlplane.model.kinds.workload_group import WorkloadGroup
from controlplane.model.locality import Locality
from controlplane.model.proxy import Proxy

GROUP_ANNOTATION = "istio.io/autoRegistrationGroup"
_LONGEST_NAME = 253


def group_of(proxy: Proxy) -> Key | None:
    """The group that a proxy asks to join, in its own namespace; None for nearly all."""
    name = proxy.metadata.auto_register_group
    return Key(proxy.namespace, name) if name else None


def refusal(proxy: Proxy, group: WorkloadGroup) -> str:
    """Why a proxy may not join a group, "" if it may."""
    wanted = group.template.service_account
    if proxy.identity is None:
        if wanted:
            return f"has not proved who it is, and the group is for service account {wanted}"
        return ""
    if proxy.identity.namespace != group.meta.namespace:
        return f"is of namespace {proxy.identity.namespace}, and the group is not"
    account = proxy.identity.service_account
    if wanted and account != wanted:
        return f"is service account {account}, and the group is for service account {wanted}"
    return ""


def entry_key(proxy: Proxy, group: Key) -> Key:
    """The name of the entry of a machine: its group's, its address, its network."""
    parts = [group.name, proxy.ip.replace(":", "-")]
    if proxy.metadata.network:
        parts.append(proxy.metadata.network)
    # What is cut off is the group's name, which says least.
    return Key(group.namespace, "-".join(parts)[-_LONGEST_NAME:].lstrip("-."))


def entry_of(proxy: Proxy, group: WorkloadGroup) -> dict[str, object]:
    """The WorkloadEntry of a machine in its group, as a raw object.

    Of labels the machine's own count most, then those of the group's metadata, then the template's.
    """
    template = group.template
    key = entry_key(proxy, group.meta.key)
    labels = {**dict(template.labels), **dict(group.labels), **dict(proxy.labels)}
    spec: dict[str, object] = {"address": proxy.ip, "labels": labels}
    account = template.service_account or (proxy.identity.service_account if proxy.identity else "")
    locality = template.locality or _written(proxy.locality)
    network = proxy.metadata.network or template.network
    more = {"serviceAccount": account, "locality": locality, "network": network, "weight": template.weight}
    spec.update({name: value for name, value in more.items() if value})
    if template.ports:
        spec["ports"] = dict(template.ports)
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {
            "namespace": key.namespace,
            "name": key.name,
            "labels": labels,
            "annotations": {**dict(group.annotations), GROUP_ANNOTATION: group.meta.name},
        },
        "spec": spec,
    }


def _written(locality: Locality) -> str:
    return "/".join(part for part in locality if part)
