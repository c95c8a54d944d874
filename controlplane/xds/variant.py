"""The two variants of the protocol, and what is peculiar to each type of resource.

This is the only hand-written table of how Envoy's types differ in delivery.
"""

from __future__ import annotations

from enum import Enum

from controlplane.envoy.types import (
    CLUSTER,
    ENDPOINT,
    EXTENSION,
    LISTENER,
    ROUTE,
    SECRET,
    VIRTUAL_HOST,
    TypeSpec,
)


class Variant(Enum):
    """State of the world, or incremental."""

    SOTW = "sotw"
    DELTA = "delta"

    # A member equals nothing but itself.  Enum's own hash is that of its name, computed in Python, and plans
    # are looked up by tuples that have a variant in them.
    __hash__ = object.__hash__


class Removal(Enum):
    """When a client is told that a resource it has is gone."""

    AT_ONCE = "at once"
    AFTER_ROUTES = "when listeners and routes of that revision are acknowledged"
    LATE = "when the client has not unsubscribed by itself for a while"
    NEVER = "never"


REMOVALS: dict[str, Removal] = {
    # A route to a cluster that is gone answers 503: break only what nobody uses any more.
    CLUSTER: Removal.AFTER_ROUTES,
    LISTENER: Removal.AT_ONCE,
    # Envoy unsubscribes from these when their cluster or listener goes, and needs no telling.
    ENDPOINT: Removal.LATE,
    ROUTE: Removal.LATE,
    # There is one for every name that can be asked for, as long as its route configuration is there.
    VIRTUAL_HOST: Removal.AT_ONCE,
    # Envoy unsubscribes when the last listener is drained; a filter without it would answer 500 until then.
    EXTENSION: Removal.NEVER,
    # Taking a certificate from under a listener can only do harm.
    SECRET: Removal.NEVER,
}

GATED = (LISTENER, ROUTE, VIRTUAL_HOST)
"""Types that point at clusters: they wait for new clusters, and removals of clusters wait for them."""


def complete(spec: TypeSpec, variant: Variant) -> bool:
    """Whether a response lists everything, so that what it leaves out is removed."""
    return variant is Variant.SOTW and spec.wildcard


def resumable(spec: TypeSpec) -> bool:
    """Whether a reconnecting client may keep what it says it has.

    Not endpoints, routes and secrets: Envoy waits for a new answer for those after a reconnect.
    """
    return spec.wildcard or spec.on_demand
