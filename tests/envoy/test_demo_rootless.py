"""The demo as somebody who is not root: with real Envoys behind redirect rules, in a user namespace."""

from __future__ import annotations

import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from controlplane.lab import facts, netns
from controlplane.lab.users import holds
from controlplane.lab.waiting import wait_until
from controlplane.lab.ways import Way
from tests.support.envoys import MARKS
from tests.support.stranger import UID, processes, program, stranger

pytestmark = MARKS

NO_SUBUIDS = shutil.which("newuidmap") is None
BOTH = [
    pytest.param(Way.ONE_USER, id="one-user"),
    pytest.param(
        Way.SUBUIDS,
        id="subuids",
        marks=pytest.mark.skipif(NO_SUBUIDS, reason="newuidmap is not installed (on Debian: uidmap)"),
    ),
]


@pytest.fixture(scope="module", autouse=True)
def _user_namespaces() -> None:
    if not holds(Path("/proc/self/uid_map").read_text(), (UID,)):
        pytest.skip("root of this user namespace cannot play a stranger")
    refusal = facts.attempt(Way.ONE_USER)
    if refusal is not None:
        pytest.skip(f"no user namespaces here: {refusal.stage}: {refusal.text}")


# Other demos beside it have names that are seen here.
@pytest.mark.alone
@pytest.mark.parametrize("way", BOTH)
def test_all_steps(tmp_path: Path, way: Way) -> None:
    before = netns.names("mini-istiod-")
    command = program("controlplane.lab.demo", "--requests", "40")
    with stranger(command, tmp_path, subordinate=way is Way.SUBUIDS) as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    lines = out.splitlines()
    assert lines[0] == f"on {way.value}"
    assert lines[-1] == "demo: PASS"
    # Nobody is refused or known by accident: all of it went through Envoys, in and out.
    assert "  an outsider: refused 4 (100.0%)" in out
    assert "mutual TLS: ingress → productpage 4, productpage → details 4" in out
    doors = re.search(r"(\d+) mutual TLS handshakes, 0 failed, (\d+) plaintext connections refused", out)
    assert doors is not None and int(doors[1]) >= 4 and int(doors[2]) >= 8
    # Names are of that namespace alone, and nobody stays.
    assert netns.names("mini-istiod-") == before
    assert processes() == ()


@pytest.mark.parametrize("way", BOTH)
def test_killed_it_leaves_nothing_at_all(tmp_path: Path, way: Way) -> None:
    command = program("controlplane.lab.demo", "--requests", "20", "--steps", "back", "--keep")
    with stranger(command, tmp_path, subordinate=way is Way.SUBUIDS) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "running until Ctrl-C" in line:
                break
        # The launcher, its init, the demo, the control plane and, as the same or as another user, 8 Envoys.
        assert len(processes()) >= 12
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    assert wait_until(lambda: processes() == (), 20), processes()


def test_interrupted_it_says_so_and_ends(tmp_path: Path) -> None:
    with stranger(program("controlplane.lab.demo"), tmp_path, subordinate=False) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "1/9" in line:
                break
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert out.splitlines()[-1] == "demo: FAIL: interrupted"
    (logs,) = re.findall(r"logs: (\S+)", out)
    try:
        # The namespace is gone; what tells why is not, and no key is in it.
        found = {file.name for file in Path(logs).rglob("*") if file.is_file()}
        assert {"control-plane.log", "envoy.log"} <= found
        assert not [name for name in found if "key" in name or "token" in name]
    finally:
        shutil.rmtree(logs)


@pytest.mark.skipif(NO_SUBUIDS, reason="newuidmap is not installed (on Debian: uidmap)")
def test_where_the_kernel_forbids_it_the_switch_is_named(tmp_path: Path) -> None:
    # The limit is the user namespace's own: this one has no room for another.
    forbid = (
        "import os, sys; open('/proc/sys/user/max_user_namespaces', 'w').write('0');"
        "os.setgroups([]); os.setgid(1337); os.setuid(1337); os.execv(sys.argv[1], sys.argv[1:])"
    )
    inner = [sys.executable, "-c", forbid, *program("controlplane.lab.demo", "--on", "namespaces")]
    command = program("controlplane.lab.namespace", "subuids", *inner)
    with stranger(command, tmp_path, subordinate=True) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 2, out
    assert "to allow it: sudo sysctl user.max_user_namespaces=10000" in out
    assert "ENOSPC" in out
