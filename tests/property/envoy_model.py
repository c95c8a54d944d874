"""A client as Envoy behaves: it follows references from clusters to endpoints and from listeners to
routes, applies responses in order, and answers each; its two directions are queues that a test drains.

Contents that contain "bad" are rejected: of clusters and listeners the others are applied and the bad
ones named, of endpoints and routes nothing is applied and nobody is named.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from controlplane.envoy import pb
from controlplane.envoy.types import BY_SHORT, TYPES
from controlplane.xds.codec import Codec
from controlplane.xds.variant import Variant
from tests.unit.xds.world import Response, read

SOTW = Variant.SOTW
REFERS = {"cds": "eds", "lds": "rds"}
KINDS = {"cds": "cluster(s)", "lds": "listener(s)"}


@dataclass
class Envoy:
    variant: Variant
    state: dict[str, dict[str, str]] = field(default_factory=lambda: {spec.short: {} for spec in TYPES})
    """Accepted content by type and name."""
    refs: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=lambda: {"cds": {}, "lds": {}})
    versions: dict[str, dict[str, str]] = field(default_factory=lambda: {spec.short: {} for spec in TYPES})
    accepted: dict[str, str] = field(default_factory=dict)
    """SotW: the version last accepted, by type."""
    nonces: dict[str, str] = field(default_factory=dict)
    names: dict[str, frozenset[str]] = field(default_factory=lambda: {"eds": frozenset(), "rds": frozenset()})
    asked: set[str] = field(default_factory=set)
    down: deque[bytes] = field(default_factory=deque)
    up: deque[bytes] = field(default_factory=deque)
    rejected: int = 0
    codec: Codec = field(default_factory=lambda: Codec("{}", 0))

    def connect(self) -> None:
        """Start a stream, with whatever an earlier one left."""
        self.down.clear()
        self.up.clear()
        self.nonces.clear()
        self.asked.clear()
        for short in ("cds", "eds", "lds", "rds"):
            if short in REFERS or self.names[short]:
                self._ask(short, subscribe=sorted(self.names.get(short, ())), first=True)

    def resubscribe(self, short: str) -> None:
        """Ask for all names of a type again, as after forgetting them."""
        if short in self.asked and self.names[short]:
            if self.variant is SOTW:
                self._ask(short)
            else:
                self._ask(short, subscribe=sorted(self.names[short]))

    def step(self) -> None:
        """Take in the oldest response and answer it."""
        response = read(self.variant, self.down.popleft())
        self.nonces[response.short] = response.nonce
        error = self._apply(response)
        if error is None:
            self.accepted[response.short] = response.version
        else:
            self.rejected += 1
        self._ask(response.short, nonce=response.nonce, error=error)
        if response.short in REFERS:
            self._follow(response.short)

    def _apply(self, response: Response) -> str | None:
        short = response.short
        bad = sorted(name for name, content in response.bodies.items() if "bad" in content)
        if bad and short not in REFERS:
            return "nobody is named"
        good = {name: content for name, content in response.bodies.items() if name not in bad}
        state = self.state[short]
        if self.variant is SOTW and short in REFERS:
            for name in [name for name in state if name not in response.bodies]:
                del state[name]
                self.refs[short].pop(name)
        if short not in REFERS:
            good = {name: content for name, content in good.items() if name in self.names[short]}
        state.update(good)
        self.versions[short].update((name, response.versions.get(name, "")) for name in good)
        if short in REFERS:
            self.refs[short].update((name, response.refs[name]) for name in good)
            # Envoy ignores removals of endpoints and routes.
            for name in response.removed:
                state.pop(name, None)
                self.versions[short].pop(name, None)
                self.refs[short].pop(name, None)
        if bad:
            return f"Error adding/updating {KINDS[short]} " + ", ".join(f"{name}: bad" for name in bad)
        return None

    def _follow(self, short: str) -> None:
        """Subscribe to what the clusters or listeners refer to, and to nothing else."""
        target = REFERS[short]
        wanted = frozenset(ref for refs in self.refs[short].values() for ref in refs)
        before, self.names[target] = self.names[target], wanted
        for gone in before - wanted:
            self.state[target].pop(gone, None)
            self.versions[target].pop(gone, None)
        if wanted == before:
            return
        if self.variant is SOTW:
            self._ask(target)
        else:
            self._ask(target, subscribe=sorted(wanted - before), unsubscribe=sorted(before - wanted))

    def _ask(
        self,
        short: str,
        subscribe: list[str] | None = None,
        unsubscribe: list[str] | None = None,
        nonce: str | None = None,
        error: str | None = None,
        first: bool = False,
    ) -> None:
        self.asked.add(short)
        url = BY_SHORT[short].url
        if self.variant is SOTW:
            message = pb.discovery.DiscoveryRequest(
                type_url=url,
                version_info=self.accepted.get(short, ""),
                response_nonce=self.nonces.get(short, "") if nonce is None else nonce,
                resource_names=sorted(self.names.get(short, ())),
            )
        else:
            message = pb.discovery.DeltaDiscoveryRequest(
                type_url=url,
                response_nonce=nonce or "",
                resource_names_subscribe=subscribe or [],
                resource_names_unsubscribe=unsubscribe or [],
                initial_resource_versions=self.versions[short] if first else {},
            )
        if error is not None:
            message.error_detail.code = 13
            message.error_detail.message = error
        self.up.append(message.SerializeToString())

    def next_request(self):
        return self.codec.decode(self.variant, self.up.popleft())[0]
