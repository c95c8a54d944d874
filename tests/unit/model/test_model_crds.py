"""Every field of Istio's own CRDs is known to the parsers, in every version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.model.kinds import BY_NAME

CRDS = Path(__file__).parents[4] / "shared" / "data" / "istio-crds.yaml"


def schemas() -> list[tuple[str, str, str, str, Any]]:
    """(kind, group, plural, version, schema of the spec) of each CRD whose kind is read."""
    if not CRDS.is_file():
        return []
    return [
        (
            crd["spec"]["names"]["kind"],
            crd["spec"]["group"],
            crd["spec"]["names"]["plural"],
            version["name"],
            version["schema"]["openAPIV3Schema"]["properties"]["spec"],
        )
        for crd in yaml.load_all(CRDS.read_text(), yaml.CSafeLoader)
        if crd and crd["spec"]["names"]["kind"] in BY_NAME
        for version in crd["spec"]["versions"]
    ]


def filled(schema: dict[str, Any]) -> Any:
    """A value that has every field of a schema."""
    if "enum" in schema:
        return schema["enum"][-1]
    if "properties" in schema:
        return {name: filled(child) for name, child in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        return {"key": filled(schema["additionalProperties"])}
    if schema.get("type") == "array":
        return [filled(schema["items"])]
    return {"integer": 1, "number": 1.5, "boolean": True, "object": {}}.get(schema.get("type", ""), "1s")


def short(argument: Any) -> str:
    return argument if isinstance(argument, str) else "spec"


@pytest.mark.skipif(not CRDS.is_file(), reason="Istio's CRDs are not beside this repository")
def test_the_crds_are_found() -> None:
    assert {kind for kind, *_ in schemas()} >= {
        "VirtualService",
        "DestinationRule",
        "ServiceEntry",
        "Sidecar",
    }


@pytest.mark.parametrize(("kind", "group", "plural", "version", "schema"), schemas(), ids=short)
def test_every_field_is_known(
    kind: str, group: str, plural: str, version: str, schema: dict[str, Any]
) -> None:
    declared = BY_NAME[kind]
    assert (declared.group, declared.plural) == (group, plural)
    raw = {
        "apiVersion": f"{group}/{version}",
        "kind": kind,
        "metadata": {"name": "it"},
        "spec": filled(schema),
    }
    messages = [f"{p.field}: {p.message}" for p in declared.parse(raw).problems]
    assert "further problems are not listed" not in str(messages)
    # Fields and types of the CRD are those of the parser; only the invented values may not do.
    assert not [message for message in messages if "not a known field" in message or "apiVersion" in message]
    assert not [message for message in messages if "expected" in message and "got the number" not in message]
    # The last word of each enum is allowed ("1s" stands where the CRD leaves the words open).
    assert not [message for message in messages if "not allowed here" in message and "'1s'" not in message]
