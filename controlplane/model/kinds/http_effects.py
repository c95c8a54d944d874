"""What an HTTP rule of a VirtualService does besides choosing a destination."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.keys import Labels
from controlplane.model.kinds.http_match import StringMatch


@dataclass(frozen=True, slots=True)
class HeaderOperations:
    """Headers to overwrite, to append and to remove."""

    set: Labels = ()
    add: Labels = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Headers:
    """Header operations on the request and on the response."""

    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait before forwarding; `percentage` 0..100 of requests.  `exponential_delay` has no effect in Istio."""

    fixed_delay: int | None = None
    exponential_delay: int | None = None
    percentage: float = 100.0


@dataclass(frozen=True, slots=True)
class Abort:
    """Answer with an error; one of the three codes is set; `percentage` 0..100 of requests."""

    http_status: int | None = None
    grpc_status: str | None = None
    http2_error: str | None = None
    percentage: float = 100.0


@dataclass(frozen=True, slots=True)
class HTTPFaultInjection:
    """Faults made on purpose; both may be given."""

    delay: Delay | None = None
    abort: Abort | None = None


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """Cross-origin policy.  The old allowOrigin is read into `allow_origins` as exact matches.

    `max_age` is in nanoseconds; `allow_credentials` None = not said;
    `unmatched_preflights` is UNSPECIFIED, FORWARD or IGNORE.
    """

    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: int | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: str = "UNSPECIFIED"


@dataclass(frozen=True, slots=True)
class HTTPRetry:
    """Retries; durations in nanoseconds; `retry_on` as written (comma separated), None = the default.

    `retry_ignore_previous_hosts` None = the default (true).
    """

    attempts: int = 0
    per_try_timeout: int | None = None
    retry_on: str | None = None
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool | None = None
    backoff: int | None = None
