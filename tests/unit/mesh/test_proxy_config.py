"""Which ProxyConfig holds for whom."""

from __future__ import annotations

from controlplane.mesh.proxy_config import Started, started_with
from controlplane.model.keys import Labels
from controlplane.model.kinds.mesh_config import MeshConfig
from controlplane.model.kinds.mesh_config import ProxyConfig as Defaults
from controlplane.model.kinds.proxy_config import ProxyConfig
from controlplane.model.meta import Meta

WEB = (("app", "web"),)
MESH = MeshConfig(
    default_config=Defaults(concurrency=2, proxy_metadata=(("ISTIO_META_A", "mesh"), ("TZ", "UTC")))
)


def config(
    name: str, concurrency: int | None = None, selector: Labels = (), env: Labels = (), **meta: str
) -> ProxyConfig:
    home = meta.get("namespace", "shop")
    return ProxyConfig(Meta(home, name, created=meta.get("created", "")), selector, concurrency, env)


def threads(*objects: ProxyConfig, namespace: str = "shop", labels: Labels = WEB) -> int | None:
    return started_with(namespace, labels, MESH, objects).concurrency


def test_the_narrowest_decides() -> None:
    root, own, web = config("r", 3, namespace="istio-system"), config("n", 4), config("w", 5, WEB)
    assert threads() == 2
    assert threads(root) == 3
    assert threads(web, own, root) == 5
    assert threads(web, own, root, labels=()) == 4
    assert threads(web, own, root, namespace="other") == 3
    assert threads(config("n", None), root) == 3


def test_nought_is_a_thread_per_processor() -> None:
    assert threads(config("n", 0)) is None


def test_the_oldest_of_a_step_counts() -> None:
    young, old = (
        config("a", 7, created="2024-02-01T00:00:00Z"),
        config("b", 8, created="2024-01-01T00:00:00Z"),
    )
    assert threads(young, old) == 8


def test_a_selector_in_the_root_namespace_holds_there() -> None:
    root = config("r", 3, WEB, namespace="istio-system")
    assert threads(root) == 2
    assert threads(root, namespace="istio-system") == 3


def test_variables_are_merged_name_by_name() -> None:
    own = config("n", env=(("ISTIO_META_B", "shop"),))
    web = config("w", None, WEB, (("ISTIO_META_A", "web"), ("PATH", "/")))
    assert started_with("shop", WEB, MESH, (own, web)) == Started(2, (("A", "web"), ("B", "shop")))
