"""What proxies refuse now, as Problems of the objects that it was made from.

Nothing foresaw these mistakes, so they are known by a proxy's words alone.  They are placed when somebody
asks: the graph tells which objects a resource was made from, and of these one is the likeliest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, TypeAlias

from controlplane.envoy.types import SECRET, TypeSpec
from controlplane.graph import Graph, Lease, explain
from controlplane.model.keys import Key, Ref
from controlplane.model.kinds import BY_NAME, KINDS, TABLES
from controlplane.model.problem import Problem
from controlplane.sources.naming import Name
from controlplane.store.ingest import Ingest
from controlplane.xds.feed import Feed
from controlplane.xds.maps import MapFeed
from controlplane.xds.standing import Refusal, refusals
from controlplane.xds.status import Served

_BY_TABLE = {kind.table.name: kind.name for kind in KINDS}
# What an author writes freely is refused more often than what is made of single numbers and names.
_LIKELY = ("EnvoyFilter", "VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "Sidecar")
_UNLIKELY = ("Service", "Namespace", "Node", "Pod", "ServiceAccount", "Endpoints", "EndpointSlice")
_RANKS = {
    name: rank
    for rank, name in enumerate(
        (
            *_LIKELY,
            *(kind.name for kind in KINDS if kind.name not in _LIKELY + _UNLIKELY),
            *_UNLIKELY,
        )
    )
}
_TELLING = 6
"""Characters from which on it is no accident that Envoy's words repeat what an object says."""
_EXPLAINED = 8
"""Resources that are explained of those that one error is about; the others are counted with them."""
_NAMED = 3
_OTHERS = 4
_ENOUGH = 20
"""Objects besides those to blame that are looked for."""
_WORDS = 500

_Error: TypeAlias = tuple[str, str]
_Version: TypeAlias = tuple[str, str, str]


class _Wrong(NamedTuple):
    """Refusals with one error and one likeliest object, None when no object is known."""

    spec: TypeSpec
    error: str
    sources: tuple[Ref, ...]
    refusals: list[Refusal]


def lease_of(feed: Feed, name: str) -> Lease | None:
    """The map of a feed that a resource is in, for explaining it."""
    leases = feed.leases() if isinstance(feed, MapFeed) else ()
    return next((lease for lease in leases if name in lease), None)


class Rejections:
    """The rejections of all streams that hold; costs the proxies nothing, and who asks little."""

    def __init__(self, graph: Graph, ingest: Ingest, streams: Callable[[], Iterable[Served]]) -> None:
        self._graph = graph
        self._ingest = ingest
        self._streams = streams
        # What the resources that are refused were made from: looked up once for each version.
        self._known: dict[_Version, tuple[Ref, ...]] = {}

    def problems(self) -> list[Problem]:
        """One for each error and object."""
        by_error: dict[_Error, list[Refusal]] = {}
        for one in refusals(self._streams()):
            by_error.setdefault((one.spec.url, one.error), []).append(one)
        before, self._known = self._known, {}
        return [self._problem(wrong) for same in by_error.values() for wrong in self._placed(same, before)]

    def _placed(self, same: list[Refusal], before: Mapping[_Version, tuple[Ref, ...]]) -> Iterable[_Wrong]:
        """The refusals with one error, by their likeliest object."""
        first: dict[_Version, Refusal] = {}
        for one in same:
            version = (one.spec.url, one.name, one.version)
            known = first.setdefault(version, one).since
            if 0 < one.since < (known or one.since + 1):
                first[version] = one
        words = same[0].error
        for name in sorted({one.name for one in same}, key=len, reverse=True):
            # A resource's name is made of hosts and ports, and says nothing about what is wrong with it.
            words = words.replace(name, "") if name else words
        for version, one in list(first.items())[:_EXPLAINED]:
            self._known[version] = before[version] if version in before else self._sources(one, words)
        wrong: dict[Ref | None, _Wrong] = {}
        for one in same:
            sources = self._known.get((one.spec.url, one.name, one.version))
            if sources is None:
                next(iter(wrong.values())).refusals.append(one)
                continue
            begun = _Wrong(one.spec, one.error, sources, [])
            wrong.setdefault(sources[0] if sources else None, begun).refusals.append(one)
        return wrong.values()

    def _sources(self, one: Refusal, words: str) -> tuple[Ref, ...]:
        """The objects that a refused resource was made from, the likeliest first."""
        lease = lease_of(one.feed, one.name)
        if lease is None or one.spec.url == SECRET:
            # A key and its certificate are not to be looked for in what an Envoy says.
            return ()
        began = one.since
        blamed = _refs(explain.changed_sources(self._graph, lease, one.name, began)) if began else frozenset()
        if blamed:
            # It may be made from thousands, among which there is no need to look any more.
            some = _refs(explain.sources(lease, one.name, most=len(blamed) + _ENOUGH))
            rest = sorted(some - blamed, key=lambda ref: (_RANKS[ref.kind], ref))
            return (*self._likeliest(blamed, one.since, words), *rest)
        return self._likeliest(_refs(explain.sources(lease, one.name)), one.since, words)

    def _likeliest(self, found: Iterable[Ref], since: int, words: str) -> tuple[Ref, ...]:
        """What is to blame most likely comes first."""
        return tuple(sorted(found, key=lambda ref: self._doubt(ref, since, words)))

    def _doubt(self, ref: Ref, since: int, words: str) -> tuple[int, int, int, Ref]:
        """Smaller for what is to blame more likely.

        That is what changed when the proxy began to refuse.  What changed later in the same resource waits
        with it; but the offender itself may have been edited since, and be as bad as before.
        """
        value = self._graph.rows(TABLES[ref.kind]).values.get(Key(ref.namespace, ref.name))
        said = max((len(text) for text in _texts(value) if text in words), default=0)
        revision = self._revision(ref)
        age = revision - since if 0 < since <= revision else -revision
        return (-said if said >= _TELLING else 0, _RANKS[ref.kind], age, ref)

    def _revision(self, ref: Ref) -> int:
        """When an object changed last."""
        ticks = self._graph.rows(TABLES[ref.kind]).ticks
        return self._graph.revision_of(ticks.get(Key(ref.namespace, ref.name), 0))

    def _problem(self, wrong: _Wrong) -> Problem:
        ref = wrong.sources[0] if wrong.sources else Ref("", "", "")
        file, line = self._origin(ref)
        others = [self._told(other) for other in wrong.sources[1 : _OTHERS + 1]]
        made = f"; it was made from this and {_few(others, len(wrong.sources) - 1)}" if others else ""
        remedy = "correct this object"
        if others:
            remedy += "; if Envoy's words are not about it, one of the others"
        if not wrong.sources:
            remedy = "look at what the resource is made from: /debug/why"
        return Problem("error", *ref, file, line, "", f"{_refused(wrong)}{made}", remedy)

    def _told(self, ref: Ref) -> str:
        file, line = self._origin(ref)
        place = file if line is None else f"{file}:{line}"
        name = "/".join(part for part in (ref.namespace, ref.name) if part)
        return f"{ref.kind} {name}" + (f" ({place})" if place else "")

    def _origin(self, ref: Ref) -> tuple[str, int | None]:
        kind = BY_NAME.get(ref.kind)
        if kind is None:
            return ("", None)
        return self._ingest.origin(Name(kind.group, ref.kind, Key(ref.namespace, ref.name))) or ("", None)


def _refs(rows: Iterable[tuple[str, Any]]) -> frozenset[Ref]:
    """The objects among these rows."""
    return frozenset(
        Ref(_BY_TABLE[table], *key) for table, key in rows if table in _BY_TABLE and isinstance(key, Key)
    )


def _refused(wrong: _Wrong) -> str:
    """Who refused what, what that means, and why."""
    names = sorted({one.name for one in wrong.refusals if one.name})
    proxies = sorted({one.proxy for one in wrong.refusals})
    bare = {one.proxy for one in wrong.refusals if one.bare}
    kind = wrong.spec.url.rpartition(".")[2]
    what = f"{kind} {_few([repr(name) for name in names[:_NAMED]], len(names))}"
    if not names:
        what = f"all that is new of type {kind}"
    who = f"{len(proxies)} proxies, {proxies[0]} among them," if len(proxies) > 1 else f"proxy {proxies[0]}"
    have = "what it had of it stays in force there"
    if bare:
        have = (
            "what was there before stays in force"
            if len(bare) < len(proxies)
            else "nothing of it is in force there"
        )
    error = " ".join(wrong.error.split())
    error = error if len(error) <= _WORDS else f"{error[:_WORDS]}..."
    return f"{who} refused {what}: {have}, and all other changes in it wait, too; Envoy says: {error!r}"


def _few(shown: list[str], count: int) -> str:
    """Some of so many."""
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _texts(value: Any) -> Iterator[str]:
    """All strings in a model value, but for secrets, which its repr leaves out as well."""
    if isinstance(value, str):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            if field.repr and field.name != "meta":
                yield from _texts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, tuple | list | set | frozenset):
        for item in value:
            yield from _texts(item)
