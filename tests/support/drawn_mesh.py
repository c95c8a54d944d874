"""A mesh that is drawn from all that the golden cases know, and edited at random.

Objects pass the parsers as in the store: who is refused keeps the version that was there.  Certificates, key
sets, Secrets and what clients ask for on demand are inputs like objects, and come and go as these do.
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from controlplane.app.features import settle_features
from controlplane.envoy.on_demand import Ask, asked
from controlplane.envoy.patches.judge import judged
from controlplane.envoy.secrets import ROOT_CA, certificates, roots
from controlplane.envoy.types import ROUTE
from controlplane.graph import Table
from controlplane.mesh.features import Features
from controlplane.mesh.key_sets import wanted_key_sets
from controlplane.model.certificate import Certified, TrustBundle
from controlplane.model.keys import Key
from controlplane.model.kinds import BY_NAME, KINDS
from controlplane.model.kinds.key_set import KEY_SET, key_set_key, key_set_object
from controlplane.model.kinds.secret import Secret
from controlplane.model.meta import Meta
from tests.support import genes
from tests.support.drawn_graph import Living
from tests.support.drawn_proxies import Connected, drawn_proxy, holder_of, traits

UNREAD = frozenset({"ServiceAccount"})
"""Kinds on which nothing that is served depends."""
_OFTEN = frozenset({"Service", "Pod", "ServiceEntry", "VirtualService", "DestinationRule"})
# Secrets are drawn in their own way: no golden case has a key.
_RARE = sorted({kind.name for kind in KINDS} - UNREAD - _OFTEN - {"Secret"})
# A real server asks issuers for their keys.
_FETCHING = ("RequestAuthentication",)
_KEY_SET = '{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"drawn"}]}'


class Drawn(Living):
    """One mesh; the same seed, the same mesh and the same edits.  `seen` counts what was drawn."""

    def __init__(self, seed: int, *, paranoid: bool = False, objects_only: bool = False) -> None:
        super().__init__(paranoid=paranoid)
        self.pick = random.Random(seed)
        self.history: list[str] = []
        self.leaves: set[tuple[str, genes.Path]] = set()
        self.held: dict[tuple[str, Key], genes.Raw] = {}
        self._objects_only = objects_only
        if not objects_only:
            switches = {one.name: self.pick.random() < 0.5 for one in fields(Features)}
            settle_features(
                self.graph, {name: on for name, on in switches.items() if self.pick.random() < 0.4}
            )
        self._cases = self._some_cases(seed)
        for name in self._cases:
            self._write((one["kind"], one) for one in copy.deepcopy(list(genes.cases()[name])))
        for name in () if objects_only else self._cases[:3]:
            self._connect(genes.nodes()[name])
        self.settle()

    def _some_cases(self, seed: int) -> list[str]:
        """Five cases, two of which have kinds that are rare among them: every kind comes in its turn."""
        chosen: list[str] = []
        for kind in (_RARE[2 * seed % len(_RARE)], _RARE[(2 * seed + 1) % len(_RARE)]):
            having = {name for name, found in genes.cases().items() if kind in (one["kind"] for one in found)}
            chosen.append(self.pick.choice(sorted(having)))
        return list(dict.fromkeys([*chosen, *self.pick.sample(sorted(genes.cases()), 3)]))

    # -- edits ----------------------------------------------------------------------------------

    def edit(self) -> None:
        """Make one change, or a few at once."""
        acts = {
            self._put: 25,
            self._delete: 12,
            self._relabel: 8,
            self._rewrite: 30,
            self._swap_case: 4,
        }
        if not self._objects_only:
            acts |= {self._come: 5, self._go: 4, self._certify: 4, self._fetch: 3}
            acts |= {self._guard: 4, self._ask: 6, self._work: 6}
        for _ in range(self.pick.choice((1, 1, 2, 3))):
            (act,) = self.pick.choices(list(acts), list(acts.values()))
            self.history.append(act())

    def _put(self) -> str:
        """A new object, of any case; often under the name of one that is there."""
        kind = self.pick.choice(
            sorted({one["kind"] for objects in genes.cases().values() for one in objects})
        )
        made = genes.crossed(self.pick, self._some(kind), self._near())
        mates = [key for held, key in self.held if held == kind]
        if mates and self.pick.random() < 0.6:
            key = self.pick.choice(sorted(mates))
            made["metadata"] = {**made.get("metadata", {}), "name": key.name}
            if key.namespace:
                made["metadata"]["namespace"] = key.namespace
        return self._write([(kind, made)])

    def _rewrite(self) -> str:
        """The next version of an object that is there."""
        if not self.held:
            return "nothing to rewrite"
        kind, key = self._one()
        return self._write([(kind, genes.crossed(self.pick, self.held[kind, key], self._near()))])

    def _delete(self) -> str:
        if not self.held:
            return "nothing to delete"
        gone = {self._one() for _ in range(self.pick.choice((1, 1, 2, 5)))}
        for kind, key in gone:
            del self.held[kind, key]
        self.write((BY_NAME[kind].table, key, None) for kind, key in gone)
        return f"delete {sorted(gone)}"

    def _relabel(self) -> str:
        """Other labels on a pod, a node, a namespace, a Service, or whatever else there is."""
        if not self.held:
            return "nothing to relabel"
        kind, key = self._one()
        one = copy.deepcopy(self.held[kind, key])
        found = [labels for raw in self._near() for labels in genes.labels_in(raw)]
        if "metadata" not in one or not found:
            return "nothing to relabel with"
        one["metadata"]["labels"] = copy.deepcopy(self.pick.choice(found))
        return self._write([(kind, one)])

    def _swap_case(self) -> str:
        """All objects of one case come at once, or go."""
        name = self.pick.choice(sorted(genes.cases()))
        if self.pick.random() < 0.5:
            return self._write((one["kind"], one) for one in copy.deepcopy(list(genes.cases()[name])))
        gone = [(one["kind"], key_of(one)) for one in genes.cases()[name]]
        gone = [one for one in gone if self.held.pop(one, None) is not None]
        self.write((BY_NAME[kind].table, key, None) for kind, key in gone)
        return f"delete case {name}"

    def _come(self) -> str:
        routers = self.pick.random() < 0.4
        every = [node for _, node in sorted(genes.nodes().items())]
        node = self.pick.choice([one for one in every if one["id"].startswith("router") or not routers])
        return self._connect(node) if len(self.proxies) < 6 else "enough proxies"

    def _go(self) -> str:
        if len(self.proxies) < 2:
            return "nobody goes"
        one = self.proxies.pop(self.pick.randrange(len(self.proxies)))
        self.graph.commit((asked, ask, None) for ask in sorted(one.asks, key=repr))
        one.release()
        return f"disconnect {one.proxy.id}"

    def _certify(self) -> str:
        """A certificate for a proxy that has an identity, or other roots."""
        serial = f"{self.pick.randrange(99):x}"
        holders = [holder for one in self.proxies if (holder := holder_of(one.proxy)) is not None]
        if not holders or self.pick.random() < 0.2:
            self.graph.commit([(roots, ROOT_CA, TrustBundle((serial.encode(),)))])
            return f"roots {serial}"
        holder = self.pick.choice(holders)
        value = Certified(b"chain", b"key " + serial.encode(), serial, 0.0, 1e9)
        self.graph.commit([(certificates, holder, None if self.pick.random() < 0.2 else value)])
        return f"certificate {serial} of {holder}"

    def _fetch(self) -> str:
        """An issuer's keys, or that there are none."""
        uris = [str(uri) for uri in self._roots[wanted_key_sets].keys()]
        if not uris:
            return "no keys wanted"
        uri = self.pick.choice(sorted(uris))
        keys, fault = self.pick.choice(((_KEY_SET, ""), ("", "could not be fetched")))
        value = KEY_SET.parse(key_set_object(uri, keys, fault)).value
        assert value is not None
        self.seen["FetchedKeySet"] += 1
        self.graph.commit([(KEY_SET.table, key_set_key(uri), value)])
        return f"keys of {uri}: {fault or 'fetched'}"

    def _guard(self) -> str:
        """A Secret that some gateway's credentialName may mean."""
        names = {
            name.partition("/")[2] for node in genes.nodes().values() for name in node.get("secrets", ())
        }
        near = sorted({name for raw in self._near() for name in genes.credentials(raw)})
        gateways = [one.proxy.namespace for one in self.proxies if one.proxy.type == "router"]
        name = self.pick.choice(near or sorted(names)).removesuffix("-cacert")
        key = Key(
            self.pick.choice(gateways or genes.NAMESPACES), name + self.pick.choice(("", "", "-cacert"))
        )
        text = str(self.pick.randrange(9)).encode()
        value = Secret(Meta(*key), b"certificate " + text, b"its key", b"authorities", text.decode())
        gone = self.pick.random() < 0.3
        self.write([(BY_NAME["Secret"].table, key, None if gone else value)])
        self.seen["Secret"] += 1
        return f"{'no ' if gone else ''}Secret {key}"

    def _ask(self) -> str:
        """A client that is given virtual hosts on demand asks for one, or stops."""
        clients = [one for one in self.proxies if one.on_demand and one.maps and one.view.value.inbound]
        if not clients:
            return "nobody asks"
        one = self.pick.choice(clients)
        if one.asks and self.pick.random() < 0.3:
            gone = sorted(one.asks, key=repr)[0]
            one.asks.discard(gone)
            self.graph.commit([(asked, gone, None)] if self._unasked(gone) else [])
            return f"{one.proxy.id} forgets {gone.name}"
        hosts = sorted({host for raw in self._near() for host in genes.hosts_of(raw)}) or ["nobody"]
        # Of ports that it has route configurations for; of others nothing is ever heard.
        names = {name for (url, _), lease in one.maps.items() if url == ROUTE for name in lease.keys()}
        ports = sorted(name for name in names if name.isdigit()) or ["80"]
        ask = Ask(one.view.value.routes, f"{self.pick.choice(ports)}/{self.pick.choice(hosts).lower()}")
        one.asks.add(ask)
        self.graph.commit([(asked, ask, True)])
        self.seen["asked"] += 1
        return f"{one.proxy.id} asks for {ask.name}"

    def _unasked(self, ask: Ask) -> bool:
        return not any(ask in one.asks for one in self.proxies)

    def _work(self) -> str:
        """The graph comes some way, or frees something, before the next change."""
        steps = self.pick.randrange(1, 60)
        if self.pick.random() < 0.3:
            return f"sweep {self.graph.sweep(steps)}"
        ticking = itertools.count()
        return f"settle {steps}: {self.graph.settle(steps, lambda: next(ticking))}"

    def _connect(self, node: genes.Raw) -> str:
        on_demand = self.pick.random() < 0.25
        one = Connected(self.graph, drawn_proxy(self.pick, node, self._near()), on_demand)
        self.proxies.append(one)
        self.seen.update(traits(one))
        return f"connect {one.proxy} on_demand={on_demand}"

    def _write(self, raws: Iterable[tuple[str, genes.Raw]]) -> str:
        """Put objects as the store would: who is refused keeps the version that was there."""
        writes: dict[tuple[Table, Key], Any] = {}
        told = []
        for kind, raw in raws:
            if self._objects_only and kind in _FETCHING:
                continue
            parsed = judged(BY_NAME[kind], BY_NAME[kind].parse(raw, None))
            if parsed.value is None or parsed.key is None:
                self.seen["refused"] += 1
                told.append(f"refuse {raw}")
                continue
            self.held[kind, parsed.key] = raw
            self.seen[kind] += 1
            self.leaves.update((kind, path) for path in genes.leaves(raw))
            writes[BY_NAME[kind].table, parsed.key] = parsed.value
            told.append(f"put {raw}")
        self.write((table, key, value) for (table, key), value in writes.items())
        return "; ".join(told)

    def _one(self) -> tuple[str, Key]:
        """An object that is there; of each kind as often."""
        kind = self.pick.choice(sorted({kind for kind, _ in self.held}))
        return self.pick.choice(sorted(one for one in self.held if one[0] == kind))

    def _some(self, kind: str) -> genes.Raw:
        near = [one for one in self._near() if one["kind"] == kind]
        if near and self.pick.random() < 0.4:
            return self.pick.choice(near)
        found = [one for objects in genes.cases().values() for one in objects if one["kind"] == kind]
        return self.pick.choice(found)

    def _near(self) -> list[genes.Raw]:
        return [self.held[one] for one in sorted(self.held)]


def key_of(raw: genes.Raw) -> Key:
    """The key under which an object that is valid is held."""
    key = BY_NAME[raw["kind"]].parse(raw, None).key
    assert key is not None
    return key
