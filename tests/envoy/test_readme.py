"""The README's section "Without the demo", played as it stands: its commands, in a folder of their own.

In a network namespace of its own, because the ports are those that the README names.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import netns
from controlplane.lab.tools import find_envoy
from tests.support.snippets import ROOT, snippets

NAME = f"mi-readme-{os.getpid()}"
pytestmark = [
    pytest.mark.envoy,
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]


@pytest.fixture
def namespace() -> Iterator[str]:
    """Its name; the loopback is up."""
    netns.create(NAME)
    try:
        yield NAME
    finally:
        netns.remove(NAME)


def test_a_reader_sees_what_it_says(namespace: str, tmp_path: Path) -> None:
    try:
        find_envoy(os.environ)
    except EnvironmentUnfit as error:
        pytest.skip(str(error))
    install, *commands = snippets("README.md", "Without the demo", "sh")[0].splitlines()
    assert install == "make install && . .venv/bin/activate"
    shown = re.findall(r"^\$ (.*)$", snippets("README.md", "Without the demo", "console")[0], re.MULTILINE)
    script = "\n".join(["ip link set lo up", *commands, *(f"echo '>>>'\n{line}" for line in shown)])
    environment = {
        **os.environ,
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    inside = ["nsenter", f"--net=/run/netns/{namespace}", "timeout", "60", "bash", "-euo", "pipefail", "-c"]
    log = tmp_path / "stderr"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*inside, script],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        ) as played,
    ):
        assert played.stdout is not None
        said = ""
        try:
            # What it left running holds the pipe, too: so the end is the answer to the last command.
            while len(parts := said.split(">>>\n")) <= len(shown) or not parts[-1].strip().endswith("]"):
                line = played.stdout.readline()
                assert line, (said, log.read_text()[-2000:])
                said += line
        finally:
            os.killpg(played.pid, signal.SIGKILL)
    _, status, before, edited, after, trace, problems = said.split(">>>\n")
    assert re.search(r"^web\.default +Kubernetes +SYNCED", status, re.MULTILINE), status
    assert re.findall(r"\d+", before) == ["90", "10"]
    assert edited == ""
    assert re.findall(r"\d+", after) == ["50", "50"]
    assert '"origin": "reviews.yaml:18"' in trace
    assert problems.strip() == "[]"
