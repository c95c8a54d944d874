"""Views: what the graph shows to the streams.

A proxy is reduced to projections by one leased query; the projections name keyed maps, and the maps
of one type make a feed.  Proxies with equal projections are given the same feed.  A feed that nobody
reads any more is kept for a while, so that a reconnect storm finds it warm.  Who has an identity is announced
to whoever issues certificates (`Holders`), for as long as it is connected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from controlplane.base.errors import QueryFailed
from controlplane.envoy.feeds import feeds
from controlplane.envoy.types import BY_URL, TYPES
from controlplane.mesh.proxies import proxy_view
from controlplane.model.identity import Holder
from controlplane.model.proxy import Proxy
from controlplane.xds.feed import UNSETTLED
from controlplane.xds.maps import MapFeed, Parts, Where
from controlplane.xds.settle import Settler

_log = logging.getLogger(__name__)


class Holders(Protocol):
    """Who needs certificates; both calls are quick, and come once for each stream of a proxy."""

    def take(self, holder: Holder) -> None:
        """A stream of this proxy has opened: see to it that there is a certificate."""
        ...

    def give_back(self, holder: Holder) -> None:
        """That stream has ended."""
        ...


class _Unsettled:
    """The feed of a view whose projection is not known yet."""

    revision = UNSETTLED

    def since(self, revision: int) -> None:
        del revision

    def get(self, name: str) -> None:
        del name

    def names(self) -> tuple[str, ...]:
        return ()


_PENDING: Mapping[str, Any] = {spec.url: _Unsettled() for spec in TYPES}


class GraphView:
    """What one proxy sees; see `controlplane.xds.feed.View`."""

    def __init__(self, views: GraphViews, proxy: Proxy, on_demand: bool) -> None:
        self.proxy = proxy
        self._on_demand = on_demand
        self._holder = None if proxy.identity is None else Holder(proxy.identity, proxy.id)
        if self._holder is not None and views.holders is not None:
            views.holders.take(self._holder)
        self.feeds: Mapping[str, Any] = _PENDING
        self.fresh = False
        self._views = views
        self._callback: Callable[[], None] | None = None
        self._lease = views.settler.graph.lease(proxy_view, proxy)
        self._lease.on_change = self.retarget
        if self._lease.ready:
            # Known already, because of another stream of this proxy or one that has just ended: the
            # lease may have nothing more to tell.
            if views.settler.settling:
                views.put_off(self)
            else:
                self.retarget()

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def settled(self) -> bool:
        """Whether all feeds can be read; asked only of views that have new feeds."""
        self.fresh = any(feed.revision == UNSETTLED for feed in self.feeds.values())
        return not self.fresh

    def changed(self) -> None:
        """A feed of this view changed, or became ready."""
        if self._callback is not None:
            self._callback()

    def close(self) -> None:
        self._callback = None
        self._lease.release()
        old, self.feeds = self.feeds, _PENDING
        self._views.give_back(self, old)
        if self._holder is not None and self._views.holders is not None:
            self._views.holders.give_back(self._holder)

    def retarget(self) -> None:
        """The projection changed: read other feeds from now on."""
        try:
            wanted = feeds(self._lease.value, on_demand=self._on_demand)
        except QueryFailed as failed:
            # Our bug, and no reason to take away what the proxy has.
            _log.error("no projection", extra={"proxy": self.proxy.id, "error": str(failed)})
            return
        old = self.feeds
        self.feeds = {
            url: self._views.take(self, (url, maps, self if BY_URL[url].on_demand else None))
            for url, maps in wanted.items()
        }
        kept = set(map(id, self.feeds.values()))
        self._views.give_back(self, {url: feed for url, feed in old.items() if id(feed) not in kept})
        self.fresh = True
        self._views.mark(self)


class GraphViews:
    """Opens views over one graph; see `controlplane.xds.feed.Views`.

    `grace` is how long, in seconds, a feed without readers stays warm; `on_demand`, whether proxies that
    can are given their virtual hosts when they ask for them.
    """

    def __init__(self, settler: Settler, grace: float = 30.0, *, on_demand: bool = False) -> None:
        self.settler = settler
        self.ready = False
        self.holders: Holders | None = None
        """Told of proxies with an identity; set it before the first view is opened."""
        self.views: dict[GraphView, None] = {}
        self._grace = grace
        self._on_demand = on_demand
        self._parts = Parts(settler)
        self._feeds: dict[Where, MapFeed] = {}
        self._idle: dict[Where, asyncio.TimerHandle] = {}
        self._stirred: dict[GraphView, None] = {}
        self._put_off: dict[GraphView, None] = {}
        self._announced = False

    @property
    def revision(self) -> int:
        """The newest settled revision; UNSETTLED while the maps are half new."""
        return UNSETTLED if self.settler.settling else self.settler.graph.settled

    def open(self, proxy: Proxy, *, incremental: bool = False) -> GraphView:
        view = GraphView(self, proxy, self._on_demand and incremental)
        self.views[view] = None
        self.settler.request()
        return view

    def take(self, view: GraphView, where: Where) -> MapFeed:
        """The shared feed for these maps, with the view among its readers."""
        timer = self._idle.pop(where, None)
        if timer is not None:
            timer.cancel()
        feed = self._feeds.get(where)
        if feed is None:
            feed = self._feeds[where] = self._parts.feed(where, self._feed_changed)
            self.settler.request()
        feed.readers[view] = None
        return feed

    def give_back(self, view: GraphView, feeds: Mapping[str, Any]) -> None:
        """The view reads these feeds no longer."""
        self._stirred.pop(view, None)
        for feed in feeds.values():
            if not isinstance(feed, MapFeed):
                continue
            feed.readers.pop(view, None)
            if not feed.readers and feed.where not in self._idle:
                loop = asyncio.get_running_loop()
                self._idle[feed.where] = loop.call_later(self._grace, self._expire, feed.where)
        if view.feeds is _PENDING:
            self.views.pop(view, None)
            self._put_off.pop(view, None)

    def put_off(self, view: GraphView) -> None:
        """Give this view its feeds at the end of the settle that is under way."""
        self._put_off[view] = None

    def mark(self, view: GraphView) -> None:
        """Tell this view's stream, once what it would read is settled."""
        self._stirred[view] = None
        if not self.settler.settling:
            self.announce()

    def announce(self) -> None:
        """Tell the marked views' streams, at the next turn of the loop."""
        if self._stirred and not self._announced:
            self._announced = True
            asyncio.get_running_loop().call_soon(self._announce)

    def tell(self) -> None:
        """Tell the marked views' streams now; they only take note, and plan in their own time."""
        put_off, self._put_off = self._put_off, {}
        for view in put_off:
            view.retarget()
        stirred, self._stirred = self._stirred, {}
        for view in stirred:
            if view.fresh and not view.settled():
                self._stirred[view] = None  # its new feeds are being computed; that settle tells it
            else:
                view.changed()

    def stir_all(self) -> None:
        """Tell every stream: some may have asked while nothing could be read."""
        for view in self.views:
            self.mark(view)

    def feeds(self) -> tuple[MapFeed, ...]:
        """All feeds that are kept, read or warm."""
        return tuple(self._feeds.values())

    def close(self) -> None:
        """Let all leases go."""
        for timer in self._idle.values():
            timer.cancel()
        self._idle.clear()
        for feed in self._feeds.values():
            self._parts.release(feed)
        self._feeds.clear()

    def _feed_changed(self, feed: MapFeed) -> None:
        for view in feed.readers:
            self.mark(view)

    def _announce(self) -> None:
        self._announced = False
        if not self.settler.settling:
            self.tell()  # otherwise a commit came in between, and the end of its settle tells

    def _expire(self, where: Where) -> None:
        self._idle.pop(where, None)
        feed = self._feeds.get(where)
        if feed is not None and not feed.readers:
            del self._feeds[where]
            self._parts.release(feed)
            self.settler.request()
