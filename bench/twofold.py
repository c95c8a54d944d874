"""A fleet whose proxies hold a second stream each: to the bare server, which writes what the first one got.

On both streams the same is done for a message: parse (or recognise) it, note the time, answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from typing import Any

from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.fleet import FleetOptions
from controlplane.lab.fleet.process import Process, run
from controlplane.lab.fleet.proxies import Member, Proxies
from controlplane.lab.fleet.requests import NONE, VARIANTS
from controlplane.lab.fleet.responses import Response

_DELTA = VARIANTS["DELTA_GRPC"]


def main(pipe: Pipe, address: str, size: Mesh, count: int) -> None:
    """The process: the first `count` proxies of a mesh."""
    run(_Twofold(pipe, address, size, count))


class _Twofold(Process):
    """Proxies with a second stream; keeps the last response of each type by scope, to be written again."""

    def __init__(self, pipe: Pipe, address: str, size: Mesh, count: int) -> None:
        nodes = [size.node(i) for i in range(count)]
        super().__init__(pipe, Proxies(address, nodes, FleetOptions()))
        self._scopes = {f"{node.name}.{node.namespace}": node.namespace for node in nodes}
        self._bodies: dict[tuple[str, str], bytes] = {}
        self._bare: list[float] = []
        self.proxies.on_response = self._keep

    def _keep(self, member: Member, response: Response, data: bytes) -> None:
        self._bodies[self._scopes[member.name], response.content.url] = data

    def do_connect_bare(self, address: str) -> Callable[[], Any]:
        """Connect every proxy to the bare server as well."""
        for scope in self._scopes.values():
            self._connect_bare(address, scope)
        return lambda: True

    def do_bare(self) -> Callable[[], Any]:
        """When the messages of the bare server came, since the last time."""
        found, self._bare = self._bare, []
        return lambda: found

    def do_bodies(self, url: str) -> Callable[[], Any]:
        """The last response of a type by scope."""
        return lambda: {scope: body for (scope, kind), body in self._bodies.items() if kind == url}

    def _connect_bare(self, address: str, scope: str) -> None:
        def take(data: bytes) -> None:
            at = time.monotonic()
            response = self.proxies.parser.parse(data)
            last = (response.version, response.nonce)
            connection.send(_DELTA.answer(response.content.url, NONE, last, None))
            self._bare.append(at)

        def end(reason: str) -> None:
            raise RuntimeError(f"the bare server: {reason}")

        connection = self.proxies.open(address, take, end)
        connection.send(scope.encode())
        self.proxies.loop.attend(connection)
