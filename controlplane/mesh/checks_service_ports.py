"""Checks of a Service's ports: what the proxies do not carry, and where they listen themselves."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q
from controlplane.mesh.checks_finding import Finding
from controlplane.mesh.listening import OWN_PORTS
from controlplane.mesh.protocols import HTTP_LIKE
from controlplane.mesh.service import Service
from controlplane.mesh.settings import listener_ports
from controlplane.model.kinds.service import Service as KubernetesService


def port_findings(q: Q, declared: KubernetesService, found: Service) -> Iterator[Finding]:
    """What is to be known of each port."""
    reserved = {*q(listener_ports), *OWN_PORTS}
    for index, port in enumerate(declared.ports):
        served = found.port(port.port)
        if port.protocol not in ("TCP", ""):
            yield Finding(
                f"spec.ports[{index}].protocol",
                f"{port.protocol} passes by the proxies: nothing of the mesh holds for port {port.port}",
                "nothing to do, unless you expected it to be routed",
                "info",
            )
        elif port.port in reserved and served is not None and _is_shared(found, served.protocol):
            yield Finding(
                f"spec.ports[{index}].port",
                f"{port.port} is a port of the proxies themselves: through them nobody is called there",
                "use another port",
            )


def _is_shared(found: Service, protocol: str) -> bool:
    """Whether the port's listener would be for any address."""
    return protocol in HTTP_LIKE or not (found.addresses or found.headless)
