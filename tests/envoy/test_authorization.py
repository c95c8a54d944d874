"""Real Envoys enforce AuthorizationPolicies on HTTP: those of the seeds, and what goes with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.envoys import MARKS, scenes
from tests.support.guarded import UNNAMED, WEB, Scene, bearer, policy

pytestmark = MARKS

world = scenes(Scene)


@pytest.fixture
def scene(world: Scene) -> Iterator[Scene]:
    """Each test starts without policies, and no Envoy may have refused what they came to."""
    world.clear()
    yield world
    for pod in (world.web, world.sleep, world.dev):
        assert pod.admin.rejected() == {}


def test_allow_all_and_deny_all(scene: Scene) -> None:
    scene.write("policy", policy("deny-all", "{}"))
    assert scene.becomes(403, scene.sleep)
    assert scene.get(scene.legacy).body == b"RBAC: access denied"
    # A port that no service names is closed too.
    assert scene.status(scene.legacy, port=UNNAMED) == 403
    scene.write("more", policy("allow-all", "{rules: [{}]}"))
    assert scene.becomes(200, scene.sleep)
    assert scene.status(scene.legacy) == 200
    assert scene.status(scene.legacy, port=UNNAMED) == 200


def test_deny_all_for_the_mesh(scene: Scene) -> None:
    scene.write("policy", policy("deny-all", "{}", namespace="istio-system"))
    assert scene.becomes(403, scene.sleep)
    scene.write("policy", policy("deny-all", "{}", namespace="another"))
    assert scene.becomes(200, scene.sleep)


def test_public_methods_and_then_only_for_the_authenticated(scene: Scene) -> None:
    where = "selector: {matchLabels: {app: web, version: v1}}"
    to = 'to: [{operation: {methods: ["GET", "POST"]}}]'
    scene.write("policy", policy("httpbin", f"{{{where}, rules: [{{{to}}}]}}"))
    assert scene.becomes(403, scene.legacy, method="DELETE")
    assert scene.status(scene.legacy) == 200
    assert scene.status(scene.sleep, method="POST") == 200
    assert scene.status(scene.sleep, method="PUT") == 403
    source = 'from: [{source: {principals: ["*"]}}]'
    scene.write("policy", policy("httpbin", f"{{{where}, rules: [{{{source}, {to}}}]}}"))
    assert scene.becomes(403, scene.legacy)
    assert scene.status(scene.sleep) == 200
    assert scene.status(scene.sleep, method="PUT") == 403


def test_a_policy_for_other_labels_holds_for_others(scene: Scene) -> None:
    scene.write(
        "policy",
        policy("v2", "{selector: {matchLabels: {app: web, version: v2}}, action: DENY, rules: [{}]}"),
    )
    scene.write("mark", policy("mark", '{action: DENY, rules: [{to: [{operation: {paths: ["/mark"]}}]}]}'))
    assert scene.becomes(403, scene.sleep, "/mark")
    assert scene.status(scene.sleep) == 200


FULL = """{
  selector: {matchLabels: {app: web, version: v1}},
  rules: [{
    from: [
      {source: {principals: ["cluster.local/ns/default/sa/sleep"]}},
      {source: {namespaces: ["dev"]}}],
    to: [{operation: {methods: ["GET"], paths: ["/info*"]}}],
    when: [{key: "request.auth.claims[groups]", values: ["group1"]}]}]}"""


def test_the_full_example(scene: Scene) -> None:
    scene.write("policy", policy("httpbin", FULL))
    assert scene.becomes(403, scene.sleep, "/info")
    good = bearer(groups=["group2", "group1"])
    for pod in (scene.sleep, scene.dev):
        assert scene.status(pod, "/info", headers=good) == 200
        assert scene.status(pod, "/information?x=y", headers=bearer(groups="group1")) == 200
        assert scene.status(pod, "/", headers=good) == 403
        assert scene.status(pod, "/info", headers=good, method="POST") == 403
        assert scene.status(pod, "/info", headers=bearer(groups=["group2"])) == 403
        assert scene.status(pod, "/info") == 403
    assert scene.status(scene.legacy, "/info", headers=good) == 403


def test_deny_without_rules_and_with_one(scene: Scene) -> None:
    selector = "selector: {matchLabels: {app: web}}, action: DENY"
    mark = policy("mark", '{action: DENY, rules: [{to: [{operation: {paths: ["/mark"]}}]}]}')
    scene.write("policy", policy("deny-ratings", f"{{{selector}}}") + mark)
    assert scene.becomes(403, scene.sleep, "/mark")
    assert scene.status(scene.sleep) == 200
    (told,) = (one for one in scene.plane.get("/debug/problems") if one["name"] == "deny-ratings")
    assert told["message"] == "is missing: DENY without rules matches nothing"
    scene.write("policy", policy("deny-ratings", f"{{{selector}, rules: [{{}}]}}"))
    assert scene.becomes(403, scene.sleep)


def test_reading_for_jason_alone(scene: Scene) -> None:
    spec = """{selector: {matchLabels: {app: web}}, rules: [{
      from: [{source: {requestPrincipals: ["*"]}}],
      to: [{operation: {methods: ["GET"]}}],
      when: [{key: "request.headers[x-end-user]", values: ["jason"]}]}]}"""
    scene.write("policy", policy("allow-jason", spec))
    assert scene.becomes(403, scene.sleep)
    jason = {"x-end-user": "jason"}
    assert scene.status(scene.sleep, headers=jason | bearer()) == 200
    assert scene.status(scene.sleep, headers=jason) == 403
    assert scene.status(scene.sleep, headers=bearer()) == 403
    assert scene.status(scene.sleep, headers={"x-end-user": "jasons"} | bearer()) == 403
    assert scene.status(scene.sleep, headers=jason | bearer(), method="POST") == 403


def test_denial_comes_before_allowance(scene: Scene) -> None:
    allow = policy("allow", "{rules: [{}]}")
    deny = policy("deny", '{action: DENY, rules: [{from: [{source: {notNamespaces: ["dev"]}}]}]}')
    scene.write("policy", allow + deny)
    assert scene.becomes(403, scene.sleep)
    assert scene.status(scene.legacy) == 403
    assert scene.status(scene.dev) == 200


def test_principals_of_an_alias_and_names_of_the_rule(scene: Scene) -> None:
    spec = '{action: DENY, rules: [{}, {from: [{source: {principals: ["cluster.local/ns/dev/sa/*"]}}]}]}'
    scene.write("policy", policy("p", spec.replace("{}, ", "")))
    assert scene.becomes(403, scene.dev)
    assert scene.status(scene.sleep) == 200
    dump = scene.web.admin.config_dump("resource=dynamic_route_configs")
    assert "ns[foo]-policy[p]-rule[0]" in str(dump)


TEMPLATES = """{rules: [{to: [{operation: {
    paths: ["/users/{*}", "/files/{**}", "/a/{*}/b", "/site/{*}/{**}"]}}]}]}"""


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/users/7", 200),
        ("/users/7?x=/y", 200),
        ("/users/7/8", 403),
        ("/users", 403),
        ("/users/", 403),
        ("/files/a/b/c.txt", 200),
        ("/files/", 200),
        ("/files", 403),
        ("/a/x/b", 200),
        ("/a/x/y/b", 403),
        ("/site/x/y/z", 200),
        ("/site/x", 403),
        ("/USERS/7", 403),
    ],
)
def test_path_templates(world: Scene, path: str, status: int) -> None:
    world.write("policy", policy("templates", TEMPLATES))
    assert world.becomes(403, world.sleep, "/none")
    assert world.status(world.sleep, path) == status


def test_audit_marks_and_lets_pass(scene: Scene) -> None:
    audit = policy("audit", '{action: AUDIT, rules: [{to: [{operation: {paths: ["/noted*"]}}]}]}')
    mark = policy("mark", '{action: DENY, rules: [{to: [{operation: {paths: ["/mark"]}}]}]}')
    scene.write("policy", audit + mark)
    assert scene.becomes(403, scene.sleep, "/mark")
    assert [scene.status(scene.sleep, path) for path in ("/noted-1", "/plain-1")] == [200, 200]
    assert scene.logged("true /noted-1 via_upstream")
    assert scene.logged("false /plain-1 via_upstream")
    assert scene.logged("/mark rbac_access_denied_matched_policy[ns[foo]-policy[mark]-rule[0]]")


def test_a_dry_run_is_counted_and_refuses_nobody(scene: Scene) -> None:
    tried = policy("tried", '{rules: [{to: [{operation: {paths: ["/ok"]}}]}]}', dry_run=True)
    denied = policy("denied", '{action: DENY, rules: [{to: [{operation: {paths: ["/no"]}}]}]}', dry_run=True)
    mark = policy("mark", '{action: DENY, rules: [{to: [{operation: {paths: ["/mark"]}}]}]}')
    scene.write("policy", tried + denied + mark)
    assert scene.becomes(403, scene.sleep, "/mark")
    names = ("allow_.shadow_allowed", "allow_.shadow_denied", "deny_.shadow_denied", "deny_.shadow_allowed")
    before = [scene.counted(f"rbac.istio_dry_run_{name}") for name in names]
    assert [scene.status(scene.sleep, path) for path in ("/ok", "/no", "/other")] == [200, 200, 200]
    after = [scene.counted(f"rbac.istio_dry_run_{name}") for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 2, 1, 2]


def test_addresses(scene: Scene) -> None:
    spec = f'{{rules: [{{from: [{{source: {{ipBlocks: ["{WEB}/31", "10.244.0.12"]}}}}]}}]}}'
    scene.write("policy", policy("addresses", spec))
    assert scene.becomes(403, scene.legacy)
    assert scene.status(scene.sleep) == 200
    assert scene.status(scene.dev) == 200
    # The port that an operation names is the workload's.
    scene.write("policy", policy("ports", '{rules: [{to: [{operation: {ports: ["8080"]}}]}]}'))
    assert scene.becomes(200, scene.legacy)
    assert scene.status(scene.legacy, port=UNNAMED) == 403
