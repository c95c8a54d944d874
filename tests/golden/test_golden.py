"""What is served for each golden case is what its folder says, byte for byte and twice over."""

from __future__ import annotations

import pytest

from tests.golden.harness import CASES, HERE, Case


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    folder = HERE / name / "out"
    wanted = {path.name: path.read_text() for path in folder.glob("*.yaml")}
    assert wanted, f"{name} has no outputs: run python -m tests.golden.harness"
    assert Case(name).outputs() == wanted


@pytest.mark.parametrize("name", CASES)
def test_two_compiles_give_the_same_bytes(name: str) -> None:
    first, second = Case(name), Case(name)
    assert [(r.name, r.version, r.body) for r in first.all()] == [
        (r.name, r.version, r.body) for r in second.all()
    ]
