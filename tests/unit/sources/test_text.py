"""Files are cut into documents, and lines are counted in the file."""

from __future__ import annotations

import pytest

from controlplane.sources.directory.text import MalformedError, decode, pieces


def cut(text: str) -> list[tuple[int, str]]:
    return [(piece.line, piece.text) for piece in pieces(text)]


def test_a_file_without_separators_is_one_document() -> None:
    assert cut("a: 1\nb: 2\n") == [(1, "a: 1\nb: 2\n")]


def test_separators_begin_the_document_they_stand_before() -> None:
    assert cut("a: 1\n---\nb: 2\n--- # third\nc: 3\n") == [
        (1, "a: 1"),
        (2, "---\nb: 2"),
        (4, "--- # third\nc: 3\n"),
    ]


def test_a_leading_separator_and_directives_make_no_document_of_their_own() -> None:
    assert cut("# note\n%YAML 1.1\n---\na: 1") == [(1, "# note\n%YAML 1.1\n---\na: 1")]
    assert cut("---\na: 1\n...\n%YAML 1.1\n---\nb: 1") == [(1, "---\na: 1"), (4, "%YAML 1.1\n---\nb: 1")]


def test_a_separator_ends_even_a_block_scalar() -> None:
    assert cut("a: |\n  x\n---\nb: 1") == [(1, "a: |\n  x"), (3, "---\nb: 1")]


def test_what_only_looks_like_a_separator_is_text() -> None:
    assert cut("a: |\n  ---\n----\n ---\n---x") == [(1, "a: |\n  ---\n----\n ---\n---x")]


def test_carriage_returns_do_not_hide_separators() -> None:
    assert [line for line, _ in cut("a: 1\r\n---\r\nb: 1\r\n")] == [1, 2]


def test_a_byte_order_mark_is_not_text() -> None:
    assert decode(b"\xef\xbb\xbfa: 1") == "a: 1"


def test_bytes_that_are_not_text_are_refused_with_their_line() -> None:
    with pytest.raises(MalformedError, match="UTF-8") as caught:
        decode(b"a: 1\nb: \xff\n")
    assert caught.value.line == 2
