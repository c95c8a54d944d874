"""The table of features is complete, and the tests that it names show what it says."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import Any

import pytest
import yaml

from controlplane.model.kinds import BY_NAME
from controlplane.model.problem import Problem
from tests.features.fields import FACTS, of_mesh, of_objects, sets, written
from tests.features.page import PAGE, counts, page
from tests.features.rows import KINDS, ROOT, STATUSES, SUPPORTED, UNSUPPORTED, Row, expand, rows
from tests.features.without import proofs, shows

_SAMPLE = 29
"""Of so many rows with a case one is put to the proof before each commit."""

_LISTING = """
  message MeshConfig
    int32 proxy_http_port = 5
    enum Mode
       OFF = 0
       ON = 1
    Mode mode = 1
    message Old
      oneof certificate_data
        string pem = 1
      repeated string cert_signers = 3
    repeated Old ca_certificates = 58
    TLSConfig mesh_mTLS = 63
    map<string, string> runtime_values = 2
    map<string, Empty> empties = 3
    google.protobuf.BoolValue enable_auto_mtls = 43
  message Empty
  message TLSConfig
    repeated string ecdh_curves = 2
"""


@cache
def _leaves(kind: str) -> dict[str, object]:
    """The leaves of a kind, each with a value; empty where the definitions are not at hand."""
    name = "mesh-fields.txt" if kind == "MeshConfig" else "crd-fields.txt"
    if not (FACTS / name).exists():
        return {}
    text = (FACTS / name).read_text()
    return of_mesh(text) if kind == "MeshConfig" else of_objects(text)[kind]


@cache
def _objects(case: str) -> tuple[dict[str, Any], ...]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (ROOT / "tests/golden" / case / "in.yaml").read_text()
    return tuple(raw for raw in yaml.load_all(text, loader) if raw)


@cache
def _told(case: str) -> tuple[tuple[str, str], ...]:
    """(kind, field) of the Problems of a case, indexes and keys left out."""
    file = ROOT / "tests/golden" / case / "out/problems.yaml"
    found = yaml.safe_load(file.read_text()) if file.exists() else []
    return tuple((one["kind"], one.get("field", "")) for one in found)


def _tells(case: str, kind: str, path: str) -> bool:
    """Whether a Problem of a case is about a field, or about the message that it is in."""
    return any(about == kind and _about(where, path) for about, where in _told(case))


def _about(field: str, path: str) -> bool:
    """Whether what is said of a field of an object is said of a path, or of a message that it is in."""
    plain = re.sub(r"\[\]|\{\}", "", path)
    named = re.sub(r"\[[^\]]*\]", "", field).removeprefix("spec.")
    return bool(named) and (plain == named or plain.startswith(named + "."))


def _wrong(kind: str, row: Row) -> str:
    """What a row says wrongly; "" when nothing."""
    if row.status not in STATUSES:
        return f"{row.status!r} is no status"
    if row.status == SUPPORTED and not row.tests:
        return "names no test"
    if row.status != SUPPORTED and not row.note:
        return "says not why"
    return "; ".join(filter(None, (_unproven(kind, row, test) for test in row.tests)))


def _unproven(kind: str, row: Row, test: str) -> str:
    if case := test.partition("golden:")[2]:
        if not (ROOT / "tests/golden" / case / "in.yaml").exists():
            return f"there is no golden case {case}"
        specs = (
            raw if kind == "MeshConfig" else raw.get("spec") for raw in _objects(case) if raw["kind"] == kind
        )
        if not any(sets(spec, row.path) for spec in specs):
            return f"the golden case {case} does not set it"
        if row.status == UNSUPPORTED and not _tells(case, kind, row.path):
            return f"the golden case {case} has no Problem about it"
        return ""
    file, _, name = test.partition("::")
    if not (ROOT / file).is_file() or not re.search(rf"def {re.escape(name)}\(", (ROOT / file).read_text()):
        return f"there is no test {test}"
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_rows_say_what_their_tests_show(kind: str) -> None:
    found = rows(kind)
    assert [f"{row.where} {row.path}: {wrong}" for row in found if (wrong := _wrong(kind, row))] == []
    twice = [path for path, times in Counter(row.path for row in found).items() if times > 1]
    assert twice == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_a_row(kind: str) -> None:
    leaves = _leaves(kind).keys()
    if not leaves:
        pytest.skip("Istio's definitions are not at hand")
    told = {row.path for row in rows(kind)}
    assert told - leaves == set(), "no such fields"
    assert leaves - told == set(), "fields without a row"


def test_cases_depend_on_the_fields_that_they_show() -> None:
    """Some of them; all are in tests/slow/test_features_long."""
    assert [proof for proof in list(proofs())[::_SAMPLE] if not shows(*proof)] == []


def test_a_case_that_does_not_depend_on_a_field_shows_nothing() -> None:
    assert not shows("gateway-tls", "Gateway", "servers[].name")
    assert not shows("canary", "VirtualService", "http[].timeout")
    # It has to be there, and another one means something else.
    assert shows("canary-subsets", "DestinationRule", "subsets[].name")


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_known_where_it_is_read(kind: str) -> None:
    leaves = _leaves(kind)
    if not leaves:
        pytest.skip("Istio's definitions are not at hand")
    unknown = {
        path: problem.message
        for path, value in sorted(leaves.items())
        for problem in _alone(kind, path, value)
        if "known field" in problem.message
    }
    assert unknown == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_without_effect_is_told_where_it_is_read(kind: str) -> None:
    """Where it stands alone, or in a golden case, if only other objects tell that it has none."""
    leaves = _leaves(kind)
    if not leaves:
        pytest.skip("Istio's definitions are not at hand")
    assert [
        row.path for row in rows(kind) if row.status == UNSUPPORTED and not _told_of(kind, row, leaves)
    ] == []


def _told_of(kind: str, row: Row, leaves: dict[str, object]) -> bool:
    alone = _alone(kind, row.path, leaves[row.path])
    if any(_about(problem.field, row.path) and "expected" not in problem.message for problem in alone):
        return True
    return any(
        _tells(test.partition("golden:")[2], kind, row.path) if test.startswith("golden:") else True
        for test in row.tests
    )


def _alone(kind: str, path: str, value: object) -> tuple[Problem, ...]:
    """What is said of an object that says something in this one place only."""
    spec = written(path, value)
    if kind == "MeshConfig":
        return BY_NAME[kind].parse({"kind": kind, **spec}).problems
    version = BY_NAME[kind].api_versions[0]
    raw = {"apiVersion": version, "kind": kind, "metadata": {"name": "a", "namespace": "a"}, "spec": spec}
    return BY_NAME[kind].parse(raw).problems


def test_the_page_is_that_of_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\n" + counts()[-1])
    assert PAGE.read_text() == page(), "run python -m tests.features"


def test_braces_spell_out_paths_and_leave_maps_alone() -> None:
    assert expand("{trafficPolicy,subsets[].trafficPolicy}.tls.{mode,sni}") == [
        "trafficPolicy.tls.mode",
        "trafficPolicy.tls.sni",
        "subsets[].trafficPolicy.tls.mode",
        "subsets[].trafficPolicy.tls.sni",
    ]
    assert expand("headers{}.exact") == ["headers{}.exact"]


def test_leaves_of_a_listing_of_messages() -> None:
    assert of_mesh(_LISTING) == {
        "proxyHttpPort": 1,
        "mode": "ON",
        "caCertificates[].pem": "1s",
        "caCertificates[].certSigners[]": "1s",
        "meshMTLS.ecdhCurves[]": "1s",
        "runtimeValues{}": "1s",
        "empties{}": {},
        "enableAutoMtls": True,
    }


def test_leaves_of_a_listing_of_definitions() -> None:
    listing = (
        "===== networking.istio.io Gateway ['gw'] []\n.selector{} string  \n.servers[].tls.mode string A,B \n"
    )
    assert of_objects(listing) == {"Gateway": {"selector{}": "1s", "servers[].tls.mode": "B"}}


def test_a_field_counts_as_set_only_where_it_is() -> None:
    spec = {"http": [{"match": [{"headers": {"a": {"exact": "b"}}}]}, {"route": []}], "sds": {}}
    assert sets(spec, "http[].match[].headers{}.exact")
    assert not sets(spec, "http[].match[].headers{}.prefix")
    assert not sets(spec, "http[].route[].weight")
    assert not sets(spec, "http[].route[]")
    assert sets(spec, "sds")


def test_a_row_that_shows_nothing_is_noticed() -> None:
    def wrong(path: str, status: str, tests: str, note: str = "") -> str:
        return _wrong("VirtualService", Row(path, status, tuple(tests.split()), note, "x:1"))

    assert wrong("hosts[]", "supported", "golden:canary") == ""
    assert wrong("hosts[]", "supported", "") == "names no test"
    assert wrong("hosts[]", "unsupported", "") == "says not why"
    assert wrong("hosts[]", "done", "") == "'done' is no status"
    assert wrong("hosts[]", "supported", "golden:nowhere") == "there is no golden case nowhere"
    assert "does not set it" in wrong("tls[].match[].port", "supported", "golden:canary")
    assert "no Problem about it" in wrong("hosts[]", "unsupported", "golden:canary", "why")
    assert "there is no test" in wrong("hosts[]", "supported", "tests/unit/test_features.py::test_nothing")
