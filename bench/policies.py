"""What one edit of a security policy costs, and whether proxies with an identity cost more to tell things.

Two control planes side by side with the same mesh and the same proxies, which are nobody at one and have an
identity, and so a certificate and mutual TLS, at the other.  They take turns, so that a busy moment of
the machine hits both.  First the changes that have nothing to do with security: their ratio should be one.
Then an edit of a policy for one workload, for a namespace and for the mesh, where it counts how much is made
anew: what it does not concern should not be.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import plant
from bench.figures import median, summary
from controlplane.lab.child import Child, child
from controlplane.lab.churn import mesh
from controlplane.lab.fleet import Fleet, FleetOptions

ARMS = ("nobody", "identified")
_ROOT = "istio-system"
_SECRETS = ("default", "ROOTCA")
_WITHIN = 60.0
_PAUSE = 0.1
Change = Callable[[int], mesh.Raw]


def run(proxies: int = 1000, namespaces: int = 100, repeats: int = 10) -> dict[str, Any]:
    """Times in milliseconds, memory in MB; `ratio` is identified through nobody, round by round."""
    size = mesh.Mesh(services=1000, namespaces=namespaces)
    with contextlib.ExitStack() as stack:
        sites = {arm: stack.enter_context(_site(arm, size, proxies)) for arm in ARMS}
        sorts = {name: _sort(sites, change, repeats) for name, change in _changes(size).items()}
        states = {arm: site.ask("state") for arm, site in sites.items()}
    return {
        "proxies": proxies,
        "namespaces": namespaces,
        "rss": {arm: state["rss"] for arm, state in states.items()},
        "sorts": sorts,
    }


@contextlib.contextmanager
def _site(arm: str, size: mesh.Mesh, proxies: int) -> Iterator[Child]:
    """A control plane to which all proxies are connected, and which has nothing left to do."""
    known = arm == ARMS[1]
    flags = ("--trust-loopback-identities", "true") if known else ()
    options = FleetOptions(secrets=_SECRETS) if known else FleetOptions()
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{Path(folder) / 'plane'}"
        with (
            child("plane", plant.main, address, size, flags) as plane,
            Fleet(address, map(size.node, range(proxies)), options) as fleet,
        ):
            plane.ask("fill")
            fleet.connect(timeout=300)
            deadline = time.monotonic() + _WITHIN
            while plane.ask("seen")["sent"].get("sds", 0) < proxies * known:
                if time.monotonic() > deadline:
                    raise RuntimeError("not every proxy has a certificate")
                time.sleep(_PAUSE)
            yield plane


def _changes(size: mesh.Mesh) -> dict[str, Change]:
    home = size.node(0).namespace
    labels = next(raw["spec"]["selector"] for raw in size.objects() if raw["kind"] == "Service")
    return {
        "one endpoint": lambda n: size.slice(5, n + 1),
        "one VirtualService": lambda n: size.virtual_service(0, 20 + n),
        "AuthorizationPolicy of a workload": lambda n: _paths(n, home, "workload", labels),
        "AuthorizationPolicy of a namespace": lambda n: _paths(n, home, "namespace"),
        "AuthorizationPolicy of the mesh": lambda n: _paths(n, _ROOT, "mesh"),
        "PeerAuthentication of a workload": lambda n: _mode(n, home, "workload", labels),
        "PeerAuthentication of a namespace": lambda n: _mode(n, home, "namespace"),
        "PeerAuthentication of the mesh": lambda n: _mode(n, _ROOT, "mesh"),
    }


def _paths(n: int, namespace: str, name: str, labels: dict[str, str] | None = None) -> mesh.Raw:
    allowed = {"to": [{"operation": {"paths": [f"/v{n}/*"]}}]}
    return _policy("AuthorizationPolicy", namespace, name, {**_selector(labels), "rules": [allowed]})


def _mode(n: int, namespace: str, name: str, labels: dict[str, str] | None = None) -> mesh.Raw:
    mode = ("STRICT", "PERMISSIVE")[n % 2]
    return _policy("PeerAuthentication", namespace, name, {**_selector(labels), "mtls": {"mode": mode}})


def _selector(labels: dict[str, str] | None) -> dict[str, Any]:
    return {} if labels is None else {"selector": {"matchLabels": labels}}


def _policy(kind: str, namespace: str, name: str, spec: dict[str, Any]) -> mesh.Raw:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


def _sort(sites: dict[str, Child], change: Change, repeats: int) -> dict[str, Any]:
    """In turns; the first two make what later ones only make again, and do not count."""
    made: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for n in range(repeats + 2):
        for arm in ARMS if n % 2 else ARMS[::-1]:
            made[arm].append(sites[arm].ask("change", raw=change(n)))
    counted = {arm: rounds[2:] for arm, rounds in made.items()}
    pairs = list(zip(counted["identified"], counted["nobody"], strict=True))
    return {
        **{arm: _sum(rounds) for arm, rounds in counted.items()},
        "ratio": {
            what: summary(one[what] / other[what] for one, other in pairs) for what in ("cpu", "last_ack")
        },
    }


def _sum(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        **{name: median(one[name] for one in rounds) for name in ("runs", "serialised", "size", "echoes")},
        "sent": rounds[-1]["sent"],
        "settled": summary((one["settled"] for one in rounds), 1000),
        "last_ack": summary((one["last_ack"] for one in rounds), 1000),
        "cpu": summary((one["cpu"] for one in rounds), 1000),
    }
