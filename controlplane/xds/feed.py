"""What the graph offers to a stream: feeds of named resources, one per type.

A feed belongs to a scope, not to a proxy: proxies with the same scope must be given *the same feed
object*, because everything that streams share (the ledger, plans, response bytes) hangs on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from controlplane.envoy.resource import Resource
from controlplane.graph import Failure
from controlplane.model.proxy import Proxy

UNSETTLED = -1
"""The revision of a feed that has not been computed yet: nothing is planned from it."""


class Delta(Protocol):
    """Names of a feed that changed or appeared, and names that went."""

    @property
    def upserts(self) -> Collection[str]: ...

    @property
    def removed(self) -> Collection[str]: ...


class Feed(Protocol):
    """The resources of one type for one scope.  Read it only while `Views.revision` is settled."""

    @property
    def revision(self) -> int:
        """The revision of the last change; `UNSETTLED` until the feed was computed for the first time."""
        ...

    def since(self, revision: int) -> Delta | None:
        """What changed after `revision`; None when that is too long ago: compare in full."""
        ...

    def get(self, name: str) -> Resource | Failure | None:
        """A resource; None when there is none of that name, a Failure when its query raised."""
        ...

    def names(self) -> Collection[str]:
        """All names, in any order, each once."""
        ...


class Union(ABC):
    """A feed that consists of others, which it may share with more like it; no name is in two of them."""

    __slots__ = ()

    @property
    @abstractmethod
    def parts(self) -> tuple[Feed, ...]: ...

    @property
    @abstractmethod
    def revision(self) -> int: ...

    @abstractmethod
    def since(self, revision: int) -> Delta | None: ...

    @abstractmethod
    def get(self, name: str) -> Resource | Failure | None: ...

    @abstractmethod
    def names(self) -> Collection[str]: ...


class Nothing:
    """The feed of a type that a view does not have."""

    revision = 0

    def since(self, revision: int) -> None:
        del revision

    def get(self, name: str) -> None:
        del name

    def names(self) -> tuple[str, ...]:
        return ()


NOTHING = Nothing()


class View(Protocol):
    """What one proxy sees: a feed for each type (a type without one is served as empty).

    When the proxy's scope changes, `feeds` is another mapping from then on, and the callback is called.
    """

    @property
    def proxy(self) -> Proxy: ...

    @property
    def feeds(self) -> Mapping[str, Feed]:
        """Feeds by type URL."""
        ...

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` after every settle in which a feed of this view changed."""
        ...

    def close(self) -> None:
        """Give up the claim on the feeds; the callback is not called again."""
        ...


class Now(Protocol):
    """How far all feeds are."""

    @property
    def revision(self) -> int:
        """The newest settled revision; `UNSETTLED` while the feeds may show half of a change.

        As long as it stays the same, no feed changes that has been computed.
        """
        ...


class Views(Now, Protocol):
    """Where views come from."""

    @property
    def ready(self) -> bool:
        """Whether the sources have synced; before that no proxy is served."""
        ...

    def open(self, proxy: Proxy, *, incremental: bool = False) -> View:
        """The view of a proxy; `incremental`: it speaks the variant in which single virtual hosts exist."""
        ...
