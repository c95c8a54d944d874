"""A broken piece keeps the objects that stood there before, and no others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.model.keys import Key
from controlplane.sources.directory.documents import Broken, Object, Unit
from controlplane.sources.directory.hold import stand
from controlplane.sources.naming import Name


def thing(name: str, raw: bool = True) -> Object:
    return Object(Name("", "Service", Key("default", name)), 1, name.encode(), {} if raw else None)


def broken(text: str = "") -> Broken:
    return Broken(1, "", "broken", "mend", text)


def names(before: str, *units: Unit) -> str:
    """What is in force after reading these units, by one-letter names; held ones in capitals."""
    standing = stand([thing(name) for name in before], units)
    return "".join(
        one.name.key.name if one.raw is not None else one.name.key.name.upper() for one in standing.objects
    )


def test_good_documents_stand_for_themselves() -> None:
    assert names("abc", thing("a"), thing("x")) == "ax"


def test_a_broken_document_holds_what_stood_in_its_place() -> None:
    assert names("abc", thing("a"), broken(), thing("c")) == "aBc"
    assert names("abc", broken(), thing("b"), thing("c")) == "Abc"
    assert names("abc", thing("a"), thing("b"), broken()) == "abC"


def test_a_new_broken_document_holds_nothing() -> None:
    assert names("ab", thing("a"), broken(), thing("b")) == "ab"
    assert names("", broken()) == ""


def test_others_can_still_be_removed() -> None:
    # c was deleted from the end while b is broken between a and d.
    assert names("abdc", thing("a"), broken(), thing("d")) == "aBd"


def test_a_name_in_the_broken_text_decides_within_a_gap() -> None:
    text = "kind: Service\nmetadata:\n  name: b\n  x: [\n"
    assert names("abcd", thing("a"), broken(text), thing("d")) == "aBd"


def test_a_name_in_the_broken_text_is_found_out_of_place_too() -> None:
    text = 'kind: "Service"\nmetadata: {name: "a", x: [\n'
    assert names("abc", thing("b"), thing("c"), broken(text)) == "bcA"


def test_a_lost_separator_holds_both_documents() -> None:
    text = "kind: Service\nmetadata: {name: a}\nkind: Service\nmetadata: {name: b}\n"
    assert names("abc", broken(text), thing("c")) == "ABc"


def test_an_unreadable_file_holds_everything() -> None:
    assert names("abc", broken()) == "ABC"


def test_a_broken_name_line_holds_what_is_missing() -> None:
    assert names("abc", thing("a"), broken("kind: Service\nmetadata: {name: [b}"), thing("c")) == "aBc"


def test_two_broken_neighbours() -> None:
    assert names("abcd", thing("a"), broken(), broken(), thing("d")) == "aBCd"


def test_held_objects_stay_held_while_it_is_broken() -> None:
    first = stand([thing(name) for name in "abc"], [thing("a"), broken("1"), thing("c")])
    second = stand(first.objects, [thing("a"), broken("2"), thing("c")])
    assert [one.name.key.name for one in second.objects] == ["a", "b", "c"]
    assert [[one.name.key.name for one in held] for _, held in second.broken] == [["b"]]


def test_reordered_neighbours_lose_nothing() -> None:
    assert sorted(names("abc", thing("c"), broken(), thing("a"))) == ["B", "a", "c"]


def test_copies_in_one_file_are_matched_in_order() -> None:
    assert names("aa", thing("a"), broken()) == "aA"


def test_large_files_do_not_take_long() -> None:
    before = [thing(str(number), raw=False) for number in range(20_000)]
    standing = stand(before, [broken("name: 1\n" * 20_000)])
    assert len(standing.objects) == 20_000


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("abcdef-"), max_size=8))
def test_what_is_missing_is_held_or_there_is_no_broken_piece(before: list[str], now: list[str]) -> None:
    units = [broken() if name == "-" else thing(name) for name in now]
    standing = stand([thing(name) for name in before], units)
    here = {one.name.key.name for one in standing.objects}
    assert set(now) - {"-"} <= here
    if "-" not in now:
        assert here == set(now)
    else:
        held = [one for one in standing.objects if one.raw is None]
        assert {one.name.key.name for one in held} <= set(before)
        assert len(held) == sum(len(kept) for _, kept in standing.broken)
    # A file that is one broken document holds everything.
    if now == ["-"]:
        assert here == set(before)
