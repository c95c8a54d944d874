"""A hundred changes of both leaves under two hundred requests in a second: nobody notices."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controlplane.lab.client import Protocol
from tests.support.envoys import MARKS, laboratory
from tests.support.mutual import leaves_under_traffic

pytestmark = [*MARKS, pytest.mark.slow]


@pytest.mark.parametrize("protocol", ["GRPC", "DELTA_GRPC"])
def test_a_hundred_rotations(tmp_path: Path, protocol: Protocol) -> None:
    with laboratory(tmp_path) as lab:
        asyncio.run(leaves_under_traffic(lab, 100, protocol, pause=0.2))
