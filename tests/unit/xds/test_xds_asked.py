"""Feeds that hold what clients ask for: shared, counted, and silent to whom it does not concern."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from controlplane.envoy.on_demand import Ask, asked
from controlplane.envoy.types import LISTENER, ROUTE, VIRTUAL_HOST
from controlplane.xds.asking import OnDemand
from controlplane.xds.layers import Ledgers
from controlplane.xds.view import GraphView, GraphViews
from tests.unit.xds.test_xds_view import MESH, Rig, proxy

VIRTUAL_SERVICE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: a}
"""
NOBODY: tuple[str, ...] = ()


class Demand(Rig):
    """Two clients of one namespace, and one of another, that have virtual hosts on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.views = GraphViews(self.settler, 0.0, on_demand=True)

    def open(self, name: str, namespace: str, ip: str = "10.0.0.9") -> GraphView:
        view = self.views.open(proxy(name, namespace, ip), incremental=True)
        view.on_change(lambda: self.told.append(name))
        return view

    async def ask(self, view: GraphView, more: tuple[str, ...], fewer: tuple[str, ...] = NOBODY) -> None:
        feed = view.feeds[VIRTUAL_HOST]
        assert isinstance(feed, OnDemand)
        feed.ask(more, fewer)
        await self.settler.settled(self.graph.revision)
        await self.quiet()

    @property
    def rows(self) -> set[tuple[str, str]]:
        found: list[Ask] = list(self.graph.rows(asked).values)
        return {(ask.scope.scope.namespace, ask.name) for ask in found}


def drive(test: Callable[[Demand], Awaitable[None]]) -> None:
    async def main() -> None:
        rig = Demand()
        task = asyncio.create_task(rig.settler.run())
        try:
            await rig.apply(MESH)
            await test(rig)
        finally:
            rig.views.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def names(view: GraphView) -> set[str]:
    return set(view.feeds[VIRTUAL_HOST].names())


def test_clients_of_a_scope_share_what_they_ask_for() -> None:
    async def scene(rig: Demand) -> None:
        first, second, other = rig.open("one", "a"), rig.open("two", "a"), rig.open("three", "b")
        await rig.quiet()
        await rig.ask(first, ("80/web", "80/x"))
        await rig.ask(second, ("80/web",))
        assert rig.rows == {("a", "80/web"), ("a", "80/x")}
        assert names(first) == names(second) == {"80/web", "80/x"}
        assert names(other) == set()
        ledgers = Ledgers()
        opened = [ledgers.open(view.feeds[VIRTUAL_HOST]) for view in (first, second, other)]
        assert opened[0] is opened[1] is not opened[2]

    drive(scene)


def test_a_row_goes_with_the_last_who_asked() -> None:
    async def scene(rig: Demand) -> None:
        first, second = rig.open("one", "a"), rig.open("two", "a")
        await rig.quiet()
        await rig.ask(first, ("80/web",))
        await rig.ask(second, ("80/web",))
        revision = rig.graph.revision
        await rig.ask(first, NOBODY, ("80/web",))
        assert rig.rows == {("a", "80/web")}
        assert rig.graph.revision == revision, "nothing to commit"
        await rig.ask(second, NOBODY, ("80/web",))
        assert rig.rows == set()
        assert names(first) == set()

    drive(scene)


def test_who_did_not_ask_is_not_woken() -> None:
    async def scene(rig: Demand) -> None:
        first, second = rig.open("one", "a"), rig.open("two", "a")
        await rig.quiet()
        await rig.ask(second, ("80/more",))
        rig.told.clear()
        await rig.ask(first, ("80/web",))
        assert rig.told == ["one"]
        rig.told.clear()
        rules = "spec: {hosts: [web], http: [{timeout: 3s, route: [{destination: {host: web}}]}]}"
        await rig.apply(f"{VIRTUAL_SERVICE}{rules}")
        assert rig.told == ["one"]
        # They take part again after what did not concern them.
        rig.told.clear()
        await rig.ask(first, ("80/more",))
        assert rig.told == [], "it was there"
        await rig.ask(second, ("80/late",))
        assert rig.told == ["two"]

    drive(scene)


def test_only_incremental_clients_have_it() -> None:
    async def scene(rig: Demand) -> None:
        on_demand = rig.open("one", "a")
        whole = rig.views.open(proxy("two", "a", "10.0.0.9"), incremental=False)
        await rig.quiet()
        assert VIRTUAL_HOST not in whole.feeds
        assert whole.feeds[ROUTE] is not on_demand.feeds[ROUTE]
        assert whole.feeds[LISTENER] is not on_demand.feeds[LISTENER]
        shared = whole.feeds.keys() - {ROUTE, LISTENER}
        assert all(whole.feeds[url] is on_demand.feeds[url] for url in shared)

    drive(scene)


def test_nothing_is_left() -> None:
    async def scene(rig: Demand) -> None:
        views = [rig.open("one", "a"), rig.open("two", "b")]
        await rig.quiet()
        for view in views:
            await rig.ask(view, ("80/web",))
            await rig.ask(view, NOBODY, ("80/web",))
            view.close()
        await asyncio.sleep(0.01)
        await rig.clear()
        await rig.quiet()
        assert rig.views.feeds() == ()
        assert rig.graph.size() == 0

    drive(scene)
