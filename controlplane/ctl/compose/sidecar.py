"""The sidecar of a service, and what becomes of the service.

The sidecar owns the network namespace, because Compose refuses the circle that the other way would make.  So
what Docker allows only to the owner of a network moves to it: ports, networks and names.
"""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.ctl.compose.document import Value
from controlplane.ctl.compose.emit import Alias, Inline, Output
from controlplane.ctl.compose.service import PROXY, Service, labels, named, pod, profiles
from controlplane.sources.docker.container import INIT

PLANE = "mini-istiod"
PROVISION = "mini-istiod-provision"
ROOTS = "mesh-roots"

MOVED = (
    "hostname",
    "domainname",
    "mac_address",
    "expose",
    "ports",
    "dns",
    "dns_opt",
    "dns_search",
    "extra_hosts",
    "links",
    "external_links",
    "sysctls",
)
"""What only the owner of the network may have, beside `networks`, in the order in which it is written."""
CONFINED: Mapping[str, Output] = {
    "read_only": True,
    "cap_drop": Inline(["ALL"]),
    "security_opt": Inline(["no-new-privileges:true"]),
}
_TRAFFIC = "traffic.sidecar.istio.io/"
_EXCEPTIONS = (
    ("includeInboundPorts", "-b"),
    ("excludeInboundPorts", "-d"),
    ("includeOutboundIPRanges", "-i"),
    ("excludeOutboundIPRanges", "-x"),
    ("includeOutboundPorts", "-q"),
    ("excludeOutboundPorts", "-o"),
)
"""Labels, and the flags of `mini-istiod iptables`."""
_COMMAND = ("envoy", "-c", "/etc/mini-istiod/envoy.json", "--concurrency", "2", "--log-level", "warning")
_PROBE = "/etc/mini-istiod/healthy.sh"
"""What `mini-istiod provision` puts beside the bootstrap.

It tells whether Envoy has its configuration and its traffic is redirected; and it ends an Envoy beside which
a program runs without redirection, where everybody could reach that in plaintext.
"""


def envoy_template(image: str) -> dict[str, Output]:
    """What all sidecars and gateways have in common."""
    return {
        "image": image,
        "user": "1337:1337",
        "command": Inline(_COMMAND),
        **CONFINED,
        "depends_on": {
            PLANE: Inline({"condition": "service_healthy"}),
            PROVISION: Inline({"condition": "service_completed_successfully"}),
        },
        "healthcheck": {
            "test": Inline(["CMD", "bash", _PROBE]),
            "interval": "1s",
            "timeout": "15s",
            "start_period": "60s",
            "retries": 3,
        },
        # Envoy takes no notice of it and serves on for the grace period, while others learn that it goes.
        "stop_signal": "SIGUSR1",
        "stop_grace_period": "5s",
    }


def init_template(image: str) -> dict[str, Output]:
    """What all init containers have in common."""
    return {
        "image": image,
        "user": "0:0",
        "command": Inline(["iptables"]),
        **CONFINED,
        "cap_add": Inline(["NET_ADMIN", "NET_RAW"]),
        "healthcheck": Inline({"disable": True}),
        "labels": Inline({INIT: "true"}),
    }


def owner(name: str) -> str:
    """The sidecar of a service."""
    return f"{name}-envoy"


def init(name: str) -> str:
    """The init container of a service."""
    return f"{name}-init"


def volume(name: str) -> str:
    """Where the token and the bootstrap of a service's sidecar are."""
    return f"{name}-proxy"


def envoy(name: str, alias: str, service: Service, template: Alias) -> dict[str, Output]:
    """The sidecar of the service `name`, which is reached as `alias`; it takes over what cannot stay."""
    found: dict[str, Output] = {"<<": template, **_gated(service)}
    found.update({key: service[key] for key in MOVED if service.get(key) not in (None, [], {})})
    if sysctls := _sysctls(service.get("sysctls"), net=True):
        found["sysctls"] = sysctls
    else:
        found.pop("sysctls", None)
    found["networks"] = networks(alias, service)
    found["labels"] = Inline({PROXY: pod(name)})
    found["volumes"] = [f"{volume(name)}:/etc/mini-istiod:ro", f"{ROOTS}:/etc/mini-istiod-roots:ro"]
    return found


def rules(name: str, service: Service, template: Alias) -> dict[str, Output]:
    """The job that redirects a service's traffic to its sidecar."""
    return {
        "<<": template,
        **_gated(service),
        **_exceptions(service),
        "network_mode": f"service:{owner(name)}",
        "depends_on": Inline([owner(name)]),
    }


def _exceptions(service: Service) -> dict[str, Output]:
    """What the service asks to be left alone, by the names that Istio has for it."""
    said = labels(service)
    found = [
        ("iptables",),
        *((flag, said[_TRAFFIC + key]) for key, flag in _EXCEPTIONS if _TRAFFIC + key in said),
    ]
    # A command is of strings, and a port in a label may be none.
    return {"command": Inline([str(word) for words in found for word in words])} if len(found) > 1 else {}


def _gated(service: Service) -> dict[str, Output]:
    found = profiles(service)
    return {"profiles": Inline(list(service["profiles"] or []))} if found else {}


def networks(alias: str, service: Service) -> dict[str, Output]:
    """The networks of a service as its sidecar has them: reachable there under the service's names."""
    found: dict[str, Output] = {}
    container = service.get("container_name")
    mine = [alias, *([container] if isinstance(container, str) and container != alias else [])]
    for network, detail in (named(service.get("networks")) or {"default": None}).items():
        given = dict(detail) if isinstance(detail, dict) else {}
        theirs = given.pop("aliases", None) or []
        names = [*mine, *(one for one in theirs if one not in mine)]
        found[network] = {"aliases": Inline(names), **given}
    return found


def joined(name: str, service: Service) -> dict[str, Value]:
    """The service in its sidecar's network: what moved is gone, and it waits for the sidecar."""
    found = {key: given for key, given in service.items() if key not in (*MOVED, "networks", "scale")}
    if kept := _sysctls(service.get("sysctls"), net=False):
        found["sysctls"] = kept
    deploy = service.get("deploy")
    if isinstance(deploy, dict) and "replicas" in deploy:
        found["deploy"] = {key: given for key, given in deploy.items() if key != "replicas"}
        if not found["deploy"]:
            del found["deploy"]
    found["network_mode"] = f"service:{owner(name)}"
    found["depends_on"] = {
        owner(name): {"condition": "service_healthy"},
        init(name): {"condition": "service_completed_successfully"},
        **waits(service.get("depends_on")),
    }
    return found


def waits(given: Value) -> dict[str, Value]:
    """Dependencies with their conditions."""
    return {
        name: detail if isinstance(detail, dict) else {"condition": "service_started"}
        for name, detail in named(given).items()
    }


def _sysctls(given: Value, net: bool) -> Value:
    """Those of the network, or the others."""
    if isinstance(given, dict):
        return {key: found for key, found in given.items() if key.startswith("net.") == net}
    if isinstance(given, list):
        return [one for one in given if str(one).startswith("net.") == net]
    return None
