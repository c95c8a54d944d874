"""What a Pod says of its own proxy: the annotation `proxy.istio.io/config`, a ProxyConfig in a text.

https://istio.io/latest/docs/reference/config/annotations/
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.model.describe import shorten
from controlplane.model.kinds.gateway_topology import GatewayTopology, read_topology
from controlplane.model.kinds.proxy_manners import ConnectionSettings, read_connections
from controlplane.model.little_yaml import parse_annotation
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader

ANNOTATION = "proxy.istio.io/config"
_READ = ("connectionSettings", "gatewayTopology")


class Surroundings(NamedTuple):
    """What stands in front of one gateway, and how it treats connections; None = nothing said."""

    topology: GatewayTopology | None = None
    connections: ConnectionSettings | None = None


NOTHING_SAID = Surroundings()


def read_surroundings(r: Reader) -> Surroundings:
    """The part of a ProxyConfig that counts for one gateway."""
    topology = r.message("gatewayTopology", read_topology)
    return Surroundings(topology, r.message("connectionSettings", read_connections))


def read_annotation(r: Reader, meta: Meta) -> Surroundings:
    """What the annotation of a Pod says of it, if it is a gateway.

    A text that cannot be read is a warning: the Pod runs, whatever is written on it.
    """
    text = dict(meta.annotations).get(ANNOTATION)
    if text is None:
        return NOTHING_SAID
    path = f"metadata.annotations[{ANNOTATION}]"
    try:
        found = parse_annotation(text)
    except ValueError as error:
        r.warn(path, f"cannot be read: {error}", "write lines of `name: value`, or JSON")
        return NOTHING_SAID
    others = sorted(str(name) for name in found if name not in _READ)
    if others:
        # Of the rest a part is known only before the proxy starts, and a part only for the mesh.
        read = " and ".join(_READ)
        why = f"says {shorten(', '.join(others))}: of this annotation {read} are read, of gateways"
        r.warn(path, why, "say it in MeshConfig's defaultConfig, or to the proxy's bootstrap")
    said = {name: found[name] for name in _READ if name in found}
    return Reader({path: said}, "", r.report).message(path, read_surroundings) or NOTHING_SAID
