"""Authorization in Envoy's words: which filters stand where, and what travels with the routes."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.envoy.authorization_network import network_guards
from controlplane.envoy.authorization_rbac import permission, principal
from controlplane.envoy.authorization_routes import route_guard
from controlplane.envoy.filters import http_filters
from controlplane.envoy.filters.chain import Chain
from controlplane.mesh.authorization_ir import (
    AllOf,
    AnyOf,
    ExtAuthz,
    Grant,
    Guards,
    How,
    Not,
    Stage,
    Subject,
    TcpGuard,
)
from controlplane.mesh.authorization_ir import Test as Of
from controlplane.mesh.projections import Security
from controlplane.model.keys import Key
from tests.support.guarded import policy
from tests.unit.envoy.traffic import Traffic

RBAC = "envoy.filters.http.rbac"
NODE = "sidecar~10.0.0.1~web-1.foo~foo.svc.cluster.local"
ANY = (AllOf(),)
MESH = """
kind: MeshConfig
extensionProviders:
- {name: ext, envoyExtAuthzGrpc: {service: ext.example.com, port: 80}}
- {name: ext-idle, envoyExtAuthzGrpc: {service: ext.example.com, port: 80}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext, namespace: foo}
spec: {hosts: [ext.example.com], ports: [{number: 80, name: http}], resolution: STATIC}
---
"""


def guard(world: Traffic, *names: str) -> dict[str, Any]:
    """Filter name -> RBAC of a workload under these policies of foo."""
    security = Security(authorization=tuple(Key("foo", name) for name in names))
    body = world.read(route_guard, "foo", security)
    message = pb.route.RouteConfiguration.FromString(body)
    assert pb.deterministic(message) == body
    assert [field.name for field, _ in message.ListFields()] == ["typed_per_filter_config"]
    return {
        name: pb.http_rbac.RBACPerRoute.FromString(entry.value).rbac
        for name, entry in message.typed_per_filter_config.items()
    }


def test_where_the_filters_stand() -> None:
    providers = (ExtAuthz("a", "c"), ExtAuthz("b", "c", grpc=False))
    names = [one.name for one in http_filters(Chain("inbound", guarded=True, providers=providers))]
    assert names == [
        "envoy.filters.http.rbac.custom.a",
        "envoy.filters.http.ext_authz.a",
        "envoy.filters.http.rbac.custom.b",
        "envoy.filters.http.ext_authz.b",
        "envoy.filters.http.rbac.audit",
        "envoy.filters.http.rbac.deny",
        "envoy.filters.http.rbac.allow",
        "envoy.filters.http.grpc_stats",
        "envoy.filters.http.fault",
        "envoy.filters.http.cors",
        "envoy.filters.http.router",
    ]
    assert not any("rbac" in one.name for one in http_filters(Chain("outbound")))


def test_by_themselves_they_let_nothing_pass() -> None:
    filters = {one.name: one for one in http_filters(Chain("inbound", guarded=True))}
    allow = pb.http_rbac.RBAC.FromString(filters[f"{RBAC}.allow"].typed_config.value)
    assert allow.HasField("rules")
    assert (allow.rules.action, dict(allow.rules.policies)) == (pb.rbac.RBAC.ALLOW, {})


def test_every_inbound_manager_is_guarded_by_routes_of_its_own() -> None:
    world = Traffic(
        policy("p", '{rules: [{to: [{operation: {methods: ["GET"]}}]}]}')
        + "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: foo}\n"
        "spec: {clusterIP: 10.96.0.1, selector: {app: web}, "
        "ports: [{name: http, port: 80, targetPort: 8080}, {name: found-out, port: 81, targetPort: 8081}, "
        "{name: tcp, port: 82, targetPort: 8082}]}\n"
    )
    view = world.view(NODE, {"NAMESPACE": "foo", "LABELS": {"app": "web"}})
    listener = world.listeners(view)["virtualInbound"]
    found = set()
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        for one in chain.filters:
            if "http_connection_manager" in one.name:
                manager = pb.hcm.HttpConnectionManager.FromString(one.typed_config.value)
                assert [f.name for f in manager.http_filters if RBAC in f.name] == [
                    f"{RBAC}.audit",
                    f"{RBAC}.deny",
                    f"{RBAC}.allow",
                ]
                found.add(manager.rds.route_config_name)
    assert found == {"inbound|8080||", "inbound|8081||", "InboundPassthroughCluster"}
    routes = world.routes(view)
    for name in found:
        (entry,) = routes[name].typed_per_filter_config.values()
        rules = pb.http_rbac.RBACPerRoute.FromString(entry.value).rbac.rules
        assert list(rules.policies) == ["ns[foo]-policy[p]-rule[0]"]
    assert all(not one.typed_per_filter_config for name, one in routes.items() if name not in found)


def test_an_edit_moves_routes_and_no_listener() -> None:
    spec = '{{rules: [{{to: [{{operation: {{methods: ["{}"]}}}}]}}]}}'
    world = Traffic(policy("p", spec.format("GET")))
    view = world.view(NODE, {"NAMESPACE": "foo"})
    listeners, routes = world.listener_resources(view), world.route_resources(view)
    world.apply(policy("p", spec.format("PUT")))
    assert world.view(NODE, {"NAMESPACE": "foo"}) == view
    assert world.listener_resources(view) == listeners
    changed = {name for name, one in world.route_resources(view).items() if one != routes[name]}
    assert changed == {"InboundPassthroughCluster"}


def test_what_routes_say() -> None:
    world = Traffic(
        MESH
        + policy("none", "{}")
        + policy("deny", "{action: DENY, rules: [{}]}")
        + policy("dry", "{action: DENY, rules: [{}]}", dry_run=True)
        + policy("audit", "{action: AUDIT, rules: [{}]}")
        + policy("ask", "{action: CUSTOM, provider: {name: ext}, rules: [{}]}")
    )
    idle = {f"{RBAC}.custom.ext", f"{RBAC}.custom.ext-idle", f"{RBAC}.allow"}
    assert set(guard(world)) == idle
    # An old listener may still have the filters of a provider: they are told that nothing is asked.
    assert all(
        not one.HasField("rules") and not one.HasField("shadow_rules") for one in guard(world).values()
    )
    closed = guard(world, "none")[f"{RBAC}.allow"]
    assert closed.HasField("rules") and not closed.rules.policies
    every = guard(world, "none", "deny", "dry", "audit", "ask")
    assert set(every) == {*idle, f"{RBAC}.audit", f"{RBAC}.deny"}
    assert every[f"{RBAC}.audit"].rules.action == pb.rbac.RBAC.LOG
    deny = every[f"{RBAC}.deny"]
    assert list(deny.rules.policies) == ["ns[foo]-policy[deny]-rule[0]"]
    assert list(deny.shadow_rules.policies) == ["ns[foo]-policy[dry]-rule[0]"]
    assert deny.shadow_rules_stat_prefix == "istio_dry_run_deny_"
    ask = every[f"{RBAC}.custom.ext"]
    assert not ask.HasField("rules")
    assert list(ask.shadow_rules.policies) == ["istio-ext-authz-ext-ns[foo]-policy[ask]-rule[0]"]
    assert ask.shadow_rules_stat_prefix == "istio_ext_authz_"


def test_a_provider_is_asked_when_its_own_rules_matched() -> None:
    provider = ExtAuthz("a", "cluster", "host", timeout=1_500_000_000, fail_open=True, status_on_error=500)
    _, one, *_ = http_filters(Chain("inbound", guarded=True, providers=(provider,)))
    found = pb.http_ext_authz.ExtAuthz.FromString(one.typed_config.value)
    enabled = found.filter_enabled_metadata
    assert enabled.filter == RBAC
    assert [step.key for step in enabled.path] == ["istio_ext_authz_shadow_effective_policy_id"]
    # No name of another provider begins so.
    assert enabled.value.string_match.prefix == "istio-ext-authz-a-ns["
    assert (found.failure_mode_allow, found.status_on_error.code) == (True, 500)
    service = found.grpc_service
    assert (service.envoy_grpc.cluster_name, service.envoy_grpc.authority) == ("cluster", "host")
    assert service.timeout.ToNanoseconds() == 1_500_000_000


def test_connections() -> None:
    assert network_guards(TcpGuard()) == []
    grant = Grant("g", ANY, ANY)
    guards = Guards(
        custom=((ExtAuthz("a", "c"), Stage((grant,))),),
        audit=Stage((grant,)),
        deny=Stage(None, (grant,)),
        allow=Stage(()),
    )
    found = network_guards(TcpGuard(guards))
    assert [one.name for one in found] == [
        "envoy.filters.network.rbac.custom.a",
        "envoy.filters.network.ext_authz.a",
        "envoy.filters.network.rbac.audit",
        "envoy.filters.network.rbac.deny",
        "envoy.filters.network.rbac.allow",
    ]
    deny, allow = (pb.network_rbac.RBAC.FromString(one.typed_config.value) for one in found[3:])
    assert not deny.HasField("rules") and list(deny.shadow_rules.policies) == ["g"]
    assert allow.HasField("rules") and not allow.rules.policies


@pytest.mark.parametrize(
    ("match", "said"),
    [
        (AllOf(), "any"),
        (AnyOf((AllOf(), AllOf())), "or_rules"),
        (AllOf((AllOf(), AllOf())), "and_rules"),
        (Not(AllOf()), "not_rule"),
    ],
)
def test_trees(match: Any, said: str) -> None:
    assert permission(match).WhichOneof("rule") == said
    other = {"or_rules": "or_ids", "and_rules": "and_ids", "not_rule": "not_id"}.get(said, said)
    assert principal(match).WhichOneof("identifier") == other


@pytest.mark.parametrize(
    ("subject", "how", "value", "said"),
    [
        (
            "host",
            "suffix",
            ".a",
            {"header": {"name": ":authority", "string_match": {"suffix": ".a", "ignore_case": True}}},
        ),
        ("host", "present", "", {"header": {"name": ":authority", "present_match": True}}),
        ("path", "prefix", "/a", {"url_path": {"path": {"prefix": "/a"}}}),
        ("path", "present", "", {"url_path": {"path": {"safe_regex": {"regex": ".+"}}}}),
        ("sni", "exact", "a.b", {"requested_server_name": {"exact": "a.b"}}),
        (
            "destination.ip",
            "block",
            "10.0.0.0/8",
            {"destination_ip": {"address_prefix": "10.0.0.0", "prefix_len": {"value": 8}}},
        ),
        (
            "destination.ip",
            "block",
            "::1",
            {"destination_ip": {"address_prefix": "::1", "prefix_len": {"value": 128}}},
        ),
        ("destination.port", "number", "80", {"destination_port": 80}),
    ],
)
def test_permissions(subject: Subject, how: How, value: str, said: dict[str, Any]) -> None:
    assert permission(Of(subject, how, value)) == pb.rbac.Permission(**said)


@pytest.mark.parametrize(
    ("subject", "how", "value", "said"),
    [
        (
            "source.ip",
            "block",
            "10.0.0.1",
            {"direct_remote_ip": {"address_prefix": "10.0.0.1", "prefix_len": {"value": 32}}},
        ),
        (
            "remote.ip",
            "block",
            "10.0.0.0/8",
            {"remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": {"value": 8}}},
        ),
        ("peer", "exact", "spiffe://a", {"authenticated": {"principal_name": {"exact": "spiffe://a"}}}),
        ("peer", "present", "", {"authenticated": {"principal_name": {"safe_regex": {"regex": ".+"}}}}),
    ],
)
def test_principals(subject: Subject, how: How, value: str, said: dict[str, Any]) -> None:
    assert principal(Of(subject, how, value)) == pb.rbac.Principal(**said)


def test_claims_may_be_lists_and_owners_may_not() -> None:
    groups = principal(Of("claim", "exact", "a", ("realm", "groups"))).sourced_metadata.metadata_matcher
    assert (groups.filter, [step.key for step in groups.path]) == (
        "envoy.filters.http.jwt_authn",
        ["payload", "realm", "groups"],
    )
    one, many = groups.value.or_match.value_matchers
    assert (one.string_match.exact, many.list_match.one_of.string_match.exact) == ("a", "a")
    issuer = principal(Of("claim", "exact", "a", ("iss",))).sourced_metadata.metadata_matcher
    assert issuer.value.string_match.exact == "a"
