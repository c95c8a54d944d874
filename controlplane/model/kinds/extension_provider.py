"""MeshConfig's extensionProviders: what proxies ask or tell.

Those that authorize are read, and files for access logs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.model.checks import check_format, check_host, check_log_file, check_namespace
from controlplane.model.describe import shorten
from controlplane.model.duration import SECOND
from controlplane.model.keys import Labels
from controlplane.model.kinds.http_headers import read_header_values
from controlplane.model.kinds.mesh_absent import DEFAULT_PROVIDERS, PROVIDERS, note_absent
from controlplane.model.reader import UINT32, Reader

_READ = ("envoyExtAuthzHttp", "envoyExtAuthzGrpc", "envoyFileAccessLog")
_STDOUT = "/dev/stdout"
_LONGEST_WAIT = 600 * SECOND


@dataclass(frozen=True, slots=True)
class RequestBody:
    """How much of a body is shown; `allow_partial`: of a longer one the beginning."""

    max_request_bytes: int
    allow_partial: bool = False
    pack_as_bytes: bool = False


@dataclass(frozen=True, slots=True)
class ExtAuthzProvider:
    """Who is asked whether a request may pass (envoyExtAuthzGrpc, envoyExtAuthzHttp).

    `service` is a host, `namespace` "" = any; `timeout` in nanoseconds; `status_on_error` 0 = 403.  The
    fields after `body` are for HTTP.
    """

    service: str
    port: int
    grpc: bool
    namespace: str = ""
    timeout: int = _LONGEST_WAIT
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: int = 0
    body: RequestBody | None = None
    path_prefix: str = ""
    headers_in_check: tuple[str, ...] = ()
    additional_headers: Labels = ()
    headers_upstream: tuple[str, ...] = ()
    headers_on_deny: tuple[str, ...] = ()
    headers_on_allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileAccessLog:
    """A file that requests are noted in; `format` "" = that of the encoding, TEXT or JSON."""

    path: str = _STDOUT
    format: str = ""
    encoding: str = "TEXT"


@dataclass(frozen=True, slots=True)
class ExtensionProvider:
    """One provider: it authorizes, it is an access log, or neither, and then it is not read."""

    name: str
    authorizer: ExtAuthzProvider | None = None
    log: FileAccessLog | None = None


def read_extension_providers(r: Reader) -> tuple[ExtensionProvider, ...]:
    """The field `extensionProviders`; names are given once."""
    found: dict[str, ExtensionProvider] = {}
    for index, provider in enumerate(r.messages("extensionProviders", _read)):
        if provider.name in found:
            where = f"extensionProviders[{index}].name"
            r.error(where, f"{shorten(provider.name)} is given twice", "use another name")
        found.setdefault(provider.name, provider)
    return tuple(found.values())


def _read(r: Reader) -> ExtensionProvider:
    name = r.required("name", "name the provider")
    if not all(char.isalnum() or char in "-_./" for char in name):
        r.error("name", f"{shorten(name)} is no name", "use letters, digits, hyphens and dots")
    http = r.message("envoyExtAuthzHttp", _read_http)
    grpc = r.message("envoyExtAuthzGrpc", _read_grpc)
    log = r.message("envoyFileAccessLog", _read_log)
    given = [field for field in (*_READ, *PROVIDERS) if r.has(field)]
    if len(given) > 1:
        r.error(given[1], f"excludes {given[0]}", "make two providers of it")
    note_absent(r, PROVIDERS)
    return ExtensionProvider(name, http or grpc, log)


def _read_log(r: Reader) -> FileAccessLog:
    path = r.text("path", _STDOUT)
    check_log_file(r, "path", path)
    if r.boolean("omitEmptyValues"):
        r.warn("omitEmptyValues", "has no effect: what is empty is written as -", "leave the fields out")
    said = r.message("logFormat", _read_format)
    return FileAccessLog(path) if said is None else FileAccessLog(path, *said)


def _read_format(r: Reader) -> tuple[str, str]:
    """The format and its encoding; the labels of a JSON format are an object as they are."""
    text, labels = r.text("text"), r.value("labels")
    check_format(r, "text", text)
    if labels is None:
        return text, "TEXT"
    if text:
        r.error("labels", "excludes text", "keep one of them")
    if not isinstance(labels, Mapping):
        r.error("labels", "is no mapping", "write names and what they stand for")
        return "", "TEXT"
    written = json.dumps(labels, sort_keys=True, default=str)
    check_format(r, "labels", written)
    return written, "JSON"


def _read_grpc(r: Reader) -> ExtAuthzProvider:
    return _read_common(r, grpc=True)


def _read_common(r: Reader, *, grpc: bool) -> ExtAuthzProvider:
    namespace, _, host = r.required("service", "name the service by its full host").rpartition("/")
    check_host(r, "service", host, wildcard=False)
    check_namespace(r, "service", namespace or None)
    return ExtAuthzProvider(
        service=host.lower(),
        port=r.required_port("port"),
        grpc=grpc,
        namespace=namespace,
        timeout=r.duration("timeout") or _LONGEST_WAIT,
        fail_open=r.boolean("failOpen"),
        clear_route_cache=r.boolean("clearRouteCache"),
        status_on_error=_read_status(r),
        body=r.message("includeRequestBodyInCheck", _read_body),
    )


def _read_status(r: Reader) -> int:
    text = r.text("statusOnError")
    if text and not (text.isascii() and text.isdigit() and len(text) == 3 and 200 <= int(text) <= 599):
        r.error("statusOnError", f"{shorten(text)} is no HTTP status", 'write a number like "503"')
        return 0
    return int(text or 0)


def _read_body(r: Reader) -> RequestBody:
    most = r.integer("maxRequestBytes", 0, UINT32) or 0
    if not most:
        r.error("maxRequestBytes", "is missing", "say how many bytes are shown")
    return RequestBody(most, r.boolean("allowPartialMessage"), r.boolean("packAsBytes"))


def _read_http(r: Reader) -> ExtAuthzProvider:
    common = _read_common(r, grpc=False)
    older = r.strings("includeHeadersInCheck")
    newer = r.strings("includeRequestHeadersInCheck")
    prefix = r.text("pathPrefix")
    if prefix and not prefix.startswith("/"):
        r.error("pathPrefix", f"{shorten(prefix)} does not begin with /", 'write a path like "/check"')
    return ExtAuthzProvider(
        service=common.service,
        port=common.port,
        grpc=False,
        namespace=common.namespace,
        timeout=common.timeout,
        fail_open=common.fail_open,
        clear_route_cache=common.clear_route_cache,
        status_on_error=common.status_on_error,
        body=common.body,
        path_prefix=prefix,
        headers_in_check=newer or older,
        additional_headers=read_header_values(r, "includeAdditionalHeadersInCheck"),
        headers_upstream=_read_names(r, "headersToUpstreamOnAllow"),
        headers_on_deny=_read_names(r, "headersToDownstreamOnDeny"),
        headers_on_allow=_read_names(r, "headersToDownstreamOnAllow"),
    )


def _read_names(r: Reader, field: str) -> tuple[str, ...]:
    names = r.strings(field)
    for index, name in enumerate(names):
        if name == "*":
            r.error(f"{field}[{index}]", "stands for every header", "name headers, with a prefix at least")
    return names


def read_default_log(r: Reader, providers: tuple[ExtensionProvider, ...]) -> FileAccessLog | None:
    """The access log of `defaultProviders`: the first file among those it names; None where it names none."""
    logs = {provider.name: provider.log for provider in providers if provider.log is not None}
    logs.setdefault("envoy", FileAccessLog())
    inner = r.inner("defaultProviders")
    named = inner.strings("accessLogging")
    note_absent(inner, DEFAULT_PROVIDERS)
    inner.close()
    log: FileAccessLog | None = None
    for index, name in enumerate(named):
        if name not in logs or log is not None:
            why = "is no file for access logs" if name not in logs else "is one access log too many"
            inner.warn(f"accessLogging[{index}]", f"{shorten(name)} {why}", "name one envoyFileAccessLog")
        else:
            log = logs[name]
    return log
