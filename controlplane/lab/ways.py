"""Which way the demo goes on this machine, decided from what was found out so far.

Pods made of network namespaces come first: as root, or as anybody in a user namespace.  Where a kernel, or a
container around us, keeps those to itself, containers of the project's docker-compose.yml take their place.
`next_step` decides alone and asks nobody: it names what to find out next, or what to do.  Asking is in
controlplane.lab.facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from controlplane.base.errors import MiniIstiodError


class Way(Enum):
    """Where the demo can run; the value is how people are told."""

    ROOT = "network namespaces, as root"
    SUBUIDS = "network namespaces, in a user namespace with users of your own (/etc/subuid)"
    ONE_USER = (
        "network namespaces, in a user namespace with you alone: Envoy is known by a mark, not by a user"
    )
    COMPOSE = "containers of docker-compose.yml"


class Wish(Enum):
    """What was asked for on the command line."""

    WHICHEVER = "whichever"
    NAMESPACES = "namespaces"
    COMPOSE = "compose"


class NoWay(MiniIstiodError):
    """The demo cannot run here; the message says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A trial that failed: at `stage` ("users", "map", "mount" or "pods"), and what was said."""

    stage: str
    text: str


@dataclass(frozen=True, slots=True)
class Switches:
    """What may forbid user namespaces, as /proc tells it; None where this kernel has no such switch."""

    most: int | None = None
    """user.max_user_namespaces"""
    clone: int | None = None
    """kernel.unprivileged_userns_clone"""
    apparmor: int | None = None
    """kernel.apparmor_restrict_unprivileged_userns"""
    filtered: bool = False
    """A seccomp filter is over this process, as over most containers."""


@dataclass(frozen=True, slots=True)
class Compose:
    """A compose command whose daemon answers; `command` is empty where there is none, then `why` says so."""

    command: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known.

    `missing` are programs that pods need, a sentence each; `no_subuids` is why there are no subordinate
    users, "" where there are; `tried` holds a way and None when pods could be made so.  `compose` is None
    until somebody has looked.
    """

    system: str
    root: bool
    missing: tuple[str, ...] = ()
    no_subuids: str = ""
    switches: Switches = Switches()
    tried: tuple[tuple[Way, Refusal | None], ...] = ()
    compose: Compose | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """Find out whether pods can be made this way."""

    way: Way


@dataclass(frozen=True, slots=True)
class LookForCompose:
    """Find out whether there are containers."""


@dataclass(frozen=True, slots=True)
class Go:
    """Run the demo this way; `instead` tells what could not be had, a line each.

    `compose` is the command for containers.
    """

    way: Way
    instead: tuple[str, ...] = ()
    compose: tuple[str, ...] = ()


def next_step(facts: Facts, wish: Wish) -> Try | LookForCompose | Go:
    """What to find out, or to do.  NoWay when everything is known and nothing is possible."""
    if wish is not Wish.COMPOSE:
        tried = dict(facts.tried)
        for way in _ways(facts):
            if way not in tried:
                return Try(way)
            if tried[way] is None:
                return Go(way)
        if wish is Wish.NAMESPACES:
            raise NoWay("no network namespaces here: " + "; ".join(obstacles(facts)))
    if facts.compose is None:
        return LookForCompose()
    instead = obstacles(facts) if wish is Wish.WHICHEVER else ()
    if facts.compose.command:
        return Go(Way.COMPOSE, instead, facts.compose.command)
    reasons = (*(f"no network namespaces: {line}" for line in instead), f"no containers: {facts.compose.why}")
    raise NoWay("the demo has nowhere to run\n" + "\n".join(f"  {line}" for line in reasons))


def _ways(facts: Facts) -> tuple[Way, ...]:
    """The ways to pods that are worth a trial, the best first."""
    if facts.system != "Linux" or facts.missing:
        return ()
    found = [Way.ROOT] if facts.root else []
    found += [] if facts.no_subuids else [Way.SUBUIDS]
    return (*found, Way.ONE_USER)


def obstacles(facts: Facts) -> tuple[str, ...]:
    """Why there are no pods here and what would help, a sentence each."""
    if facts.system != "Linux":
        return (f"only Linux has them, and this is {facts.system}",)
    if facts.missing:
        return facts.missing
    refusals = [refusal for _, refusal in facts.tried if refusal is not None]
    return tuple(dict.fromkeys(_sentence(refusal, facts) for refusal in refusals))


def _sentence(refusal: Refusal, facts: Facts) -> str:
    if refusal.stage == "pods":
        return refusal.text
    switches = facts.switches
    said = f"this kernel lets nobody but root have a user namespace ({refusal.stage}: {refusal.text})"
    if switches.most == 0:
        return (
            f"{said}: user.max_user_namespaces is 0; to allow it: sudo sysctl user.max_user_namespaces=10000"
        )
    if switches.clone == 0:
        return (
            f"{said}: kernel.unprivileged_userns_clone is 0;"
            " to allow it: sudo sysctl kernel.unprivileged_userns_clone=1"
        )
    if switches.apparmor == 1:
        return (
            f"{said}: kernel.apparmor_restrict_unprivileged_userns is 1;"
            " to allow it: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if refusal.stage == "map":
        return f"no users can be had ({refusal.text}): look at /etc/subuid and /etc/subgid"
    # Runtimes of containers also cover parts of /proc; then the kernel lets nobody mount another.
    if switches.filtered or refusal.stage == "mount":
        return (
            f"the container around this process allows no user namespace ({refusal.stage}: {refusal.text});"
            " start it with --privileged, or run outside of it"
        )
    return f"{said}; as root it may work: sudo make run"
