"""The ProxyConfig: what Envoys of a mesh, a namespace or a workload are started with.

No stream can deliver it: how many threads an Envoy has and what its node says is decided when it starts.  So
it counts where bootstraps are made, `mini-istiod bootstrap` and `provision` with `--objects`.

https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.checks import check_selector
from controlplane.model.describe import shorten
from controlplane.model.keys import Labels
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader

METADATA = "ISTIO_META_"
"""Variables of these names are metadata of the proxy's node."""
_MOST = 1024


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """No `selector`: the namespace, or the mesh if that is the root namespace.

    `concurrency` None = nothing said, 0 = a thread per processor.
    """

    meta: Meta
    selector: Labels = ()
    concurrency: int | None = None
    environment: Labels = ()


proxy_configs = Table(
    "proxy_configs",
    indexes={
        "namespace": by_namespace,
        "scope": lambda key, value: ((key.namespace, value.selector),),
    },
    namespace=namespace_of,
)


def _read(r: Reader, meta: Meta) -> ProxyConfig:
    value = ProxyConfig(
        meta=meta,
        selector=r.message("selector", _read_selector) or (),
        concurrency=r.integer("concurrency", 0, _MOST),
        environment=r.labels("environmentVariables"),
    )
    _check_environment(r, value.environment)
    r.message("image", _read_image)
    return value


def _read_selector(r: Reader) -> Labels:
    labels = r.labels("matchLabels")
    check_selector(r, "matchLabels", labels)
    return labels


def _check_environment(r: Reader, environment: Labels) -> None:
    for name, _ in environment:
        at = f"environmentVariables[{shorten(name)}]"
        if not name or "=" in name or not name.isprintable():
            r.error(at, "cannot be the name of a variable", "use letters, digits and underscores")
        elif not name.startswith(METADATA):
            why = "has no effect: no agent stands beside the proxy that would read it"
            r.warn(at, why, f"give it to the proxy's container, or name it {METADATA}… to be node metadata")


def _read_image(r: Reader) -> None:
    kind = r.text("imageType")
    if kind and not all(char.isascii() and (char.isalnum() or char in "-._") for char in kind):
        r.error("imageType", f"{shorten(kind)} is no type of image", "use default, debug or distroless")
    elif kind:
        why = "is not supported: whoever starts a proxy names its image"
        r.warn("imageType", why, "name the image in the container's own object")


PROXY_CONFIG = Kind(
    name="ProxyConfig",
    group="networking.istio.io",
    versions=("v1beta1",),
    plural="proxyconfigs",
    namespaced=True,
    table=proxy_configs,
    read=_read,
)
