"""Projections: what configuration depends on, in place of the proxy that gets it.

A builder never gets a proxy.  Outbound configuration depends on a `Scope`, inbound configuration on
an `Inbound`, routes on a `RouteScope`; a thousand replicas of one Deployment share one of each.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.mesh.listening import USUAL, Stance
from controlplane.mesh.locality import ANYWHERE, Place
from controlplane.mesh.patches import UNPATCHED, Patches
from controlplane.mesh.service import ServiceId
from controlplane.model.identity import Holder
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.proxy_annotation import NOTHING_SAID, Surroundings
from controlplane.model.kinds.tls import ServerTLSSettings


class Scope(NamedTuple):
    """What outbound configuration depends on: the client's namespace and the Sidecar in force.

    `rules` are the DestinationRules of the namespace whose workloadSelector chose the client; empty in
    most meshes, so that all workloads of a namespace share one scope.
    """

    namespace: str
    sidecar: Key | None = None
    rules: tuple[Key, ...] = ()


class Lasting(NamedTuple):
    """How long connections that are not HTTP may be idle, and last; nanoseconds, None = Envoy's default."""

    idle: int | None = None
    longest: int | None = None


class Binding(NamedTuple):
    """A port on which a workload answers.

    `port` is the service's port, `target` the workload's, by which listeners and clusters are named.
    `endpoint` says where the application listens if not where the traffic was sent: "127.0.0.1:p",
    "unix:///path", or ":p" for another port of the same address (from Sidecar.ingress).  `bind` is the
    address of a listener of its own, "" where connections are redirected; `tls` what it speaks instead of the
    mesh's; `lasting` counts for connections that are not HTTP.
    """

    service: ServiceId
    port: int
    target: int
    protocol: str
    endpoint: str = ""
    bind: str = ""
    tls: ServerTLSSettings | None = None
    lasting: Lasting = Lasting()


class Security(NamedTuple):
    """Which security policies hold for a workload, each kind in the order in which its objects count.

    `identified`: its proxy has an identity, and so a certificate to serve with.  `peer` are
    PeerAuthentications, `requests` RequestAuthentications, `authorization` AuthorizationPolicies.
    """

    identified: bool = False
    peer: tuple[Key, ...] = ()
    requests: tuple[Key, ...] = ()
    authorization: tuple[Key, ...] = ()


_NOBODYS = Security()


class Inbound(NamedTuple):
    """What inbound configuration depends on: the workload's ports, sorted by target, one per target.

    `sidecar` is set where the Sidecar in force has settings for inbound connections.
    """

    namespace: str
    bindings: tuple[Binding, ...]
    sidecar: Key | None = None
    security: Security = Security()

    def under(self, policies: Security = _NOBODYS) -> Inbound:
        """The same under these policies only: what does not depend on others is not made anew for them."""
        return self._replace(security=policies)


class Capture(NamedTuple):
    """How an application's outbound traffic comes to its sidecar.

    `mode` is REDIRECT, TPROXY or NONE, where nothing is redirected and listeners are dialled themselves.
    `dns`: name queries come to the proxy, too.  `http_proxy` is the port on which it is an HTTP proxy, 0 =
    none.
    """

    mode: str = "REDIRECT"
    dns: bool = False
    http_proxy: int = 0


_REDIRECTED = Capture()


class RouteScope(NamedTuple):
    """A scope, and which of the mesh's `sourceLabels` selectors the client satisfies.

    `dns`, which counts for listeners alone: the client's proxy answers names, so that it dials addresses that
    services were given.
    """

    scope: Scope
    matched: tuple[Labels, ...] = ()
    dns: bool = False


class Edge(NamedTuple):
    """What the listeners of a proxy at the edge depend on: which selectors of Gateways its labels satisfy.

    `ports` are the (service port, own port) pairs of the Services in front of it; `privileged`: it may
    listen on ports below 1024; `within`: the only namespace whose Gateways count, "" for those of all.
    """

    selectors: tuple[Labels, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    privileged: bool = True
    within: str = ""


class GatewayScope(NamedTuple):
    """What the configuration of a proxy at the edge depends on, besides the clusters that it may reach.

    `surroundings`: what is said of this gateway alone, of those who call it.  `frugal`: it is given the
    clusters of what its routes lead to, and no others.  `wildcards` are any address, once per family of IP
    that it listens with.
    """

    edge: Edge
    routes: RouteScope
    security: Security = Security()
    surroundings: Surroundings = NOTHING_SAID
    frugal: bool = False
    wildcards: tuple[str, ...] = USUAL.wildcards

    @property
    def namespace(self) -> str:
        """The proxy's own, from which its credentials come."""
        return self.routes.scope.namespace


class ProxyView(NamedTuple):
    """Everything that one proxy's configuration depends on.

    A sidecar has `inbound`, a proxy at the edge `gateway`.  `mutual`: it has a certificate of its own, with
    which its clusters may speak mutual TLS.  `holder`: whose that is; of its configuration its secrets depend
    on it, and nothing else.  `capture` and `stance` are a sidecar's.
    `place`: where it stands, which decides the endpoints of the clusters that prefer near ones, and nothing
    else.
    """

    scope: Scope
    inbound: Inbound | None
    matched: tuple[Labels, ...] = ()
    mutual: bool = False
    holder: Holder | None = None
    gateway: GatewayScope | None = None
    capture: Capture = _REDIRECTED
    place: Place = ANYWHERE
    stance: Stance = USUAL
    patches: Patches = UNPATCHED

    @property
    def routes(self) -> RouteScope:
        """The projection that outbound routes depend on."""
        return RouteScope(self.scope, self.matched)

    @property
    def listening(self) -> RouteScope:
        """The projection that outbound listeners depend on."""
        return RouteScope(self.scope, self.matched, self.capture.dns)
