"""The simulator says of hundreds of drawn calls, over drawn configurations, what real Envoys make of them."""

from __future__ import annotations

from pathlib import Path

from tests.support.envoys import MARKS, laboratory
from tests.support.sim_compare import Tally, compare
from tests.support.sim_stage import Stage

pytestmark = MARKS

SEED, ROUNDS, CALLS = 1, 8, 40


def test_simulator_agrees_with_envoys(tmp_path: Path) -> None:
    tally = Tally()
    with laboratory(tmp_path) as lab:
        compare(Stage(lab), SEED, ROUNDS, CALLS, tally)
    assert tally.calls >= ROUNDS * CALLS
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.chances > 30 and tally.fair(), (tally.chances, tally.sigmas)
    # It is no agreement about one thing only.
    assert {kind.split()[0] for kind in tally.ends} >= {"http", "tcp", "answer", "closed"}
    assert tally.doubtful == 0
