"""AuthorizationPolicy: all of its fields, and what cannot be meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.model.kinds import authorization_policies
from controlplane.model.kinds.authorization_policy import (
    AuthorizationPolicy,
    Condition,
    Operation,
    Rule,
    Source,
)
from controlplane.model.kinds.authorization_when import Attribute, attribute_of
from controlplane.model.kinds.policy_target import PolicyTargetReference
from controlplane.model.path_template import envoy_template, template_fault

Values = Callable[..., Any]
Fields = Callable[..., dict[str, str]]
KIND = "AuthorizationPolicy"


def source(**fields: Any) -> dict[str, Any]:
    return {"rules": [{"from": [{"source": fields}]}]}


def operation(**fields: Any) -> dict[str, Any]:
    return {"rules": [{"to": [{"operation": fields}]}]}


def when(key: Any, *values: str) -> dict[str, Any]:
    return {"rules": [{"when": [{"key": key, "values": list(values)}]}]}


def test_everything(value: Values) -> None:
    got = value(
        KIND,
        {
            "selector": {"matchLabels": {"app": "web"}},
            "action": "CUSTOM",
            "provider": {"name": "ext"},
            "rules": [
                {
                    "from": [
                        {
                            "source": {
                                "principals": ["cluster.local/ns/a/sa/b"],
                                "notPrincipals": ["*"],
                                "requestPrincipals": ["i/s"],
                                "notRequestPrincipals": ["i/*"],
                                "namespaces": ["a"],
                                "notNamespaces": ["b*"],
                                "trustDomains": ["t"],
                                "notTrustDomains": ["*.t"],
                                "ipBlocks": ["10.0.0.0/8"],
                                "notIpBlocks": ["::1"],
                                "remoteIpBlocks": ["1.2.3.4"],
                                "notRemoteIpBlocks": ["1.2.3.0/24"],
                            }
                        },
                        {"source": {"serviceAccounts": ["a/b"], "notServiceAccounts": ["c"]}},
                    ],
                    "to": [
                        {
                            "operation": {
                                "hosts": ["a.com"],
                                "notHosts": ["*.b.com"],
                                "ports": ["80"],
                                "notPorts": ["81"],
                                "methods": ["GET"],
                                "notMethods": ["P*"],
                                "paths": ["/a*", "/b/{*}/{**}"],
                                "notPaths": ["*.css"],
                            }
                        }
                    ],
                    "when": [{"key": "request.headers[x]", "values": ["a"], "notValues": ["b"]}],
                },
                {},
            ],
        },
        annotations={"istio.io/dry-run": "false"},
    )
    first = Source(
        principals=("cluster.local/ns/a/sa/b",),
        not_principals=("*",),
        request_principals=("i/s",),
        not_request_principals=("i/*",),
        namespaces=("a",),
        not_namespaces=("b*",),
        trust_domains=("t",),
        not_trust_domains=("*.t",),
        ip_blocks=("10.0.0.0/8",),
        not_ip_blocks=("::1",),
        remote_ip_blocks=("1.2.3.4",),
        not_remote_ip_blocks=("1.2.3.0/24",),
    )
    wanted = Operation(
        hosts=("a.com",),
        not_hosts=("*.b.com",),
        ports=("80",),
        not_ports=("81",),
        methods=("GET",),
        not_methods=("P*",),
        paths=("/a*", "/b/{*}/{**}"),
        not_paths=("*.css",),
    )
    rule = Rule(
        (first, Source(service_accounts=("a/b",), not_service_accounts=("c",))),
        (wanted,),
        (Condition("request.headers[x]", ("a",), ("b",)),),
    )
    assert got == AuthorizationPolicy(
        got.meta, (("app", "web"),), (), action="CUSTOM", rules=(rule, Rule()), provider="ext"
    )


def test_the_least(value: Values) -> None:
    got = value(KIND, {})
    assert got == AuthorizationPolicy(got.meta)
    assert (got.action, got.rules) == ("ALLOW", ())
    assert value(KIND, {"rules": [{}]}).rules == (Rule(),)


def test_a_dry_run(value: Values, warned: Fields) -> None:
    for said, means in (("true", True), ("True", True), ("1", True), ("false", False), ("", False)):
        assert value(KIND, {}, annotations={"istio.io/dry-run": said}).dry_run is means
    assert "counts as false" in warned(KIND, {}, annotations={"istio.io/dry-run": "yes"})["spec"]
    asking = {"action": "CUSTOM", "provider": {"name": "p"}, "rules": [{}]}
    assert "has no effect" in warned(KIND, asking, annotations={"istio.io/dry-run": "true"})["spec.action"]


def test_targets_hold_for_no_workload(read: Callable[..., Any]) -> None:
    target = {"kind": "Gateway", "group": "gateway.networking.k8s.io", "name": "web"}
    parsed = read(KIND, {"targetRefs": [target]})
    assert parsed.value.targets == (PolicyTargetReference("Gateway", "web", "gateway.networking.k8s.io"),)
    assert authorization_policies.selector(parsed.value) is None
    assert authorization_policies.selector(read(KIND, {}).value) == ()


@pytest.mark.parametrize("action", ["DENY", "AUDIT"])
def test_a_denial_without_rules(warned: Fields, action: str) -> None:
    warning = warned(KIND, {"action": action})["spec.rules"]
    assert f"{action} without rules matches nothing" in warning
    assert "rules: [{}]" in warning


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "REJECT"}, "spec.action"),
        ({"action": "CUSTOM", "rules": [{}]}, "spec.provider"),
        ({"provider": {"name": "x"}}, "spec.provider"),
        ({"action": "CUSTOM", "provider": {}, "rules": [{}]}, "spec.provider.name"),
        ({"rules": [{"from": []}]}, "spec.rules[0].from"),
        ({"rules": [{"to": []}]}, "spec.rules[0].to"),
        ({"rules": [{"when": []}]}, "spec.rules[0].when"),
        ({"rules": [{"from": [{}]}]}, "spec.rules[0].from[0].source"),
        ({"rules": [{"from": [{"source": {}}]}]}, "spec.rules[0].from[0].source"),
        ({"rules": [{"to": [{"operation": None}]}]}, "spec.rules[0].to[0].operation"),
        (operation(methods=[]), "spec.rules[0].to[0].operation.methods"),
        (operation(methods=[""]), "spec.rules[0].to[0].operation.methods[0]"),
        (operation(ports=["http"]), "spec.rules[0].to[0].operation.ports[0]"),
        (operation(notPorts=["0"]), "spec.rules[0].to[0].operation.notPorts[0]"),
        (operation(ports=[80]), "spec.rules[0].to[0].operation.ports[0]"),
        (operation(paths=["/{*}x"]), "spec.rules[0].to[0].operation.paths[0]"),
        (operation(notPaths=["/{**}/{*}"]), "spec.rules[0].to[0].operation.notPaths[0]"),
        (operation(paths=["/a//{*}"]), "spec.rules[0].to[0].operation.paths[0]"),
        (operation(paths=["/a/{*}" * 100]), "spec.rules[0].to[0].operation.paths[0]"),
        (source(ipBlocks=["10.0.0.0/33"]), "spec.rules[0].from[0].source.ipBlocks[0]"),
        (source(notRemoteIpBlocks=["a"]), "spec.rules[0].from[0].source.notRemoteIpBlocks[0]"),
        (source(serviceAccounts=["a/b/c"]), "spec.rules[0].from[0].source.serviceAccounts[0]"),
        (source(serviceAccounts=["a*"]), "spec.rules[0].from[0].source.serviceAccounts[0]"),
        (source(serviceAccounts=["a"], namespaces=["b"]), "spec.rules[0].from[0].source.serviceAccounts"),
        (source(serviceAccounts=["a"] * 17), "spec.rules[0].from[0].source.serviceAccounts"),
        (source(principals=["ü"]), "spec.rules[0].from[0].source.principals[0]"),
        (source(namespaces=["a" * 321]), "spec.rules[0].from[0].source.namespaces[0]"),
        (when("request.header[x]", "a"), "spec.rules[0].when[0].key"),
        (when("request.headers", "a"), "spec.rules[0].when[0].key"),
        (when("request.headers[a b]", "a"), "spec.rules[0].when[0].key"),
        (when("", "a"), "spec.rules[0].when[0].key"),
        (when("source.ip", "a"), "spec.rules[0].when[0].values[0]"),
        (when("destination.port", "70000"), "spec.rules[0].when[0].values[0]"),
        ({"rules": [{"when": [{"key": "source.ip"}]}]}, "spec.rules[0].when[0].values"),
        ({"rules": [{}] * 513}, "spec.rules"),
        ({"selector": {}, "targetRefs": [{"kind": "Gateway", "name": "x"}]}, "spec.targetRefs"),
    ],
)
def test_what_is_refused(refused: Fields, body: dict[str, Any], field: str) -> None:
    assert set(refused(KIND, body)) == {field}


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (source(principals=["spiffe://t/ns/a/sa/b"]), "spec.rules[0].from[0].source.principals[0]", "spiffe"),
        (operation(hosts=["a*b"]), "spec.rules[0].to[0].operation.hosts[0]", "compared as a character"),
        (operation(methods=["*E*"]), "spec.rules[0].to[0].operation.methods[0]", "compared as a character"),
        (operation(methods=["delete"]), "spec.rules[0].to[0].operation.methods[0]", "not how methods are"),
        (operation(paths=["/a?b=c"]), "spec.rules[0].to[0].operation.paths[0]", "without their query"),
        (operation(notPaths=["admin*"]), "spec.rules[0].to[0].operation.notPaths[0]", "begins with a slash"),
    ],
)
def test_what_is_not_meant(warned: Fields, body: dict[str, Any], field: str, said: str) -> None:
    assert said in warned(KIND, body)[field]


def test_the_method_that_is_meant_is_the_remedy(warned: Fields) -> None:
    said = warned(KIND, operation(methods=["delete"]))["spec.rules[0].to[0].operation.methods[0]"]
    assert said == "'delete' is not how methods are written: DELETE is another; write DELETE"


def test_attributes() -> None:
    assert attribute_of("source.ip") == Attribute("source.ip")
    assert attribute_of("request.auth.claims[a][b.c]") == Attribute("request.auth.claims", ("a", "b.c"))
    assert attribute_of("request.headers[:path]") == Attribute("request.headers", (":path",))
    experimental = "experimental.envoy.filters.network.mysql_proxy"
    assert attribute_of(f"{experimental}[db.table]") == Attribute(experimental, ("db.table",))
    for wrong in ("", "source", "request.auth.claims", "request.headers[a][b]", "experimental.x[a]", "a[]"):
        assert attribute_of(wrong) is None


def test_path_templates() -> None:
    for right in ("/{*}", "/{**}", "/a/{*}/b/{**}/c.html", "/{*}/", "/a-b_c~d.e%20/{*}"):
        assert template_fault(right) is None
    for wrong in ("{*}", "/a{*}", "/{**}/{**}", "/{x}/{*}", "//{*}", "/a b/{*}", "/é/{*}", "/*/{*}"):
        assert template_fault(wrong) is not None
    assert envoy_template("/a/{*}/{**}") == "/a/*/**"
