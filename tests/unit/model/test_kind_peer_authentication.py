"""PeerAuthentication, field by field."""

from __future__ import annotations

from typing import Any

import pytest
from model_objects import build

from controlplane.model.keys import Key
from controlplane.model.kinds import BY_NAME
from controlplane.model.kinds.peer_authentication import PeerAuthentication
from controlplane.model.meta import Meta

KIND = BY_NAME["PeerAuthentication"]


def problems(spec: dict[str, Any]) -> list[tuple[str, str]]:
    parsed = KIND.parse(build("PeerAuthentication", spec))
    assert (parsed.value is None) == any(problem.level == "error" for problem in parsed.problems)
    return [(problem.field, problem.message) for problem in parsed.problems]


def read(spec: dict[str, Any]) -> PeerAuthentication:
    parsed = KIND.parse(build("PeerAuthentication", spec))
    assert parsed.problems == ()
    assert parsed.key == Key("shop", "it")
    found: PeerAuthentication = parsed.value
    return found


def test_an_empty_one_leaves_everything_to_others() -> None:
    assert read({}) == PeerAuthentication(Meta("shop", "it"))
    assert read({"mtls": {}, "selector": {}, "portLevelMtls": {}}) == read({})
    assert read({"selector": {"matchLabels": {}}}) == read({})


@pytest.mark.parametrize("mode", ["UNSET", "DISABLE", "PERMISSIVE", "STRICT"])
def test_modes(mode: str) -> None:
    assert read({"mtls": {"mode": mode}}).mode == mode


def test_ports_are_numbers_whether_quoted_or_not() -> None:
    ports = {9090: {"mode": "STRICT"}, "8080": {"mode": "DISABLE"}, "7070": {}}
    found = read({"selector": {"matchLabels": {"app": "a"}}, "portLevelMtls": ports})
    assert found.selector == (("app", "a"),)
    assert found.ports == ((7070, "UNSET"), (8080, "DISABLE"), (9090, "STRICT"))


SELECTED = {"selector": {"matchLabels": {"app": "a"}}}


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"mtls": {"mode": "MUTUAL"}}, "spec.mtls.mode", "'MUTUAL' is not allowed here"),
        ({"mtls": "STRICT"}, "spec.mtls", None),
        (
            {"portLevelMtls": {"80": {"mode": "STRICT"}}},
            "spec.portLevelMtls",
            "needs a selector: ports are those of chosen workloads",
        ),
        ({**SELECTED, "portLevelMtls": {"0": {}}}, "spec.portLevelMtls[0]", "is no port"),
        ({**SELECTED, "portLevelMtls": {"65536": {}}}, "spec.portLevelMtls[65536]", "is no port"),
        ({**SELECTED, "portLevelMtls": {"http": {}}}, "spec.portLevelMtls[http]", "is no port"),
        ({**SELECTED, "portLevelMtls": {70000: {}}}, "spec.portLevelMtls[70000]", "is no port"),
        ({**SELECTED, "portLevelMtls": {-1: {}}}, "spec.portLevelMtls[-1]", "is no port"),
        (
            {**SELECTED, "portLevelMtls": {80: {"mode": "X"}}},
            "spec.portLevelMtls[80].mode",
            "'X' is not allowed here",
        ),
        ({"selector": {"matchLabels": {"app": "*"}}}, "spec.selector.matchLabels[app]", None),
    ],
)
def test_mistakes(spec: dict[str, Any], field: str, message: str | None) -> None:
    ((found, said),) = problems(spec)
    assert found == field
    assert message in (None, said)
