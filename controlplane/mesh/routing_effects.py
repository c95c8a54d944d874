"""What an HTTP rule does besides choosing destinations: headers, retries, faults, rewrites, answers."""

from __future__ import annotations

import re

from controlplane.mesh.routing_ir import (
    Cors,
    DirectResponse,
    Fault,
    HeaderChange,
    HeaderChanges,
    PathMatch,
    PrefixRewrite,
    Redirect,
    RegexRewrite,
    Retries,
    TextMatch,
)
from controlplane.model.keys import Labels
from controlplane.model.kinds.http_effects import (
    CorsPolicy,
    HTTPFaultInjection,
    HTTPRetry,
)
from controlplane.model.kinds.http_headers import HeaderOperations, Headers
from controlplane.model.kinds.http_route import HTTPDirectResponse, HTTPRedirect, HTTPRewrite

DEFAULT_RETRIES = Retries(
    attempts=2, on="connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
)
"""Istio's retries for routes that do not say; safe for any request, except on a declared status code."""

INBOUND_RETRIES = Retries(attempts=2, on="reset-before-request", avoid_previous_hosts=False)
"""Between the sidecar and its own workload: only what the workload cannot have seen is sent again."""

_STATUS_CODES_TOKEN = "retriable-status-codes"
_REDIRECT_CODES = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS = {"http": 80, "https": 443}

# https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
GRPC_STATUS = {
    name: code
    for code, name in enumerate(
        (
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
    )
}


def grpc_status(text: str) -> int | None:
    """The number of a gRPC status that is written as name or number; None when it is neither."""
    if text.isdecimal():
        return int(text) if int(text) in GRPC_STATUS.values() else None
    return GRPC_STATUS.get(text.upper())


def is_host(header: str) -> bool:
    """Whether a header name means the authority."""
    return header.lower() in ("host", ":authority")


def authority_of(headers: Headers | None) -> str:
    """The authority that header operations put in place of the request's; set beats add; "" for none."""
    if headers is None or headers.request is None:
        return ""
    for pairs in (headers.request.set, headers.request.add):
        for name, value in pairs:
            if is_host(name):
                return value
    return ""


def translate_headers(headers: Headers | None) -> HeaderChanges:
    """Header operations without the authority and the pseudo headers, which Envoy refuses there."""
    if headers is None:
        return HeaderChanges()
    return HeaderChanges(_change(headers.request), _change(headers.response))


def _change(operations: HeaderOperations | None) -> HeaderChange:
    if operations is None:
        return HeaderChange()
    return HeaderChange(
        set=_plain(operations.set),
        add=_plain(operations.add),
        remove=tuple(sorted({name for name in operations.remove if _is_plain(name)})),
    )


def _is_plain(name: str) -> bool:
    return bool(name) and not name.startswith(":") and not is_host(name)


def _plain(pairs: Labels) -> Labels:
    return tuple(sorted(pair for pair in pairs if _is_plain(pair[0])))


def translate_retries(policy: HTTPRetry | None, default: Retries | None) -> Retries | None:
    """A rule's retries, or the default where it says nothing; None where retries are switched off."""
    if policy is None:
        return default
    if policy.attempts <= 0:
        return None
    on, codes = _conditions(policy.retry_on or (default or DEFAULT_RETRIES).on)
    return Retries(
        attempts=policy.attempts,
        on=on,
        status_codes=codes,
        per_try_timeout=policy.per_try_timeout or 0,
        backoff=policy.backoff or 0,
        remote_localities=bool(policy.retry_remote_localities),
        avoid_previous_hosts=policy.retry_ignore_previous_hosts is not False,
    )


def _conditions(text: str) -> tuple[str, tuple[int, ...]]:
    """The named conditions and the status codes of a retryOn; codes need a condition of their own."""
    tokens = [token.strip() for token in text.split(",") if token.strip()]
    codes = tuple(sorted({int(token) for token in tokens if token.isdecimal() and 100 <= int(token) <= 599}))
    names = [token for token in tokens if not token.isdecimal()]
    if codes and _STATUS_CODES_TOKEN not in names:
        names.append(_STATUS_CODES_TOKEN)
    return ",".join(dict.fromkeys(names)), codes


def translate_fault(fault: HTTPFaultInjection | None) -> Fault | None:
    """Delay and abort; None when neither has an effect."""
    if fault is None:
        return None
    delay, abort = fault.delay, fault.abort
    fixed = delay.fixed_delay if delay is not None and delay.fixed_delay else 0
    http = abort.http_status if abort is not None and abort.http_status else 0
    grpc = grpc_status(abort.grpc_status) if abort is not None and abort.grpc_status else None
    aborts = http or grpc is not None
    if not fixed and not aborts:
        return None
    return Fault(
        delay=fixed,
        delay_percent=delay.percentage if delay is not None and fixed else 0.0,
        http_status=http,
        grpc_status=None if http else grpc,
        abort_percent=abort.percentage if abort is not None and aborts else 0.0,
    )


def translate_cors(policy: CorsPolicy | None) -> Cors | None:
    """A cross-origin policy."""
    if policy is None:
        return None
    return Cors(
        origins=tuple(TextMatch(origin.kind, origin.value) for origin in policy.allow_origins),
        methods=policy.allow_methods,
        headers=policy.allow_headers,
        expose=policy.expose_headers,
        max_age=policy.max_age,
        allow_credentials=policy.allow_credentials,
        forward_unmatched_preflights=policy.unmatched_preflights != "IGNORE",
    )


def translate_rewrite(rewrite: HTTPRewrite | None, path: PathMatch) -> PrefixRewrite | RegexRewrite | None:
    """The change of the path; what a prefix match found is replaced, of other matches the whole path."""
    if rewrite is None:
        return None
    if rewrite.uri_regex_rewrite is not None:
        return RegexRewrite(rewrite.uri_regex_rewrite.match, rewrite.uri_regex_rewrite.rewrite)
    if not rewrite.uri:
        return None
    if path.kind == "regex":
        return RegexRewrite(path.value, rewrite.uri)
    if path.kind == "exact":
        flags = "(?i)" if path.ignore_case else ""
        return RegexRewrite(f"{flags}^{re.escape(path.value)}$", rewrite.uri.replace("\\", r"\\"))
    return PrefixRewrite(rewrite.uri)


def translate_redirect(redirect: HTTPRedirect, listener_port: int) -> Redirect | None:
    """A redirect of plaintext requests; None for a code that is no redirect."""
    code = redirect.redirect_code or 301
    if code not in _REDIRECT_CODES:
        return None
    port = redirect.port or 0
    if redirect.derive_port == "FROM_REQUEST_PORT":
        port = listener_port
    scheme = redirect.scheme or ""
    if port == _DEFAULT_PORTS.get(scheme or "http"):
        port = 0
    return Redirect(
        code=code,
        scheme=scheme,
        authority=redirect.authority or "",
        port=port,
        path=redirect.uri or "",
        prefix=redirect.prefix_rewrite or "",
    )


def translate_direct_response(response: HTTPDirectResponse) -> DirectResponse:
    """A fixed answer."""
    return DirectResponse(response.status, response.body)
