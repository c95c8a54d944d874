"""What proxies make of a path, as the MeshConfig says: on every side, before any filter."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.envoy.listeners import inbound_listeners
from controlplane.mesh.projections import Binding, Inbound
from controlplane.mesh.service import ServiceId
from tests.unit.envoy.test_listeners import manager
from tests.unit.envoy.traffic import Traffic

KEEP, DECODE = "KEEP_UNCHANGED", "UNESCAPE_AND_FORWARD"
MODES = {
    "NONE": (False, False, KEEP),
    "BASE": (True, False, KEEP),
    "DEFAULT": (True, False, KEEP),
    "MERGE_SLASHES": (True, True, KEEP),
    "DECODE_AND_MERGE_SLASHES": (True, True, DECODE),
}
APP = ServiceId("app.default.svc.cluster.local", "default")


def settings(found: Any) -> tuple[bool, bool, str]:
    action = found.path_with_escaped_slashes_action
    names = pb.hcm.HttpConnectionManager.PathWithEscapedSlashesAction
    return found.normalize_path.value, found.merge_slashes, names.Name(action)


@pytest.mark.parametrize("mode", MODES)
def test_inbound(mode: str) -> None:
    world = Traffic(f"kind: MeshConfig\npathNormalization: {{normalization: {mode}}}")
    inbound = Inbound("default", (Binding(APP, 80, 9080, "HTTP"),))
    body = world.map(inbound_listeners, inbound)["virtualInbound"].body
    listener = pb.listener.Listener.FromString(body)
    managers = [
        manager(chain)
        for chain in listener.filter_chains
        if chain.filters[-1].name == "envoy.filters.network.http_connection_manager"
    ]
    assert len(managers) == 2
    assert {settings(found) for found in managers} == {MODES[mode]}
