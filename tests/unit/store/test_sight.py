"""Namespaces that discoverySelectors leave out do not exist, whenever which of them changes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from controlplane.graph import Graph
from controlplane.model.keys import Key
from controlplane.model.kinds import BY_NAME, MESH, mesh_configs, namespaces, services
from controlplane.model.kinds.mesh_config import LabelSelector, LabelSelectorRequirement
from controlplane.model.selectors import is_discovered
from controlplane.store.sight import Sight

ON = LabelSelector((("mesh", "on"),))


def mesh(*selectors: dict[str, Any]) -> Any:
    found = BY_NAME["MeshConfig"].parse({"kind": "MeshConfig", "discoverySelectors": list(selectors)}).value
    return (mesh_configs, MESH, found)


def namespace(name: str, **labels: str) -> Any:
    raw = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    return (namespaces, Key("", name), BY_NAME["Namespace"].parse(raw).value)


def service(where: str, name: str = "a", port: int = 80) -> Any:
    raw = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": where},
        "spec": {"ports": [{"port": port}]},
    }
    return (services, Key(where, name), BY_NAME["Service"].parse(raw).value)


class World:
    def __init__(self) -> None:
        self.graph = Graph()
        self.sight = Sight(lambda table: self.graph.rows(table).values)

    def write(self, *writes: Any) -> dict[str, int]:
        self.graph.commit(self.sight.seen(writes))
        return self.shown()

    def shown(self) -> dict[str, int]:
        """Namespace/name of the Services in sight -> their port."""
        found = self.graph.rows(services).values
        return {f"{key.namespace}/{key.name}": value.ports[0].port for key, value in found.items()}


def test_without_selectors_everything_is_seen() -> None:
    assert World().write(service("one"), service("two")) == {"one/a": 80, "two/a": 80}


def test_selectors_hide_what_is_there_and_what_comes() -> None:
    world = World()
    world.write(service("one"), service("two"), namespace("one", mesh="on"))
    assert world.write(mesh({"matchLabels": {"mesh": "on"}})) == {"one/a": 80}
    assert world.write(service("two", "b"), service("one", "b")) == {"one/a": 80, "one/b": 80}
    # What was written while nobody saw it is there when it is seen.
    assert world.write(service("two", port=81)) == {"one/a": 80, "one/b": 80}
    assert world.write(mesh()) == {"one/a": 80, "one/b": 80, "two/a": 81, "two/b": 80}


def test_a_label_brings_a_namespace_and_takes_it_away() -> None:
    world = World()
    world.write(mesh({"matchLabels": {"mesh": "on"}}), service("one"))
    assert world.shown() == {}
    assert world.write(namespace("one", mesh="on")) == {"one/a": 80}
    assert world.write(namespace("one", mesh="off")) == {}
    assert world.write(namespace("one", mesh="on"), service("one", port=9)) == {"one/a": 9}
    assert world.write((namespaces, Key("", "one"), None)) == {}


def test_what_goes_while_hidden_does_not_come_back() -> None:
    world = World()
    world.write(mesh({"matchLabels": {"mesh": "on"}}), service("one"))
    world.write((services, Key("one", "a"), None))
    assert world.write(mesh()) == {}


def test_in_one_batch_the_write_counts_and_not_what_was_hidden() -> None:
    world = World()
    world.write(mesh({"matchLabels": {"mesh": "on"}}), service("one", port=1))
    assert world.write(service("one", port=2), mesh()) == {"one/a": 2}
    assert world.write(service("one", port=3), mesh({"matchLabels": {"mesh": "on"}})) == {}
    assert world.write((services, Key("one", "a"), None), mesh()) == {}


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_writes_comes_to_the_same(seed: int) -> None:
    draw = random.Random(seed)
    world, latest = World(), {}
    for _ in range(60):
        where = draw.choice(("one", "two", "three"))
        write = draw.choice(
            (
                mesh(*draw.choice(([], [{"matchLabels": {"mesh": "on"}}]))),
                namespace(where, mesh=draw.choice(("on", "off"))),
                service(where, port=draw.randint(1, 9)),
                (services, Key(where, "a"), None),
            )
        )
        latest[write[0], write[1]] = write
        world.write(write)
        fresh = World()
        assert world.shown() == fresh.write(*latest.values())


@pytest.mark.parametrize(
    ("selector", "labels", "seen"),
    [
        (LabelSelector(), {}, True),
        (ON, {"mesh": "on"}, True),
        (ON, {"mesh": "off"}, False),
        (LabelSelector((("kubernetes.io/metadata.name", "ns"),)), {}, True),
        (LabelSelector((), (LabelSelectorRequirement("mesh", "In", ("a", "on")),)), {"mesh": "on"}, True),
        (LabelSelector((), (LabelSelectorRequirement("mesh", "In", ("a",)),)), {}, False),
        (LabelSelector((), (LabelSelectorRequirement("mesh", "NotIn", ("a",)),)), {}, True),
        (LabelSelector((), (LabelSelectorRequirement("mesh", "NotIn", ("a",)),)), {"mesh": "a"}, False),
        (LabelSelector((), (LabelSelectorRequirement("mesh", "Exists"),)), {"mesh": ""}, True),
        (LabelSelector((), (LabelSelectorRequirement("mesh", "Exists"),)), {}, False),
        (LabelSelector((), (LabelSelectorRequirement("mesh", "DoesNotExist"),)), {}, True),
        (LabelSelector(ON.match_labels, (LabelSelectorRequirement("x", "Exists"),)), {"mesh": "on"}, False),
    ],
)
def test_selectors_as_kubernetes_means_them(
    selector: LabelSelector, labels: dict[str, str], seen: bool
) -> None:
    assert is_discovered("ns", tuple(labels.items()), [selector]) is seen
    assert is_discovered("ns", tuple(labels.items()), [selector, LabelSelector()]) is True
