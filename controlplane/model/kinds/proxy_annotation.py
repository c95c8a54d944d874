"""What a Pod says of its own proxy: the annotation `proxy.istio.io/config`, a ProxyConfig in a text.

https://istio.io/latest/docs/reference/config/annotations/
"""

from __future__ import annotations

from controlplane.model.describe import shorten
from controlplane.model.kinds.gateway_topology import GatewayTopology, read_topology
from controlplane.model.little_yaml import parse_annotation
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader

ANNOTATION = "proxy.istio.io/config"


def read_annotated_topology(r: Reader, meta: Meta) -> GatewayTopology | None:
    """What stands in front of the Pod, if it is a gateway; None where its annotation says nothing of it.

    A text that cannot be read is a warning: the Pod runs, whatever is written on it.
    """
    text = dict(meta.annotations).get(ANNOTATION)
    if text is None:
        return None
    path = f"metadata.annotations[{ANNOTATION}]"
    try:
        found = parse_annotation(text)
    except ValueError as error:
        r.warn(path, f"cannot be read: {error}", "write lines of `name: value`, or JSON")
        return None
    others = sorted(str(name) for name in found if name != "gatewayTopology")
    if others:
        why = f"says {shorten(', '.join(others))}, which a proxy has to know at its start"
        r.warn(path, f"{why}: of this annotation gatewayTopology is read", "tell the proxy's bootstrap")
    return Reader({path: found.get("gatewayTopology")}, "", r.report).message(path, read_topology)
