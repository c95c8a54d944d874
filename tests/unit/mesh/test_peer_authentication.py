"""Which PeerAuthentications hold for a workload, and what they say together."""

from __future__ import annotations

import random
from typing import Any

import pytest

from controlplane.graph import Q, query
from controlplane.mesh.peer_authentication import (
    PeerModes,
    TakesMutual,
    namespace_policies,
    peer_modes,
    peer_policies,
    takes_mutual,
)
from controlplane.model.keys import Key, Labels
from tests.unit.mesh.world import World

APP: Labels = (("app", "a"), ("version", "v1"))


def policy(where: str, mode: str = "", *, selector: str = "", ports: str = "", created: str = "") -> str:
    namespace, _, name = where.partition("/")
    parts = [f"mtls: {{mode: {mode}}}"] if mode else []
    parts += [f"selector: {{matchLabels: {{{selector}}}}}"] if selector else []
    parts += [f"portLevelMtls: {{{ports}}}"] if ports else []
    return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created!r}}}
spec: {{{", ".join(parts)}}}
---
"""


@query
def policies(q: Q, namespace: str, labels: Labels) -> tuple[Key, ...]:
    return peer_policies(q, namespace, labels)


def modes(text: str, namespace: str = "default", labels: Labels = APP) -> PeerModes:
    world = World(text)
    found: PeerModes = world.read(peer_modes, world.read(policies, namespace, labels))
    return found


ROOT, SPACE = policy("istio-system/mesh", "STRICT"), policy("default/space", "PERMISSIVE")
OWN = policy("default/own", "DISABLE", selector="app: a")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "PERMISSIVE"),
        (ROOT, "STRICT"),
        (ROOT + SPACE, "PERMISSIVE"),
        (ROOT + SPACE + OWN, "DISABLE"),
        # What is unset comes from the next.
        (ROOT + policy("default/space"), "STRICT"),
        (ROOT + policy("default/space", "UNSET") + policy("default/own", selector="app: a"), "STRICT"),
        (policy("istio-system/mesh", "UNSET"), "PERMISSIVE"),
        # Others' words.
        (policy("other/space", "STRICT"), "PERMISSIVE"),
        (policy("default/own", "STRICT", selector="app: b"), "PERMISSIVE"),
        (policy("default/own", "STRICT", selector="app: a, version: v2"), "PERMISSIVE"),
        # The root namespace chooses no workloads of others.
        (policy("istio-system/own", "STRICT", selector="app: a"), "PERMISSIVE"),
    ],
)
def test_the_nearest_word_counts(text: str, expected: str) -> None:
    assert modes(text) == PeerModes(expected)


def test_the_oldest_of_a_place_counts_alone() -> None:
    old = policy("default/z", "UNSET", created="2024-01-01T00:00:00Z")
    young = policy("default/a", "STRICT", created="2024-02-01T00:00:00Z")
    assert modes(ROOT + old + young).default == "STRICT"
    assert modes(old + young).default == "PERMISSIVE"
    same = policy("default/b", "DISABLE", created="2024-02-01T00:00:00Z")
    assert modes(young + same).default == "STRICT"


def test_a_workload_has_at_most_three() -> None:
    world = World(ROOT + SPACE + OWN + policy("default/more", "STRICT", selector="version: v1"))
    expected = (Key("default", "more"), Key("default", "space"), Key("istio-system", "mesh"))
    assert world.read(policies, "default", APP) == expected
    assert world.read(policies, "default", ()) == expected[1:]
    assert world.read(namespace_policies, "istio-system") == expected[2:]


def test_a_workload_of_the_root_namespace_has_the_meshs_word() -> None:
    text = ROOT + policy("istio-system/own", "DISABLE", selector="app: a")
    assert modes(text, "istio-system") == PeerModes("STRICT")


def test_ports() -> None:
    ports = "8080: {mode: DISABLE}, '9090': {mode: UNSET}, 7070: {mode: STRICT}"
    assert modes(ROOT + policy("default/own", selector="app: a", ports=ports)) == PeerModes(
        "STRICT", ((8080, "DISABLE"),)
    )
    found = modes(policy("default/own", "PERMISSIVE", selector="app: a", ports=ports))
    assert found == PeerModes("PERMISSIVE", ((7070, "STRICT"), (8080, "DISABLE")))
    assert [found.at(port) for port in (7070, 8080, 9090)] == ["STRICT", "DISABLE", "PERMISSIVE"]


def test_clients_see_no_difference_between_permissive_and_strict() -> None:
    world = World(ROOT)
    before = world.read(takes_mutual, "default")
    assert before == TakesMutual(True)
    world.apply(policy("istio-system/mesh", "PERMISSIVE"))
    assert world.read(takes_mutual, "default") is before


def random_policy(chance: random.Random) -> str:
    namespace = chance.choice(("default", "istio-system"))
    options: dict[str, Any] = {"created": f"2024-01-0{chance.randrange(1, 4)}T00:00:00Z"}
    if chance.random() < 0.6:
        options["selector"] = chance.choice(("app: a", "app: b", "version: v1", "app: a, version: v1"))
        if chance.random() < 0.5:
            options["ports"] = f"80: {{mode: {chance.choice(('DISABLE', 'STRICT', 'UNSET'))}}}"
    mode = chance.choice(("", "UNSET", "DISABLE", "PERMISSIVE", "STRICT"))
    return policy(f"{namespace}/{chance.choice('pqrs')}", mode, **options)


def test_what_clients_expect_is_what_servers_do() -> None:
    """Two ways to the same answer: one asks for a workload, the other for a namespace once."""
    chance = random.Random(1)
    world = World()
    kinds = set()
    for _ in range(200):
        world.apply(random_policy(chance))
        for namespace in ("default", "istio-system"):
            takes = world.read(takes_mutual, namespace)
            for labels in ((), APP, (("app", "b"),), (("version", "v1"),)):
                said = world.read(peer_modes, world.read(policies, namespace, labels))
                for port in (80, 81):
                    assert takes.at(labels, port) == (said.at(port) != "DISABLE")
                    kinds.add((takes.at(labels, port), takes.default))
    assert len(kinds) == 4
