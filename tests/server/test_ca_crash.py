"""A control plane is killed in the midst of a change of root, as by a lost machine, and comes back."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

import pytest

from controlplane.ca.keep import DirectoryKeeper
from tests.support.process import started

pytestmark = pytest.mark.whole


def test_killed_in_a_stage_it_goes_on_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    bundles: list[bytes] = []

    def stage() -> str:
        found = DirectoryKeeper(data).load()
        assert found is not None
        return found.stage

    for expected in ("idle", "trust", "sign", "drop"):
        with started(tmp_path, "--data-dir", str(data), "--root-rotation-pause", "1h") as process:
            process.wait_ready()
            found = process.get("/debug/ca").json
            assert found["stage"] == expected == stage()
            assert (data / "root-cert.pem").read_text() == found["bundle"]
            bundles.append((data / "root-cert.pem").read_bytes())
            do = "rotate" if expected == "idle" else "advance"
            assert process.get(f"/debug/ca?do={do}", "POST").status == 200
            process.end(signal.SIGKILL)
    assert stage() == "idle"
    # Each shares a root with the one before: whoever was told the last is not cut off.
    old, both, same, new = bundles
    assert both == same == old + new
    keys = data / "ca/roots.json"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert [path.name for path in keys.parent.iterdir()] == ["roots.json"]
