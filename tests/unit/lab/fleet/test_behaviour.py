"""Drawn behaviour: the same for the same seed, in any order, and as frequent as it should be."""

from __future__ import annotations

from statistics import mean

import pytest

from controlplane.lab.fleet import Behaviour, Delay, Nack, Stall
from controlplane.lab.fleet.behaviour import chosen, draw

PROXIES = [f"p{n}.ns" for n in range(1000)]


def test_a_draw_depends_on_its_arguments_alone() -> None:
    assert draw(1, "a", 2) == draw(1, "a", 2)
    assert len({draw(1, "a", 2), draw(2, "a", 2), draw(1, "b", 2), draw(1, "a", 3), draw(1, "a2")}) == 5
    values = [draw(7, n) for n in range(2000)]
    assert 0 <= min(values) < 0.01 < 0.99 < max(values) < 1
    assert mean(values) == pytest.approx(0.5, abs=0.03)


def test_delays() -> None:
    assert Behaviour().prompt
    assert Behaviour(ack_delay=0.5).delay("p", "cds", 1) == 0.5
    drawn = Behaviour(ack_delay=Delay(0.1, mean=0.4), seed=3)
    assert not drawn.prompt
    found = [drawn.delay(proxy, "eds", 1) for proxy in PROXIES]
    assert min(found) >= 0.1
    assert mean(found) == pytest.approx(0.5, abs=0.05)
    assert found == [drawn.delay(proxy, "eds", 1) for proxy in PROXIES]
    assert found[0] != drawn.delay(PROXIES[0], "eds", 2)


def test_a_share_is_refused() -> None:
    behaviour = Behaviour(nack=Nack(share=0.2, types=("rds",)), seed=5)
    refused = [proxy for proxy in PROXIES if behaviour.verdict(proxy, "rds", 1, ())]
    assert 150 < len(refused) < 250
    assert refused != [proxy for proxy in PROXIES if behaviour.verdict(proxy, "rds", 2, ())]
    assert not any(behaviour.verdict(proxy, "cds", 1, ()) for proxy in PROXIES)


def test_a_name_is_refused() -> None:
    behaviour = Behaviour(nack=Nack(names=("outbound|80|*|bad.*", "exact")))
    assert (
        behaviour.verdict("p", "cds", 1, ["a", "outbound|80|v1|bad.ns"])
        == "outbound|80|v1|bad.ns: refused by the fleet"
    )
    assert behaviour.verdict("p", "rds", 9, ["exact"]) is not None
    assert behaviour.verdict("p", "cds", 1, ["outbound|80||good.ns"]) is None


def test_a_share_stalls() -> None:
    stall = Stall(share=0.3, seconds=1, every=2)
    stalling = [proxy for proxy in PROXIES if Behaviour(stall=stall).stalls(proxy)]
    assert 250 < len(stalling) < 350
    assert Behaviour().stalls(PROXIES[0]) is None


def test_a_share_is_chosen_to_the_proxy() -> None:
    found = chosen(PROXIES, 0.25, 1, "storm")
    assert len(found) == len(set(found)) == 250
    assert found == chosen(PROXIES[::-1], 0.25, 1, "storm")
    assert set(found) < set(chosen(PROXIES, 0.5, 1, "storm"))
    assert set(found) != set(chosen(PROXIES, 0.25, 2, "storm"))
    assert chosen(PROXIES, 0.0, 1, "storm") == []
