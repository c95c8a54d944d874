"""A service of a Compose file as plain values, whichever way its user wrote it.

Compose has two forms for most things: a list of names or a mapping, "KEY=VALUE" or a key with a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from controlplane.ctl.compose.document import Value
from controlplane.model.checks import is_dns_label
from controlplane.sources.docker import names
from controlplane.sources.docker.container import PREFIX

Service: TypeAlias = Mapping[str, Value]

INJECT = (PREFIX + "inject", "sidecar.istio.io/inject")
PROXY = PREFIX + "proxy"
ACCOUNT = PREFIX + "account"
VERSION = PREFIX + "version"


def pairs_of(given: Value) -> dict[str, str]:
    """Labels or an environment, in either form; a key without a value has an empty one."""
    if isinstance(given, dict):
        return {key: found if isinstance(found, str) else "" for key, found in given.items()}
    found = {}
    for one in given if isinstance(given, list) else []:
        key, _, content = str(one).partition("=")
        found[key] = content
    return found


def named(given: Value) -> dict[str, Value]:
    """Networks or dependencies: what there is to say of each, in either form."""
    if isinstance(given, dict):
        return dict(given)
    return {str(one): None for one in given} if isinstance(given, list) else {}


def listed(given: Value) -> list[Value]:
    """A list, or the one thing that stands for a list of one."""
    if given is None:
        return []
    return list(given) if isinstance(given, list) else [given]


def labels(service: Service) -> dict[str, str]:
    """The labels of a service's container."""
    return pairs_of(service.get("labels"))


def account(name: str, service: Service) -> str:
    """A service's account as the control plane sees it: the label, or the name without the version."""
    said = labels(service).get(ACCOUNT, "")
    return said if is_dns_label(said) or "$" in said else names.default_account(name)


def version(name: str, service: Service) -> str:
    """The version of a service, or ""."""
    return labels(service).get(VERSION) or names.default_version(name)


def pod(name: str) -> str:
    """What the control plane calls a service's workload."""
    return names.pod_name(name)


def replicas(service: Service) -> int:
    """How many containers the file asks for: `scale`, or `deploy.replicas`."""
    asked = asked_replicas(service)
    return int(asked) if _is_count(asked) else 1


def asked_replicas(service: Service) -> str:
    """What the file says of that, as it stands there; "" for nothing."""
    deploy = service.get("deploy")
    asked = service.get("scale") or (deploy.get("replicas") if isinstance(deploy, dict) else None)
    return asked if isinstance(asked, str) else ""


def uncountable(service: Service) -> str:
    """A number of containers that is not known here (`${N}`) or beyond what pairs are for; else ""."""
    asked = asked_replicas(service)
    return "" if not asked or _is_count(asked) else asked


def _is_count(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,2}", text) is not None


def joins(service: Service) -> str:
    """The service whose network this one shares, or ""."""
    mode = service.get("network_mode")
    return mode.removeprefix("service:") if isinstance(mode, str) and mode.startswith("service:") else ""


def profiles(service: Service) -> list[str]:
    """The profiles that a service is in; none means always."""
    return [str(one) for one in listed(service.get("profiles"))]
