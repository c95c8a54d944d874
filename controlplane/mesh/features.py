"""Istio's feature switches, as far as what they switch exists here.

They are settings of the process, and what they decide is computed in the graph: so they are a row of it,
written before anything is asked.  A new switch is a field here, a row in `settings.feature_rows` and a field
of Settings, of one name.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Q, Table, query
from controlplane.model.keys import Key


@dataclass(frozen=True, slots=True)
class Features:
    """Istio's defaults.

    `tls_on_sidecar_ingress`: the `tls` of Sidecar.ingress counts.  `ip_autoallocate`: services that have no
    address are given one.  `scope_gateway_to_namespace`: a Gateway counts for proxies of its own namespace
    only.  `filter_gateway_cluster_config`: gateways are given the clusters that their routes lead to.
    `http10`: proxies understand HTTP/1.0.  `dual_stack`: proxies with addresses of both families listen
    with both.  `mongo_filter` and `redis_filter`: connections of these protocols are read, not just passed
    on.  `absolute_names`: virtual hosts answer to their name with a final dot, too.  `inbound_retries`:
    what a workload cannot have seen is sent to it again.
    """

    tls_on_sidecar_ingress: bool = False
    ip_autoallocate: bool = True
    scope_gateway_to_namespace: bool = False
    filter_gateway_cluster_config: bool = False
    http10: bool = False
    dual_stack: bool = False
    mongo_filter: bool = True
    redis_filter: bool = False
    absolute_names: bool = True
    inbound_retries: bool = True


FEATURES = Key("", "features")
feature_rows = Table("features")
"""One row, FEATURES: the Features in force; absent = the defaults."""

_DEFAULTS = Features()


@query
def features(q: Q) -> Features:
    """The switches in force."""
    found: Features | None = q.get(feature_rows, FEATURES)
    return _DEFAULTS if found is None else found


@query
def absolute_names(q: Q) -> bool:
    """Whether virtual hosts answer to names with a final dot: cut out for them, because they are many."""
    return q(features).absolute_names


@query
def inbound_retries(q: Q) -> bool:
    """Whether sidecars retry what their own workload cannot have seen."""
    return q(features).inbound_retries
