"""`python -m bench.on_demand`: what virtual hosts on demand cost and spare a real Envoy (needs root).

The same mesh twice, with whole route configurations and with virtual hosts on demand: bytes that Envoy
received from the control plane (by its own count, HTTP/2 included) at its start and for a route change,
and how long a first and a second request for a host take.  The hosts that are asked for answer by
themselves, so that nothing but Envoy is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from controlplane.lab.fetch import Target, fetch
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pod_spec import PodSpec, Sidecar
from controlplane.lab.pods import Lab, Pod

_PORT = 8080
_ASKED = 50
_RECEIVED = "cluster.xds-grpc.upstream_cx_rx_bytes_total"
_ANYWHERE = "10.244.0.9"
Raw = dict[str, Any]


class Found(NamedTuple):
    """Bytes and milliseconds."""

    start: int
    used: int
    """A route change of a host that Envoy has used."""
    unused: int
    first: float
    second: float


def _service(n: int) -> Raw:
    port = {"name": "http", "port": _PORT, "protocol": "TCP"}
    spec = {"clusterIP": f"10.96.{n // 250}.{n % 250 + 1}", "selector": {"app": f"s{n}"}, "ports": [port]}
    meta = {"name": f"s{n}", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def _rule(n: int, said: str) -> Raw:
    answer = {"directResponse": {"status": 200, "body": {"string": said}}}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": f"s{n}", "namespace": "default"},
        "spec": {"hosts": [f"s{n}"], "http": [answer]},
    }


class _Run:
    """One control plane and one Envoy."""

    def __init__(self, lab: Lab, plane: Plane) -> None:
        self._drafts, self._plane = lab.directory, plane
        plane.wait_ready()
        sidecar = Sidecar(plane.address, "DELTA_GRPC")
        self._pod: Pod = lab.start(PodSpec("client", "default", "10.244.0.2"), sidecar)
        lab.wait_ready()

    def measure(self) -> Found:
        start = self._quiet()
        times = list(self._requests())
        used = [self._change(0, f"again {number}") for number in range(3)]
        unused = self._change(_ASKED, "again")
        first, second = (statistics.median(found) * 1000 for found in zip(*times, strict=True))
        return Found(start, round(statistics.median(used)), unused, first, second)

    def _requests(self) -> Iterator[tuple[float, float]]:
        for n in range(_ASKED):
            yield self._request(n), self._request(n)

    def _request(self, n: int) -> float:
        began = time.monotonic()
        answer = fetch(Target(self._pod.netns, _ANYWHERE, _PORT), "/", headers={"Host": f"s{n}"})
        took = time.monotonic() - began
        if answer.status != 200:
            raise SystemExit(f"s{n} answers {answer.status}")
        return took

    def _change(self, n: int, said: str) -> int:
        before = self._quiet()
        self.write(f"rule-{n}.yaml", _rule(n, said))
        return self._quiet(2.0) - before

    def write(self, name: str, *objects: Raw) -> None:
        _write(self._drafts, self._plane.config, name, objects)

    def _quiet(self, at_least: float = 0.5) -> int:
        """The bytes that Envoy has received, once nothing came for half a second."""
        time.sleep(at_least)
        before = self._received()
        for _ in range(40):
            time.sleep(0.5)
            now = self._received()
            if now == before:
                return now
            before = now
        raise SystemExit("Envoy is sent something all the time")

    def _received(self) -> int:
        return self._pod.admin.stats(_RECEIVED)[_RECEIVED]


def _write(drafts: Path, config: Path, name: str, objects: tuple[Raw, ...]) -> None:
    draft = drafts / name
    draft.write_text("\n---\n".join(map(json.dumps, objects)), encoding="utf-8")
    draft.replace(config / name)


def run(services: int, *flags: str) -> Found:
    """A fresh lab; `flags` are added to the control plane's command line."""
    with Lab() as lab:
        config = lab.directory / "config"
        config.mkdir()
        _write(lab.directory, config, "services.yaml", tuple(map(_service, range(services))))
        for n in range(_ASKED + 1):
            _write(lab.directory, config, f"rule-{n}.yaml", (_rule(n, "first"),))
        return _Run(lab, start_plane(lab.site, flags)).measure()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.on_demand", description=__doc__.split("\n")[0])
    parser.add_argument("--services", type=int, default=1000, help="all of them on one port")
    services: int = parser.parse_args().services
    whole, single = run(services), run(services, "--on-demand-virtual-hosts")
    print(f"| {services} services on one port | whole | on demand |\n|---|---|---|")
    rows = (
        ("the start of a proxy", "start", "{:,} bytes"),
        ("a route change, host in use", "used", "{:,} bytes"),
        ("a route change, host not in use", "unused", "{:,} bytes"),
        ("the first request for a host, median", "first", "{:.1f} ms"),
        ("the second request for a host, median", "second", "{:.1f} ms"),
    )
    for about, name, shape in rows:
        cells = " | ".join(shape.format(getattr(found, name)) for found in (whole, single))
        print(f"| {about} | {cells} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
