"""Who is let in: the doors that are asked for, and the judges of what callers present there."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from controlplane.app.handshakes import Counts, Handshakes
from controlplane.app.trust import Trust
from controlplane.app.visitors import Visitors
from controlplane.base.clock import Clock
from controlplane.ca.identity import Identities, Rules
from controlplane.ca.token_review import ApiServer, TokenReviews
from controlplane.ca.token_store import TokenStore
from controlplane.graph import Graph
from controlplane.mesh.settings import MESH
from controlplane.model.certificate import Certified, TrustBundle
from controlplane.model.kinds import mesh_configs
from controlplane.model.kinds.mesh_config import MeshConfig
from controlplane.settings import Settings
from controlplane.telemetry.metrics import Metrics
from controlplane.xds import status
from controlplane.xds.doors import Access
from controlplane.xds.server import XdsServer

_log = logging.getLogger(__name__)

_DEFAULTS = MeshConfig()


@dataclass(slots=True)
class Entrance:
    """The parts; `api` is there when an API server judges tokens, and is to be closed."""

    access: Access
    identities: Identities
    handshakes: Handshakes
    api: ApiServer | None

    async def open(self) -> None:
        """Make ready to judge; EnvironmentUnfit when the API server's settings cannot be used."""
        self.handshakes.open()
        if self.api is not None:
            await self.api.open()

    async def close(self) -> None:
        """End what was opened to judge."""
        if self.api is not None:
            await self.api.close()


def build_entrance(
    settings: Settings, trust: Trust, graph: Graph, clock: Clock, metrics: Metrics
) -> Entrance:
    """Make the doors' part; EnvironmentUnfit when the tokens' folder cannot be used."""
    api = ApiServer(settings.token_review) if settings.token_review else None
    rules = Rules(
        store=None if settings.data_dir is None else TokenStore(settings.data_dir),
        others=None if api is None else TokenReviews(api.review, clock, settings.token_audience),
        audience=settings.token_audience,
        loopback=settings.trust_loopback_identities,
    )
    if rules.loopback:
        _log.warning(
            "IDENTITIES ARE NOT CHECKED on loopback and Unix sockets: whoever reaches them is given the "
            "certificate of any service account that it names (--trust-loopback-identities: for development)"
        )

    def trust_domains() -> tuple[str, ...]:
        config = mesh_config(graph)
        return (config.trust_domain, *config.trust_domain_aliases)

    def serving() -> tuple[Certified, TrustBundle]:
        return trust.serving.current, trust.authority.bundle

    identities = Identities(rules, trust_domains, clock)

    def fruitless(door: str, count: int) -> None:
        metrics.fruitless_handshakes.inc(door, by=count)

    knocks = Handshakes(identities, Counts(metrics.handshakes.inc, fruitless))
    doors = (settings.secure_grpc_addr, settings.mtls_grpc_addr)
    access = Access(knocks, *doors, serving, begun=knocks.begun)
    return Entrance(access, identities, knocks, api)


def visitors(entrance: Entrance, graph: Graph, xds: XdsServer, metrics: Metrics) -> Visitors:
    """Who may see the debug paths from elsewhere."""

    def namespace_of(id: str) -> str | None:
        found = status.find(xds.streams, id)
        return None if found is None else found.connection.proxy.namespace

    return Visitors(
        entrance.identities,
        lambda: mesh_config(graph).root_namespace,
        namespace_of,
        metrics.refused_streams.inc,
    )


def mesh_config(graph: Graph) -> MeshConfig:
    """The MeshConfig of now."""
    found: MeshConfig | None = graph.rows(mesh_configs).values.get(MESH)
    return _DEFAULTS if found is None else found
