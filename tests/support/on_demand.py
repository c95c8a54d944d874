"""What a proxy with virtual hosts on demand must be given, told from what one without them is given.

Envoy's look-up in a whole route configuration, written down once more and independently of the control
plane: the exact name first, then the longest suffix pattern, then the virtual host of last resort
(https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.types import LISTENER, ROUTE, VIRTUAL_HOST


def expected(routes: Mapping[str, bytes], name: str) -> bytes:
    """The virtual host of a resource name, from whole route configurations; b"" when there is none."""
    configuration, _, host = name.partition("/")
    if configuration not in routes or "*" in host:
        return b""
    whole: Any = pb.route.RouteConfiguration.FromString(routes[configuration])
    assert whole.ignore_port_in_host_matching
    found = _look_up(whole, host.partition(":")[0].lower())
    found.name = name
    found.ClearField("domains")
    found.domains.append(host)
    return pb.deterministic(found)


def _look_up(whole: Any, host: str) -> Any:
    by_domain = {domain.lower(): one for one in whole.virtual_hosts for domain in one.domains}
    if host in by_domain:
        return by_domain[host]
    fitting = [d for d in by_domain if d.startswith("*") and host.endswith(d[1:]) and len(host) >= len(d)]
    return by_domain[max(fitting, key=len)]


def differences(
    on_demand: Mapping[str, Mapping[str, bytes]], whole: Mapping[str, Mapping[str, bytes]]
) -> list[str]:
    """Where the first client's state is not what follows from the second one's, a line each."""
    lines = [
        f"vhds {name}"
        for name, body in sorted(on_demand[VIRTUAL_HOST].items())
        if body != expected(whole[ROUTE], name)
    ]
    for url in whole.keys() - {VIRTUAL_HOST, LISTENER}:
        for name in sorted(on_demand[url].keys() | whole[url].keys()):
            ours, theirs = on_demand[url].get(name), whole[url].get(name)
            if url == ROUTE and name.isdigit() and ours and theirs:
                # By port, and so without hosts.
                if pb.route.RouteConfiguration.FromString(ours).virtual_hosts:
                    lines.append(f"rds {name} has virtual hosts")
            elif ours != theirs:
                lines.append(f"{url.rpartition('.')[2]} {name}")
    if on_demand[LISTENER].keys() != whole[LISTENER].keys():
        lines.append("listeners")
    return lines
