"""Views: proxies become projections, projections become shared feeds, and changes reach whom they touch."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import yaml

from controlplane.base.clock import SystemClock
from controlplane.envoy.secrets import certificates
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from controlplane.graph import Graph
from controlplane.model.certificate import Certified
from controlplane.model.identity import Holder, Identity
from controlplane.model.kinds import BY_NAME
from controlplane.model.proxy import Proxy, parse_node
from controlplane.xds.feed import UNSETTLED
from controlplane.xds.settle import Settled, Settler
from controlplane.xds.view import GraphViews

MESH = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: a}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata:
  name: secret
  namespace: b
  annotations: {networking.istio.io/exportTo: "."}
spec: {clusterIP: 10.96.0.2, selector: {app: secret}, ports: [{name: http, port: 80}]}
"""


class Rig:
    """A graph with its settler and views, running on the loop."""

    def __init__(self, grace: float = 0.0) -> None:
        self.graph = Graph()
        self.settler = Settler(self.graph, SystemClock())
        self.views = GraphViews(self.settler, grace)
        self.settler.on_settled = self._settled
        self.told: list[str] = []
        self.outcomes: list[Settled] = []

    def _settled(self, outcome: Settled) -> None:
        self.outcomes.append(outcome)
        self.views.tell()

    async def apply(self, text: str) -> None:
        changes = []
        for raw in yaml.safe_load_all(text):
            kind = BY_NAME[raw["kind"]]
            parsed = kind.parse(raw)
            assert parsed.value is not None, parsed.problems
            changes.append((kind.table, parsed.key, parsed.value))
        await self.settler.settled(self.settler.commit(changes))
        await self.quiet()

    async def clear(self) -> None:
        rows = [(t, k, None) for t, r in self.graph.tables().items() for k in r.values]
        await self.settler.settled(self.settler.commit(rows))
        await self.quiet()

    def open(self, name: str, namespace: str, ip: str = "10.0.0.9"):
        view = self.views.open(proxy(name, namespace, ip))
        view.on_change(lambda: self.told.append(name))
        return view

    async def quiet(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


def proxy(name: str, namespace: str, ip: str) -> Proxy:
    return parse_node(
        f"sidecar~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local", {"NAMESPACE": namespace}
    )


def drive(test: Callable[[Rig], Awaitable[None]], grace: float = 0.0) -> None:
    async def main() -> None:
        rig = Rig(grace)
        task = asyncio.create_task(rig.settler.run())
        try:
            await rig.apply(MESH)
            await test(rig)
        finally:
            rig.views.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def names(view, url: str) -> set[str]:
    return set(view.feeds[url].names())


def test_proxies_of_one_namespace_are_given_the_same_feeds() -> None:
    async def test(rig: Rig) -> None:
        one, two = rig.open("one", "a", "10.0.0.1"), rig.open("two", "a", "10.0.0.2")
        await rig.quiet()
        for url in (CLUSTER, ENDPOINT, LISTENER, ROUTE):
            assert one.feeds[url] is two.feeds[url]
        assert "outbound|80||web.a.svc.cluster.local" in names(one, CLUSTER)

    drive(test)


def test_another_namespace_has_other_feeds() -> None:
    async def test(rig: Rig) -> None:
        a, b = rig.open("a", "a"), rig.open("b", "b")
        await rig.quiet()
        assert "outbound|80||secret.b.svc.cluster.local" not in names(a, CLUSTER)
        assert "outbound|80||secret.b.svc.cluster.local" in names(b, CLUSTER)

    drive(test)


def test_a_feed_cannot_be_read_before_it_is_computed() -> None:
    async def test(rig: Rig) -> None:
        view = rig.open("one", "a")
        assert view.feeds[CLUSTER].revision == UNSETTLED
        await rig.quiet()
        assert view.feeds[CLUSTER].revision == rig.graph.revision
        assert rig.told == ["one"]

    drive(test)


def test_a_feed_cannot_be_read_between_commit_and_settle() -> None:
    async def test(rig: Rig) -> None:
        view = rig.open("one", "a")
        await rig.quiet()
        rig.settler.commit([(BY_NAME["Service"].table, key, None) for key in service_keys(rig)])
        assert rig.views.revision == UNSETTLED
        await rig.quiet()
        assert rig.views.revision == view.feeds[CLUSTER].revision == rig.graph.revision

    drive(test)


def service_keys(rig: Rig) -> list[object]:
    return list(rig.graph.rows(BY_NAME["Service"].table).values)


def test_only_those_who_see_a_change_are_told() -> None:
    async def test(rig: Rig) -> None:
        rig.open("a", "a")
        rig.open("b", "b")
        await rig.quiet()
        rig.told.clear()
        await rig.apply(
            """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: secret, namespace: b}
spec: {hosts: [secret], exportTo: ["."], http: [{timeout: 3s, route: [{destination: {host: secret}}]}]}
"""
        )
        assert rig.told == ["b"]

    drive(test)


def test_a_change_tells_what_changed_since_a_revision() -> None:
    async def test(rig: Rig) -> None:
        view = rig.open("a", "a")
        await rig.quiet()
        before = rig.graph.revision
        await rig.apply(MESH.split("---")[0].replace("port: 80", "port: 81"))
        delta = view.feeds[CLUSTER].since(before)
        assert delta.upserts == ("outbound|81||web.a.svc.cluster.local",)
        assert delta.removed == ("outbound|80||web.a.svc.cluster.local",)

    drive(test)


def test_a_name_that_moves_between_the_maps_of_a_feed_is_not_removed() -> None:
    async def test(rig: Rig) -> None:
        view = rig.open("a", "a")
        await rig.quiet()
        before = rig.graph.revision
        # A private rule takes the service out of what all clients see alike.
        await rig.apply(
            """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: a}
spec: {host: web, exportTo: ["."], trafficPolicy: {loadBalancer: {simple: RANDOM}}}
"""
        )
        delta = view.feeds[CLUSTER].since(before)
        assert delta.upserts == ("outbound|80||web.a.svc.cluster.local",)
        assert delta.removed == ()

    drive(test)


def test_a_new_projection_means_other_feeds() -> None:
    async def test(rig: Rig) -> None:
        view = rig.open("a", "a")
        await rig.quiet()
        before = view.feeds[CLUSTER]
        rig.told.clear()
        await rig.apply(
            """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: a}
spec: {egress: [{hosts: ["~/*"]}]}
"""
        )
        assert view.feeds[CLUSTER] is not before
        assert "outbound|80||web.a.svc.cluster.local" not in names(view, CLUSTER)
        assert rig.told == ["a"]

    drive(test)


def test_a_closed_view_is_told_nothing() -> None:
    async def test(rig: Rig) -> None:
        view = rig.open("a", "a")
        await rig.quiet()
        rig.told.clear()
        view.close()
        await rig.apply(MESH.split("---")[0].replace("port: 80", "port: 81"))
        assert rig.told == []
        assert rig.views.views == {}

    drive(test)


def test_a_feed_stays_warm_for_those_who_come_back() -> None:
    async def test(rig: Rig) -> None:
        view = rig.open("a", "a")
        await rig.quiet()
        feed = view.feeds[CLUSTER]
        view.close()
        again = rig.open("a", "a")
        await rig.quiet()
        assert again.feeds[CLUSTER] is feed

    drive(test, grace=60.0)


def test_nothing_is_left_of_views_that_are_gone() -> None:
    async def test(rig: Rig) -> None:
        opened = [rig.open(f"p{i}", "ab"[i % 2], f"10.0.0.{i}") for i in range(6)]
        await rig.quiet()
        for view in opened:
            view.close()
        await rig.clear()
        while rig.graph.orphans or rig.graph.size():
            await asyncio.wait_for(asyncio.sleep(0.001), 5)
            rig.settler.request()
            await rig.quiet()
        assert rig.graph.size() == 0

    drive(test)


def test_the_settler_says_what_it_settled() -> None:
    async def test(rig: Rig) -> None:
        assert rig.outcomes[-1] == Settled(1, committed=True, sliced=False)
        rig.open("a", "a")
        await rig.quiet()
        assert rig.outcomes[-1].committed is False

    drive(test)


def test_a_proxy_that_comes_back_during_a_settle_is_told_after_it() -> None:
    async def test(rig: Rig) -> None:
        first = rig.open("web-1", "a")
        await rig.quiet()
        # Its old stream lingers, as after a broken connection, so all about it is known already.
        change = MESH.replace("port: 80}", "port: 81}")
        raw = list(yaml.safe_load_all(change))[1]
        parsed = BY_NAME["Service"].parse(raw)
        rig.settler.commit([(BY_NAME["Service"].table, parsed.key, parsed.value)])
        second = rig.open("web-1", "a")
        await rig.quiet()
        assert second.feeds == first.feeds
        assert "outbound|80||web.a.svc.cluster.local" in names(second, CLUSTER)
        # One that leaves before the end of the settle is not waited for.
        rig.settler.commit([(BY_NAME["Service"].table, parsed.key, None)])
        rig.open("web-1", "a").close()
        await rig.quiet()
        assert list(rig.views.views) == [first, second]

    drive(test)


class Counted:
    """Holders, counted."""

    def __init__(self) -> None:
        self.held: Counter[Holder] = Counter()

    def take(self, holder: Holder) -> None:
        self.held[holder] += 1

    def give_back(self, holder: Holder) -> None:
        self.held[holder] -= 1


def test_who_has_an_identity_is_announced_for_as_long_as_it_is_there() -> None:
    async def test(rig: Rig) -> None:
        counted = rig.views.holders = Counted()
        identity = Identity("cluster.local", "a", "web")
        nobody = proxy("nobody", "a", "10.0.0.1")
        somebody = replace(proxy("one", "a", "10.0.0.2"), identity=identity)
        views = [rig.views.open(nobody), rig.views.open(somebody), rig.views.open(somebody, incremental=True)]
        await rig.quiet()
        assert counted.held == {Holder(identity, "one.a"): 2}
        assert SECRET not in views[0].feeds
        # Its certificate is on the way: there is a feed, and nothing in it.
        assert names(views[1], SECRET) == set()
        assert views[1].feeds[SECRET] is views[2].feeds[SECRET]
        rig.graph.commit([(certificates, Holder(identity, "one.a"), Certified(b"c", b"k", "1", 0.0, 9.0))])
        rig.settler.request()
        await rig.quiet()
        assert names(views[1], SECRET) == {"default"}
        for view in views:
            view.close()
        assert counted.held == {Holder(identity, "one.a"): 0}

    drive(test)
