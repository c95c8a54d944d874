"""A JSON file becomes plain values with lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.sources.directory.json_value import Value, parse
from controlplane.sources.directory.text import MalformedError


def test_values_may_follow_each_other() -> None:
    assert list(parse('{"a": 1}\n\n{"b": [2]}\n')) == [Value({"a": 1}, 1, ()), Value({"b": [2]}, 3, ())]


def test_nothing_is_no_value() -> None:
    assert list(parse(" \n ")) == []


def test_items_know_their_lines() -> None:
    text = '{"x": {"items": []}, "kind": "List",\n "items" : [\n  {"a": 1},\n\n  {"b": [3]}\n, 4]}'
    (value,) = parse(text)
    assert isinstance(value, Value)
    assert value.items == (3, 5, 6)


def test_half_characters_are_refused_and_pairs_are_read() -> None:
    (good,) = parse('{"a": "\\ud83d\\ude00"}')
    assert isinstance(good, Value)
    assert good.value == {"a": "😀"}
    (bad,) = parse('{"a": "\\ud83d"}')
    assert isinstance(bad, MalformedError)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('{"a": 1,\n}', 2, "not JSON"),
        ('{"a": 1}\n{"b": ', 2, "not JSON"),
        ('\n{"a": 1, "a": 2}', 2, "'a' stands twice"),
        ('{"a": NaN}', 1, "NaN"),
        ("[" * 200 + "]" * 200, 1, "levels deep"),
        ("[" * 100_000, 1, "levels deep"),
        ('{"a": ' + "9" * 5000 + "}", 1, "not usable"),
    ],
)
def test_refused(text: str, line: int, message: str) -> None:
    *_, last = parse(text)
    assert isinstance(last, MalformedError)
    assert message in last.message
    assert last.line == line


def test_what_stands_before_an_error_is_read() -> None:
    first, second = parse('{"a": 1} {')
    assert first == Value({"a": 1}, 1, ())
    assert isinstance(second, MalformedError)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(_values, st.integers(0, 3))
def test_what_a_writer_writes_is_read_back(value: Any, indent: int) -> None:
    try:
        text = json.dumps(value, indent=indent or None)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    (found,) = parse(text)
    assert isinstance(found, Value)
    assert found.value == value


@given(st.lists(_values, max_size=4))
def test_each_item_has_a_line(items: list[Any]) -> None:
    text = json.dumps({"kind": "List", "n": [1], "items": items}, indent=1)
    found = list(parse(text))
    if isinstance(found[0], Value):
        assert len(found[0].items) == len(items)
        assert list(found[0].items) == sorted(found[0].items)
