"""How the values of patches are read, and who judges them."""

from __future__ import annotations

import json
from typing import Any

from controlplane.envoy.patches.judge import judged
from controlplane.envoy.patches.values import read_value
from controlplane.model.kinds import BY_NAME
from controlplane.model.kinds.envoy_filter import ConfigPatch
from controlplane.model.problem import Origin
from tests.support.envoy_filters import TYPES
from tests.unit.envoy.patching import value


def wrong(what: str, content: Any, operation: str = "MERGE") -> list[tuple[str, str]]:
    return [*read_value(ConfigPatch(what, operation, value=json.dumps(content))).wrong]


def test_both_spellings_of_a_field_and_not_both_at_once() -> None:
    assert value("CLUSTER", {"connectTimeout": "1s"}, "MERGE") == value(
        "CLUSTER", {"connect_timeout": "1s"}, "MERGE"
    )
    ((path, reason),) = wrong("CLUSTER", {"connectTimeout": "1s", "connect_timeout": "1s"})
    assert (path, reason) == ("connect_timeout", "is given twice, in both spellings")


def test_a_typed_struct_is_what_it_stands_for() -> None:
    url = f"{TYPES}.http.lua.v3.Lua"
    code = {"default_source_code": {"inline_string": "x"}}
    for name, field in (("udpa.type.v1", "type_url"), ("xds.type.v3", "typeUrl")):
        struct = {"@type": f"type.googleapis.com/{name}.TypedStruct", field: url, "value": code}
        found = value("HTTP_FILTER", {"name": "lua", "typed_config": struct})
        assert found == value("HTTP_FILTER", {"name": "lua", "typed_config": {"@type": url, **code}})


def test_types_that_nothing_else_uses_are_found() -> None:
    for url in (f"{TYPES}.http.tap.v3.Tap", f"{TYPES}.udp.udp_proxy.v3.UdpProxyConfig"):
        assert (
            value("HTTP_FILTER", {"name": "x", "typed_config": {"@type": url}}).typed_config.type_url == url
        )
    for name in ("envoy.Nothing", "os.path", "envoy.config.core.v3.base_pb2.Node", "envoy", ""):
        ((path, _),) = wrong("HTTP_FILTER", {"typed_config": {"@type": f"a/{name}"}})
        assert path == "typed_config.@type"


def test_every_mistake_is_told_where_it_is() -> None:
    content = {
        "type": "NO",
        "lb_policy": 77,
        "metadata": {"filter_metadata": {"x": []}},
        "load_assignment": {"endpoints": [{}, {"lb_endpoints": [{"endpoint": {"hostname": 3}}]}]},
        "typed_extension_protocol_options": {"a.b": {"@type": f"{TYPES}.http.cors.v3.Cors"}, "c": 1},
    }
    assert sorted(path for path, _ in wrong("CLUSTER", content)) == [
        "load_assignment.endpoints[1].lb_endpoints[0].endpoint.hostname",
        "metadata.filter_metadata[x]",
        "type",
        "typed_extension_protocol_options[c].@type",
    ]
    deep: Any = {}
    for _ in range(100):
        deep = {"and_match": {"rules": [deep]}}
    ((_, reason),) = wrong("LISTENER_FILTER", {"name": "x", "filter_disabled": deep})
    assert reason == "is nested too deeply"


def test_a_judge_refuses_what_is_no_message_and_leaves_other_kinds_alone() -> None:
    kind, where = BY_NAME["EnvoyFilter"], Origin("f.yaml", 3)
    raw: dict[str, Any] = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "it", "namespace": "shop"},
        "spec": {
            "configPatches": [{"applyTo": "CLUSTER", "patch": {"operation": "MERGE", "value": {"x": 1}}}]
        },
    }
    found = judged(kind, kind.parse(raw, where), where)
    assert found.value is not None
    assert [(one.level, one.field, one.line) for one in found.problems] == [
        ("warning", "spec.configPatches[0].patch.value.x", 3)
    ]
    raw["spec"]["configPatches"][0]["patch"]["value"] = {"name": 1}
    refused = judged(kind, kind.parse(raw, where), where)
    assert (refused.value, refused.key, [one.level for one in refused.problems]) == (
        None,
        found.key,
        ["error"],
    )
    service = BY_NAME["Service"].parse({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}})
    assert judged(BY_NAME["Service"], service) is service


def test_values_of_another_kind_are_told_in_plain_words() -> None:
    content = {"connect_timeout": "1s", "per_connection_buffer_limit_bytes": "many", "name": 5}
    assert sorted(reason for _, reason in wrong("CLUSTER", content)) == [
        "expected a string, got int",
        "expected a whole number, got 'many'",
    ]
    ((_, reason),) = wrong("CLUSTER", {"per_connection_buffer_limit_bytes": 1.5})
    assert reason == "expected a whole number, got 1.5"
