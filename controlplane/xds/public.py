"""What may be shown on a line that others can listen to: everything but secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controlplane.envoy.types import SECRET
from controlplane.model.proxy import Proxy
from controlplane.xds.feed import Feed, View


class Public:
    """A view without its secrets: its proxy is answered as one for which there are none."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._whole: Mapping[str, Feed] | None = None
        self._shown: Mapping[str, Feed] = {}

    @property
    def proxy(self) -> Proxy:
        return self._view.proxy

    @property
    def feeds(self) -> Mapping[str, Feed]:
        """The same mapping as long as the view's is the same."""
        whole = self._view.feeds
        if whole is not self._whole:
            self._whole = whole
            self._shown = {url: feed for url, feed in whole.items() if url != SECRET}
        return self._shown

    def on_change(self, callback: Callable[[], None]) -> None:
        self._view.on_change(callback)

    def close(self) -> None:
        self._view.close()
