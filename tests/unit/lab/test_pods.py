"""What a pod tells of itself when one of its processes has ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.lab.pods import Pod, PodError, PodSpec


def test_an_envoy_that_gives_up_is_quoted_with_its_reason(tmp_path: Path) -> None:
    reason = "[critical][assert] assert failure: inotify_fd_ >= 0. Details: Consider increasing …"
    (tmp_path / "envoy.log").write_text(
        "\n".join(["starting", reason, *(f"#{n} UNKNOWN" for n in range(30))])
    )
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(6)"], text=True) as ended:
        ended.wait(20)
    pod = Pod(PodSpec("web", "prod", "10.244.0.2"), "nowhere", tmp_path, {"envoy": ended})
    with pytest.raises(PodError) as told:
        pod.ready()
    lines = str(told.value).splitlines()
    assert lines[0] == "envoy of pod web ended (6):"
    assert lines[1] == reason
    assert len(lines) == 17
