"""The running bookstore: pods, a control plane, and the hands that write its files and visit it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from controlplane.base.errors import MiniIstiodError
from controlplane.lab import cluster, pushes
from controlplane.lab.fetch import Target
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pods import App, Lab, Pod, Sidecar
from controlplane.lab.steps import Result, Step, Visit
from controlplane.lab.waiting import wait_until

SAMPLE = Path(__file__).parent / "samples" / "bookstore"
_TRAFFIC = Path(__file__).parent / "traffic.py"
_DOOR, _PORT = "productpage", 9080
_PUSH_TIMEOUT = 20.0  # seconds; longer than Envoy waits for endpoints that never come (15)


class ShopError(MiniIstiodError):
    """The bookstore did not do what was asked of it; the message says what and why."""


class Shop:
    """Starts the control plane on an empty directory; `open` brings the pods."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.shape = cluster.complete(cluster.load(SAMPLE / "kube" / "bookstore.yaml"), SAMPLE)
        self.plane: Plane = start_plane(lab.site)
        self._written: dict[str, dict[pushes.Target, cluster.Object]] = {}

    def open(self, sidecar: Sidecar) -> tuple[pushes.Push, ...]:
        """Start all pods, wait until they are ready, then tell the mesh so; returns that push."""
        self.write("bookstore.yaml", self.shape.manifests)
        self.write("pods.yaml", tuple(workload.manifest for workload in self.shape.workloads))
        self.write("endpoints.yaml", cluster.endpoint_slices(self.shape, ready=False))
        self.plane.wait_ready()
        for workload in self.shape.workloads:
            self.lab.start(workload.spec, sidecar)
        self.lab.wait_ready()
        return self.push("endpoints.yaml", cluster.endpoint_slices(self.shape, ready=True))

    @property
    def client(self) -> Pod:
        """The pod that visitors come from."""
        return self.lab.pods[self.shape.workload("client").spec.name]

    @property
    def door(self) -> Target:
        """The product page as the client's pod knows it: an address that only Envoy makes real."""
        return Target(self.client.netns, self.shape.service_address(_DOOR), _PORT)

    @property
    def page(self) -> Target:
        """The product page's pod as the client knows it: good for any Host header, so for a browser."""
        return Target(self.client.netns, self.shape.workload(f"{_DOOR}-v1").spec.ip, _PORT)

    def route(self, step: Step) -> tuple[pushes.Push, ...]:
        """Write the routing of a step over the one before; returns when all proxies have it."""
        return self.push("routing.yaml", cluster.load(SAMPLE / "steps" / step.file))

    def write(self, name: str, objects: Sequence[cluster.Object]) -> tuple[pushes.Target, ...]:
        """Replace one file of the watched directory atomically; returns the objects that it changes."""
        after = {_target(found): found for found in objects}
        before = self._written.get(name, {})
        self._written[name] = after
        # Written beside the directory and moved in, so that nobody ever reads half a file.
        draft = self.lab.directory / name
        draft.write_text(cluster.dump(objects), encoding="utf-8")
        draft.replace(self.plane.config / name)
        return tuple(sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key)))

    def push(self, name: str, objects: Sequence[cluster.Object]) -> tuple[pushes.Push, ...]:
        """Write a file and wait until every proxy has answered all of it.  ShopError if one does not."""
        last = max((push.id for push in self._pushes(0.0)), default=0)
        written = time.time()
        targets = self.write(name, objects)
        found: dict[pushes.Target, pushes.Push] = {}

        def arrived() -> bool:
            found.update(pushes.newest(self._pushes(written), last))
            return all(target in found and found[target].complete for target in targets)

        if not wait_until(arrived, _PUSH_TIMEOUT):
            late = [target for target in targets if target not in found or not found[target].complete]
            states = ", ".join(f"{'/'.join(target)}: {found.get(target, 'no trace')}" for target in late)
            raise ShopError(f"not answered by all proxies after {_PUSH_TIMEOUT:.0f} s: {states}")
        return tuple(found[target] for target in targets)

    def visit(self, visit: Visit, requests: int) -> Iterator[Result]:
        """Send visitors through the client's sidecar; yields what each saw, as it happens."""
        order = {
            "host": self.door.host,
            "port": self.door.port,
            "path": "/productpage",
            "authority": f"{_DOOR}:{_PORT}",
            "headers": dict(visit.headers),
            "requests": requests,
            "workers": visit.workers,
            "pause": visit.pause,
            "timeout": 15.0,
        }
        process = self.lab.run_in(self.client, App(_TRAFFIC, (json.dumps(order),)))
        if process.stdout is None:
            raise ShopError("the visitors' output is not connected")
        with process.stdout as lines:
            for line in lines:
                yield json.loads(line)
        if process.wait() != 0:
            raise ShopError(f"the visitors' program ended with status {process.returncode}")

    def rejections(self) -> tuple[str, ...]:
        """The updates that any Envoy refused so far, a sentence each."""
        return tuple(
            f"{name} refused {count} updates ({statistic})"
            for name, pod in sorted(self.lab.pods.items())
            for statistic, count in pod.rejected().items()
        )

    def _pushes(self, written: float) -> tuple[pushes.Push, ...]:
        return pushes.parse(self.plane.get("/debug/traces"), written)


def _target(found: cluster.Object) -> pushes.Target:
    meta = found["metadata"]
    return found["kind"], meta.get("namespace", ""), meta["name"]
