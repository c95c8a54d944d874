"""What authorization comes to: trees of tests on a request, by action.

The trees say nothing of Envoy; they are values, equal for equal meaning, so that workloads under the same
policies share bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Subject: TypeAlias = Literal[
    "claim",
    "destination.ip",
    "destination.port",
    "header",
    "host",
    "listed",
    "metadata",
    "path",
    "peer",
    "remote.ip",
    "sni",
    "source.ip",
]
How: TypeAlias = Literal["exact", "prefix", "suffix", "present", "regex", "template", "block", "number"]


@dataclass(frozen=True, slots=True)
class Test:
    """One attribute of a request against one value.

    `subject` "peer" is the SPIFFE ID of the peer's certificate, "header" the header `path[0]`, "claim" the
    claim of the token at `path` (a string, or one of a list), "metadata" what the filter `path[0]` noted
    under the rest of `path`, "listed" an element of a list there.  `how`: "template" is a path template,
    "block" a range of addresses, "number" a port; "regex" matches the whole text.
    """

    subject: Subject
    how: How
    value: str = ""
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AllOf:
    """Each must hold; without any it always does."""

    of: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one must hold; never empty."""

    of: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It must not hold."""

    of: Match


Match: TypeAlias = Test | AllOf | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule of a policy: it matches where one of `permissions` and one of `principals` holds."""

    name: str
    permissions: tuple[Match, ...]
    principals: tuple[Match, ...]


class Stage(NamedTuple):
    """All rules of one action (for CUSTOM: of one provider).

    `enforced` and `dry` (only counted) are None where there is no such policy; an empty ALLOW lets nothing
    pass.
    """

    enforced: tuple[Grant, ...] | None = None
    dry: tuple[Grant, ...] | None = None


NOTHING = Stage()


class ExtAuthz(NamedTuple):
    """An external authorizer that some policy asks; `timeout` in nanoseconds.

    `grpc` or HTTP, at a cluster.  Header names may be "x-*" and "*-x".  `status_on_error` 0 = Envoy's
    own (403); `max_request_bytes` 0 = the body is not sent.
    """

    name: str
    cluster: str = ""
    authority: str = ""
    grpc: bool = True
    timeout: int = 0
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: int = 0
    path_prefix: str = ""
    headers_in_check: tuple[str, ...] = ()
    additional_headers: tuple[tuple[str, str], ...] = ()
    headers_upstream: tuple[str, ...] = ()
    headers_on_deny: tuple[str, ...] = ()
    headers_on_allow: tuple[str, ...] = ()
    max_request_bytes: int = 0
    allow_partial: bool = False
    pack_as_bytes: bool = False


class Guards(NamedTuple):
    """What a workload's requests, or connections, must pass, in this order.

    `custom` holds the providers in use with the rules by which they are asked.
    """

    custom: tuple[tuple[ExtAuthz, Stage], ...] = ()
    audit: Stage = NOTHING
    deny: Stage = NOTHING
    allow: Stage = NOTHING


class TcpGuard(NamedTuple):
    """What connections to ports that speak no HTTP are checked by."""

    guards: Guards = Guards()
