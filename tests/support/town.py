"""A place where traffic is tried out: a cluster's pods, machines, servers outside, and who calls whom.

The control plane lives in the fabric as pods do, and is found by TLS and tokens.  A test says what holds
with `apply`, which returns when all proxies have it, and then counts what happens to calls.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import yaml

from controlplane.lab.fetch import Answer, Target, connect, fetch
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pod_spec import Sidecar
from controlplane.lab.pods import Lab, Pod
from controlplane.lab.pushes import Push
from controlplane.lab.tokens import minter
from controlplane.lab.waiting import wait_until
from controlplane.lab.watched import Watched
from tests.support.residents import Resident

PATIENCE = 40.0
_STATISTICS = ("cluster.outbound", "cluster.inbound", "listener", "http", "cluster_manager", "cluster.Black")
_ACCESS_LOG = """
accessLogFile: /dev/stdout
accessLogFormat: "%RESPONSE_CODE% %RESPONSE_FLAGS% %REQ(:AUTHORITY)% %REQ(X-KEY)% %UPSTREAM_CLUSTER%\\n"
"""


class Reply(NamedTuple):
    """What came back: status 0 where nobody answered, who answered by his own name, how long it took."""

    status: int
    server: str
    headers: Mapping[str, str]
    body: Any
    seconds: float


class Town:
    """The residents, the folder that says what holds, and the hands that call."""

    def __init__(self, lab: Lab, residents: Iterable[Resident], objects: str, *flags: str) -> None:
        """`objects` are those of the cluster that stay, beside the Pods; all in YAML."""
        self.lab = lab
        self.residents = {one.spec.name: one for one in residents}
        self._mesh = lab.directory / "mesh-config.yaml"
        self.mesh("")
        self.plane: Plane = start_plane(lab.site, ("--mesh-config", str(self._mesh), *flags), lab.house())
        self._watched = Watched(self.plane.config, lab.directory, lambda: self.plane.get("/debug/traces"))
        self.standing = [one for one in yaml.safe_load_all(objects) if one]
        self._watched.write("residents.yaml", self._manifests())
        self._watched.write("standing.yaml", self.standing)
        self.plane.wait_ready()
        kubelet = lab.kubelet(self.plane.roots, minter(self.plane.data))
        self.sidecar = Sidecar(self.plane.secure, stats=_STATISTICS, kubelet=kubelet)
        for one in self.residents.values():
            self.start(one)
        lab.wait_ready()

    # -- what there is --------------------------------------------------------------------------

    def start(self, one: Resident) -> Pod:
        """Let somebody move in; does not wait until he is ready."""
        return self.lab.start(one.spec, self.sidecar if one.meshed else None)

    def leave(self, name: str) -> None:
        """Delete a pod: the object first, then what runs."""
        del self.residents[name]
        self._watched.push("residents.yaml", self._manifests())
        self.lab.delete(self.lab.pods[name])

    @contextmanager
    def gone(self, *names: str) -> Iterator[None]:
        """As if the machines of these had died: what is sent there is lost, and nobody says so."""
        for name in names:
            self.lab.switch(self.lab.pods[name], on=False)
        try:
            yield
        finally:
            for name in names:
                self.lab.switch(self.lab.pods[name], on=True)

    def relabel(self, name: str, **labels: str) -> None:
        """Give a pod's object other labels, beside those that it has."""
        one = self.residents[name]
        self.residents[name] = replace(one, spec=replace(one.spec, labels={**one.spec.labels, **labels}))
        self._watched.push("residents.yaml", self._manifests())

    def apply(self, text: str = "") -> None:
        """What holds from now on, instead of what was applied before; returns when all proxies have it."""
        self.apply_objects(one for one in yaml.safe_load_all(text) if one)

    def apply_objects(self, objects: Iterable[dict[str, Any]]) -> tuple[Push, ...]:
        """The same for objects, each of which has a namespace; returns what became of those that changed."""
        return self._watched.push("applied.yaml", [*objects])

    def stand(self, objects: Iterable[dict[str, Any]]) -> None:
        """Let these be the objects that stay; returns when all proxies know."""
        self.standing = [*objects]
        self._watched.push("standing.yaml", self.standing)

    def mesh(self, text: str) -> None:
        """Say what the MeshConfig is from now on, beside the access log.  Does not wait."""
        new = self._mesh.with_suffix(".new")
        new.write_text(_ACCESS_LOG + text)
        new.rename(self._mesh)

    def policy(self, service: str, traffic: str) -> None:
        """Let this be the traffic policy of "name.namespace", instead of what was applied before."""
        name, _, namespace = service.partition(".")
        rule = {"host": name, "trafficPolicy": yaml.safe_load(traffic)}
        kind = {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule"}
        self.apply_objects([{**kind, "metadata": {"name": name, "namespace": namespace}, "spec": rule}])

    def problems(self) -> list[str]:
        """What the control plane finds wrong: "Kind name: path: message"."""
        found = self.plane.get("/debug/problems")
        return sorted(f"{one['kind']} {one['name']}: {one['field']}: {one['message']}" for one in found)

    def accepted(self) -> None:
        """Fail if any Envoy has refused anything so far."""
        refused = {
            name: found.rejected() for name, found in self.lab.pods.items() if found.sidecar is not None
        }
        assert {name: counts for name, counts in refused.items() if counts} == {}

    def address(self, service: str) -> str:
        """The virtual address of "name.namespace", or the address itself."""
        name, _, namespace = service.partition(".")
        for one in self.standing:
            meta = one["metadata"]
            found = (one["kind"], meta["name"], meta.get("namespace"))
            if found == ("Service", name, namespace.split(".")[0]):
                return str(one["spec"]["clusterIP"])
        return service

    # -- calling --------------------------------------------------------------------------------

    def target(self, who: str, where: str, port: int) -> Target:
        """How somebody reaches a service or an address."""
        return Target(self.lab.pods[who].netns, self.address(where), port)

    def call(
        self,
        who: str,
        where: str,
        path: str = "/",
        *,
        headers: Mapping[str, str] = {},
        host: str = "",
        method: str = "GET",
        port: int = 80,
    ) -> Reply:
        """One request on a connection of its own; `where` is "name.namespace" or an address."""
        began = time.monotonic()
        sent = {"Host": host or where, **headers}
        try:
            answer = fetch(self.target(who, where, port), path, method=method, headers=sent, timeout=20.0)
        except (OSError, http.client.HTTPException):
            return Reply(0, "", {}, None, time.monotonic() - began)
        return _reply(answer, began)

    def calls(
        self, count: int, who: str, where: str, path: str = "/", *, at_once: int = 4, **how: Any
    ) -> list[Reply]:
        """So many requests, several at once, each on a connection of its own."""
        with ThreadPoolExecutor(at_once) as pool:
            return [*pool.map(lambda _: self.call(who, where, path, **how), range(count))]

    def together(
        self, count: int, who: str, where: str, path: str = "/", *, headers: Mapping[str, str] = {}
    ) -> list[Reply]:
        """So many requests at the very same time: all connections are there before the first one is sent."""
        sockets = [connect(self.target(who, where, 80), 20.0) for _ in range(count)]
        lines = (f"{name}: {value}\r\n" for name, value in {"Host": where, **headers}.items())
        request = f"GET {path} HTTP/1.1\r\n{''.join(lines)}Connection: close\r\n\r\n".encode()
        began = time.monotonic()
        for one in sockets:
            one.sendall(request)
        found = []
        for one in sockets:
            with one, http.client.HTTPResponse(one) as response:
                response.begin()
                answer = Answer(response.status, dict(response.getheaders()), response.read())
            found.append(_reply(answer, began))
        return found

    def servers(self, count: int, who: str, where: str, path: str = "/", **how: Any) -> Counter[str]:
        """Who answered so many requests, by name; others by their status."""
        found = self.calls(count, who, where, path, **how)
        return Counter(one.server or str(one.status) for one in found)

    def becomes(self, expected: Any, look: Any) -> None:
        """What `look()` returns is soon as expected."""
        seen: list[Any] = []

        def holds() -> bool:
            seen[:] = [look()]
            return bool(seen[0] == expected)

        assert wait_until(holds, PATIENCE), f"{seen[0]!r} instead of {expected!r}"

    def seen(self, who: str, key: str, port: int = 80) -> list[dict[str, Any]]:
        """The requests with this x-key that have reached an application, asked beside its Envoy."""
        found: list[dict[str, Any]] = fetch(
            Target(self.lab.pods[who].netns, "127.0.0.1", port), f"/-/seen/{key}"
        ).json()
        return found

    def lines(self, who: str, where: str, *said: bytes, port: int, bytes_first: bool = False) -> list[bytes]:
        """Say lines on one connection, and what comes back until the other side ends; [] where refused."""
        try:
            with connect(self.target(who, where, port), 5.0) as connection:
                connection.sendall(b"".join(line + b"\n" for line in said))
                reader = connection.makefile("rb")
                return [reader.readline().rstrip() for _ in range(len(said) + bytes_first)]
        except OSError:
            return []

    def logged(self, who: str, key: str, count: int) -> Counter[str]:
        """What an Envoy's access log says of so many requests with this x-key: "503 UO" -> how many."""
        log = self.lab.pods[who].directory / "envoy.log"

        def told() -> list[str]:
            lines = (line.split() for line in log.read_text(errors="replace").splitlines())
            return [f"{line[0]} {line[1]}" for line in lines if line[3:4] == [key]]

        assert wait_until(lambda: len(told()) >= count, PATIENCE), told()
        return Counter(told())

    def stat(self, who: str, pattern: str) -> int:
        """The sum of the statistics of somebody's Envoy that the expression finds."""
        return sum(self.lab.pods[who].admin.stats(pattern).values())

    def _manifests(self) -> list[dict[str, Any]]:
        return [one.manifest for one in self.residents.values() if one.node]


def _reply(answer: Answer, began: float) -> Reply:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    text = answer.body.decode(errors="replace")
    body = json.loads(text) if re.match(r"[\[{]", text) else text
    return Reply(answer.status, headers.get("x-server", ""), headers, body, time.monotonic() - began)
