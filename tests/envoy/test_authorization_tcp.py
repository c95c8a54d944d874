"""AuthorizationPolicies on ports without HTTP, on real Envoys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.envoys import MARKS, scenes
from tests.support.guarded import TCP, Scene, bearer, policy

pytestmark = MARKS

world = scenes(Scene)


@pytest.fixture
def scene(world: Scene) -> Iterator[Scene]:
    world.clear()
    yield world
    assert world.web.admin.rejected() == {}


def test_who_may_connect(scene: Scene) -> None:
    spec = '{rules: [{from: [{source: {principals: ["cluster.local/ns/default/sa/sleep"]}}]}]}'
    scene.write("policy", policy("sleep", spec))
    assert scene.becomes(None, scene.dev, port=TCP)
    assert scene.status(scene.legacy, port=TCP) is None
    assert scene.status(scene.sleep, port=TCP) == 200
    assert [scene.status(pod) for pod in (scene.sleep, scene.dev, scene.legacy)] == [200, 403, 403]


def test_an_allowance_by_http_allows_no_connection(scene: Scene) -> None:
    rules = '[{to: [{operation: {methods: ["GET"]}}]}, {from: [{source: {namespaces: ["dev"]}}]}]'
    scene.write("policy", policy("get", f"{{rules: {rules}}}"))
    assert scene.becomes(None, scene.sleep, port=TCP)
    assert scene.status(scene.dev, port=TCP) == 200
    assert scene.status(scene.sleep) == 200
    assert scene.status(scene.sleep, method="POST") == 403


def test_a_denial_by_http_denies_more_connections(scene: Scene) -> None:
    rule = '{from: [{source: {namespaces: ["dev"]}}], to: [{operation: {methods: ["DELETE"]}}]}'
    scene.write("policy", policy("deny", f"{{action: DENY, rules: [{rule}]}}"))
    assert scene.becomes(None, scene.dev, port=TCP)
    assert scene.status(scene.sleep, port=TCP) == 200
    assert scene.status(scene.dev) == 200
    assert scene.status(scene.dev, method="DELETE") == 403


def test_a_denial_by_token_alone_denies_every_connection(scene: Scene) -> None:
    rule = '{from: [{source: {notRequestPrincipals: ["*"]}}]}'
    scene.write("policy", policy("deny", f"{{action: DENY, rules: [{rule}]}}"))
    assert scene.becomes(None, scene.sleep, port=TCP)
    assert scene.status(scene.sleep) == 403
    assert scene.status(scene.sleep, headers=bearer()) == 200


def test_one_port(scene: Scene) -> None:
    rule = f'{{to: [{{operation: {{ports: ["{TCP}"]}}}}]}}'
    scene.write("policy", policy("deny", f"{{action: DENY, rules: [{rule}]}}"))
    assert scene.becomes(None, scene.sleep, port=TCP)
    assert scene.status(scene.sleep) == 200


def test_a_dry_run_refuses_no_connection(scene: Scene) -> None:
    tried = policy("tried", "{action: DENY, rules: [{}]}", dry_run=True)
    rule = '{from: [{source: {namespaces: ["dev"]}}]}'
    scene.write("policy", tried + policy("mark", f"{{action: DENY, rules: [{rule}]}}"))
    assert scene.becomes(None, scene.dev, port=TCP)
    before = scene.counted("^tcp.rbac.istio_dry_run_deny_.shadow_denied")
    assert scene.status(scene.sleep, port=TCP) == 200
    assert scene.counted("^tcp.rbac.istio_dry_run_deny_.shadow_denied") == before + 1
