"""Types that are asked for name by name, while a request waits: who asked for what.

A client has of such a type what it asked for and nothing else.  Its feed has what anybody asked for:
it is told what each client wants, and counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

from controlplane.xds.names import NOBODY, intern_names

MAX_ASKED = 10_000
"""Names that one client may ask for: Host headers are what applications make of them."""


class OnDemand(ABC):
    """A feed that holds only what is asked for."""

    __slots__ = ()

    @abstractmethod
    def ask(self, more: Collection[str], fewer: Collection[str]) -> None:
        """A client wants `more`, and `fewer` no longer.  Names are counted: each is to be given back once."""
        ...


def tell(feed: object, asked: frozenset[str], wanted: frozenset[str]) -> frozenset[str]:
    """Tell a feed that a client which had `asked` wants these names; gives what it has asked for then.

    Names beyond the bound do not exist, as far as this client is concerned.
    """
    if not isinstance(feed, OnDemand) or wanted is asked:
        return asked
    more, fewer = wanted - asked, asked - wanted
    room = MAX_ASKED - len(asked) + len(fewer)
    if len(more) > room:
        more = frozenset(sorted(more)[:room])
    if more or fewer:
        feed.ask(more, fewer)
    return intern_names((asked | more) - fewer) if wanted else NOBODY
