"""What holds for every test."""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

# Tests start processes while a gRPC server runs beside them.  What gRPC does around a fork, for children
# that go on without exec, sometimes aborts those that do exec.  Read when gRPC is loaded, so set before.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# How long an example takes, and how long it takes to draw one, says how busy the machine is.
settings.register_profile(
    "any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# Helpers assert, too.
pytest.register_assert_rewrite("tests.support")


def pytest_collection_finish() -> None:
    """What was collected stays: that the collector looks through it again is a tenth of the CPU time."""
    gc.collect()
    gc.freeze()
