"""What holds for every test."""

import os

import pytest

# Tests start processes while a gRPC server runs beside them.  What gRPC does around a fork, for children
# that go on without exec, sometimes aborts those that do exec.  Read when gRPC is loaded, so set before.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# Helpers assert, too.
pytest.register_assert_rewrite("tests.support")
