"""The evaluator of AuthorizationPolicies, against the examples of Istio's reference and its edge cases."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.policy_meaning import Asked, allowed, block, path, text


def policy(*rules: Any, action: str = "ALLOW", namespace: str = "foo") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace}, "spec": {"action": action, "rules": list(rules)}}


def test_nothing_is_denied_where_nothing_is_said() -> None:
    assert allowed([], Asked())


def test_an_allow_policy_without_rules_denies_everything() -> None:
    assert not allowed([{"metadata": {"namespace": "foo"}, "spec": {}}], Asked())


def test_a_deny_policy_without_rules_denies_nothing() -> None:
    assert allowed([{"metadata": {"namespace": "foo"}, "spec": {"action": "DENY"}}], Asked())


def test_an_empty_rule_matches_everything() -> None:
    assert allowed([policy({})], Asked())
    assert not allowed([policy({}), policy({}, action="DENY")], Asked())


def test_sources_and_operations_are_alternatives_and_conditions_are_not() -> None:
    rule = {
        "from": [{"source": {"namespaces": ["dev"]}}, {"source": {"principals": ["td/ns/x/sa/*"]}}],
        "to": [{"operation": {"methods": ["GET"], "paths": ["/info*"]}}],
        "when": [{"key": "request.auth.claims[iss]", "values": ["https://accounts.example.com"]}],
    }
    token = {"iss": "https://accounts.example.com", "sub": "me"}
    asked = Asked(path="/info/1", principal="td/ns/x/sa/y", claims=token)
    assert allowed([policy(rule)], asked)
    assert not allowed([policy(rule)], Asked(path="/info/1", principal="td/ns/x/sa/y"))
    assert not allowed([policy(rule)], Asked(path="/infx", principal="td/ns/x/sa/y", claims=token))
    assert not allowed([policy(rule)], Asked(path="/info", principal="td/ns/z/sa/y", claims=token))


def test_a_negation_holds_for_what_is_absent() -> None:
    rule = {"from": [{"source": {"notPrincipals": ["td/ns/x/sa/y"]}}]}
    assert allowed([policy(rule)], Asked())
    assert not allowed([policy(rule)], Asked(principal="td/ns/x/sa/y"))
    assert not allowed([policy({"from": [{"source": {"principals": ["*"]}}]})], Asked())
    assert allowed([policy({"from": [{"source": {"notRequestPrincipals": ["*"]}}]})], Asked())


def test_a_service_account_without_a_namespace_is_of_the_policys_own() -> None:
    rule = {"from": [{"source": {"serviceAccounts": ["sleep", "bar/other"]}}]}
    assert allowed([policy(rule)], Asked(principal="td/ns/foo/sa/sleep"))
    assert not allowed([policy(rule)], Asked(principal="td/ns/bar/sa/sleep"))
    assert allowed([policy(rule)], Asked(principal="td/ns/bar/sa/other"))


@pytest.mark.parametrize(
    ("said", "had", "expected"),
    [("*", "x", True), ("*", "", False), ("ab*", "abc", True), ("*bc", "abc", True), ("a*c", "abc", False)],
)
def test_texts(said: str, had: str, expected: bool) -> None:
    assert text(said, had) is expected


@pytest.mark.parametrize(
    ("said", "had", "expected"),
    [
        ("/a/{*}", "/a/b", True),
        ("/a/{*}", "/a/b/c", False),
        ("/a/{*}", "/a/", False),
        ("/a/{*}/c", "/a/b/c", True),
        ("/a/{**}", "/a/b/c", True),
        ("/a/{**}/z", "/a/b/c/z", True),
        ("/a/{**}", "/b/c", False),
    ],
)
def test_path_templates(said: str, had: str, expected: bool) -> None:
    assert path(said, had) is expected


def test_blocks_are_addresses_or_ranges() -> None:
    assert block("10.0.0.0/8", "10.1.2.3") and block("10.0.0.1", "10.0.0.1")
    assert not block("10.0.0.1", "10.0.0.2")


def test_the_origin_is_what_the_last_proxy_wrote() -> None:
    rule = {"from": [{"source": {"remoteIpBlocks": ["192.0.2.0/24"]}}]}
    assert allowed([policy(rule)], Asked(forwarded="10.9.9.9, 192.0.2.7"))
    assert not allowed([policy(rule)], Asked(forwarded="192.0.2.7, 10.9.9.9"))


def test_a_claim_may_be_a_list_or_nested() -> None:
    rule = {"when": [{"key": "request.auth.claims[realm][roles]", "values": ["admin"]}]}
    token = {"iss": "i", "sub": "s", "realm": {"roles": ["user", "admin"]}}
    assert allowed([policy(rule)], Asked(claims=token))
    unwanted = {"when": [{"key": "request.auth.claims[realm][roles]", "notValues": ["admin"]}]}
    assert not allowed([policy(unwanted)], Asked(claims=token))
