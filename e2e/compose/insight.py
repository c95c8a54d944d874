"""Looks into the running mesh: what an Envoy sends to, and what the control plane knows and complains of."""

from __future__ import annotations

import json
from typing import Any

from e2e.compose.project import Project

_GET = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"


def endpoints(project: Project, service: str, *, port: int = 9080, seen_by: str = "productpage") -> set[str]:
    """Where the sidecar of `seen_by` sends what is for a service: addresses with ports, only healthy ones.

    A service that it does not know has none.  `seen_by` needs Python: stock Envoy has nothing to ask with.
    """
    url = "http://127.0.0.1:15000/clusters?format=json"
    text = project.run_in(seen_by, "python3", "-c", _GET, url)
    name = f"outbound|{port}||{service}.default.svc.cluster.local"
    clusters = {cluster["name"]: cluster for cluster in json.loads(text)["cluster_statuses"]}
    return {_address(host) for host in clusters.get(name, {}).get("host_statuses", ()) if _good(host)}


def _address(host: dict[str, Any]) -> str:
    # Behind mutual TLS and without.
    socket = host["address"]["socket_address"]
    return f"{socket['address']}:{socket['port_value']}"


def _good(host: dict[str, Any]) -> bool:
    return host.get("health_status", {}).get("eds_health_status", "HEALTHY") in ("HEALTHY", "UNKNOWN")


def addresses(project: Project, *services: str) -> set[str]:
    """The addresses that Docker gave to the containers of these services."""
    return {
        network["IPAddress"]
        for container in project.inspect(*services)
        for network in container["NetworkSettings"]["Networks"].values()
        if network["IPAddress"]
    }


def asked(project: Project, path: str) -> Any:
    """An answer of the control plane's monitoring port, as a container of it sees it."""
    return json.loads(project.run_in("mini-istiod", "python3", "-c", _GET, f"http://127.0.0.1:15014{path}"))


def problems(project: Project, *, level: str = "") -> list[str]:
    """What the control plane complains of, a JSON text each; only those of a level, if one is named."""
    found = asked(project, "/debug/problems")
    return [json.dumps(problem) for problem in found if level in ("", problem["level"])]


def sees(project: Project, service: str, *containers: str, port: int = 9080) -> bool:
    """Whether productpage's sidecar sends what is for a service to exactly these containers."""
    return endpoints(project, service, port=port) == {
        f"{ip}:{port}" for ip in addresses(project, *containers)
    }


def now(project: Project, service: str) -> str:
    """How things are, for a message about how they should be."""
    return f"endpoints {sorted(endpoints(project, service))}, problems {problems(project)}"
