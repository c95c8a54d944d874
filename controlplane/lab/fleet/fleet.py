"""The fleet as its users see it: many xDS clients against one server, in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from controlplane.envoy.bootstrap import Node
from controlplane.lab.child import Child
from controlplane.lab.fleet import process
from controlplane.lab.fleet.behaviour import Behaviour, chosen
from controlplane.lab.fleet.options import Connected, Ending, FleetOptions, Receipt, Turn

View = Mapping[str, Mapping[str, str]]
"""Type ("cds") -> name -> hash of the resource's bytes."""
_GRACE = 30.0
"""Seconds beyond a timeout that a process may need to answer."""


_DEFAULTS = FleetOptions()


class FleetError(Exception):
    """Proxies did not get so far as they should have."""


class Fleet:
    """Synthetic proxies, one for each node, against the xDS server at "unix:/path" or "host:port".

    A context manager: processes start with the block and end with it.  Nothing is connected before
    `connect`.  Node i lives in process i mod `processes`; names ("name.namespace") must differ.
    """

    def __init__(self, address: str, nodes: Iterable[Node], options: FleetOptions = _DEFAULTS) -> None:
        self._address = address
        self._nodes = tuple(nodes)
        self._options = options
        self.proxies = tuple(f"{node.name}.{node.namespace}" for node in self._nodes)
        self._called: set[str] = set()
        self._children: list[Child] = []
        count = options.processes
        self._home = {name: i % count for i, name in enumerate(self.proxies)}
        if len(self._home) != len(self.proxies):
            raise ValueError("two proxies have the same name")

    def __enter__(self) -> Fleet:
        count = self._options.processes
        for i in range(count):
            nodes = self._nodes[i::count]
            self._children.append(Child(f"fleet-{i}", process.main, self._address, nodes, self._options))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._children:
            one.close()
        self._children.clear()

    # -- connecting -----------------------------------------------------------------------------

    def connect(self, limit: int | None = None, timeout: float = 120.0) -> Connected:
        """Connect the first `limit` proxies (all: None) and wait until all of them are warm.

        A proxy is warm when it was answered all that it asked for.  Those that are connected stay so.
        FleetError when one is not warm after `timeout` seconds.
        """
        names = self.proxies if limit is None else self.proxies[:limit]
        self._called.update(names)
        return self._connect(names, (), timeout)

    def reconnect(self, fraction: float = 0.0, seed: int = 0, timeout: float = 120.0) -> Connected:
        """A storm: break the connections of this share of the proxies, and let all that are away come back.

        Returns when every proxy that was ever connected is warm again.
        """
        names = self._in_order(self._called)
        return self._connect(names, chosen(names, fraction, seed, "storm"), timeout)

    def drop(self, fraction: float = 1.0, seed: int = 0) -> tuple[str, ...]:
        """Break the connections of this share of the proxies; they stay away until connected again."""
        names = chosen(self._in_order(self._called), fraction, seed, "storm")
        self._tell("drop", names)
        return tuple(names)

    def forget(self) -> None:
        """Proxies that are dropped start anew: they have nothing.  FleetError when one is connected."""
        if any(self._ask("state", key="connected")):
            raise FleetError("proxies that are connected cannot forget")
        self._tell("forget", self.proxies)

    def _connect(self, names: Sequence[str], drop: Sequence[str], timeout: float) -> Connected:
        began = time.monotonic()
        for child, own, dropped in zip(self._children, self._homes(names), self._homes(drop), strict=True):
            child.tell("connect", names=own, drop=dropped, within=timeout)
        answers = [child.answer(timeout + _GRACE) for child in self._children]
        warm, secured = (
            {name: at - began for one in answers for name, at in one[key].items()}
            for key in ("warm", "secured")
        )
        endings = tuple(sorted((e for one in answers for e in one["endings"]), key=lambda e: e.at))
        cold = [name for name in names if name not in warm]
        if cold:
            told = f"; {endings[-1].proxy}: {endings[-1].reason}" if endings else ""
            raise FleetError(
                f"{len(cold)} of {len(names)} proxies are not warm after {timeout:g} s, e.g. {cold[0]}{told}"
            )
        warm = {name: warm[name] for name in names}
        return Connected(began, warm, {name: secured[name] for name in names if name in secured}, endings)

    # -- behaviour ------------------------------------------------------------------------------

    def stall(self, fraction: float = 1.0, seed: int = 0) -> tuple[str, ...]:
        """This share of the proxies reads nothing until `resume`: windows fill, pings are not answered."""
        names = chosen(self._in_order(self._called), fraction, seed, "stall")
        self._tell("stall", names, stalled=True)
        return tuple(names)

    def resume(self) -> None:
        """All proxies read again."""
        self._tell("stall", self.proxies, stalled=False)

    def behave(self, behaviour: Behaviour) -> None:
        """Another behaviour from now on; periodic stalls begin with a proxy's next connection."""
        self._ask("behave", behaviour=behaviour)

    # -- what was seen --------------------------------------------------------------------------

    def receipts(self) -> list[Receipt]:
        """The responses that were received and answered since the last call, in order of arrival.

        A response whose answer is delayed appears when it is answered, or when its stream ends.
        """
        found = [Receipt(*row) for rows in self._ask("receipts") for row in rows]
        return sorted(found, key=lambda receipt: receipt.at)

    def endings(self) -> list[Ending]:
        """The streams that ended by themselves since the last call, oldest first."""
        return sorted((e for found in self._ask("endings") for e in found), key=lambda ending: ending.at)

    def quiet(self, seconds: float, timeout: float = 120.0) -> float:
        """Return when, for so many seconds from now, nothing was received and no answer is due.

        Gives when the last response was received (monotonic seconds; 0 if none ever was).  TimeoutError
        when there is no rest within `timeout` seconds.
        """
        began = time.monotonic()
        while True:
            states = self._ask("state")
            now = time.monotonic()
            last = max(state["last"] for state in states)
            owed = sum(state["open"] for state in states)
            rest = max(last, began) + seconds - now
            if rest <= 0 and not owed:
                return float(last)
            if now - began > timeout:
                raise TimeoutError(f"no rest within {timeout:g} s: {owed} answers are due")
            time.sleep(max(rest, seconds / 10))

    def views(self) -> dict[str, View]:
        """What each proxy has, by type and name, as hashes; proxies with the same share the mappings."""
        found: dict[str, View] = {}
        for holdings, proxies in self._ask("views"):
            found |= {
                proxy: {kind: holdings[number] for kind, number in has.items()}
                for proxy, has in proxies.items()
            }
        return {name: found[name] for name in self.proxies}

    def contents(self, proxy: str) -> dict[str, dict[str, bytes]]:
        """The resources that a proxy ("name.namespace") has: type -> name -> bytes."""
        found: dict[str, dict[str, bytes]] = self._children[self._home[proxy]].ask("contents", name=proxy)
        return found

    def connected(self) -> int:
        """How many proxies have a connection now."""
        return sum(self._ask("state", key="connected"))

    def parsed(self) -> int:
        """How many responses the processes could not recognise and had to parse, so far."""
        return sum(self._ask("state", key="parsed"))

    def cpu(self) -> tuple[float, ...]:
        """CPU seconds of each process so far, user and system."""
        return tuple(self._ask("state", key="cpu"))

    def turns(self) -> list[Turn]:
        """Turns of the processes' loops longer than 1 ms since the last call: receipts may be as late."""
        answers = enumerate(self._ask("turns"))
        found = [Turn(number, *turn) for number, turns in answers for turn in turns]
        return sorted(found, key=lambda turn: turn.at)

    # -- the processes --------------------------------------------------------------------------

    def _ask(self, op: str, key: str | None = None, **arguments: Any) -> list[Any]:
        for child in self._children:
            child.tell(op, **arguments)
        answers = [child.answer() for child in self._children]
        return answers if key is None else [answer[key] for answer in answers]

    def _tell(self, op: str, names: Sequence[str], **arguments: Any) -> None:
        for child, own in zip(self._children, self._homes(names), strict=True):
            child.tell(op, names=own, **arguments)
        for child in self._children:
            child.answer()

    def _homes(self, names: Iterable[str]) -> list[list[str]]:
        """The names by process."""
        homes: list[list[str]] = [[] for _ in self._children]
        for name in names:
            homes[self._home[name]].append(name)
        return homes

    def _in_order(self, names: set[str]) -> list[str]:
        return [name for name in self.proxies if name in names]
