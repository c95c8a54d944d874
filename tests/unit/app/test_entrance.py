"""What the doors are made of, and what is said when they are open wider than they should be."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import pytest

from controlplane import settings
from controlplane.app.compose import App, build
from controlplane.base.errors import EnvironmentUnfit
from controlplane.mesh.settings import MESH
from controlplane.model.caller import Door
from controlplane.model.kinds import mesh_configs
from controlplane.model.kinds.mesh_config import MeshConfig


def made(directory: Path, *flags: str) -> App:
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser)
    (directory / "config").mkdir(exist_ok=True)
    argv = ["--config-dir", str(directory / "config"), *flags]
    return build(settings.from_args(parser.parse_args(argv), {}))


def test_only_the_plaintext_door_is_there_by_default(tmp_path: Path) -> None:
    addresses = made(tmp_path).xds.doors.addresses
    assert {door for door, found in addresses.items() if found} == {Door.PLAINTEXT}


def test_who_believes_everybody_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made(tmp_path)
    assert "IDENTITIES ARE NOT CHECKED" not in caplog.text
    made(tmp_path, "--trust-loopback-identities")
    (record,) = [one for one in caplog.records if "IDENTITIES ARE NOT CHECKED" in one.message]
    assert record.levelno == logging.WARNING


def test_the_trust_domain_is_that_of_the_mesh_as_it_is_now(tmp_path: Path) -> None:
    app = made(tmp_path)
    identities = app.entrance.identities
    assert identities.trust_domain() == "cluster.local"
    config = MeshConfig(trust_domain="mesh.example", trust_domain_aliases=("cluster.local",))
    app.graph.commit([(mesh_configs, MESH, config)])
    assert identities.trust_domain() == "mesh.example"


def test_the_key_for_tokens_is_where_it_outlives_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made(tmp_path, "--data-dir", str(data))
    key = (data / "tokens" / "key.pem").read_bytes()
    made(tmp_path, "--data-dir", str(data))
    assert (data / "tokens" / "key.pem").read_bytes() == key
    (data / "tokens" / "key.pem").write_text("damaged")
    with pytest.raises(EnvironmentUnfit, match=r"key\.pem"):
        made(tmp_path, "--data-dir", str(data))
