"""Faults are decided by a seed and a message, in the shares that were asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from controlplane.lab.faults import SPARED, Fate, Faults, Message

EVERYTHING = Faults(
    7, delay=0.2, drop=0.1, drop_request=0.1, reorder=0.1, nack=0.3, slow_ack=0.2, cut=0.05, longest=0.5
)
TRIES = 20_000


def responses(proxy: str = "web-1.front", kind: str = "cds") -> Iterator[Message]:
    return (Message(proxy, "response", kind, number) for number in range(TRIES))


def acks(proxy: str = "web-1.front") -> Iterator[Message]:
    return (Message(proxy, "request", "eds", number, accepts=True) for number in range(TRIES))


def share(fates: list[Fate], name: str) -> float:
    return sum(bool(getattr(fate, name)) for fate in fates) / len(fates)


def test_shares_are_as_asked() -> None:
    sent = [EVERYTHING.fate(message) for message in responses()]
    answered = [EVERYTHING.fate(message) for message in acks()]
    # Five standard deviations of the widest of these shares are 0.016.
    assert share(sent, "wait") == pytest.approx(0.2, abs=0.016)
    assert share(sent, "drop") == pytest.approx(0.1, abs=0.016)
    assert share(sent, "swap") == pytest.approx(0.09, abs=0.016)  # what is lost cannot change places
    assert share(sent, "cut") == pytest.approx(0.05, abs=0.016)
    assert share(answered, "drop") == pytest.approx(0.1, abs=0.016)
    assert share(answered, "nack") == pytest.approx(0.27, abs=0.016)
    assert share(answered, "wait") == pytest.approx(0.18, abs=0.016)
    waits = [fate.wait for fate in sent if fate.wait]
    assert max(waits) <= 0.5
    assert sum(waits) / len(waits) == pytest.approx(0.25, abs=0.02)


def test_a_message_has_one_fate_whatever_else_happens() -> None:
    forward = {message: EVERYTHING.fate(message) for message in responses()}
    for message in reversed(forward):
        EVERYTHING.fate(Message("other.ns", "response", message.type, message.number))
        assert EVERYTHING.fate(message) == forward[message]


@pytest.mark.parametrize(
    ("seed", "proxy", "kind"),
    [(8, "web-1.front", "cds"), (7, "web-2.front", "cds"), (7, "web-1.front", "eds")],
    ids=["seed", "proxy", "type"],
)
def test_each_seed_proxy_and_type_has_fates_of_its_own(seed: int, proxy: str, kind: str) -> None:
    other = [Faults(seed, drop=0.5).fate(message).drop for message in responses(proxy, kind)]
    mine = [Faults(7, drop=0.5).fate(message).drop for message in responses()]
    agreeing = sum(a == b for a, b in zip(mine, other, strict=True)) / TRIES
    assert agreeing == pytest.approx(0.5, abs=0.02)


def test_more_of_one_fault_leaves_the_others_where_they_were() -> None:
    for message in responses():
        few, many = Faults(7, delay=0.1, cut=0.1).fate(message), Faults(7, delay=0.9, cut=0.1).fate(message)
        assert few.cut == many.cut
        assert not few.wait or few == many


def test_only_acks_are_rejected_or_late() -> None:
    faults = Faults(7, nack=1.0, slow_ack=1.0)
    assert faults.fate(Message("a", "request", "cds", 0)) == SPARED
    assert faults.fate(Message("a", "request", "cds", 0, accepts=True)).nack
    assert not faults.fate(Message("a", "response", "cds", 0)).nack


def test_what_lies() -> None:
    assert [Fate(drop=True).lies, Fate(swap=True).lies, Fate(nack=True).lies] == [True] * 3
    assert not Fate(wait=1.0, cut=True).lies


def test_no_hash_seed_changes_anything() -> None:
    program = (
        "from controlplane.lab.faults import Faults, Message\n"
        "print([Faults(3, drop=0.5).fate(Message('a.b', 'response', 'cds', n)).drop for n in range(64)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("wrong", [{"drop": 1.5}, {"nack": -0.1}, {"longest": -1.0}])
def test_what_is_no_share(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Faults(**wrong)  # type: ignore[arg-type]
