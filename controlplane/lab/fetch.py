"""Short HTTP requests to places that are not on the host's network: inside a pod, or behind a socket."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from controlplane.lab import netns

ADMIN_PORT = 15000


class Answer(NamedTuple):
    """An HTTP response, read to its end; header names are as sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; ValueError when it is something else."""
        return json.loads(self.body)


class Target(NamedTuple):
    """Where a request goes: a host and port as seen in a network namespace (None: the caller's own)."""

    namespace: str | None
    host: str
    port: int


def fetch(
    target: Target, path: str, *, method: str = "GET", headers: Mapping[str, str] = {}, timeout: float = 5.0
) -> Answer:
    """One request on a connection of its own; OSError or http.client.HTTPException when it fails."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout)
    connection.sock = connect(target, timeout)
    try:
        connection.request(method, path, headers={**headers, "Connection": "close"})
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def connect(target: Target, timeout: float) -> socket.socket:
    """A TCP connection to `target`, usable from any thread."""
    if target.namespace is None:
        return socket.create_connection((target.host, target.port), timeout)
    return netns.connect(target.namespace, target.host, target.port, timeout)


def answers(target: Target, path: str, timeout: float = 1.0) -> bool:
    """Whether a GET of `path` is answered with 200 right now."""
    try:
        return fetch(target, path, timeout=timeout).status == 200
    except (OSError, http.client.HTTPException):
        return False


def opens(target: Target, timeout: float = 1.0) -> bool:
    """Whether a connection is taken right now; it is closed without a word."""
    try:
        connect(target, timeout).close()
    except OSError:
        return False
    return True


class Admin(NamedTuple):
    """The admin interface of the Envoy in a pod's namespace."""

    namespace: str

    @property
    def target(self) -> Target:
        return Target(self.namespace, "127.0.0.1", ADMIN_PORT)

    def live(self) -> bool:
        """Whether Envoy has its first configuration and accepts traffic."""
        return answers(self.target, "/ready")

    def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose name the regular expression finds; histograms are left out."""
        text = fetch(self.target, f"/stats?filter={pattern}").body.decode()
        return {found[1]: int(found[2]) for found in re.finditer(r"^(.+): (\d+)$", text, re.MULTILINE)}

    def rejected(self) -> dict[str, int]:
        """The configuration updates that this Envoy refused, by statistic; empty when all is well."""
        return {name: count for name, count in sorted(self.stats("update_rejected").items()) if count}

    def config_dump(self, query: str = "include_eds") -> Any:
        """Envoy's whole configuration as it runs."""
        return fetch(self.target, f"/config_dump?{query}", timeout=15.0).json()
