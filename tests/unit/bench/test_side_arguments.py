"""What the comparison may be asked for: sizes that mean something, or a word about it."""

from __future__ import annotations

import pytest

from bench import side_by_side


@pytest.mark.parametrize("option", ["--repeats", "--services", "--proxies", "--most", "--changes"])
@pytest.mark.parametrize("value", ["0", "-1", "2.5", "many"])
def test_a_count_is_one_or_more(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        side_by_side._arguments([f"{option}={value}"])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(f"argument {option}: must be a whole number of 1 or more, not '{value}'")


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "soon"])
def test_seconds_are_finite_and_not_negative(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        side_by_side._arguments([f"--airbnb={value}"])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(f"argument --airbnb: must be a number of seconds, 0 or more, not '{value}'")


@pytest.mark.parametrize(("argv", "repeats"), [([], 5), (["--quick"], 2), (["--quick", "--repeats", "1"], 1)])
def test_repeats_are_as_told_or_as_large_as_the_rest(argv: list[str], repeats: int) -> None:
    assert side_by_side._arguments(argv).repeats == repeats


def test_what_is_told_becomes_the_size() -> None:
    told = ["--services", "11", "--proxies", "7", "--most", "3", "--changes", "2", "--airbnb", "0"]
    size = side_by_side._size(side_by_side._arguments(told))
    # Memory is never of fewer proxies than times are.
    assert (size.services, size.proxies, size.most, size.changes, size.airbnb) == (11, 7, 7, 2, 0.0)
