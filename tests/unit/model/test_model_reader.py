"""Typed reading: every value is what was asked for, or a Problem with the path it was found at."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.problem import Origin, Problem
from controlplane.model.reader import Reader
from controlplane.model.report import MOST, Report


def reader(raw: dict[Any, Any], path: str = "spec") -> tuple[Reader, Report]:
    report = Report("Thing", Origin("a.yaml", 3), strict=True)
    report.namespace, report.name = "ns", "it"
    return Reader(raw, path, report), report


def noted(report: Report) -> list[tuple[str, str, str]]:
    return [(problem.level, problem.field, problem.message) for problem in report.problems]


def test_values_of_the_right_type_are_returned_without_problems() -> None:
    r, report = reader(
        {
            "s": "text",
            "b": False,
            "i": 0,
            "f": 80.0,
            "n": 1,
            "d": "1m30s",
            "e": "LEFT",
            "l": ["a", "b"],
            "m": {"b": "2", "a": "1"},
            "im": {"y": 2, "x": 1},
            "p": {"value": 12.5},
        }
    )
    assert r.required("s") == "text"
    assert r.optional_boolean("b") is False
    assert r.integer("i") == 0
    assert r.port("f") == 80
    assert r.number("n", 0, 2) == 1.0
    assert r.duration("d") == 90_000_000_000
    assert r.enum("e", ("LEFT", "RIGHT"), "RIGHT") == "LEFT"
    assert r.strings("l") == ("a", "b")
    assert r.labels("m") == (("a", "1"), ("b", "2"))
    assert r.integers_by_name("im", 0, 9) == (("x", 1), ("y", 2))
    assert r.percent("p") == 12.5
    r.close()
    assert report.problems == []


def test_absent_null_and_zero_values_are_absent() -> None:
    r, report = reader({"null": None, "empty": "", "zero": 0, "list": []})
    assert r.string("empty") is None
    assert r.text("null", "fallback") == "fallback"
    assert r.count("zero") is None
    assert r.port("zero") is None
    assert r.duration("nothing") is None
    assert r.strings("list") == ()
    assert r.messages("null", lambda child: child) == ()
    assert r.message("null", lambda child: child) is None
    assert r.labels("null") == ()
    assert not r.has("null")
    assert not r.has("list")
    assert report.problems == []


@pytest.mark.parametrize(
    ("method", "arguments", "value", "message"),
    [
        ("string", (), 1, "expected a string, got the number 1"),
        ("string", (), True, "expected a string, got true"),
        ("string", (), {}, "expected a string, got a mapping"),
        pytest.param(
            "string", (), "\ud800", "holds half of a surrogate pair, which is not text", id="surrogate"
        ),
        ("required", (), None, "is missing"),
        ("required", (), "", "is missing"),
        ("boolean", (), "true", "expected true or false, got the string 'true'"),
        ("integer", (), "1", "expected an integer from 0 to 2147483647, got the string '1'"),
        ("integer", (), True, "expected an integer from 0 to 2147483647, got true"),
        ("integer", (), 1.5, "expected an integer from 0 to 2147483647, got the number 1.5"),
        ("integer", (), -1, "expected an integer from 0 to 2147483647, got the number -1"),
        pytest.param(
            "integer",
            (),
            16**5000,
            "expected an integer from 0 to 2147483647, got a number of absurd size",
            id="absurd",
        ),
        ("integer", (), float("inf"), "expected an integer from 0 to 2147483647, got the number inf"),
        ("port", (), 65536, "expected an integer from 0 to 65535, got the number 65536"),
        ("number", (0, 100), float("nan"), "expected a number from 0 to 100, got the number nan"),
        ("number", (0, 100), 101, "expected a number from 0 to 100, got the number 101"),
        ("number", (0, 100), "1", "expected a number from 0 to 100, got the string '1'"),
        ("percent", (), 50, "expected a mapping, got the number 50"),
        ("duration", (), "5", "'5' is not a duration"),
        ("duration", (), 5, "expected a string, got the number 5"),
        ("duration", (), "-1s", "'-1s' is too short"),
        ("duration", (), "0s", "'0s' is too short"),
        ("enum", (("A", "B"), "A"), "a", "'a' is not allowed here"),
        ("strings", (), "a", "expected a list, got the string 'a'"),
        ("labels", (), ["a"], "expected a mapping, got a list"),
        ("labels", (), {1: "x"}, "has the number 1 as a key, expected a string"),
        ("messages", (lambda child: child,), {}, "expected a list, got a mapping"),
        ("message", (lambda child: child,), [], "expected a mapping, got a list"),
    ],
)
def test_a_wrong_value_is_an_error_at_its_path(
    method: str, arguments: tuple[Any, ...], value: Any, message: str
) -> None:
    r, report = reader({"field": value})
    getattr(r, method)("field", *arguments)
    assert noted(report) == [("error", "spec.field", message)]
    assert report.failed


def test_elements_are_named_by_index_and_by_key() -> None:
    r, report = reader({"list": ["a", 1, "", None], "map": {"k": 1}, "in": [{"deep": {"x": [{"port": -1}]}}]})
    assert r.strings("list") == ("a",)
    assert r.labels("map") == ()
    r.messages("in", lambda a: a.message("deep", lambda b: b.messages("x", lambda c: c.port("port"))))
    assert [problem.field for problem in report.problems] == [
        "spec.list[1]",
        "spec.list[2]",
        "spec.list[3]",
        "spec.map[k]",
        "spec.in[0].deep.x[0].port",
    ]


def test_an_unknown_field_is_a_warning_that_knows_the_right_name() -> None:
    r, report = reader({"timeuot": "1s", "zzz": 1, 5: 1, "timeout": "1s"})
    assert r.duration("timeout") == 1_000_000_000
    r.close()
    assert not report.failed
    assert [(p.level, p.field, p.remedy) for p in report.problems] == [
        ("warning", "spec.timeuot", "did you mean timeout?"),
        ("warning", "spec.zzz", "remove it"),
        ("warning", "spec", "remove it; field names are strings"),
    ]


def test_a_name_in_other_case_is_the_nearest() -> None:
    r, report = reader({"jwksURI": "x", "WIEGHT": 1})
    for known in ("jwks", "jwksUri", "weight"):
        r.skip(known)
    r.close()
    assert [p.remedy for p in report.problems] == ["did you mean jwksUri?", "did you mean weight?"]


def test_a_nested_unknown_field_is_found() -> None:
    r, report = reader({"a": {"b": {"known": 1, "unknown": 2}}})
    r.message("a", lambda a: a.message("b", lambda b: b.integer("known")))
    assert [problem.field for problem in report.problems] == ["spec.a.b.unknown"]


def test_a_lenient_report_does_not_mind_unknown_fields() -> None:
    report = Report("Thing", None, strict=False)
    Reader({"anything": 1}, "", report).close()
    assert report.problems == []


def test_null_in_a_string_map_is_the_empty_string() -> None:
    r, report = reader({"m": {"a": None}})
    assert r.labels("m") == (("a", ""),)
    assert report.problems == []


def test_problems_of_one_object_are_bounded() -> None:
    r, report = reader({"list": [1] * 5000})
    r.strings("list")
    assert len(report.problems) == MOST + 1
    assert report.problems[-1].message == "further problems are not listed"
    assert report.failed


def test_names_from_outside_cannot_break_a_line() -> None:
    r, report = reader({"a\nb": 1, "m": {"x\x00\ud800y": 1, "k" * 500: 2}})
    r.integers_by_name("m", 5, 6)
    r.close()
    assert all(problem.field.isprintable() and len(problem.field) < 120 for problem in report.problems)
    assert len(report.problems) == 3


def test_a_problem_is_served_with_exactly_the_promised_keys() -> None:
    r, report = reader({"x": 1})
    r.string("x")
    assert report.problems[0].as_json() == {
        "level": "error",
        "kind": "Thing",
        "namespace": "ns",
        "name": "it",
        "file": "a.yaml",
        "line": 3,
        "field": "spec.x",
        "message": "expected a string, got the number 1",
        "remedy": "put it in quotes",
    }
    assert isinstance(report.problems[0], Problem)
