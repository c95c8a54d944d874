"""Authorization: which policies hold for whom, and what they come to."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.graph import Q, query
from controlplane.mesh.authorization import (
    TcpGuard,
    authorization_policies,
    authorization_providers,
    guards,
    tcp_guard,
)
from controlplane.mesh.authorization_ir import AllOf, AnyOf, Grant, Guards, Match, Not, Stage
from controlplane.mesh.authorization_ir import Test as Of
from controlplane.mesh.authorization_match import (
    namespace,
    principal,
    request_principal,
    service_account,
    text,
    trust_domain,
)
from controlplane.mesh.projections import Security
from controlplane.model.keys import Key, Labels
from tests.support.guarded import policy
from tests.unit.mesh.world import World

WEB: Labels = (("app", "web"), ("version", "v1"))
ANY = AllOf()


@query
def _policies(q: Q, namespace: str, labels: Labels) -> tuple[Key, ...]:
    return authorization_policies(q, namespace, labels)


@query
def _http(q: Q, security: Security) -> Guards:
    return q(guards, security.authorization, True)


@query
def _tcp(q: Q, security: Security) -> TcpGuard:
    return tcp_guard(q, "foo", security)


@query
def _providers(q: Q, security: Security) -> tuple[str, ...]:
    return tuple(one.name for one in authorization_providers(q, "foo", security))


def names(world: World, where: str = "foo", labels: Labels = WEB) -> list[str]:
    return [str(key.name) for key in world.read(_policies, where, labels)]


def secured(*policies: str) -> Security:
    return Security(authorization=tuple(Key("foo", name) for name in policies))


# -- which hold -----------------------------------------------------------------------------------------


def test_those_of_the_mesh_then_those_of_the_namespace() -> None:
    world = World(
        policy("b", "{}")
        + policy("a", "{selector: {matchLabels: {app: web}}}")
        + policy("other", "{selector: {matchLabels: {app: other}}}")
        + policy("z", "{}", namespace="istio-system")
        + policy("y", "{selector: {matchLabels: {version: v1}}}", namespace="istio-system")
        + policy("elsewhere", "{}", namespace="bar")
        + policy("target", "{targetRefs: [{kind: Gateway, name: x}]}")
    )
    assert names(world) == ["y", "z", "a", "b"]
    assert names(world, labels=()) == ["z", "b"]
    assert names(world, "bar", ()) == ["z", "elsewhere"]
    assert names(world, "istio-system", WEB) == ["y", "z"]
    world.apply("kind: MeshConfig\nrootNamespace: bar\n")
    assert names(world) == ["elsewhere", "a", "b"]


# -- what they come to ----------------------------------------------------------------------------------


def rule(name: str, number: int, *permissions: Match, who: tuple[Match, ...] = (ANY,)) -> Grant:
    return Grant(f"ns[foo]-policy[{name}]-rule[{number}]", permissions or (ANY,), who)


def test_actions_and_rules() -> None:
    world = World(
        policy("none", "{}")
        + policy("all", "{rules: [{}]}")
        + policy("deny", '{action: DENY, rules: [{to: [{operation: {methods: ["GET"]}}]}]}')
        + policy("empty", "{action: DENY}")
        + policy("audit", "{action: AUDIT, rules: [{}]}")
    )
    assert world.read(_http, secured()) == Guards()
    assert world.read(_http, secured("none")) == Guards(allow=Stage(()))
    assert world.read(_http, secured("empty")) == Guards()
    get = Of("header", "exact", "GET", (":method",))
    assert world.read(_http, secured("none", "all", "deny", "empty", "audit")) == Guards(
        audit=Stage((rule("audit", 0),)),
        deny=Stage((rule("deny", 0, get),)),
        allow=Stage((rule("all", 0),)),
    )


def test_a_dry_run_stands_apart() -> None:
    world = World(policy("dry", "{rules: [{}]}", dry_run=True) + policy("none", "{}", dry_run=True))
    assert world.read(_http, secured("dry")) == Guards(allow=Stage(None, (rule("dry", 0),)))
    assert world.read(_http, secured("none")) == Guards(allow=Stage(None, ()))


def test_one_of_each_group_and_all_of_each_field() -> None:
    spec = """{rules: [{
      from: [{source: {namespaces: [a, b], notIpBlocks: [10.0.0.0/8]}}, {source: {ipBlocks: [10.1.1.1]}}],
      to: [{operation: {ports: ["80"], notMethods: [GET, PUT]}}, {operation: {hosts: [x.com]}}],
      when: [{key: destination.ip, values: [1.1.1.1]}, {key: "request.headers[h]", notValues: [v]}]}]}"""
    (found,) = World(policy("p", spec)).read(_http, secured("p")).allow.enforced
    here = Of("destination.ip", "block", "1.1.1.1")
    not_v = Not(Of("header", "exact", "v", ("h",)))
    methods = AnyOf(tuple(Of("header", "exact", one, (":method",)) for one in ("GET", "PUT")))
    assert found.permissions == (
        AllOf((Of("destination.port", "number", "80"), Not(methods), here)),
        AllOf((Of("host", "exact", "x.com"), here)),
    )
    assert found.principals == (
        AllOf((AnyOf((namespace("a"), namespace("b"))), Not(Of("source.ip", "block", "10.0.0.0/8")), not_v)),
        AllOf((Of("source.ip", "block", "10.1.1.1"), not_v)),
    )


HTTP_FIELDS = [
    '{to: [{operation: {methods: [GET], ports: ["9"]}}]}',
    '{to: [{operation: {notMethods: [GET], ports: ["9"]}}]}',
    '{to: [{operation: {paths: [/a], ports: ["9"]}}]}',
    '{to: [{operation: {notHosts: [a.com], ports: ["9"]}}]}',
    '{to: [{operation: {ports: ["9"]}}], from: [{source: {requestPrincipals: ["*"]}}]}',
    '{to: [{operation: {ports: ["9"]}}], when: [{key: "request.headers[a]", values: [b]}]}',
    '{to: [{operation: {ports: ["9"]}}], when: [{key: "request.auth.claims[a]", notValues: [b]}]}',
    '{to: [{operation: {ports: ["9"]}}], when: [{key: request.auth.audiences, values: [b]}]}',
]


@pytest.mark.parametrize("written", HTTP_FIELDS)
def test_where_no_http_is_spoken(written: str) -> None:
    port = Of("destination.port", "number", "9")
    for action in ("ALLOW", "DENY", "AUDIT"):
        world = World(policy("p", f"{{action: {action}, rules: [{written}]}}"))
        found = world.read(_tcp, secured("p")).guards
        stage = {"ALLOW": found.allow, "DENY": found.deny, "AUDIT": found.audit}[action]
        assert stage == Stage(() if action == "ALLOW" else (rule("p", 0, port),))
        assert world.read(_http, secured("p")) != found


def test_rules_without_http_hold_everywhere() -> None:
    world = World(policy("p", '{rules: [{from: [{source: {remoteIpBlocks: ["1.1.1.1"]}}]}]}'))
    assert world.read(_tcp, secured("p")).guards == world.read(_http, secured("p"))
    assert world.read(_tcp, secured()) == TcpGuard()


MESH = """
kind: MeshConfig
extensionProviders:
- {name: grpc, envoyExtAuthzGrpc: {service: ext.example.com, port: 80}}
- {name: http, envoyExtAuthzHttp: {service: other/ext.example.com, port: 80}}
- {name: here, envoyExtAuthzHttp: {service: foo/ext.example.com, port: 80}}
- {name: port, envoyExtAuthzHttp: {service: ext.example.com, port: 81}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext, namespace: foo}
spec: {hosts: [ext.example.com], ports: [{number: 80, name: http}], resolution: STATIC}
---
"""


def asking(name: str, provider: str) -> str:
    return policy(name, f"{{action: CUSTOM, provider: {{name: {provider}}}, rules: [{{}}]}}")


def test_providers_are_asked_and_unknown_ones_deny() -> None:
    world = World(
        MESH
        + "".join(asking(name, name) for name in ("here", "grpc", "http", "port", "nobody"))
        + asking("again", "grpc")
        + policy("idle", "{action: CUSTOM, provider: {name: http}}")
    )
    known = secured("here", "grpc", "again", "idle")
    assert world.read(_providers, known) == ("grpc", "here")
    found = world.read(_http, known)
    assert [(one.name, one.cluster, one.grpc) for one, _ in found.custom] == [
        ("grpc", "outbound|80||ext.example.com", True),
        ("here", "outbound|80||ext.example.com", False),
    ]
    assert [stage for _, stage in found.custom] == [
        Stage((rule("grpc", 0), rule("again", 0))),
        Stage((rule("here", 0),)),
    ]
    assert found.deny == Stage()
    # Without a service of that name in that namespace, or without the port, nobody could be asked.
    unknown = world.read(_http, secured("http", "port", "nobody"))
    assert unknown.custom == ()
    assert [grant.name for grant in unknown.deny.enforced] == [
        f"ns[foo]-policy[{name}]-rule[0]-deny-due-to-bad-CUSTOM-action" for name in ("http", "nobody", "port")
    ]
    # Only gRPC can be asked about connections.
    assert [one.name for one, _ in world.read(_tcp, known).guards.custom] == ["grpc"]
    world.delete("ServiceEntry", "ext", "foo")
    assert world.read(_providers, known) == ()


# -- identities -----------------------------------------------------------------------------------------


def holds(match: Match, **said: str) -> bool:
    """Whether a match of peers or of claims holds for a peer, or for a token with these claims."""
    if isinstance(match, AllOf):
        return all(holds(one, **said) for one in match.of)
    if isinstance(match, AnyOf):
        return any(holds(one, **said) for one in match.of)
    if isinstance(match, Not):
        return not holds(match.of, **said)
    value = said.get(match.path[0] if match.path else match.subject)
    if value is None:
        return False
    return {
        "exact": value == match.value,
        "prefix": value.startswith(match.value) and match.value != "",
        "suffix": value.endswith(match.value) and match.value != "",
        "present": value != "",
        "regex": match.how == "regex" and re.fullmatch(match.value, value) is not None,
    }[match.how]


PEER = "spiffe://corp.example/ns/foo/sa/web"
DOMAINS = ("corp.example", "old.example")


@pytest.mark.parametrize(
    ("written", "yes"),
    [
        ("corp.example/ns/foo/sa/web", True),
        ("cluster.local/ns/foo/sa/web", True),
        ("old.example/ns/foo/sa/web", True),
        ("other.example/ns/foo/sa/web", False),
        ("cluster.local/ns/foo/*", True),
        ("cluster.local/ns/fo/*", False),
        ("old.example/*", True),
        ("old*", False),
        ("corp*", True),
        ("*", True),
        ("*/sa/web", True),
        ("*/sa/we", False),
        ("*.example/ns/foo/sa/web", True),
        ("corp.example/ns/foo/sa/web2", False),
        ("corp.example/ns/foo/sa/.eb", False),
        ("spiffe://corp.example/ns/foo/sa/web", False),
    ],
)
def test_principals(written: str, yes: bool) -> None:
    assert holds(principal(written, DOMAINS), peer=PEER) is yes
    assert not holds(principal(written, DOMAINS), other="")


def test_a_wildcard_of_one_alias_stands_for_all() -> None:
    assert holds(principal("*d.example/ns/foo/sa/web", DOMAINS), peer=PEER)
    assert not holds(principal("*x.example/ns/foo/sa/web", DOMAINS), peer=PEER)


@pytest.mark.parametrize(
    ("match", "yes"),
    [
        (namespace("foo"), True),
        (namespace("fo"), False),
        (namespace("f.o"), False),
        (namespace("*"), True),
        (namespace("f*"), True),
        (namespace("*oo"), True),
        (namespace("*f"), False),
        (namespace("foo/sa/web"), False),
        (service_account("web", "foo"), True),
        (service_account("web", "bar"), False),
        (service_account("foo/web", "bar"), True),
        (service_account("we", "foo"), False),
        (trust_domain("corp.example"), True),
        (trust_domain("corp"), False),
        (trust_domain("*.example"), True),
        (trust_domain("corp*"), True),
        (trust_domain("*"), True),
        (trust_domain("*ns"), False),
    ],
)
def test_parts_of_an_identity(match: Match, yes: bool) -> None:
    assert holds(match, peer=PEER) is yes


def test_other_identities_have_no_parts() -> None:
    for peer in ("spiffe://evil/x/ns/foo/sa/web", "https://a/ns/foo/sa/web", "spiffe://a/ns/foo/sa/web/ns/x"):
        assert not holds(namespace("foo"), peer=peer)
        assert not holds(service_account("foo/web", "x"), peer=peer)


_part = st.text("ab/:", min_size=0, max_size=4)


@given(_part, _part, st.text("ab/:", max_size=6), st.sampled_from(["", "prefix", "suffix", "all"]))
def test_the_owner_of_a_token_is_compared_as_one_text(
    issuer: str, subject: str, written: str, wild: str
) -> None:
    value = {"": written, "prefix": f"{written}*", "suffix": f"*{written}", "all": "*"}[wild]
    if not value:
        return
    known = bool(issuer and subject)
    owner = f"{issuer}/{subject}"
    wanted = holds(text("claim", value, ("owner",)), owner=owner) if value != "*" else True
    assert holds(request_principal(value), iss=issuer, sub=subject) is (known and wanted)


# -- incrementally --------------------------------------------------------------------------------------


def test_an_edit_runs_again_for_those_under_it() -> None:
    world = World(policy("a", "{}") + policy("b", "{rules: [{}]}"))
    first = [world.read(_http, secured(*names)) for names in (("a",), ("b",), ("a", "b"))]
    with world.counting() as runs:
        world.apply(policy("a", "{rules: [{to: [{operation: {methods: [GET]}}]}]}"))
        second = [world.read(_http, secured(*names)) for names in (("a",), ("b",), ("a", "b"))]
    assert first[0] != second[0] and first[1] == second[1] and first[2] != second[2]
    assert runs["authorization._said"] == 1
    assert runs["authorization.policy_grants"] == 1
    assert runs["authorization.layout"] == 2
    with world.counting() as runs:
        world.apply(policy("a", "{rules: [{to: [{operation: {methods: [PUT]}}]}]}"))
        assert world.read(_http, secured("a", "b")) != second[2]
    assert runs["authorization.layout"] == 0
