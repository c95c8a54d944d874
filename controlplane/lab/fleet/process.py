"""A process of synthetic proxies, and the commands that it takes from its parent.

A command gives a function that gives the answer, or None while there is none: the loop goes on, and
asks again.
"""

from __future__ import annotations

import contextlib
import gc
import resource
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection as Pipe
from typing import Any

from controlplane.envoy.bootstrap import Node
from controlplane.envoy.types import BY_URL
from controlplane.lab.fleet.behaviour import Behaviour
from controlplane.lab.fleet.options import FleetOptions
from controlplane.lab.fleet.proxies import Member, Proxies

_LOOK = 0.05
"""Seconds after which an open command is looked at even if nothing happens."""


def main(pipe: Pipe, address: str, nodes: Sequence[Node], options: FleetOptions) -> None:
    """The process: a proxy for each node."""
    run(Process(pipe, Proxies(address, nodes, options)))


def run(process: Process) -> None:
    """Until the parent hangs up."""
    # Nothing here lives in cycles, and a collection would make all proxies late.
    gc.disable()
    # Every proxy needs a descriptor.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        process.run()


class Process:
    """Proxies that are told what to do.  Commands are the methods named `do_…`."""

    def __init__(self, pipe: Pipe, proxies: Proxies) -> None:
        self.proxies = proxies
        self._pipe = pipe
        self._waiting: Callable[[], Any] | None = None
        proxies.loop.watch(pipe.fileno(), self._command)

    def run(self) -> None:
        """Until the parent hangs up: EOFError."""
        while True:
            self.proxies.loop.turn(-1 if self._waiting is None else _LOOK)
            if self._waiting is not None and (value := self._waiting()) is not None:
                self._waiting = None
                self._pipe.send((True, value))

    def _command(self) -> None:
        op, arguments = self._pipe.recv()
        try:
            self._waiting = getattr(self, f"do_{op}")(**arguments)
        except Exception:  # noqa: BLE001 - the parent is told, and fails
            self._pipe.send((False, traceback.format_exc()))

    def do_connect(self, names: Sequence[str], drop: Sequence[str], within: float) -> Callable[[], Any]:
        """Break the connections of `drop`, connect `names` where they are not, wait until they are warm."""
        began = time.monotonic()
        self.proxies.drop(drop)
        self.proxies.connect(names)
        members = [self.proxies.members[name] for name in names]
        cold = list(members)

        def done() -> Any:
            _pass_warm(cold)
            if not cold:
                # One that was warm may have lost its stream since.
                cold.extend(member for member in members if member.warm is None)
            if cold and time.monotonic() < began + within:
                return None
            return {
                "warm": {member.name: member.warm for member in members if member.warm is not None},
                "secured": {one.name: one.secured for one in members if one.secured is not None},
                "endings": [ending for ending in self.proxies.endings if ending.at >= began],
            }

        return done

    def do_drop(self, names: Sequence[str]) -> Callable[[], Any]:
        """Break connections; these proxies stay away."""
        self.proxies.drop(names)
        return lambda: True

    def do_forget(self, names: Sequence[str]) -> Callable[[], Any]:
        """These proxies, which are not connected, have nothing any more."""
        self.proxies.forget(names)
        return lambda: True

    def do_stall(self, names: Sequence[str], stalled: bool) -> Callable[[], Any]:
        """Proxies that read nothing, or read again."""
        self.proxies.stall(names, stalled)
        return lambda: True

    def do_behave(self, behaviour: Behaviour) -> Callable[[], Any]:
        """Another behaviour from now on; stalls begin with the next connection."""
        self.proxies.behaviour = behaviour
        return lambda: True

    def do_receipts(self) -> Callable[[], Any]:
        """What was received and answered since the last time."""
        found, self.proxies.receipts = self.proxies.receipts, []
        rows = [tuple(one) for one in found]
        return lambda: rows

    def do_endings(self) -> Callable[[], Any]:
        """The streams that ended by themselves since the last time."""
        found, self.proxies.endings = self.proxies.endings, []
        return lambda: found

    def do_turns(self) -> Callable[[], Any]:
        """The long turns of the loop since the last time."""
        found, self.proxies.loop.turns = self.proxies.loop.turns, []
        return lambda: found

    def do_state(self) -> Callable[[], Any]:
        """When the last response came, how many are not answered or were parsed, CPU seconds."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        members = self.proxies.members.values()
        state = {
            "last": self.proxies.last,
            "open": sum(len(member.open) for member in members),
            "connected": sum(member.connection is not None for member in members),
            "parsed": self.proxies.parser.parsed,
            "cpu": used.ru_utime + used.ru_stime,
        }
        return lambda: state

    def do_views(self) -> Callable[[], Any]:
        """Name -> hash by holding, and each proxy's holdings by type."""
        holdings: dict[int, dict[str, str]] = {}
        proxies: dict[str, dict[str, int]] = {}
        for member in self.proxies.members.values():
            has = proxies[member.name] = {}
            for url, holding in member.peer.holdings.items():
                if id(holding) not in holdings:
                    every = sorted(holding.resources.items())
                    holdings[id(holding)] = {name: held.resource.hash for name, held in every}
                has[BY_URL[url].short] = id(holding)
        return lambda: (holdings, proxies)

    def do_contents(self, name: str) -> Callable[[], Any]:
        """The resources of one proxy: type -> name -> bytes."""
        holdings = self.proxies.members[name].peer.holdings
        found = {
            BY_URL[url].short: {name: held.resource.body for name, held in sorted(holding.resources.items())}
            for url, holding in holdings.items()
        }
        return lambda: found


def _pass_warm(cold: list[Member]) -> None:
    """Take warm members from the end: looking at all of them at every turn would be the most work of all."""
    while cold and cold[-1].warm is not None:
        cold.pop()
