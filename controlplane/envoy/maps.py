"""What holds resources by name: a feed is a tuple of maps, between which no name occurs twice."""

from __future__ import annotations

from typing import Any, TypeAlias

from controlplane.envoy.resource import Resource
from controlplane.graph import Keyed

Map: TypeAlias = tuple[Keyed[...], tuple[Any, ...]]
"""Name -> Resource: the map, and what it is made for."""
Maps: TypeAlias = tuple[Map, ...]
Pairs: TypeAlias = tuple[tuple[str, Resource], ...]
"""What a query adds to such a map: names and resources."""
