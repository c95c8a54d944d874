"""External authorizers: from a provider's name in the MeshConfig to where it answers."""

from __future__ import annotations

from controlplane.graph import Q, query
from controlplane.mesh.authorization_ir import ExtAuthz
from controlplane.mesh.service import service, services_of_host
from controlplane.mesh.settings import mesh_config
from controlplane.model.kinds.extension_provider import ExtAuthzProvider


@query
def authorizers(q: Q) -> tuple[tuple[str, ExtAuthzProvider], ...]:
    """The providers that authorize, by name, sorted."""
    found = ((one.name, one.authorizer) for one in q(mesh_config).extension_providers)
    return tuple(sorted((name, one) for name, one in found if one is not None))


@query
def authorizer_names(q: Q) -> tuple[str, ...]:
    """The names of the providers that authorize, sorted."""
    return tuple(name for name, _ in q(authorizers))


def authorizer(q: Q, name: str) -> ExtAuthz | None:
    """The provider of this name; None where there is none, or no such service and port."""
    return q(_authorizer, name)


@query
def _authorizer(q: Q, name: str) -> ExtAuthz | None:
    known = q(authorizers)
    said = dict(known).get(name)
    if said is None or not _reachable(q, said):
        return None
    body = said.body
    return ExtAuthz(
        name=name,
        cluster=f"outbound|{said.port}||{said.service}",
        authority=said.service,
        grpc=said.grpc,
        timeout=said.timeout,
        fail_open=said.fail_open,
        clear_route_cache=said.clear_route_cache,
        status_on_error=said.status_on_error,
        path_prefix=said.path_prefix,
        headers_in_check=said.headers_in_check,
        additional_headers=said.additional_headers,
        headers_upstream=said.headers_upstream,
        headers_on_deny=said.headers_on_deny,
        headers_on_allow=said.headers_on_allow,
        max_request_bytes=0 if body is None else body.max_request_bytes,
        allow_partial=body is not None and body.allow_partial,
        pack_as_bytes=body is not None and body.pack_as_bytes,
    )


def _reachable(q: Q, said: ExtAuthzProvider) -> bool:
    ids = (id for id in q(services_of_host, said.service) if said.namespace in ("", id.namespace))
    found = (q(service, id) for id in ids)
    return any(port.number == said.port for one in found if one is not None for port in one.ports)
