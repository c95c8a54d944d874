"""Leaves change under two hundred requests a second, a hundred times, and by themselves: nobody notices."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controlplane.lab.client import Protocol
from tests.support.envoys import MARKS, laboratory
from tests.support.mutual import leaves_under_traffic, renewals_under_traffic

pytestmark = [*MARKS, pytest.mark.slow]


@pytest.mark.parametrize("protocol", ["GRPC", "DELTA_GRPC"])
def test_a_hundred_rotations(tmp_path: Path, protocol: Protocol) -> None:
    with laboratory(tmp_path) as lab:
        asyncio.run(leaves_under_traffic(lab, 100, protocol, pause=0.2))


def test_short_lives(tmp_path: Path) -> None:
    with laboratory(tmp_path) as lab:
        asyncio.run(renewals_under_traffic(lab, life=8.0, seconds=40.0))
