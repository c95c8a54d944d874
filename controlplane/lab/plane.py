"""The control plane as the lab sees it: a process with a documented command line, a socket and HTTP."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.base.errors import MiniIstiodError
from controlplane.lab import users
from controlplane.lab.fetch import Target, answers, fetch
from controlplane.lab.ports import free_port
from controlplane.lab.site import Command, Site
from controlplane.lab.waiting import wait_until


class PlaneError(MiniIstiodError):
    """The control plane ended or is not ready in time; the message holds the end of its log."""


SECURE_PORT, MONITORING_PORT = 15012, 15014


@dataclass(frozen=True, slots=True)
class House:
    """Where a control plane lives that pods reach over the fabric: a network namespace and its address."""

    namespace: str
    ip: str


@dataclass(frozen=True, slots=True)
class Plane:
    """A running `mini-istiod discovery`; `config` is the directory that it watches.

    `secure` is where it serves TLS ("10.244.255.254:15012"), "" for a control plane without a house.
    """

    process: subprocess.Popen[str]
    config: Path
    data: Path
    socket: Path
    monitoring: Target
    log: Path
    secure: str = ""

    @property
    def address(self) -> str:
        """Where Envoys find it without TLS: a Unix socket crosses network namespaces."""
        return f"unix:{self.socket}"

    @property
    def roots(self) -> Path:
        """What proxies have to trust, PEM; kept up to date."""
        return self.data / "root-cert.pem"

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Return once /ready answers 200 and Envoys may connect."""
        if not wait_until(self._ready, timeout):
            raise PlaneError(f"the control plane is not ready after {timeout:.0f} s:\n{self._tail()}")
        # Connecting takes write permission; who may come near the socket is up to its folder.
        self.socket.chmod(0o666)

    def get(self, path: str) -> Any:
        """The JSON at `path` of the monitoring address; PlaneError when there is none."""
        self.check()
        try:
            return fetch(self.monitoring, path).json()
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.check()
            raise PlaneError(f"the control plane does not answer {path}: {error}") from error

    def check(self) -> None:
        """Raise PlaneError when it has ended."""
        status = self.process.poll()
        if status is not None:
            raise PlaneError(f"the control plane ended ({status}):\n{self._tail()}")

    def _ready(self) -> bool:
        self.check()
        return self.socket.exists() and answers(self.monitoring, "/ready")

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def start_plane(
    site: Site, arguments: tuple[str, ...] = (), house: House | None = None, *, within: str = ""
) -> Plane:
    """Start the control plane for this lab on the folder `config`, which may be filled before or after.

    `arguments` are added to the command line.  With a `house` it lives there and serves TLS as well.
    A second one of the same lab needs a folder of its own, `within`.  Does not wait: see `Plane.wait_ready`.
    """
    home = site.directory / within
    home.mkdir(exist_ok=True)
    config, data, door = (home / name for name in ("config", "data", "xds"))
    for folder, mode in ((config, 0o755), (data, 0o700), (door, 0o750)):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
    os.chown(door, 0, users.present().proxy)
    if house is None:
        monitoring, secure = Target(None, "127.0.0.1", free_port()), ""
    else:
        monitoring = Target(house.namespace, "127.0.0.1", MONITORING_PORT)
        secure = f"{house.ip}:{SECURE_PORT}"
    log = home / "control-plane.log"
    argv = (
        *(sys.executable, "-m", "controlplane", "discovery"),
        *("--config-dir", str(config)),
        *("--grpc-addr", f"unix:{door / 'xds.sock'}"),
        *("--secure-grpc-addr", secure),
        *("--monitoring-addr", f"{monitoring.host}:{monitoring.port}"),
        *("--data-dir", str(data)),
        *arguments,
    )
    command = Command("control-plane", argv, monitoring.namespace, log=log, env=dict(os.environ))
    return Plane(site.start(command), config, data, door / "xds.sock", monitoring, log, secure)
