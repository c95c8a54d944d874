"""One YAML document becomes plain values as kubectl reads them."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controlplane.sources.directory.text import MalformedError
from controlplane.sources.directory.yaml_value import MAX_ALIASED, MAX_DEPTH, parse, plain_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("0", 0),
        ("-12", -12),
        ("0o17", 15),
        ("017", 15),
        ("0x1F", 31),
        ("0b101", 5),
        ("1_000", 1000),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        # Text, for kubectl: not a number of base 60, not a date, not infinity.
        ("22:22", "22:22"),
        ("1:30:00", "1:30:00"),
        ("2024-01-02", "2024-01-02"),
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("=", "="),
        ("y", "y"),
        ("089", 89.0),
        ("1.2.3", "1.2.3"),
        ("10s", "10s"),
        ("-", "-"),
        ("+", "+"),
        ("0x", "0x"),
        ("v1", "v1"),
    ],
)
def test_plain_scalars(text: str, value: Any) -> None:
    got = plain_value(text)
    assert (type(got), got) == (type(value), value)


def test_quoted_scalars_are_text() -> None:
    assert parse("a: '1'\nb: \"true\"\nc: |\n  1\n").value == {"a": "1", "b": "true", "c": "1\n"}


def test_explicit_tags() -> None:
    text = "a: !!str 1\nb: !!int '2'\nc: !!float 3\nd: !!timestamp 2024-01-02"
    assert parse(text).value == {"a": "1", "b": 2, "c": 3.0, "d": "2024-01-02"}


def test_keys_are_text_as_in_json() -> None:
    assert parse("1: a\non: b\n1.50: c\nnull: d\n2024-01-02: e").value == {
        "1": "a",
        "true": "b",
        "1.50": "c",
        "null": "d",
        "2024-01-02": "e",
    }


def test_nothing_is_not_a_document() -> None:
    assert parse("# only a comment\n").value is None
    assert not parse("# only a comment\n").present


def test_objects_know_their_lines() -> None:
    document = parse("kind: List\nitems:\n- a: 1\n- {b: 2}\n\n-\n  c: 3\n")
    assert document.line(document.value) == 1
    assert [document.line(item) for item in document.value["items"]] == [3, 4, 7]


def test_merge_keys_yield_to_what_is_written() -> None:
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {<<: [*x, *y], a: 0}\nw:\n  b: 9\n  <<: *x\n"
    value = parse(text).value
    assert value["z"] == {"a": 0, "b": 2, "c": 4}
    assert value["w"] == {"b": 9, "a": 1}


def test_aliases_also_as_keys() -> None:
    assert parse("a: &n name\nb: *n\n*n : 1\n").value == {"a": "name", "b": "name", "name": 1}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3", 3, "'a' stands twice"),
        ("a:\n  b: 1\n  'b': 2", 3, "'b' stands twice"),
        ("a: 1\nb: [1, 2\n\n\n", 2, "not YAML"),
        ("a: b\n\tc: d\n", 2, "not YAML"),
        ("a: 'x\n\n", 1, "not YAML"),
        ("a: b: c", 1, "mapping values are not allowed"),
        ("a: x\nb: \x01", 2, "control characters"),
        ("a: 1\nb: !!python/object/apply:os.system ['true']", 2, "tag"),
        ("a: !!set {b}", 1, "tag"),
        ("a: !!int x", 1, "tag"),
        ("a: 1\nb: *nowhere", 2, "has no anchor"),
        ("a: &a\n  b: *a", 2, "inside its own anchor"),
        ("[a]: 1", 1, "cannot be a key"),
        ("{a: 1}: 1", 1, "cannot be a key"),
        ("a: &a [1]\n*a : 1", 2, "cannot be a key"),
        ("a: 1\n<<: 2", 2, "only mappings can be merged"),
        ("a: 1\nb: " + "9" * 5000, 2, "not a usable number"),
        ("%TAG ! tag:x\n---\na: !y 1", 3, "tag"),
    ],
)
def test_refused(text: str, line: int, message: str) -> None:
    with pytest.raises(MalformedError, match=message) as caught:
        parse(text)
    assert caught.value.line == line
    assert caught.value.remedy


def test_a_value_is_not_repeated_for_it_may_be_a_secret() -> None:
    with pytest.raises(MalformedError) as caught:
        parse("data:\n  tls.key: !!binary c2VjcmV0*")
    assert caught.value.line == 2
    assert "c2VjcmV0" not in f"{caught.value} {caught.value.remedy}"


def test_an_unclosed_bracket_says_where_it_was_opened() -> None:
    with pytest.raises(MalformedError) as caught:
        parse("a:\n  b: [\n  c: 1\n")
    assert caught.value.context is not None
    assert caught.value.context[1] == 2


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " + "{a: " * 100_000, "- " * 100_000])
def test_deep_nesting_is_refused_at_once(text: str) -> None:
    begin = time.monotonic()
    with pytest.raises(MalformedError, match=f"more than {MAX_DEPTH} levels"):
        parse(text)
    assert time.monotonic() - begin < 2


def test_the_deepest_allowed_nesting_passes() -> None:
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH).present


def test_depth_by_aliases_is_refused() -> None:
    lines = ["a0: &a0 [1]"]
    lines += [f"a{n}: &a{n} {'[' * 40}*a{n - 1}{']' * 40}" for n in range(1, 5)]
    with pytest.raises(MalformedError, match="levels deep"):
        parse("\n".join(lines))


def test_an_alias_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    begin = time.monotonic()
    with pytest.raises(MalformedError, match=f"over {MAX_ALIASED} values"):
        parse("\n".join(lines))
    assert time.monotonic() - begin < 2


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff\x85")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz_", max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_json, st.booleans())
def test_what_a_writer_writes_is_read_back(value: Any, flow: bool) -> None:
    text = yaml.safe_dump({"value": value}, default_flow_style=flow, allow_unicode=True)
    assert parse(text).value == {"value": value}


@given(st.text(alphabet="ab:-[]{}&*!#'\"|> \n1", max_size=30))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    try:
        parse(text)
    except MalformedError as error:
        assert error.line is not None
        assert 1 <= error.line <= text.count("\n") + 1
