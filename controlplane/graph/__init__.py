"""The incremental engine: inputs, memoised queries and keyed maps whose dependencies are recorded.

    services = Table("services", indexes={"namespace": lambda key, value: (key.namespace,)})

    @query
    def cluster(q, key): return build(q.get(services, key))

    @keyed
    def clusters(q, namespace): return each(q.bucket(services, "namespace", namespace), cluster)

    graph = Graph()
    graph.commit([(services, key, value)])
    lease = graph.lease(clusters, "prod")
    graph.settle()
    lease.get(key)

A change marks what read it (push), settling validates what was marked (pull), and a result equal
to the old one stops the wave.  See docs/graph.md.
"""

from controlplane.graph.engine import Graph
from controlplane.graph.failure import Failure
from controlplane.graph.keyed import Keyed, Plan, Source, each, flat, group, keyed
from controlplane.graph.lease import Delta, Lease
from controlplane.graph.memo import Query, query
from controlplane.graph.q import Q
from controlplane.graph.selection import Labels, contains
from controlplane.graph.table import Table

__all__ = [
    "Delta",
    "Failure",
    "Graph",
    "Keyed",
    "Labels",
    "Lease",
    "Plan",
    "Q",
    "Query",
    "Source",
    "Table",
    "contains",
    "each",
    "flat",
    "group",
    "keyed",
    "query",
]
