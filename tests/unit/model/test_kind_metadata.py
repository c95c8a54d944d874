"""What holds for every kind: names, versions, unknown fields, and equality of what means the same."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime
from typing import Any

import pytest
from model_objects import build

from controlplane.model.keys import Key
from controlplane.model.kinds import BY_NAME, KINDS, MESH, TABLES, Kind

CUSTOM = [kind for kind in KINDS if kind.shape == "custom"]
NAMED = [kind for kind in KINDS if kind.shape != "bare"]
MINIMAL: dict[str, dict[str, Any]] = {
    "VirtualService": {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}]}]},
    "DestinationRule": {"host": "a"},
    "Gateway": {"servers": [{"port": {"number": 80, "protocol": "HTTP", "name": "http"}, "hosts": ["*"]}]},
    "ServiceEntry": {"hosts": ["a.com"], "ports": [{"number": 80, "name": "http"}]},
    "WorkloadEntry": {"address": "10.0.0.1"},
    "WorkloadGroup": {"template": {"serviceAccount": "a"}},
    "Sidecar": {"egress": [{"hosts": ["./*"]}]},
    "EndpointSlice": {"addressType": "IPv4"},
}


def minimal(kind: Kind, **metadata: Any) -> dict[str, Any]:
    if kind.name == "EndpointSlice":
        metadata.setdefault("labels", {"kubernetes.io/service-name": "a"})
    return build(kind.name, copy.deepcopy(MINIMAL.get(kind.name, {})), **metadata)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_minimal_object_is_read_without_problems(kind: Kind) -> None:
    parsed = kind.parse(minimal(kind))
    assert parsed.problems == ()
    assert type(parsed.value).__name__ == kind.name
    assert parsed.value.meta.key == parsed.key
    assert TABLES[kind.name] is kind.table
    assert BY_NAME[kind.name] is kind


def test_kinds_and_tables_are_distinct() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert len({kind.table.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.name)
def test_every_version_is_read_and_no_other(kind: Kind) -> None:
    for version in kind.api_versions:
        assert kind.parse({**minimal(kind), "apiVersion": version}).problems == ()
    (problem,) = kind.parse({**minimal(kind), "apiVersion": "example.com/v9"}).problems
    assert (problem.level, problem.field) == ("error", "apiVersion")
    assert kind.api_versions[0] in problem.remedy
    (problem,) = kind.parse({**minimal(kind), "apiVersion": None}).problems
    assert (problem.field, problem.message) == ("apiVersion", "is missing")


VERSIONS = {
    "networking.istio.io": {"v1", "v1beta1", "v1alpha3"},
    "security.istio.io": {"v1", "v1beta1"},
    # Two that never became anything else.
    "EnvoyFilter": {"v1alpha3"},
    "ProxyConfig": {"v1beta1"},
}


@pytest.mark.parametrize("kind", CUSTOM, ids=lambda kind: kind.name)
def test_istio_kinds_are_read_in_all_their_versions(kind: Kind) -> None:
    assert set(kind.versions) == VERSIONS.get(kind.name, VERSIONS[kind.group])


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.name)
def test_an_object_needs_a_name(kind: Kind) -> None:
    parsed = kind.parse(minimal(kind, name=None))
    assert parsed.value is None
    assert parsed.key is None
    assert ("error", "metadata.name", "is missing") in [
        (p.level, p.field, p.message) for p in parsed.problems
    ]


@pytest.mark.parametrize("name", ["A", "a_b", "-a", "a\nb", "a|b", "a" * 254, "a/b"])
def test_a_name_that_kubernetes_refuses_is_refused(name: str) -> None:
    parsed = BY_NAME["DestinationRule"].parse(minimal(BY_NAME["DestinationRule"], name=name))
    assert parsed.value is None
    assert parsed.key is None
    (problem,) = parsed.problems
    assert problem.field == "metadata.name"
    assert problem.name.isprintable()


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.name)
def test_a_missing_namespace_is_default_or_none(kind: Kind) -> None:
    key = kind.parse(minimal(kind, namespace=None)).key
    assert key == Key("default" if kind.namespaced else "", "it")
    assert kind.parse(minimal(kind, namespace="shop")).key == Key("shop" if kind.namespaced else "", "it")


def test_a_refused_object_keeps_its_key() -> None:
    parsed = BY_NAME["DestinationRule"].parse(build("DestinationRule", {}))
    assert parsed.value is None
    assert parsed.key == Key("shop", "it")
    assert [(p.namespace, p.name, p.field) for p in parsed.problems] == [("shop", "it", "spec.host")]


def test_the_mesh_config_has_one_key_and_no_metadata() -> None:
    kind = BY_NAME["MeshConfig"]
    assert kind.parse({}).key == MESH == Key("", "mesh")
    assert kind.parse({"kind": "MeshConfig", "apiVersion": "x", "metadata": {}}).problems == ()


@pytest.mark.parametrize("kind", CUSTOM, ids=lambda kind: kind.name)
def test_unknown_fields_of_custom_kinds_are_warnings_or_refused_where_they_open(kind: Kind) -> None:
    raw = minimal(kind)
    raw["spce"] = {}
    raw["spec"]["nonsense"] = 1
    parsed = kind.parse(raw)
    level = "error" if kind.guarding else "warning"
    assert (parsed.value is None) == kind.guarding
    assert {(p.level, p.field) for p in parsed.problems} == {(level, "spce"), (level, "spec.nonsense")}
    assert "did you mean spec?" in [p.remedy for p in parsed.problems]


def test_the_kinds_that_guard_something() -> None:
    guarding = {kind.name for kind in KINDS if kind.guarding}
    assert guarding == {"PeerAuthentication", "RequestAuthentication", "AuthorizationPolicy"}


@pytest.mark.parametrize("kind", [k for k in KINDS if k.guarding], ids=lambda kind: kind.name)
def test_status_and_metadata_of_guarding_kinds_are_anybodys(kind: Kind) -> None:
    raw = minimal(kind, resourceVersion="7", whatever={"a": 1})
    raw["status"] = {"conditions": [{"type": "Reconciled"}]}
    assert kind.parse(raw).problems == ()


@pytest.mark.parametrize(
    ("name", "spec", "field", "remedy"),
    [
        ("AuthorizationPolicy", {"rules": [{"form": [{}]}]}, "rules[0].form", "did you mean from?"),
        ("AuthorizationPolicy", {"acton": "DENY", "rules": [{}]}, "acton", "did you mean action?"),
        (
            "AuthorizationPolicy",
            {"rules": [{"to": [{"operation": {"paths": ["/"], "method": ["GET"]}}]}]},
            "rules[0].to[0].operation.method",
            "did you mean methods?",
        ),
        (
            "AuthorizationPolicy",
            {"rules": [{"from": [{"source": {"namespaces": ["a"], "ipBlock": ["10.0.0.0/8"]}}]}]},
            "rules[0].from[0].source.ipBlock",
            "did you mean ipBlocks?",
        ),
        ("AuthorizationPolicy", {"selector": {"app": "web"}}, "selector.app", "remove it"),
        ("PeerAuthentication", {"mtls": {"mod": "STRICT"}}, "mtls.mod", "did you mean mode?"),
        (
            "RequestAuthentication",
            {"jwtRules": [{"issuer": "https://a.example", "audience": ["b"]}]},
            "jwtRules[0].audience",
            "did you mean audiences?",
        ),
    ],
)
def test_a_misspelled_guard_is_refused(name: str, spec: dict[str, Any], field: str, remedy: str) -> None:
    parsed = BY_NAME[name].parse(build(name, spec))
    assert parsed.value is None
    assert [(p.level, p.field, p.remedy) for p in parsed.problems] == [("error", f"spec.{field}", remedy)]


@pytest.mark.parametrize("kind", [k for k in KINDS if k.shape == "core"], ids=lambda kind: kind.name)
def test_unknown_fields_of_core_kinds_pass(kind: Kind) -> None:
    raw = {**minimal(kind), "whatever": 1}
    raw["spec"] = {**raw.get("spec", {}), "other": 1}
    assert kind.parse(raw).problems == ()


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.name)
def test_bookkeeping_does_not_change_the_value(kind: Kind) -> None:
    quiet = kind.parse(minimal(kind, annotations={"a": "b"})).value
    busy = minimal(
        kind,
        resourceVersion="77",
        generation=9,
        uid="x",
        managedFields=[{"manager": "kubectl"}],
        annotations={
            "a": "b",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "endpoints.kubernetes.io/last-change-trigger-time": "now",
        },
    )
    busy["status"] = {"observedGeneration": 9}
    value = kind.parse(busy).value
    assert value == quiet
    assert hash(value) == hash(quiet)
    assert kind.parse(minimal(kind, annotations={"a": "c"})).value != quiet


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_values_are_frozen_and_slotted(kind: Kind) -> None:
    value = kind.parse(minimal(kind)).value
    assert not hasattr(value, "__dict__")
    with pytest.raises(AttributeError):
        value.meta = None


@pytest.mark.parametrize(
    ("given", "created"),
    [
        ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z"),
        (datetime(2024, 5, 1, 10, tzinfo=UTC), "2024-05-01T10:00:00Z"),
        (datetime(2024, 5, 1, 10), "2024-05-01T10:00:00Z"),
        (datetime.max.replace(tzinfo=datetime.fromisoformat("2024-01-01T00:00:00-05:00").tzinfo), ""),
        (date(2024, 5, 1), "2024-05-01T00:00:00Z"),
        (None, ""),
        (5, ""),
    ],
)
def test_the_creation_time_is_text_that_sorts(given: Any, created: str) -> None:
    kind = BY_NAME["ServiceAccount"]
    assert kind.parse(minimal(kind, creationTimestamp=given)).value.meta.created == created


@pytest.mark.parametrize("raw", [None, 5, "text", [], [1]])
def test_what_is_no_object_is_refused(raw: Any) -> None:
    for kind in KINDS:
        parsed = kind.parse(raw)
        assert parsed.value is None
        assert parsed.key is None
        assert parsed.problems[0].message.startswith("expected an object")


@pytest.mark.parametrize("kind", [k for k in NAMED if k.namespaced], ids=lambda kind: kind.name)
def test_namespaced_tables_are_indexed_by_namespace(kind: Kind) -> None:
    parsed = kind.parse(minimal(kind))
    assert tuple(kind.table.indexes["namespace"](parsed.key, parsed.value)) == ("shop",)
    assert kind.table.namespace is not None
    assert kind.table.namespace(parsed.key) == "shop"
