"""Which sources the settings name."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import pytest

from controlplane import settings
from controlplane.app.sources import followed
from controlplane.base.clock import FakeClock


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ((), ["directory"]),
        (("--docker", "unix:/run/docker.sock"), ["directory", "docker"]),
        (
            ("--docker", "docker-proxy:2375", "--mesh-config", __file__),
            ["directory", "mesh-config", "docker"],
        ),
        (("--compose-files", __file__), ["directory", "compose"]),
    ],
)
def test_sources_of_settings(tmp_path: Path, flags: tuple[str, ...], names: list[str]) -> None:
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser)
    read = settings.from_args(parser.parse_args(["--config-dir", str(tmp_path), *flags]), {})
    assert [one.name for one in followed(read, FakeClock(), itertools.count(1))] == names
