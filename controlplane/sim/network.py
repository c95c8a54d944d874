"""What a filter chain does with a connection: TLS ends, network filters are passed, a proxy takes over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from controlplane.sim import rbac
from controlplane.sim.chains import Connection
from controlplane.sim.filters import Passage, pass_filters
from controlplane.sim.forwarding import to_cluster
from controlplane.sim.matchers import text_matches
from controlplane.sim.outcome import End, Step
from controlplane.sim.paths import normalized
from controlplane.sim.request import Request
from controlplane.sim.walk import CannotTell, Walk, config_of, kind_of, unpacked

_FILTERS = "envoy.extensions.filters.network."
_ALPN = "envoy.network.application_protocols"
_URI = 3  # SubjectAltNameMatcher.SanType
_CODEC_ERROR = End("closed", 400, "DPE", "http1.codec_error")


class Passing:
    """A connection in a chain: who the client is, once TLS has told."""

    __slots__ = ("cluster", "connection", "encrypted", "identity", "walk")

    def __init__(self, walk: Walk, connection: Connection) -> None:
        self.walk = walk
        self.connection = connection
        self.encrypted = False
        self.identity = ""
        self.cluster = ""
        """What a filter says in place of the proxy's own cluster."""


def pass_chain(walk: Walk, chain: Any, connection: Connection) -> None:
    """Through the chain; the walk is over afterwards."""
    passing = Passing(walk, connection)
    if not _end_tls(passing, chain):
        return
    for one in chain.filters:
        play = _PLAYS.get(kind_of(one.typed_config).removeprefix(_FILTERS))
        config = unpacked(one.typed_config)
        if play is None or config is None:
            walk.doubt("network filter", one.name, "is not simulated")
            continue
        play(passing, one.name, config)
        if walk.left <= 0.0:
            return
    if walk.left > 0.0:
        raise CannotTell("a chain whose filters end nothing that is known")


def _end_tls(passing: Passing, chain: Any) -> bool:
    """Whether the connection gets past the chain's transport socket."""
    config = chain.transport_socket.typed_config
    context = unpacked(config) if config.type_url else None
    if context is None or not hasattr(context, "require_client_certificate"):
        return True
    walk, tls = passing.walk, passing.walk.call.tls
    common = context.common_tls_context
    refusal = ""
    if tls is None:
        refusal = "the client speaks no TLS"
    elif missing := _missing_secret(walk, common):
        refusal = f"the secret {missing} is not there"
    elif context.require_client_certificate.value and not tls.identity:
        refusal = "the client shows no certificate"
    elif tls.identity and not _believed(common, tls.identity):
        refusal = f"no name that is asked for in the certificate of {tls.identity}"
    if refusal:
        walk.finish(End("closed", details=f"TLS: {refusal}"), 1.0, Step("TLS", chain.name, refusal))
        return False
    passing.encrypted = True
    checked = common.WhichOneof("validation_context_type") is not None
    passing.identity = tls.identity if tls is not None and checked else ""
    walk.step("TLS", chain.name, f"ends TLS with {passing.identity or 'a client without a certificate'}")
    return True


def _missing_secret(walk: Walk, common: Any) -> str:
    if walk.served.secrets is None:
        return ""
    names = [one.name for one in common.tls_certificate_sds_secret_configs]
    return next((name for name in names if name not in walk.served.secrets), "")


def _believed(common: Any, identity: str) -> bool:
    """Whether one of the names that are asked for is this one; all are, where none is asked for."""
    how = common.WhichOneof("validation_context_type")
    if how == "combined_validation_context":
        wanted = common.combined_validation_context.default_validation_context.match_typed_subject_alt_names
    elif how == "validation_context":
        wanted = common.validation_context.match_typed_subject_alt_names
    else:
        return True
    return not wanted or any(one.san_type == _URI and text_matches(one.matcher, identity) for one in wanted)


def _rbac(passing: Passing, name: str, config: Any) -> None:
    if not config.HasField("rules"):
        return
    connection, walk = passing.connection, passing.walk
    subject = rbac.Subject(connection, passing.identity, passing.encrypted)
    allowed, policy = rbac.judged(config.rules, subject)
    walk.step("network filter", name, f"{'lets it pass' if allowed else 'refuses it'}: policy {policy}")
    if not allowed:
        walk.finish(End("closed", details=f"rbac_access_denied_matched_policy[{policy}]"))


def _note(passing: Passing, _name: str, config: Any) -> None:
    for one in config.on_new_connection:
        if one.object_key == _ALPN:
            text = one.format_string.text_format_source.inline_string
            passing.walk.alpn = tuple(filter(None, text.split(",")))


def _doubt(passing: Passing, name: str, _config: Any) -> None:
    passing.walk.doubt("network filter", name, "somebody else decides")


def _look_on(_passing: Passing, _name: str, _config: Any) -> None:
    """It reads along and ends nothing."""


def _tcp(passing: Passing, _name: str, config: Any) -> None:
    walk, connection = passing.walk, passing.connection
    dialled = f"{connection.address}:{connection.port}"
    if config.WhichOneof("cluster_specifier") == "weighted_clusters":
        shares = [(one.name, one.weight) for one in config.weighted_clusters.clusters if one.weight]
    else:
        shares = [(passing.cluster or config.cluster, 1)]
    whole = sum(weight for _, weight in shares)
    for cluster, weight in shares:
        left = walk.left
        end = to_cluster(walk, cluster, dialled, "tcp")
        if config.HasField("tunneling_config") and end.kind == "tcp":
            end = replace(end, authority=config.tunneling_config.hostname)
        found = walk.served.clusters.get(cluster)
        why = end.details or f"{len(end.hosts)} hosts"
        config_path = "" if found is None else config_of(found.metadata)
        walk.finish(end, weight / whole, Step("cluster", cluster, why, config_path))
        walk.left = left
    walk.left = 0.0


def _by_server_name(passing: Passing, name: str, config: Any) -> None:
    """Whoever is asked for is looked up, and called."""
    passing.walk.target = f"{passing.connection.sni}:{config.port_value or 443}"
    passing.walk.step("network filter", name, f"looks up {passing.walk.target}")


def _redis(passing: Passing, _name: str, config: Any) -> None:
    """Every command goes to the one cluster that takes what no prefix does."""
    cluster = config.prefix_routes.catch_all_route.cluster
    end = to_cluster(passing.walk, cluster, "", "tcp")
    passing.walk.finish(end, 1.0, Step("cluster", cluster, end.details or f"{len(end.hosts)} hosts"))


def _sni_cluster(passing: Passing, _name: str, _config: Any) -> None:
    passing.cluster = passing.connection.sni


def _http(passing: Passing, name: str, manager: Any) -> None:
    walk, connection, call = passing.walk, passing.connection, passing.walk.call
    if call.http is None or (call.tls is not None and not passing.encrypted):
        if call.silent:
            walk.finish(End("waits"), 1.0, Step("network filter", name, "waits for a request"))
        else:
            walk.finish(_CODEC_ERROR, 1.0, Step("network filter", name, "this is no HTTP"))
        return
    request = Request(call.http, connection)
    request.encrypted, request.identity = passing.encrypted, passing.identity
    _introduce(manager, request)
    configuration = _configuration(walk, manager)
    if configuration is None:
        walk.finish(End("answer", 404, "NR", "route_not_found"))
        return
    path, status = normalized(manager, request.path)
    if status or not request.authority:
        details = "path_normalization_failed" if status else "missing_host_header"
        walk.finish(End("answer", status or 400, "", details, location=path if status == 307 else ""))
        return
    request.path = path
    dialled = f"{connection.address}:{connection.port}"
    pass_filters(Passage(walk, request, configuration, dialled), manager.http_filters)


def _introduce(manager: Any, request: Request) -> None:
    """What the manager says of the client to whoever reads headers."""
    said = request.headers.get("x-forwarded-proto")
    believed = not manager.use_remote_address.value or manager.xff_num_trusted_hops > 0
    if said is None or not believed:
        said = ("https" if request.encrypted else "http",)
    request.headers["x-forwarded-proto"] = said
    request.headers[":scheme"] = said
    request.remote = _client(manager, request)
    if manager.strip_any_host_port:
        request.authority = request.authority.rpartition(":")[0] or request.authority


def _client(manager: Any, request: Request) -> str:
    """The first client's address: of the connection, or the one that so many proxies before this say."""
    hops = manager.xff_num_trusted_hops
    if manager.use_remote_address.value and not hops:
        return request.connection.source
    said = [one.strip() for one in request.header("x-forwarded-for").split(",")]
    # Who uses the connection's address himself is one of those that are trusted.
    place = hops if manager.use_remote_address.value else hops + 1
    try:
        return str(ip_address(said[-place])) if place <= len(said) else request.connection.source
    except ValueError:
        return request.connection.source


def _configuration(walk: Walk, manager: Any) -> Any | None:
    if manager.WhichOneof("route_specifier") == "route_config":
        return manager.route_config
    name = manager.rds.route_config_name
    found = walk.served.routes.get(name)
    walk.step("route configuration", name, "by RDS" if found is not None else "it was not served")
    return found


_PLAYS: dict[str, Callable[[Passing, str, Any], None]] = {
    "ext_authz.v3.ExtAuthz": _doubt,
    "http_connection_manager.v3.HttpConnectionManager": _http,
    "mongo_proxy.v3.MongoProxy": _look_on,
    "mysql_proxy.v3.MySQLProxy": _look_on,
    "rbac.v3.RBAC": _rbac,
    "redis_proxy.v3.RedisProxy": _redis,
    "set_filter_state.v3.Config": _note,
    "sni_cluster.v3.SniCluster": _sni_cluster,
    "sni_dynamic_forward_proxy.v3.FilterConfig": _by_server_name,
    "tcp_proxy.v3.TcpProxy": _tcp,
}
