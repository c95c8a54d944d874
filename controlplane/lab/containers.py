"""The bookstore of docker-compose.yml as a project of its own: up, visited, and taken away again.

Nobody's own `docker compose up` is touched: the project has another name, and the control plane watches a
copy of the folder ./mesh.  Visitors come from this machine through the published gateway; who must be
refused comes from a container beside the mesh.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from controlplane.base.errors import MiniIstiodError
from controlplane.lab import cluster
from controlplane.lab.fetch import Target, answers
from controlplane.lab.hops import INGRESS, OUTSIDER
from controlplane.lab.ports import free_port
from controlplane.lab.programs import run
from controlplane.lab.steps import Result, Visit
from controlplane.lab.waiting import wait_until
from controlplane.lab.watched import Watched

PROJECT = "mini-istiod-demo"
CLIENT = "reviews-v1"
"""Who asks from inside the mesh."""
INGRESS_SERVICE = "ingressgateway"
PORT = 8080
"""Where the gateway is published, if nobody else is there."""

_TRAFFIC = Path(__file__).parent / "traffic.py"
_PLANE, _APP_PORT = "mini-istiod", 9080
_READY = 120.0  # seconds from the last container's start to the first answer
# Asked inside the control plane's container, where its monitoring address is the loopback.
_ASK = "import sys, urllib.request as web; print(web.urlopen(sys.argv[1], timeout=5).read().decode())"


class ContainersError(MiniIstiodError):
    """A container did not do what was asked of it; the message holds what it said last."""


def docker_socket(environ: Mapping[str, str]) -> dict[str, str]:
    """The variable of docker-compose.yml for Docker's socket, where `docker` uses another than the usual."""
    host = environ.get("DOCKER_HOST", "")
    if environ.get("DOCKER_SOCKET") or not host.startswith("unix://"):
        return {}
    return {"DOCKER_SOCKET": host.removeprefix("unix://")}


class Containers:
    """The running project; `close` removes containers, networks and volumes."""

    def __init__(self, command: tuple[str, ...], file: Path) -> None:
        """`command` is `docker compose` or `docker-compose`, `file` the compose file, beside it ./mesh."""
        self.port = int(os.environ.get("INGRESS_PORT", 0)) or free_port(PORT)
        self.project = os.environ.get("COMPOSE_PROJECT_NAME", PROJECT)
        # Below the checkout, because not every place of this machine can be mounted where Docker runs.
        runs = file.parent / "run"
        runs.mkdir(exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="demo-", dir=runs))
        self.mesh = self._folder / "mesh"
        shutil.copytree(file.parent / "mesh", self.mesh)
        for folder in (self._folder, self.mesh):
            folder.chmod(0o755)  # the control plane is another user
        self.watched = Watched(self.mesh, self._folder, self._traces)
        for known in sorted(self.mesh.glob("*.yaml")):
            self.watched.know(known.name, [in_default(found) for found in cluster.load(known)])
        override = {"services": {_PLANE: {"volumes": [f"{self.mesh}:/mesh:ro"]}}}
        (self._folder / "override.json").write_text(json.dumps(override), encoding="utf-8")
        files = ("-f", str(file), "-f", str(self._folder / "override.json"))
        self._plane = ""
        self._compose = (*command, "--project-directory", str(file.parent), "-p", self.project, *files)

    def up(self) -> None:
        """Start everything and wait until the page answers at the gateway."""
        self._run("up", "-d")
        self._plane = self._run("ps", "-q", _PLANE).strip()
        gateway = Target(None, "127.0.0.1", self.port)
        if not wait_until(lambda: answers(gateway, "/productpage", timeout=5.0), _READY):
            said = self._run("logs", "--tail", "10", _PLANE, INGRESS_SERVICE)
            raise ContainersError(f"the page does not answer after {_READY:.0f} s:\n{said}")

    def visit(self, visit: Visit, requests: int) -> Iterator[Result]:
        """Send visitors through the gateway, or from outside the mesh; yields what each saw."""
        through = visit.asker == INGRESS
        order = {
            "host": "127.0.0.1" if through else visit.asks,
            "port": self.port if through else _APP_PORT,
            "path": f"/{visit.asks}",
            "authority": f"{visit.asks}:{_APP_PORT}",
            "headers": dict(visit.headers),
            "requests": requests,
            "workers": visit.workers,
            "pause": visit.pause,
            "timeout": 15.0,
        }
        if through:
            argv = [sys.executable, str(_TRAFFIC)]
        else:
            argv = self._outside() if visit.client == OUTSIDER else self._inside()
        with subprocess.Popen([*argv, json.dumps(order)], stdout=subprocess.PIPE, text=True) as process:
            if process.stdout is None:
                raise ContainersError("the visitors' output is not connected")
            for line in process.stdout:
                yield as_in_pods(json.loads(line))
        if process.returncode != 0:
            raise ContainersError(f"the visitors' program ended with status {process.returncode}")

    def close(self) -> None:
        """Remove all of it; the images stay."""
        try:
            self._run("down", "--volumes", "--timeout", "1")
        finally:
            shutil.rmtree(self._folder)

    def _outside(self) -> list[str]:
        # A container of the same network without a sidecar; the program comes as an argument.
        network = f"{self.project}_default"
        client = self._run("ps", "-q", CLIENT).strip()
        image = run("docker", "inspect", "--format", "{{.Config.Image}}", client).strip()
        words = ("docker", "run", "--rm", "--network", network, "--entrypoint", "python3", image)
        return [*words, "-c", _TRAFFIC.read_text(encoding="utf-8")]

    def _inside(self) -> list[str]:
        # In a workload's own container, so that its sidecar carries it.
        words = (*self._compose, "exec", "-T", CLIENT, "python3", "-c")
        return [*words, _TRAFFIC.read_text(encoding="utf-8")]

    def _traces(self) -> Any:
        # By docker itself: compose takes half a second to find out what it is asked about.
        address = "http://127.0.0.1:15014/debug/traces"
        text = run("docker", "exec", self._plane, "python", "-c", _ASK, address)
        try:
            return json.loads(text)
        except ValueError as error:
            raise ContainersError(f"the control plane's traces cannot be read: {text!r:.200}") from error

    def _run(self, *words: str) -> str:
        # For the first time it builds images.
        env = {"INGRESS_PORT": str(self.port), **docker_socket(os.environ)}
        return run(*self._compose, *words, timeout=None, env=env)


def in_default(found: cluster.Object) -> cluster.Object:
    """An object of the pods' bookstore as it is among containers; others as they are.

    The namespace is default, and a service account has the name of its service, without "bookstore-".
    """
    text = json.dumps(found).replace("/ns/bookstore/sa/bookstore-", "/ns/default/sa/")
    renamed: cluster.Object = json.loads(text)
    if renamed["metadata"].get("namespace", "bookstore") == "bookstore":
        renamed["metadata"]["namespace"] = "default"
    return renamed


def as_in_pods(result: Mapping[str, Any]) -> Result:
    """An answer whose callers have the names that they have in the pods' bookstore.

    There a service account is called bookstore-X, in the namespace bookstore; here X, in default.
    """
    body = result["body"]
    return {**result, "body": _renamed(body)} if isinstance(body, dict) else result


def _renamed(answer: Mapping[str, Any]) -> dict[str, Any]:
    trust, found, account = str(answer.get("caller", "")).partition("/ns/default/sa/")
    named = f"{trust}/ns/bookstore/sa/bookstore-{_ACCOUNTS.get(account, account)}" if found else trust
    hops = [_renamed(hop) for hop in answer.get("hops", ())]
    return {**answer, "caller": named, "hops": hops} if "version" in answer else dict(answer)


_ACCOUNTS = {INGRESS_SERVICE: INGRESS}
