"""What is known of the containers, from lists, events and answers, in whatever order they come.  No I/O.

The list says which containers there are.  Whoever is new there, or looks otherwise than known, is wanted:
the source asks about it and hands the answer in.  Events make a container wanted, too; bad news is believed
before the answer.  Nothing but a list, an answer or a `destroy` takes a container away: silence never does.

All times are Unix seconds of Docker's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from controlplane.model.problem import Problem
from controlplane.sources.docker.container import KIND, Container, read
from controlplane.sources.docker.event import ATTACHING, Event
from controlplane.sources.docker.names import PROJECT
from controlplane.sources.docker.own import own_container
from controlplane.sources.docker.stopping import DEFAULT, StopRule, started, stop_rule
from controlplane.sources.docker.summary import counts, summarize

SAME_TIME = 2.0
"""Seconds before an answer was asked for in which an event may still be news: clocks are not that exact."""

MOST_REMEMBERED = 1024
"""Events that are known when they come again: four times what Docker remembers."""

_HOST = "host"


class Picture(NamedTuple):
    """The containers that count, by name; the networks that they are reached on, None for any.

    `cause` is when the first of the events happened that made this picture another, None without events.
    """

    containers: tuple[Container, ...]
    networks: frozenset[str] | None
    problems: tuple[Problem, ...]
    cause: float | None


@dataclass(slots=True)
class _Known:
    """One container that counts: its last good answer, what was wrong with the last, and what events add."""

    name: str
    container: Container | None = None
    unreadable: Problem | None = None
    silent: str = ""
    rule: StopRule = DEFAULT
    started: float = float("-inf")
    asked: float = float("-inf")
    killed: float = float("-inf")

    def warm_at(self, warm_up: float) -> float:
        """When it counts as started; long ago where a health check tells."""
        one = self.container
        told = not warm_up or one is None or not one.running or one.health
        return float("-inf") if told else self.started + warm_up

    def stops_until(self) -> float:
        """Until when the container counts as stopping, unless it ends."""
        return self.killed + self.rule.patience if self.killed > self.started else float("-inf")


class Follower:
    """`project` "" is that of this program's own container, else any: which, is known with the first list.

    `candidates` are ids that may be its, which is `own` then.  `wanted` are ids to ask about, with
    the time of the event that made them so; the source takes them out.  A container without a health check
    counts as one that is starting for `warm_up` seconds.
    """

    def __init__(self, project: str, candidates: Sequence[str], warm_up: float = 0.0) -> None:
        self._warm_up = warm_up
        self.wanted: dict[str, float | None] = {}
        self.own = ""
        self.project = project
        self._candidates = tuple(candidates)
        self._known: dict[str, _Known] = {}
        self._strangers: set[str] = set()
        # Kills of containers that nothing is known of yet.
        self._early: dict[str, list[Event]] = {}
        self._recent: dict[Event, None] = {}
        self._moved = False
        self._taken = float("inf")
        self._cause: float | None = None

    # -- taking in ------------------------------------------------------------------------------

    def believes(self, items: Iterable[Mapping[str, Any]]) -> bool:
        """Whether a list can be of all containers: once this program's own was found, it has to be there.

        Another daemon at the same address is no reason to forget the containers of the one before.
        """
        return not self.own or any(one.get("Id") == self.own for one in items)

    def listed(self, items: Iterable[Mapping[str, Any]]) -> int:
        """Take the list of all containers; returns how many of those that count are not as known."""
        found = {one.id: one for one in map(summarize, items) if one is not None}
        self._find_own(found.keys(), {id: one.labels for id, one in found.items()})
        for id in sorted(self._known.keys() - found.keys()):
            self._forget(id)
        self._strangers.intersection_update(found)
        for noted in (self._early, self.wanted):
            for id in noted.keys() - found.keys():
                del noted[id]
        news = 0
        for id in sorted(found):
            if id != self.own and not counts(found[id].labels, self.project):
                self._strangers.add(id)
                continue
            known = self._known.setdefault(id, _Known(found[id].name))
            if known.container is None or not found[id].shows(known.container):
                news += id not in self.wanted
                self._want(id, None)
        return news

    def heard(self, event: Event) -> None:
        """Take an event, new or old, of any container; one that was heard before says nothing."""
        if event in self._recent:
            return
        self._remember(event)
        id = event.container
        if event.action == "destroy":
            self._forget(id, event.at)
            self._strangers.discard(id)
            self._early.pop(id, None)
            self.wanted.pop(id, None)
        elif id not in self._strangers:
            self._hear(id, event)

    def _remember(self, event: Event) -> None:
        self._recent[event] = None
        while len(self._recent) > MOST_REMEMBERED:
            del self._recent[next(iter(self._recent))]

    def _hear(self, id: str, event: Event) -> None:
        known = self._known.get(id)
        if known is None or known.container is None:
            if event.action == "kill":
                self._early.setdefault(id, []).append(event)
            self._want(id, event.at)
            return
        if event.action in ATTACHING and not known.container.running:
            return  # It is being started; Docker answers when it is, and tells then.
        if event.action == "kill" and self._kill(known, event):
            self._change(event.at)
        if event.at <= known.asked - SAME_TIME:
            return  # What was answered since knows of it.
        if event.at > max(known.asked, known.started):
            left = _after(known.container, event)
            if left != known.container:
                known.container = left
                self._change(event.at)
        self._want(id, event.at)

    def answered(
        self, id: str, inspected: Mapping[str, Any] | None, asked: float, cause: float | None = None
    ) -> None:
        """Take what Docker says of a container, None when there is none; `asked` is when it was asked."""
        if inspected is None:
            self._forget(id)
            return
        container = read(inspected)
        if isinstance(container, Container) and id != self.own and not self._counts(container):
            self._strangers.add(id)
            self._forget(id)
            return
        known = self._known.setdefault(id, _Known(id[:12]))
        before = (known.container, known.unreadable, known.silent, known.stops_until())
        known.asked, known.silent = asked, ""
        if isinstance(container, Problem):
            known.unreadable = container
        else:
            known.container, known.unreadable = container, None
            known.rule, known.started = stop_rule(inspected), started(inspected)
            for event in self._early.pop(id, ()):
                self._kill(known, event)
        if before != (known.container, known.unreadable, known.silent, known.stops_until()):
            self._change(cause)

    def failed(self, id: str, reason: str) -> None:
        """Docker gave no usable answer about a container: what is known of it stays.

        Whether one counts that is known by events alone, only its answer will tell.
        """
        known = self._known.get(id)
        if known is not None and known.silent != reason:
            known.silent = reason
            self._change(None)

    # -- giving out -----------------------------------------------------------------------------

    def take(self, now: float) -> Picture | None:
        """The picture, None when it is the one that was taken before; marks end as time goes by."""
        if not self._moved:
            return None
        cause, self._cause, self._moved = self._cause, None, False
        # Not when somebody asks: a mark may end while the picture is delivered.
        self._taken = now
        networks = self._networks()
        chosen = []
        for known in self._known.values():
            one = known.container
            if one is not None and self._reached(one, networks):
                stops = one.running and now < known.stops_until()
                health = "starting" if now < known.warm_at(self._warm_up) else one.health
                same = (stops, health) == (one.stopping, one.health)
                chosen.append(one if same else replace(one, stopping=stops, health=health))
        chosen.sort(key=lambda one: (one.name, one.id))
        problems = [_problem(self._known[id]) for id in sorted(self._known)]
        return Picture(tuple(chosen), networks, tuple(one for one in problems if one is not None), cause)

    def due(self) -> float | None:
        """When the picture becomes another one by itself: one told to stop goes on, or one is warm."""
        times = {known.stops_until() for known in self._known.values()}
        times.update(known.warm_at(self._warm_up) for known in self._known.values())
        return min((one for one in times if one > self._taken), default=None)

    def expire(self) -> None:
        """Look again although nothing came: `due` has come."""
        self._change(None)

    # -- inside ---------------------------------------------------------------------------------

    def _find_own(self, ids: Iterable[str], labels: Mapping[str, Mapping[str, str]]) -> None:
        if self.own:
            return
        self.own = own_container(self._candidates, ids)
        if self.own and not self.project:
            self.project = labels[self.own].get(PROJECT, "")

    def _counts(self, container: Container) -> bool:
        return counts(dict(container.labels), self.project)

    def _reached(self, container: Container, networks: frozenset[str] | None) -> bool:
        """Whether a container that counts by its label alone can be reached; others are told if not."""
        if container.id == self.own and not self._counts(container):
            return False
        labels = dict(container.labels)
        if not self.project or labels.get(PROJECT) == self.project or networks is None or container.joins:
            return True
        return any(one.network in networks for one in container.networks)

    def _networks(self) -> frozenset[str] | None:
        """The networks of this program's own container, or of the one whose network it shares."""
        known = self._known.get(self.own)
        own = None if known is None else known.container
        if own is not None and own.joins:
            known = self._known.get(own.joins)
            own = None if known is None else known.container
        if own is None or own.network_mode == _HOST or not own.networks:
            return None
        return frozenset(one.network for one in own.networks)

    def _kill(self, known: _Known, event: Event) -> bool:
        """Note a kill; whether it tells something new."""
        if event.at <= known.killed or not known.rule.ends(event.detail):
            return False
        known.killed = event.at
        return True

    def _want(self, id: str, cause: float | None) -> None:
        before = self.wanted.get(id)
        self.wanted[id] = cause if before is None else min(before, cause or before)

    def _forget(self, id: str, cause: float | None = None) -> None:
        if self._known.pop(id, None) is not None:
            self._change(cause)

    def _change(self, cause: float | None) -> None:
        self._moved = True
        if cause is not None:
            self._cause = cause if self._cause is None else min(cause, self._cause)


def _problem(known: _Known) -> Problem | None:
    if known.unreadable is not None:
        return known.unreadable
    if not known.silent:
        return None
    name = known.name if known.container is None else known.container.name
    message = f"Docker {known.silent} when asked about this container; what was known of it stays in use"
    remedy = f"try docker inspect {name}"
    return Problem("error", KIND, "", name, f"docker:{name}", None, "", message, remedy)


def _after(container: Container, event: Event) -> Container:
    """The container as it is after an event that is bad news; as it was after any other."""
    if event.action == "die":
        return replace(container, state="exited")
    if event.action == "pause":
        return replace(container, state="paused")
    if event.action == "health_status" and event.detail:
        return replace(container, health=event.detail)
    return container
