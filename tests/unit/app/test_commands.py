"""The command line: what is printed, and the exit status."""

from __future__ import annotations

import json

import pytest

from controlplane import __version__
from controlplane.app.commands import main


def test_bootstrap_prints_what_an_envoy_starts_with(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bootstrap", "--xds-address", "unix:/run/xds.sock", "--ip", "10.0.0.7", "--name", "web-1"]
    assert main([*argv, "--namespace", "prod", "--label", "app=web", "--locality", "eu/eu-1"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["node"]["id"] == "sidecar~10.0.0.7~web-1.prod~prod.svc.cluster.local"
    assert made["node"]["metadata"]["LABELS"] == {"app": "web"}
    assert made["node"]["locality"] == {"region": "eu", "zone": "eu-1"}
    assert made["dynamic_resources"]["ads_config"]["api_type"] == "DELTA_GRPC"
    assert "/run/xds.sock" in json.dumps(made["static_resources"])


def test_a_label_without_a_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bootstrap", "--xds-address", "unix:/x", "--ip", "10.0.0.7", "--name", "w", "--label", "app"]
    assert main(argv) == 2
    assert "--label: 'app'" in capsys.readouterr().err


def test_a_setting_that_cannot_be_used_is_named(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    assert main(["discovery", "--config-dir", str(tmp_path / "nowhere")]) == 2
    assert "--config-dir" in capsys.readouterr().err


def test_plaintext_beyond_this_machine_is_refused(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    assert main(["discovery", "--config-dir", str(tmp_path), "--grpc-addr", "0.0.0.0:15010"]) == 2
    assert "--insecure-allow-remote" in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert __version__ in capsys.readouterr().out
