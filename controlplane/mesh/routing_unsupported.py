"""What a VirtualService says that has no effect: so that its author is told instead of left to wonder."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.mesh.routing_effects import grpc_status
from controlplane.model.kinds.http_route import HTTPRoute
from controlplane.model.kinds.virtual_service import VirtualService


def unsupported(found: VirtualService) -> tuple[str, ...]:
    """The paths, below spec, of the fields that are set and are not translated."""
    paths: list[str] = []
    for number, rule in enumerate(found.http):
        paths += (f"http[{number}].{path}" for path in _of_rule(rule))
    for number, tcp in enumerate(found.tcp):
        paths += (
            f"tcp[{number}].match[{m}].sourceSubnet"
            for m, match in enumerate(tcp.match)
            if match.source_subnet
        )
    return tuple(paths)


def _of_rule(rule: HTTPRoute) -> Iterator[str]:
    if rule.delegate is not None:
        yield "delegate"
    if rule.fault is not None:
        if rule.fault.delay is not None and rule.fault.delay.exponential_delay is not None:
            yield "fault.delay.exponentialDelay"
        abort = rule.fault.abort
        if abort is not None and abort.http2_error is not None:
            yield "fault.abort.http2Error"
        if abort is not None and abort.grpc_status and grpc_status(abort.grpc_status) is None:
            yield "fault.abort.grpcStatus"
