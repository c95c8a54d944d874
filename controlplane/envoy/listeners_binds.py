"""The addresses of outbound listeners, and what services want of them.

    redirected   own address, or the wildcard of the port     nothing binds: virtualOutbound hands on
    chosen       what a Sidecar's egress listener says        captureMode decides whether it binds
    dialled      the loopback address of the port             it binds: nothing is redirected to the proxy

At chosen and dialled addresses services meet as on the wildcard: HTTP by Host, connections oldest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from controlplane.envoy import names
from controlplane.mesh.listening import LOOPBACK, OWN_PORTS, USUAL, WILDCARD, Stance
from controlplane.mesh.protocols import AUTO, HTTP_LIKE
from controlplane.mesh.routing_l4 import L4
from controlplane.mesh.routing_match import ANYONE, Client
from controlplane.mesh.tunnels import Tunnels
from controlplane.model.keys import Key

_LOWEST_UNPRIVILEGED = 1024


class Bind(NamedTuple):
    """The address and port of a listener; port 0 with a "unix://" address.

    `chosen`: a Sidecar or the proxy's mode puts it there, so that services share it.  `bound`: clients dial
    it themselves.  `proxy`: they name host and port in their requests, as one asks a proxy.
    """

    address: str
    port: int
    chosen: bool = False
    bound: bool = False
    proxy: bool = False

    @property
    def name(self) -> str:
        """As Istio calls it: "10.0.0.1_9080"."""
        return f"{self.address}_{self.port}"

    @property
    def shared(self) -> bool:
        """Whether services meet there, and are told apart by Host."""
        return self.chosen or self.address == WILDCARD

    @property
    def routes(self) -> str:
        """The route configuration of a shared one: by port, or by socket."""
        return str(self.port) if self.port else self.address

    @property
    def free(self) -> bool:
        """Whether Envoy has no listener of its own there: a second one would be refused."""
        return self.port not in OWN_PORTS and not (self.bound and self.port == names.ADMIN_PORT)

    def dialled(self) -> Bind:
        """Where clients find the same when nothing is redirected: they dial the proxy beside them."""
        if self.bound:
            return self
        address = self.address if self.chosen and self.address != WILDCARD else LOOPBACK
        return Bind(address, self.port, chosen=True, bound=True, proxy=self.proxy)

    def at(self, stance: Stance) -> Bind:
        """The same at a proxy: "any address" and "loopback" are of its own families."""
        if self.address == LOOPBACK:
            return self._replace(address=stance.loopback)
        return self._replace(address=stance.wildcards[0]) if self.address == WILDCARD else self

    def allowed(self, stance: Stance) -> bool:
        """Whether the proxy may bind it, if it has to."""
        return stance.privileged or not self.bound or not 0 < self.port < _LOWEST_UNPRIVILEGED


class Claim(NamedTuple):
    """What a service wants of a listener; sorts by age.

    `protocol` is HTTP or GRPC-Web (then nothing else is said), AUTO, TLS, MONGO, REDIS or TCP.  `rules` is
    the VirtualService in force for connections, () for none, and `layer` whether its tls or its tcp rules
    are; `policy` are the DestinationRules in force; `subnets` restrict a claim on the wildcard address;
    `port` is the service's, 0 where it is the listener's; `tunnels` lead to those hosts of the rules that are
    reached so; `dynamic`: it stands for many hosts, which the proxy resolves.
    """

    created: str
    host: str
    namespace: str
    protocol: str
    rules: Key | tuple[()] = ()
    layer: L4 = "tcp"
    client: Client = ANYONE
    policy: tuple[Key, ...] = ()
    subnets: tuple[str, ...] = ()
    port: int = 0
    tunnels: Tunnels = ()
    dynamic: bool = False

    @property
    def http(self) -> bool:
        """Whether HTTP may come."""
        return self.protocol in HTTP_LIKE or self.protocol == AUTO

    def number(self, bind: Bind) -> int:
        """The service's port, by which its clusters are named."""
        return self.port or bind.port


HTTP = Claim("", "", "", "HTTP")
GRPC_WEB = Claim("", "", "", "GRPC-Web")


def http_claim(protocol: str, *, dynamic: bool) -> Claim:
    """What an HTTP service wants of a place that it shares: the same as all others that speak so."""
    claim = GRPC_WEB if protocol == "GRPC-Web" else HTTP
    return claim._replace(dynamic=True) if dynamic else claim


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of one service: on places that it shares with others, and on addresses of its own."""

    shared: tuple[tuple[Bind, Claim], ...] = ()
    own: tuple[tuple[Bind, Claim], ...] = ()

    def dialled(self) -> tuple[tuple[Bind, Claim], ...]:
        """The same for clients that dial their proxy, which does not know where else they wanted to go."""
        found = {(bind.dialled(), claim._replace(subnets=())) for bind, claim in (*self.shared, *self.own)}
        return tuple(sorted((bind, claim) for bind, claim in found if bind.free))


class Style(NamedTuple):
    """How a listener is made; `on_demand`: virtual hosts come when they are asked for."""

    stance: Stance = USUAL
    on_demand: bool = False
