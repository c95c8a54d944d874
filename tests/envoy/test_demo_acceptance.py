"""The demo's Envoys take in everything that all its steps bring, in both variants of the protocol."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from controlplane.lab.client import Protocol
from controlplane.lab.pods import Pod
from controlplane.lab.shop import Shop
from controlplane.lab.steps import STEPS
from tests.support.envoys import MARKS, laboratory

pytestmark = MARKS

KINDS = {
    r"cluster_manager\.cds\.": "cds",
    r"listener_manager\.lds\.": "lds",
    r"\.rds\.": "rds",
    r"^cluster\.outbound\|": "eds",
    r"^sds\.": "sds",
}


def totals(pod: Pod, suffix: str) -> Counter[str]:
    """The sum of all statistics with this ending, by type."""
    found: Counter[str] = Counter()
    for name, count in pod.admin.stats(f"{suffix}$").items():
        for pattern, kind in KINDS.items():
            if re.search(pattern, name):
                found[kind] += count
    return found


@pytest.mark.parametrize("protocol", ["DELTA_GRPC", "GRPC"])
def test_nothing_is_rejected(tmp_path: Path, protocol: Protocol) -> None:
    with laboratory(tmp_path) as lab:
        shop = Shop(lab)
        shop.open(protocol)
        for step in STEPS:
            for push in shop.arrange(step):
                assert push.acked == push.touched > 0, (step.name, push)
        meshed = {name: pod for name, pod in lab.pods.items() if pod.sidecar is not None}
        assert len(meshed) == len(lab.pods) - 1 == 8
        for name, pod in meshed.items():
            rejected, taken = totals(pod, "update_rejected"), totals(pod, "update_success")
            # Each type has been there: a statistic that does not exist rejects nothing.
            assert rejected == dict.fromkeys(KINDS.values(), 0), name
            assert all(taken[kind] > 0 for kind in KINDS.values()), (name, taken)
        assert shop.plane.get("/debug/problems") == []
