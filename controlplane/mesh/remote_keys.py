"""Key sets that a proxy fetches by itself: whose are, and by which way.

The control plane's fetching is the default: one for all.  With `hybrid` proxies fetch from hosts that are
services of the mesh, with `envoy` from all.  An issuer without `jwksUri` has to be asked first where its
keys are, which no proxy does; so that is never theirs.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from controlplane.graph import Q, Table, query
from controlplane.mesh.imports import nearest_service
from controlplane.mesh.service import service_ports
from controlplane.model.duration import SECOND
from controlplane.model.hosts import canonical
from controlplane.model.keys import Key
from controlplane.model.kinds.request_authentication import JwtRule

MODES = ("istiod", "hybrid", "envoy")
MODE = Key("", "mode")
key_fetching = Table("key_fetching")
"""One row, MODE: who fetches key sets, a word of MODES; absent = the control plane ("istiod")."""

DEFAULT_TIMEOUT = 5 * SECOND


class RemoteKeys(NamedTuple):
    """A key set that the proxy fetches; `timeout` in nanoseconds.

    It is asked of `host` (a name or an address) and `port`: through the cluster of the service that they
    are if `service`, else through one of its own, with TLS if `tls`.
    """

    uri: str
    timeout: int
    host: str
    port: int
    tls: bool
    service: bool


@query
def fetched_by(q: Q) -> str:
    """Who fetches key sets: a word of MODES."""
    found: str | None = q.get(key_fetching, MODE)
    return found or MODES[0]


def remote_keys(q: Q, rule: JwtRule, namespace: str) -> RemoteKeys | None:
    """How a proxy of `namespace` fetches the keys of a rule; None where the control plane does."""
    mode = q(fetched_by)
    if mode == MODES[0] or rule.jwks or not rule.jwks_uri:
        return None
    parts = urlsplit(rule.jwks_uri)
    tls = parts.scheme == "https"
    host, port = canonical(parts.hostname or ""), parts.port or (443 if tls else 80)
    id = q(nearest_service, namespace, host)
    known = id is not None and any(one.number == port for one in q(service_ports, id))
    if not known and mode != "envoy":
        return None
    # A service's cluster leaves TLS to its callers, and this caller speaks none by itself.
    timeout = DEFAULT_TIMEOUT if rule.timeout is None else rule.timeout
    return RemoteKeys(rule.jwks_uri, timeout, host, port, tls, service=known and not tls)
