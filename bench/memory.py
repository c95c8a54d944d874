"""How much memory a thousand services and a thousand proxies take, and what for.

Measured on the program as users run it (`mini-istiod discovery` on a directory of YAML), in steps of
connected proxies.  The breakdown comes from a second run with tracing switched on, which
makes everything larger and slower: its shares are good, its sum is not.
"""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bench import census, plant
from controlplane.lab.child import child
from controlplane.lab.churn import mesh
from controlplane.lab.fleet import Fleet

NAMESPACES = (10, 50, 100)
_STARTUP = 120.0
_SETTLE = 1.0


def run(proxies: int = 1000, namespaces: tuple[int, ...] = NAMESPACES) -> dict[str, Any]:
    """RSS by number of proxies for each number of namespaces, and one breakdown; MB."""
    return {
        "proxies": proxies,
        "namespaces": {str(count): _steps(proxies, count) for count in namespaces},
        "breakdown": _breakdown(proxies, namespaces[0]),
    }


def _steps(proxies: int, namespaces: int) -> list[dict[str, float]]:
    """As proxies connect, by quarters; and last, when all came back to a control plane that was restarted."""
    size = mesh.Mesh(services=1000, namespaces=namespaces)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder / "config", size)
        with Fleet(_address(folder), map(size.node, range(proxies))) as fleet:
            with _discovery(folder) as process:
                found = [{"proxies": 0.0, **census.sizes(str(process.pid))}]
                found += [_connect(fleet, process, proxies * share // 4) for share in (1, 2, 3, 4)]
                fleet.drop()
            with _discovery(folder) as process:
                found.append(_connect(fleet, process, proxies))
                fleet.drop()
        return found


def _address(folder: Path) -> str:
    return f"unix:{folder / 'plane'}"


def _connect(fleet: Fleet, process: subprocess.Popen[bytes], count: int) -> dict[str, float]:
    fleet.connect(count, timeout=300)
    time.sleep(_SETTLE)
    return {"proxies": float(count), **census.sizes(str(process.pid))}


def _write(config: Path, size: mesh.Mesh) -> None:
    """The mesh as YAML, one file per namespace."""
    config.mkdir()
    by_namespace: dict[str, list[mesh.Raw]] = {}
    for raw in size.objects():
        by_namespace.setdefault(raw["metadata"].get("namespace", ""), []).append(raw)
    for namespace, found in by_namespace.items():
        (config / f"{namespace or 'cluster'}.yaml").write_text(yaml.dump_all(found, Dumper=yaml.CSafeDumper))


@contextlib.contextmanager
def _discovery(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program on the folder `config`; ready."""
    monitoring = plant.free_port()
    argv = [
        *(sys.executable, "-m", "controlplane", "discovery", "--config-dir", str(folder / "config")),
        *("--grpc-addr", _address(folder), "--monitoring-addr", f"127.0.0.1:{monitoring}"),
        *("--log-level", "warning", "--drain-duration", "0s"),
    ]
    with subprocess.Popen(argv) as process:
        try:
            _wait_ready(process, monitoring)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _STARTUP
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/ready")
            if connection.getresponse().status == http.client.OK:
                return
        connection.close()
        time.sleep(0.1)
    raise RuntimeError(f"the control plane is not ready (exit status {process.poll()})")


def _breakdown(proxies: int, namespaces: int) -> dict[str, Any]:
    size = mesh.Mesh(services=1000, namespaces=namespaces)
    with (
        tempfile.TemporaryDirectory() as folder,
        child("plane", plant.main, _address(Path(folder)), size, (), 1) as plane,
        Fleet(_address(Path(folder)), map(size.node, range(proxies))) as fleet,
    ):
        plane.ask("fill", timeout=300)
        fleet.connect(timeout=400)
        plane.ask("seen")
        found: dict[str, Any] = plane.ask("census", timeout=300)
        return found
