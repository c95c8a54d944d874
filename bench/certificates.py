"""A thousand proxies come at once, and each of them wants a certificate.

Twice on a cold control plane: in plaintext, as nobody; and over TLS, each with a token of its own, asking
for its key and certificate by SDS.  The difference is what the doors and the authority cost.  (A
certificate is made as soon as a proxy is known, so asking for it costs next to nothing.)
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from bench import plant
from bench.figures import summary, thinned
from controlplane.ca.token_store import TokenStore
from controlplane.ca.tokens import Wish
from controlplane.lab.child import child
from controlplane.lab.churn import mesh
from controlplane.lab.fleet import Fleet, FleetOptions, Tls

ARMS = ("plaintext", "certificates")
_SECRETS = ("default", "ROOTCA")
_HOUR = 3600.0


def run(proxies: int = 1000, namespaces: int = 10) -> dict[str, Any]:
    """Both arms; seconds from the first connection until a proxy has all that it asked for."""
    size = mesh.Mesh(services=1000, namespaces=namespaces)
    return {"proxies": proxies, "arms": {arm: _arm(arm, size, proxies) for arm in ARMS}}


def _arm(arm: str, size: mesh.Mesh, proxies: int) -> dict[str, Any]:
    nodes = [size.node(number) for number in range(proxies)]
    with tempfile.TemporaryDirectory() as folder:
        data, local = Path(folder) / "data", f"unix:{Path(folder) / 'plane'}"
        address, options = local, FleetOptions()
        flags: tuple[str, ...] = ("--data-dir", str(data))
        if arm != ARMS[0]:
            issuer = TokenStore(data).issuer
            address = f"127.0.0.1:{plant.free_port()}"
            flags = (*flags, "--secure-grpc-addr", address)
            wishes = {
                f"{node.name}.{node.namespace}": Wish(node.namespace, node.service_account, _HOUR)
                for node in nodes
            }
            now = time.time()
            options = FleetOptions(
                token={name: issuer.issue(wish, now)[0] for name, wish in wishes.items()},
                tls=Tls(data / "root-cert.pem"),
                secrets=_SECRETS,
            )
        with child("plane", plant.main, local, size, flags) as plane:
            # The roots are there once it answers.
            plane.ask("fill")
            with Fleet(address, nodes, options) as fleet:
                before = plane.ask("state")["cpu"]
                connected = fleet.connect(timeout=300)
                cpu = plane.ask("state")["cpu"] - before
                proxies_cpu = sum(fleet.cpu())
    waits = connected.secured or connected.warm
    return {
        "warm": summary(connected.warm.values()),
        "secured": summary(connected.secured.values()) if connected.secured else None,
        "curve": thinned(waits.values()),
        "refused": len(connected.endings),
        "cpu": cpu,
        "fleet_cpu": proxies_cpu,
    }
