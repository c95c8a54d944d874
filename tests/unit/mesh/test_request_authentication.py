"""Which RequestAuthentications hold for a workload, and what they say together."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from controlplane.mesh.checks import checks
from controlplane.mesh.key_sets import wanted_key_sets
from controlplane.mesh.projections import Security
from controlplane.mesh.remote_keys import MODE, RemoteKeys, key_fetching
from controlplane.mesh.request_authentication import JwtProvider, JwtRules, jwt_rules
from controlplane.mesh.routing_ir import ClaimMatch, TextMatch
from controlplane.mesh.routing_match import translate_match
from controlplane.model.jwks import NOBODYS_KEYS, read_key_set
from controlplane.model.keys import Key, Ref
from controlplane.model.kinds.http_match import HTTPMatchRequest, StringMatch
from controlplane.model.kinds.key_set import KEY_SET, key_set_object
from tests.unit.mesh.world import World, pod

URI = "https://a.example/keys"
KEYS = read_key_set(
    json.dumps({"keys": [{"kty": "RSA", "n": "x" + "A" * 200 + "Q", "e": "AQAB"}]}),
).text


def policy(name: str, *rules: str, namespace: str = "default", selector: str = "", created: str = "") -> str:
    chosen = f"  selector: {{matchLabels: {{{selector}}}}}\n" if selector else ""
    return (
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\n"
        f"metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: '{created}'}}\n"
        f"spec:\n{chosen}  jwtRules: [{', '.join(rules)}]\n---\n"
    )


def rule(issuer: str, more: str = "") -> str:
    return f"{{issuer: '{issuer}', jwks: '{NOBODYS_KEYS}'{more}}}"


FETCHED = f"{{issuer: a, jwksUri: '{URI}'}}"


class Requests(World):
    def inforce(self, namespace: str = "default", **labels: str) -> list[str]:
        proxy = self.view(
            f"sidecar~10.0.0.1~a.{namespace}~{namespace}.svc.cluster.local",
            {"NAMESPACE": namespace, "LABELS": labels},
        )
        assert proxy.inbound is not None
        return [f"{key.namespace}/{key.name}" for key in proxy.inbound.security.requests]

    def rules(self, *keys: Key) -> JwtRules:
        found: JwtRules = self.read(jwt_rules, "default", Security(requests=keys))
        return found

    def fetched(self, keys: str, fault: str = "") -> None:
        parsed = KEY_SET.parse(key_set_object(URI, keys, fault))
        assert parsed.problems == ()
        self.graph.commit([(KEY_SET.table, parsed.key, parsed.value)])

    def problems(self) -> list[Any]:
        found = self.map(checks)
        return list(found.get(Ref("RequestAuthentication", "default", "p"), ()))


def test_the_meshs_and_the_namespaces_own_and_those_that_select() -> None:
    world = Requests(
        policy("mesh", rule("a"), namespace="istio-system")
        + policy("mesh-web", rule("a"), namespace="istio-system", selector="app: web")
        + policy("own", rule("a"))
        + policy("own-web", rule("a"), selector="app: web")
        + policy("own-other", rule("a"), selector="app: other")
        + policy("foreign", rule("a"), namespace="elsewhere")
    )
    assert world.inforce(app="web") == [
        "istio-system/mesh",
        "istio-system/mesh-web",
        "default/own",
        "default/own-web",
    ]
    assert world.inforce() == ["istio-system/mesh", "default/own"]
    assert world.inforce("istio-system") == ["istio-system/mesh"]


def test_older_policies_come_first() -> None:
    world = Requests(
        policy("a", rule("a"), created="2024-02-01T00:00:00Z")
        + policy("b", rule("a"), created="2024-01-01T00:00:00Z")
    )
    assert world.inforce() == ["default/b", "default/a"]


def test_rules_are_sorted_by_issuer_and_equal_for_equal_content() -> None:
    world = Requests(
        policy("p", rule("b"), rule("a")) + policy("q", rule("c"), rule("a", ", fromParams: [x]"))
    )
    p, q = Key("default", "p"), Key("default", "q")
    assert [one.issuer for one in world.rules(p, q).providers] == ["a", "a", "b", "c"]
    assert [one.params for one in world.rules(p, q).providers[:2]] == [(), ("x",)]
    assert [one.params for one in world.rules(q, p).providers[:2]] == [("x",), ()]
    assert world.rules() == JwtRules()
    world.apply(policy("r", rule("a"), rule("b")))
    assert world.rules(Key("default", "r")) == world.rules(p)
    assert world.rules(Key("default", "gone")) == JwtRules()


def test_every_field_of_a_rule_counts() -> None:
    fields = (
        ", audiences: [x, y], fromHeaders: [{name: h, prefix: p}], fromParams: [q], fromCookies: [c],"
        " forwardOriginalToken: true, outputPayloadToHeader: x-all, presence: REQUIRED,"
        " outputClaimToHeaders: [{header: x-sub, claim: sub}], spaceDelimitedClaims: [roles]"
    )
    world = Requests(policy("p", rule("a"), rule("b", fields)))
    plain, full = world.rules(Key("default", "p")).providers
    assert plain == JwtProvider("a", NOBODYS_KEYS, space_delimited=("scope", "permission"))
    assert (plain.forward, plain.required, plain.payload_header) == (False, False, "")
    assert full == JwtProvider(
        issuer="b",
        keys=NOBODYS_KEYS,
        audiences=("x", "y"),
        headers=(("h", "p"),),
        params=("q",),
        cookies=("c",),
        forward=True,
        payload_header="x-all",
        claim_headers=(("x-sub", "sub"),),
        space_delimited=("scope", "permission", "roles"),
        required=True,
    )


def test_keys_that_were_not_fetched_are_nobodys() -> None:
    world = Requests(policy("p", FETCHED))
    key = Key("default", "p")
    assert world.rules(key).providers[0].keys == NOBODYS_KEYS
    world.fetched("", "answers 500")
    assert world.rules(key).providers[0].keys == NOBODYS_KEYS
    world.fetched(KEYS)
    assert world.rules(key).providers[0].keys == KEYS
    with world.counting() as runs:
        world.fetched(KEYS, "answers 500")
        assert world.rules(key).providers[0].keys == KEYS
    # A failure is told and changes nothing for tokens.
    assert runs["request_authentication.jwt_rules"] == 0


def test_a_failed_fetch_is_a_problem_of_the_policy() -> None:
    world = Requests(policy("p", rule("b"), FETCHED))
    assert world.problems() == []
    world.fetched("", "answers 500")
    (told,) = world.problems()
    assert (told.level, told.field) == ("warning", "spec.jwtRules[1].jwksUri")
    assert told.message == f"'{URI}' answers 500; tokens of issuer 'a' are refused until it is there"
    assert "jwks" in told.remedy
    world.fetched(KEYS, "answers 500")
    (told,) = world.problems()
    assert told.message == f"'{URI}' answers 500; the one that was fetched last stays in use"
    world.fetched(KEYS)
    assert world.problems() == []


def test_a_selector_that_selects_nobody() -> None:
    world = Requests(policy("p", rule("a"), selector="app: b") + pod("a", "10.0.0.1", "app: a"))
    (told,) = world.problems()
    assert (
        told.message == "no workload of namespace default has the labels app=b: the policy holds for nobody"
    )
    world.apply(pod("b", "10.0.0.2", "app: b"))
    assert world.problems() == []


def test_which_key_sets_are_wanted() -> None:
    twice = f"{{issuer: b, jwksUri: '{URI}', timeout: 100ms}}"
    world = Requests(policy("p", twice, FETCHED, rule("b"), "{issuer: 'https://c.example', timeout: 1s}"))
    metadata = "https://c.example/.well-known/openid-configuration"
    assert world.map(wanted_key_sets) == {URI: 5.0, metadata: 1.0}
    world.apply(policy("q", f"{{issuer: d, jwksUri: '{URI}', timeout: 9h}}"))
    assert world.map(wanted_key_sets) == {URI: 5.0, metadata: 1.0}
    world.delete("RequestAuthentication", "p")
    assert world.map(wanted_key_sets) == {URI: 30.0}
    world.delete("RequestAuthentication", "q")
    assert world.map(wanted_key_sets) == {}


def test_a_change_of_a_policy_moves_no_workload() -> None:
    world = Requests(policy("p", rule("a")))
    assert world.inforce() == ["default/p"]
    with world.counting() as runs:
        world.apply(policy("p", rule("b")))
        assert world.inforce() == ["default/p"]
    assert runs["proxies.proxy_view"] == 0


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("@request.auth.claims.sub", ("sub",)),
        ("@request.auth.claims.a.b", ("a", "b")),
        ("@request.auth.claims[a]", ("a",)),
        ("@request.auth.claims[a][b.c]", ("a", "b.c")),
        ("@request.auth.claims[https://x/roles]", ("https://x/roles",)),
    ],
)
def test_claims(name: str, path: tuple[str, ...]) -> None:
    exact = StringMatch("exact", "v")
    match = HTTPMatchRequest(headers=((name, exact),), without_headers=((name, StringMatch("present")),))
    found = translate_match(match, claims=True)
    assert found.claims == (
        ClaimMatch(path, TextMatch("exact", "v")),
        ClaimMatch(path, TextMatch("present"), invert=True),
    )
    assert found.headers == ()
    assert not found.catches_all
    assert translate_match(match).claims == ()


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: idp, namespace: auth}
spec: {clusterIP: 10.0.0.5, ports: [{name: http, port: 8080}, {name: https, port: 443}]}
---
"""
HOST = "idp.auth.svc.cluster.local"


@pytest.mark.parametrize(
    ("uri", "hybrid", "envoy"),
    [
        (f"http://{HOST}:8080/keys", (HOST, 8080, False, True), (HOST, 8080, False, True)),
        (f"https://{HOST}/keys", (HOST, 443, True, False), (HOST, 443, True, False)),
        (f"http://{HOST}/keys", None, (HOST, 80, False, False)),
        ("https://a.example/keys", None, ("a.example", 443, True, False)),
    ],
)
def test_who_fetches(uri: str, hybrid: Any, envoy: Any) -> None:
    for mode, expected in (("istiod", None), ("hybrid", hybrid), ("envoy", envoy)):
        world = Requests(SERVICE + policy("p", f"{{issuer: a, jwksUri: '{uri}', timeout: 2s}}", rule("b")))
        world.graph.commit([(key_fetching, MODE, mode)])
        first, second = world.rules(Key("default", "p")).providers
        assert (second.remote, second.keys) == (None, NOBODYS_KEYS)
        if expected is None:
            assert (first.remote, first.keys) == (None, NOBODYS_KEYS)
        else:
            assert first == first._replace(remote=RemoteKeys(uri, 2_000_000_000, *expected), keys="")
        assert world.map(wanted_key_sets) == ({} if mode == "envoy" else {uri: 2.0})


def test_only_the_control_plane_asks_where_keys_are() -> None:
    world = Requests(policy("p", "{issuer: 'https://c.example'}"))
    world.graph.commit([(key_fetching, MODE, "envoy")])
    assert world.rules(Key("default", "p")).providers[0].remote is None
    assert len(world.map(wanted_key_sets)) == 1


@pytest.mark.parametrize("seed", range(3))
def test_edited_equals_fresh(seed: int) -> None:
    """After any edits of policies and fetched keys: rules, wanted URIs and Problems as from nothing."""
    chance = random.Random(seed)
    world = Requests(SERVICE)
    texts: dict[str, str] = {}
    keys: tuple[str, str] | None = None
    mode = "istiod"
    for _ in range(30):
        name = chance.choice("pqr")
        namespace = chance.choice(("default", "istio-system"))
        what = chance.randrange(5)
        if what == 0 and texts.pop(f"{namespace}/{name}", None):
            world.delete("RequestAuthentication", name, namespace)
        elif what == 1:
            keys = (chance.choice(("", KEYS)), chance.choice(("", "answers 500")))
            world.fetched(*keys)
        elif what == 2:
            mode = chance.choice(("istiod", "hybrid", "envoy"))
            world.graph.commit([(key_fetching, MODE, mode)])
        else:
            rules = chance.choices((rule("b"), rule("a"), FETCHED), k=chance.randint(1, 3))
            created = f"2024-01-0{chance.randint(1, 3)}T00:00:00Z"
            selector = chance.choice(("", "app: web"))
            text = policy(name, *rules, namespace=namespace, selector=selector, created=created)
            texts[f"{namespace}/{name}"] = text
            world.apply(text)
        fresh = Requests(SERVICE + "".join(texts.values()))
        fresh.graph.commit([(key_fetching, MODE, mode)])
        if keys is not None:
            fresh.fetched(*keys)
        for labels in ({}, {"app": "web"}):
            assert world.inforce(**labels) == fresh.inforce(**labels)
            found = tuple(Key(*one.split("/")) for one in fresh.inforce(**labels))
            assert world.rules(*found) == fresh.rules(*found)
        assert world.map(wanted_key_sets) == fresh.map(wanted_key_sets)
        assert world.problems() == fresh.problems()
