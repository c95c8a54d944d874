"""All kinds and all sorts of proxies: after any edits, what is served equals what a fresh graph says.

Longer, and with other seeds of hashing: tests/slow/test_mesh_edits_long.py.
"""

from __future__ import annotations

from collections import Counter

import pytest

from controlplane.graph import Table
from controlplane.model.kinds import KINDS
from tests.support.drawn_mesh import UNREAD, Drawn
from tests.support.edited import edited

SEEDS = range(7)
EDITS = 6
TRAITS = frozenset(
    {
        *("sidecar", "router", "mode REDIRECT", "mode TPROXY", "mode NONE", "with identity"),
        *("without identity", "dns capture", "network", "place", "two families", "on demand", "http proxy"),
        *("patched", "gateway listens", "AllocatedAddress"),
    }
)


def test_edits_of_all_kinds() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        seen += edited(Drawn(seed), seed, EDITS).seen
    # Otherwise something was left out.
    assert {kind.name for kind in KINDS} - UNREAD <= seen.keys()
    assert seen.keys() >= TRAITS


def test_queries_agree_with_themselves() -> None:
    edited(Drawn(8, paranoid=True), 8, EDITS)


def test_a_change_that_nobody_hears_of_is_noticed() -> None:
    mesh = Drawn(0)
    table: Table = next(kind.table for kind in KINDS if kind.name == "Service")
    values = mesh.graph.rows(table).values
    del values[sorted(values)[0]]
    with pytest.raises(AssertionError, match="is not what a fresh graph says"):
        mesh.compare()
