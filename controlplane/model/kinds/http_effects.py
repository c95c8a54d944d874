"""What an HTTP rule of a VirtualService does besides choosing a destination; `http_headers` has the rest."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from controlplane.model.describe import shorten
from controlplane.model.duration import SECOND
from controlplane.model.kinds.http_match import StringMatch, is_header_name, read_string_match
from controlplane.model.reader import Reader

GRPC_STATUS = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""In the order of their numbers, 0 to 16."""

RETRY_ON = (
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
)
"""Envoy's conditions for HTTP and gRPC; a status number may stand among them."""


_STATUS = frozenset(str(int(status)) for status in HTTPStatus)
_SMALLEST_SHARE = 0.0001
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*")


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait before forwarding; `percentage` 0..100 of requests (not said = none).

    `exponential_delay` has no effect in Istio.
    """

    fixed_delay: int | None = None
    exponential_delay: int | None = None
    percentage: float = 0.0


@dataclass(frozen=True, slots=True)
class Abort:
    """Answer with an error; one of the codes is set; `percentage` 0..100 of requests (not said = none)."""

    http_status: int | None = None
    grpc_status: str | None = None
    http2_error: str | None = None
    percentage: float = 0.0


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


def read_fault(r: Reader) -> HTTPFaultInjection:
    """A fault with at least one of delay and abort."""
    fault = HTTPFaultInjection(delay=r.message("delay", _read_delay), abort=r.message("abort", _read_abort))
    if fault.delay is None and fault.abort is None:
        r.error("", "does nothing", "say delay or abort")
    return fault


def _read_delay(r: Reader) -> Delay:
    delay = Delay(
        fixed_delay=r.duration("fixedDelay"),
        exponential_delay=r.duration("exponentialDelay"),
        percentage=_read_share(r, r.integer("percent", 0, 100)),
    )
    if r.has("exponentialDelay"):
        r.error("exponentialDelay", "is not supported: no proxy can do it", "use fixedDelay")
    elif not r.has("fixedDelay"):
        r.error("fixedDelay", "is missing", 'say how long, like "5s"')
    return delay


def _read_abort(r: Reader) -> Abort:
    abort = Abort(
        http_status=r.integer("httpStatus", 200, 599),
        grpc_status=r.choice("grpcStatus", GRPC_STATUS),
        http2_error=r.string("http2Error"),
        percentage=_read_share(r, None),
    )
    given = [name for name in ("httpStatus", "grpcStatus", "http2Error") if r.has(name)]
    if not given:
        r.error("httpStatus", "is missing", "say httpStatus or grpcStatus")
    elif len(given) > 1:
        r.error(given[1], f"excludes {given[0]}", "keep one of them")
    elif abort.http2_error is not None:
        r.error("http2Error", "is not supported: no proxy can do it", "use httpStatus or grpcStatus")
    return abort


def _read_share(r: Reader, whole: int | None) -> float:
    """The percentage of a fault; `whole` is the old integer field."""
    share = r.percent("percentage")
    if share is not None and 0 < share < _SMALLEST_SHARE:
        r.error(
            "percentage", f"{share:g} is less than Envoy can count", f"use 0, or at least {_SMALLEST_SHARE}"
        )
    if share is None:
        share = None if whole is None else float(whole)
    if share is None:
        r.warn("percentage", "is missing, so that no request is affected", "say percentage: {value: 100}")
    return share or 0.0


def _read_origin(r: Reader) -> StringMatch:
    origin = read_string_match(r)
    if not origin.value:
        r.error("", "names no origin", "say exact, prefix or regex")
    return origin


def read_cors(r: Reader) -> CorsPolicy:
    """A CorsPolicy; the old allowOrigin counts as exact matches when allowOrigins is not used."""
    old = tuple(StringMatch("exact", origin) for origin in r.strings("allowOrigin"))
    policy = CorsPolicy(
        allow_origins=r.messages("allowOrigins", _read_origin) or old,
        allow_methods=r.strings("allowMethods"),
        allow_headers=r.strings("allowHeaders"),
        expose_headers=r.strings("exposeHeaders"),
        max_age=r.duration("maxAge"),
        allow_credentials=r.optional_boolean("allowCredentials"),
        unmatched_preflights=r.enum(
            "unmatchedPreflights", ("UNSPECIFIED", "FORWARD", "IGNORE"), "UNSPECIFIED"
        ),
    )
    for index, method in enumerate(policy.allow_methods):
        if method not in _METHODS:
            what = f"{shorten(method)} is no method of HTTP"
            r.error(f"allowMethods[{index}]", what, "use " + ", ".join(_METHODS))
    for field, headers in (("allowHeaders", policy.allow_headers), ("exposeHeaders", policy.expose_headers)):
        for index, header in enumerate(headers):
            if header != "*" and not is_header_name(header):
                what = f"{shorten(header)} cannot be the name of a header"
                r.error(f"{field}[{index}]", what, 'use the name of a header, or "*"')
    if policy.max_age is not None and policy.max_age % SECOND:
        r.error("maxAge", "is not a whole number of seconds", "browsers count it in seconds")
    return policy


def read_retry(r: Reader) -> HTTPRetry:
    """An HTTPRetry."""
    retry = HTTPRetry(
        attempts=r.integer("attempts") or 0,
        per_try_timeout=r.duration("perTryTimeout"),
        retry_on=r.string("retryOn"),
        retry_remote_localities=r.optional_boolean("retryRemoteLocalities"),
        retry_ignore_previous_hosts=r.optional_boolean("retryIgnorePreviousHosts"),
        backoff=r.duration("backoff"),
    )
    if not retry.attempts and any(
        r.has(name) for name in ("retryOn", "perTryTimeout", "retryRemoteLocalities")
    ):
        r.error("attempts", "is 0, so that nothing is retried", "say how often to retry, or nothing else")
    for condition in (retry.retry_on or "").split(","):
        word = condition.strip()
        if word and word not in RETRY_ON and not _is_status(word):
            r.error(
                "retryOn", f"{shorten(word)} is no condition that Envoy knows", "use " + ", ".join(RETRY_ON)
            )
    return retry


def _is_status(word: str) -> bool:
    return word in _STATUS
