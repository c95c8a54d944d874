"""CUSTOM policies on real Envoys: an external authorizer is asked, by HTTP and by gRPC."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.lab.fetch import Target, connect
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.guarded import HTTP, TCP, UNNAMED, VIP, Scene, bearer, policy

pytestmark = MARKS

ALLOW = {"x-ext-authz": "allow"}

world = scenes(Scene)


@pytest.fixture
def scene(world: Scene) -> Iterator[Scene]:
    world.clear()
    # That is not seen where no policy stood in the way.
    assert world.becomes(200, world.sleep, "/guarded")
    yield world
    assert world.web.admin.rejected() == {}


def custom(name: str, provider: str, rules: str) -> str:
    return policy(name, f"{{action: CUSTOM, provider: {{name: {provider}}}, rules: {rules}}}")


def on(path: str) -> str:
    return f'[{{to: [{{operation: {{paths: ["{path}"]}}}}]}}]'


def asked(scene: Scene, by: str) -> list[dict[str, Any]]:
    return [check for check in scene.checks() if check["by"] == by]


@pytest.mark.parametrize(("provider", "by"), [("ext-http", "http"), ("ext-grpc", "grpc")])
def test_only_what_the_policy_names_is_asked_about(scene: Scene, provider: str, by: str) -> None:
    scene.write("policy", custom("ask", provider, on("/guarded*")))
    assert scene.becomes(403, scene.sleep, "/guarded")
    answer = scene.get(scene.sleep, "/guarded/1")
    assert (answer.status, answer.body) == (403, f"refused by {by}".encode())
    assert answer.headers.get("x-reason") == ("no header" if by == "http" else None)
    answer = scene.get(scene.sleep, "/guarded/2", headers=ALLOW)
    assert answer.status == 200
    assert answer.json()["headers"]["x-authorized-by"] == by
    before = len(asked(scene, by))
    assert scene.status(scene.sleep, "/open") == 200
    assert len(asked(scene, by)) == before
    last = asked(scene, by)[-1]
    assert last["path"] == ("/check/guarded/2" if by == "http" else "/guarded/2")
    assert last["headers"]["x-ext-authz"] == "allow"
    assert last["headers"].get("x-mesh") == ("yes" if by == "http" else None)


def test_custom_then_denial_then_allowance(scene: Scene) -> None:
    allow = policy("allow", '{rules: [{from: [{source: {namespaces: ["default"]}}]}]}')
    deny = policy("deny", '{action: DENY, rules: [{to: [{operation: {methods: ["DELETE"]}}]}]}')
    scene.write("policy", custom("ask", "ext-grpc", "[{}]") + allow + deny)
    assert scene.becomes(403, scene.sleep)
    assert wait_until(lambda: scene.get(scene.sleep).body == b"refused by grpc", 40)
    assert scene.status(scene.sleep, headers=ALLOW) == 200
    assert scene.get(scene.sleep, method="DELETE", headers=ALLOW).body == b"RBAC: access denied"
    assert scene.get(scene.dev, headers=ALLOW).body == b"RBAC: access denied"


def test_two_providers_are_asked_each_about_its_own(scene: Scene) -> None:
    scene.write("policy", custom("a", "ext-http", on("/a*")) + custom("b", "ext-grpc", on("*b")))
    assert scene.becomes(403, scene.sleep, "/a")
    assert scene.becomes(403, scene.sleep, "/b")
    assert scene.get(scene.sleep, "/a").body == b"refused by http"
    assert scene.get(scene.sleep, "/b").body == b"refused by grpc"
    counts = len(asked(scene, "http")), len(asked(scene, "grpc"))
    assert scene.status(scene.sleep, "/ab", headers=ALLOW) == 200
    assert (len(asked(scene, "http")), len(asked(scene, "grpc"))) == (counts[0] + 1, counts[1] + 1)
    assert scene.status(scene.sleep, "/none") == 200


def test_an_unknown_provider_denies_what_the_policy_names(scene: Scene) -> None:
    scene.write("policy", custom("ask", "nobody", on("/guarded")))
    assert scene.becomes(403, scene.sleep, "/guarded")
    assert scene.status(scene.sleep, "/guarded", headers=ALLOW) == 403
    assert scene.status(scene.sleep, "/open") == 200
    (told,) = (one for one in scene.plane.get("/debug/problems") if one["field"] == "spec.provider.name")
    assert "'nobody'" in told["message"]


def test_a_rule_comes_and_goes_without_the_listener(scene: Scene) -> None:
    scene.write("policy", custom("ask", "ext-http", on("/one")))
    assert scene.becomes(403, scene.sleep, "/one")
    updates = scene.web.admin.stats("listener_manager.lds.update_success")
    scene.write("policy", custom("ask", "ext-http", on("/two")))
    assert scene.becomes(403, scene.sleep, "/two")
    assert scene.status(scene.sleep, "/one") == 200
    assert scene.web.admin.stats("listener_manager.lds.update_success") == updates


def test_a_body_is_shown(scene: Scene) -> None:
    scene.write("policy", custom("ask", "ext-http", on("/guarded")))
    assert scene.becomes(403, scene.sleep, "/guarded")
    connection = http.client.HTTPConnection(VIP, HTTP, timeout=20)
    connection.sock = connect(Target(scene.sleep.netns, VIP, HTTP), 5)
    with contextlib.closing(connection):
        connection.request("POST", "/guarded", b"who am I", {"host": "web.foo", **ALLOW})
        assert connection.getresponse().status == 200
    assert {"method": "POST", "body": "who am I"}.items() <= asked(scene, "http")[-1].items()


def test_the_authorizer_knows_no_token(scene: Scene) -> None:
    """It is asked before tokens are checked: a rule about them names nothing."""
    rule = '[{from: [{source: {requestPrincipals: ["*"]}}]}]'
    scene.write("policy", custom("ask", "ext-grpc", rule) + custom("mark", "ext-grpc", on("/mark")))
    assert scene.becomes(403, scene.sleep, "/mark")
    assert scene.status(scene.sleep, headers=bearer()) == 200


def test_connections_are_asked_about_by_grpc(scene: Scene) -> None:
    rule = f'[{{to: [{{operation: {{ports: ["{TCP}"], paths: ["/ignored"]}}}}]}}]'
    scene.write("policy", custom("ask", "ext-grpc", rule))
    assert scene.becomes(None, scene.dev, port=TCP)
    assert scene.status(scene.sleep, port=TCP) == 200
    assert scene.status(scene.dev) == 200
    assert scene.status(scene.dev, port=UNNAMED) == 200
