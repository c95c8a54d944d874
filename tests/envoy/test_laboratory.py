"""Tests beside each other share a machine: what a dead one left is cleared once, and fails nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from controlplane.lab import netns
from tests.support.envoys import MARKS

pytestmark = MARKS

_LEAVES = """
import os, pathlib
from controlplane.lab import netns
from controlplane.lab.site import Place, claim
me = os.getpid()
site = claim(Place(pathlib.Path(f"/run/mini-istiod-test-{me}-left"), f"mi-test-{me}-"))
for name in ("a", "b", "c"):
    netns.create(site.namespace(name))
os._exit(0)
"""
_BEGINS = """
import pathlib, sys
from tests.support.envoys import laboratory
print("here", flush=True)
sys.stdin.readline()
with laboratory(pathlib.Path(sys.argv[1])):
    pass
"""


def test_several_clear_at_once_what_one_has_left(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    dead = subprocess.Popen([sys.executable, "-c", _LEAVES], env=env)
    assert dead.wait() == 0 and len(netns.names(f"mi-test-{dead.pid}-")) == 3
    begin = [
        subprocess.Popen(
            [sys.executable, "-c", _BEGINS, str(tmp_path / f"run-{number}")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        for number in range(4)
    ]
    for one in begin:
        assert one.stdout is not None and one.stdout.readline() == "here\n"
    for one in begin:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    told = [one.communicate(timeout=60)[1] for one in begin]
    assert [one.returncode for one in begin] == [0, 0, 0, 0], told
    assert netns.names(f"mi-test-{dead.pid}-") == ()
    assert not [*Path("/run").glob(f"mini-istiod-test-{dead.pid}-*")]
