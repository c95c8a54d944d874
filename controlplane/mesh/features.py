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
    address are given one.
    """

    tls_on_sidecar_ingress: bool = False
    ip_autoallocate: bool = True


FEATURES = Key("", "features")
feature_rows = Table("features")
"""One row, FEATURES: the Features in force; absent = the defaults."""

_DEFAULTS = Features()


@query
def features(q: Q) -> Features:
    """The switches in force."""
    found: Features | None = q.get(feature_rows, FEATURES)
    return _DEFAULTS if found is None else found
