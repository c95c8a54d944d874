"""One change to a thousand proxies, against a bare gRPC loop that writes the same bytes to them.

Every proxy holds two streams: one of the control plane, one of the bare server.  A round is one change at
the control plane, and then the very responses that followed from it, written by the bare server in two
ways: in a loop, one write after the other, and in a burst, all writes at once.  So all arms see the same
machine, the same clients, the same bytes, a moment apart; what is reported is ratios within a round.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import bare, plant, twofold
from bench.figures import median, summary, thinned
from controlplane.envoy.types import BY_SHORT
from controlplane.lab.child import Child, child
from controlplane.lab.churn import mesh

_PAUSE = 0.05
ARMS = ("plane", "loop", "burst")


def run(proxies: int = 1000, namespaces: int = 10, rounds: int = 20) -> dict[str, Any]:
    """Both changes at one size; times in milliseconds."""
    size = mesh.Mesh(services=1000, namespaces=namespaces)
    with tempfile.TemporaryDirectory() as folder:
        plane_at, bare_at = (f"unix:{Path(folder) / name}" for name in ("plane", "bare"))
        with (
            child("plane", plant.main, plane_at, size) as plane,
            child("bare", bare.main, bare_at) as loop,
            child("fleet", twofold.main, plane_at, size, proxies) as peers,
        ):
            plane.ask("fill")
            _connect(peers, size, proxies)
            peers.ask("connect_bare", address=bare_at)
            while loop.ask("streams") < proxies:
                time.sleep(_PAUSE)
            cases = {
                "endpoint": ("eds", lambda n: size.slice(5, n)),
                "route": ("rds", lambda n: size.virtual_service(0, 20 + n)),
            }
            arms = _Arms(plane, loop, peers)
            found = {name: arms.compare(*case, rounds) for name, case in cases.items()}
            return {"proxies": proxies, "namespaces": namespaces, "cases": found}


class _Arms:
    """The two servers and their common clients."""

    def __init__(self, plane: Child, loop: Child, peers: Child) -> None:
        self._plane, self._loop, self._peers = plane, loop, peers

    def compare(self, short: str, change: Callable[[int], mesh.Raw], rounds: int) -> dict[str, Any]:
        """Alternate the arms; the first round warms them up and does not count."""
        made = [self._round(short, change(n + 1), n % 2) for n in range(rounds + 1)][1:]
        arms = {arm: [one[arm] for one in made] for arm in ARMS}
        plane = arms["plane"]
        return {
            "rounds": rounds,
            "bytes": plane[0]["size"],
            "responses": sum(plane[0]["sent"].values()),
            "echoes": sum(one["echoes"] for one in plane),
            **{arm: _arm(measured) for arm, measured in arms.items()},
            "against": {arm: _against(plane, arms[arm]) for arm in ARMS[1:]},
            "stages": {
                stage: median(one[stage] * 1000 for one in plane)
                for stage in ("committed", "settled", "first_write", "last_write", "last_ack")
            },
            "planned": median(one["planned"] * 1000 for one in plane),
            "lag": summary((one["lag"] for one in plane), 1000),
            "pauses": summary((sum(one["pauses"]) for one in plane), 1000),
        }

    def _round(self, short: str, raw: mesh.Raw, turn: int) -> dict[str, dict[str, Any]]:
        """Once each; the bare arms take turns at being the second."""
        self._peers.ask("receipts")
        plane = self._plane.ask("change", raw=raw)
        plane["told"] = [at - plane["began"] for _, kind, at, *_ in self._noted("receipts") if kind == short]
        bodies = self._peers.ask("bodies", url=BY_SHORT[short].url)
        made = {"plane": plane}
        for arm in ARMS[1:] if turn else ARMS[:0:-1]:
            made[arm] = self._loop.ask("round", bodies=bodies, burst=arm == "burst")
            made[arm]["told"] = [at - made[arm]["began"] for at in self._noted("bare")]
        return made

    def _noted(self, what: str) -> Any:
        time.sleep(_PAUSE)
        if endings := self._peers.ask("endings"):
            raise RuntimeError(f"a stream ended: {endings[0]}")
        return self._peers.ask(what)


def _connect(peers: Child, size: mesh.Mesh, proxies: int) -> None:
    nodes = [size.node(i) for i in range(proxies)]
    names = [f"{node.name}.{node.namespace}" for node in nodes]
    warm = peers.ask("connect", names=names, drop=(), within=120)["warm"]
    if len(warm) < proxies:
        raise RuntimeError(f"only {len(warm)} of {proxies} proxies have their configuration")


def _against(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """Our time through theirs, round by round."""
    pairs = list(zip(ours, theirs, strict=True))
    return {what: summary(one[what] / other[what] for one, other in pairs) for what in ("last_ack", "cpu")}


def _arm(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    told = [seconds * 1000 for one in rounds for seconds in one["told"]]
    return {
        "last_ack": summary((one["last_ack"] for one in rounds), 1000),
        "told": summary(told),
        "curve": thinned(told),
        "cpu": summary((one["cpu"] for one in rounds), 1000),
    }
