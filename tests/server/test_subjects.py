"""The peers that are built on this machine start, tell how they are and stop; so does our own server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab.churn.apply import Directory
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.fleet.fleet import Fleet
from controlplane.lab.subjects import BY_NAME, Options
from controlplane.lab.subjects_programs import find
from controlplane.lab.waiting import wait_until

pytestmark = pytest.mark.whole

_ISTIOD = ("pilot-discovery", "standin")
_NEEDS = {"istiod-api": _ISTIOD, "istiod-files": _ISTIOD, "snapshot": ("snapshot",)}
_MESH = Mesh(services=5, endpoints=2, namespaces=2, dialect="serviceentry")


def _missing(name: str) -> str:
    try:
        for program in _NEEDS.get(name, ()):
            find(program, os.environ)
    except EnvironmentUnfit as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", list(BY_NAME))
def test_a_server_serves_what_is_in_the_directory(name: str, tmp_path: Path) -> None:
    if reason := _missing(name):
        pytest.skip(reason)
    directory = Directory(tmp_path / "config")
    with BY_NAME[name].start(tmp_path / "config", Options(debounce_after=0.01)) as running:
        running.wait_ready()
        assert running.counters()
        directory.fill(_MESH.objects())
        # A new process: what is there by now is what it serves.
        assert running.restart() > 0
        with Fleet(running.address, [_MESH.node(1)]) as fleet:
            fleet.connect(timeout=20.0)
            clusters = fleet.views()[fleet.proxies[0]]["cds"]
            assert {f"outbound|9080||{_MESH.host(i)}" for i in range(5)} <= clusters.keys()
            directory.put(_MESH.virtual_service(0, 50, number=7))
            assert wait_until(lambda: 7 in [n for one in fleet.receipts() for n in one.markers], 20.0)
