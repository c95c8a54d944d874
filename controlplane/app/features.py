"""From settings to the graph: Istio's feature switches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields

from controlplane.graph import Graph
from controlplane.mesh.features import FEATURES, Features, feature_rows


def settle_features(graph: Graph, settings: Mapping[str, object]) -> None:
    """Let the graph know the switches, settings of the same names; before anything is asked of it.

    A switch that is missing, as in a recording made before there was one, has its default.
    """
    given = {one.name: settings[one.name] for one in fields(Features) if one.name in settings}
    found = Features(**{**asdict(Features()), **given})
    if found != Features():
        graph.commit([(feature_rows, FEATURES, found)])
