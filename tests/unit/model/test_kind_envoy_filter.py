"""EnvoyFilters as they are read: what Istio refuses is refused, by path; values are kept as they are."""

from __future__ import annotations

from typing import Any

import pytest
from model_objects import build

from controlplane.model.kinds import BY_NAME
from controlplane.model.kinds.envoy_filter import EnvoyFilter

ADD = {"operation": "ADD", "value": {"name": "x"}}
TCP = "envoy.filters.network.tcp_proxy"
MANAGER = "envoy.filters.network.http_connection_manager"


def read(spec: dict[str, Any]) -> Any:
    return BY_NAME["EnvoyFilter"].parse(build("EnvoyFilter", spec))


def of(what: str, patch: Any, **match: Any) -> dict[str, Any]:
    return {"configPatches": [{"applyTo": what, "match": match, "patch": patch}]}


def in_filter(name: str, sub: str) -> dict[str, Any]:
    return {"filterChain": {"filter": {"name": name, "subFilter": {"name": sub}}}}


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        (of("HTTP FILTER", ADD), "applyTo", "'HTTP FILTER' is not allowed here"),
        ({"configPatches": [{"patch": ADD}]}, "applyTo", "is missing"),
        ({"configPatches": [{"applyTo": "CLUSTER"}]}, "patch", "is missing"),
        (of("CLUSTER", {"value": {}}), "patch.operation", "is missing"),
        (of("CLUSTER", {"operation": "ADD"}), "patch.value", "is missing"),
        (of("CLUSTER", {"operation": "ADD", "value": "x"}), "patch.value", "is no mapping"),
        (
            of("CLUSTER", {"operation": "ADD", "value": {"a": float("inf")}}),
            "patch.value",
            "cannot be written as JSON",
        ),
        (of("CLUSTER", ADD, context="SIDECAR"), "match.context", "'SIDECAR' is not allowed here"),
        (
            of("CLUSTER", ADD, listener={"name": "a"}),
            "match.listener",
            "cannot match what applyTo CLUSTER is for",
        ),
        (
            of("LISTENER", ADD, cluster={"name": "a"}),
            "match.cluster",
            "cannot match what applyTo LISTENER is for",
        ),
        (of("HTTP_ROUTE", ADD, listener={}), "match.listener", "cannot match what applyTo HTTP_ROUTE is for"),
        (
            of("CLUSTER", ADD, proxy={"proxyVersion": "("}),
            "match.proxy.proxyVersion",
            "'(' is not a regular expression: a ( is not closed",
        ),
        (
            of("NETWORK_FILTER", ADD, listener=in_filter(MANAGER, "a")),
            "match.listener.filterChain.filter.subFilter",
            "goes with applyTo HTTP_FILTER only",
        ),
        (
            of("HTTP_FILTER", ADD, listener=in_filter(TCP, "a")),
            "match.listener.filterChain.filter.subFilter",
            f"only {MANAGER} has HTTP filters",
        ),
        (
            of("HTTP_FILTER", ADD, listener={"filterChain": {"filter": {}}}),
            "match.listener.filterChain.filter.name",
            "is missing",
        ),
    ],
)
def test_refused(spec: dict[str, Any], field: str, message: str) -> None:
    parsed = read(spec)
    assert parsed.value is None
    errors = [(one.field, one.message) for one in parsed.problems if one.level == "error"]
    assert errors == [(f"spec.configPatches[0].{field}", message)]
    assert all(one.remedy for one in parsed.problems)


def test_a_selector_and_targets_exclude_each_other() -> None:
    parsed = read(
        {"workloadSelector": {"labels": {"a": "b"}}, "targetRefs": [{"kind": "Gateway", "name": "g"}]}
    )
    assert [(one.field, one.message) for one in parsed.problems] == [
        ("spec.targetRefs", "excludes workloadSelector")
    ]


def test_a_version_that_cannot_be_searched_for_is_refused() -> None:
    (problem,) = read(of("CLUSTER", ADD, proxy={"proxyVersion": r"\pN"})).problems
    assert (problem.level, problem.field) == ("error", "spec.configPatches[0].match.proxy.proxyVersion")


def test_equal_values_are_equal_texts() -> None:
    one: EnvoyFilter = read(of("CLUSTER", {"operation": "ADD", "value": {"name": "x", "type": 1}})).value
    two: EnvoyFilter = read(of("CLUSTER", {"operation": "ADD", "value": {"type": 1, "name": "x"}})).value
    assert one == two
    assert one.patches[0].value == '{"name": "x", "type": 1}'
    assert hash(one) == hash(two)
