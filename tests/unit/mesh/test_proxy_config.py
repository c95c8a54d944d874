"""Which ProxyConfig holds for whom."""

from __future__ import annotations

from controlplane.mesh.checks import checks
from controlplane.mesh.proxy_config import Started, started_with
from controlplane.model.keys import Labels
from controlplane.model.kinds.mesh_config import MeshConfig
from controlplane.model.kinds.mesh_config import ProxyConfig as Defaults
from controlplane.model.kinds.proxy_config import ProxyConfig
from controlplane.model.meta import Meta
from tests.unit.mesh.world import World

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


def test_of_two_for_the_same_proxies_both_are_told() -> None:
    def text(name: str, created: str, selector: str = "", namespace: str = "shop") -> str:
        return (
            "apiVersion: networking.istio.io/v1beta1\nkind: ProxyConfig\n"
            f"metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created!r}}}\n"
            f"spec: {{{selector}}}\n---\n"
        )

    old, new = "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"
    web = "selector: {matchLabels: {app: web}}"
    others = text("w", new, web) + text("elsewhere", new, namespace="other")
    world = World(text("a", new) + text("b", old) + others)
    said = {ref.name: [one.message for one in problems] for ref, problems in world.map(checks).items()}
    assert said == {
        "a": ["has no effect: ProxyConfig shop/b is older, and for namespace shop, too"],
        "b": ["counts in place of ProxyConfig shop/a, which is younger, for namespace shop"],
    }
    world.delete("ProxyConfig", "b", "shop")
    assert world.map(checks) == {}
