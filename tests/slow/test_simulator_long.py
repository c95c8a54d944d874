"""The simulator beside real Envoys for a thousand calls and more, of other seeds than the short test's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.envoys import MARKS, laboratory
from tests.support.sim_compare import Tally, compare
from tests.support.sim_stage import Stage

pytestmark = [*MARKS, pytest.mark.slow]

SEEDS, ROUNDS, CALLS = (11, 12, 13), 10, 50


def test_simulator_agrees_with_envoys(tmp_path: Path) -> None:
    tally = Tally()
    with laboratory(tmp_path) as lab:
        stage = Stage(lab)
        for seed in SEEDS:
            compare(stage, seed, ROUNDS, CALLS, tally)
    assert tally.calls >= len(SEEDS) * ROUNDS * CALLS
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.chances > 100 and tally.fair(), (tally.chances, tally.sigmas)
    assert tally.doubtful == 0
