"""The demo as a user runs it: the whole of it with delta, the routing steps with state of the world."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import netns, tools
from controlplane.lab.steps import STEPS


def unfit() -> str:
    """Why these tests cannot run here, or nothing."""
    if os.geteuid() != 0:
        return "needs root: network namespaces and redirect rules"
    try:
        tools.find_envoy(os.environ)
        tools.find_iptables_restore(os.environ)
    except EnvironmentUnfit as error:
        return str(error)
    return ""


pytestmark = [
    pytest.mark.netns,
    pytest.mark.envoy,
    pytest.mark.skipif(bool(unfit()), reason=unfit()),
]


@contextmanager
def demo(*words: str) -> Iterator[subprocess.Popen[str]]:
    """The demo as a process whose output is a pipe; interrupted, never killed, when a test fails."""
    argv = [sys.executable, "-u", "-m", "controlplane.lab.demo", *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=120)
    return out


def test_all_steps_with_delta() -> None:
    with demo("--requests", "120") as process:
        out = finish(process)
    assert process.returncode == 0, out
    assert out.splitlines()[-1] == "demo: PASS"
    for number, step in enumerate(STEPS, 1):
        assert f"{number}/{len(STEPS)} {step.name}" in out
    # Outcomes are the demo's own judgement; here, that it was looked at: who was known to whom.
    assert "  an outsider: refused 12 (100.0%)" in out
    assert "  an outsider: served 12 (100.0%)" in out
    assert "mutual TLS: ingress → productpage 12, productpage → details 12" in out
    assert re.search(r"plaintext: outsider → productpage 12$", out, re.MULTILINE)
    assert re.search(
        r"mutual TLS: client → productpage 60, productpage → details 60, .* 60$", out, re.MULTILINE
    )
    doors = re.search(r"(\d+) mutual TLS handshakes, 0 failed, (\d+) plaintext connections refused", out)
    assert doors is not None and int(doors[1]) >= 4 and int(doors[2]) >= 24
    pushes = re.findall(
        r"pushed VirtualService bookstore/reviews: (\d+) of (\d+) proxies in ([\d.]+) ms +\((.*)\)", out
    )
    assert pushes, out
    for acked, touched, _, stages in pushes:
        assert acked == touched
        assert [part.split()[0] for part in stages.strip().split(", ")] == [
            *("watch", "notice", "debounce", "compute", "plan", "write", "ack")
        ]


def test_routing_steps_with_state_of_the_world() -> None:
    with demo(
        "--sotw", "--requests", "100", "--steps", "permissive,canary-50-50,circuit-breaking"
    ) as process:
        out = finish(process)
    assert process.returncode == 0, out
    assert "(state of the world, TLS, tokens)" in out
    assert out.splitlines()[-1] == "demo: PASS"


def test_kept_running_it_can_be_visited_and_ends_with_ctrl_c() -> None:
    with demo("--keep", "--steps", "canary-90-10", "--requests", "40") as process:
        assert process.stdout is not None
        lines = {}
        for line in process.stdout:
            lines.update(re.findall(r"(shop|watched directory)[^:]*: (\S+)", line))
            if "inside: nsenter --net=/run/netns/" in line and "reviews-v3" in line:
                break
        page = json.load(urllib.request.urlopen(lines["shop"], timeout=10))
        assert [hop["name"] for hop in page["hops"]] == ["details", "reviews"]
        directory = Path(lines["watched directory"]).parent
        prefix = f"mini-istiod-{directory.name}-"
        assert len(netns.names(prefix)) == 11
        process.send_signal(signal.SIGINT)
        rest = finish(process)
        assert process.returncode == 0, rest
    assert rest.splitlines()[-1] == "demo: PASS"
    assert netns.names(prefix) == ()
    assert not directory.exists()


def test_interrupted_half_way_it_leaves_nothing_running() -> None:
    with demo() as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "1/9" in line:
                break
        process.send_signal(signal.SIGTERM)
        out = finish(process)
        assert process.returncode == 130, out
    assert out.splitlines()[-1] == "demo: FAIL: interrupted"
    (logs,) = re.findall(r"logs: (\S+)", out)
    assert netns.names(f"mini-istiod-{Path(logs).name}-") == ()
    # What could tell why it went wrong stays.
    assert (Path(logs) / "control-plane.log").exists()
