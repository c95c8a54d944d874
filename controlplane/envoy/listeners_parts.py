"""What listeners are made of: addresses, inspectors, filter chains and the two network filters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from controlplane.envoy import pb
from controlplane.envoy.accesslog import AccessLog, access_logs
from controlplane.envoy.filters import http_filters
from controlplane.envoy.filters.chain import Chain
from controlplane.envoy.http_manners import behave
from controlplane.envoy.listeners_binds import Bind
from controlplane.envoy.routes_actions import cluster_of
from controlplane.mesh.listening import Stance
from controlplane.mesh.routing_ir import Destination
from controlplane.model.checks import UNIX
from controlplane.model.duration import SECOND
from controlplane.model.kinds.destination_rule import TrafficPolicy, TunnelSettings
from controlplane.model.kinds.proxy_manners import Manners

_components = pb.listener_components

HTTP_PROTOCOLS = ("http/1.1", "h2c")
"""What the HTTP inspector calls plaintext HTTP."""
HTTP10 = "http/1.0"
"""The same of HTTP/1.0: where that is not understood, it is passed on as it is."""

_REDIS_TIMEOUT = 5 * SECOND
_MARK = 1337
"""Of packets that the proxy sends, for redirect rules to know them by."""


class Tcp(NamedTuple):
    """How a TCP proxy treats connections; nanoseconds, None = Envoy's default.

    `tunnel`: they are carried through an HTTP proxy.
    """

    idle_timeout: int | None = None
    max_duration: int | None = None
    hash_source: bool = False
    tunnel: TunnelSettings | None = None


NOTHING_SAID = Tcp()


def tcp_settings(policy: TrafficPolicy) -> Tcp:
    """How connections to a destination under this policy are treated."""
    pool = policy.connection_pool.tcp if policy.connection_pool is not None else None
    balancer = policy.load_balancer.consistent_hash if policy.load_balancer is not None else None
    return Tcp(
        idle_timeout=None if pool is None else pool.idle_timeout,
        max_duration=None if pool is None else pool.max_connection_duration,
        hash_source=balancer is not None and balancer.use_source_ip,
        tunnel=policy.tunnel,
    )


def socket(address: str, port: int) -> Any:
    """An Address."""
    return pb.address.Address(socket_address=pb.address.SocketAddress(address=address, port_value=port))


def place(bind: Bind) -> Any:
    """An Address of a listener: an address and port, or a socket in the file system."""
    if bind.address.startswith(UNIX):
        return pb.address.Address(pipe=pb.address.Pipe(path=bind.address.removeprefix(UNIX)))
    return socket(bind.address, bind.port)


def add_addresses(listener: Any, stance: Stance, port: int) -> None:
    """A listener of any address listens with the proxy's other family as well."""
    for address in stance.wildcards[1:]:
        listener.additional_addresses.add().address.CopyFrom(socket(address, port))


def http_inspector(disabled_ports: Iterable[int] = ()) -> Any:
    """The listener filter that recognizes HTTP; it would wait for ever where the server speaks first."""
    found = _components.ListenerFilter(name="envoy.filters.listener.http_inspector")
    found.typed_config.CopyFrom(pb.pack(pb.http_inspector.HttpInspector()))
    _disable(found, sorted(set(disabled_ports)))
    return found


def tls_inspector(disabled_ports: Iterable[int] = ()) -> Any:
    """The listener filter that recognizes TLS and reads the name asked for; it waits as the other does."""
    found = _components.ListenerFilter(name="envoy.filters.listener.tls_inspector")
    found.typed_config.CopyFrom(pb.pack(pb.tls_inspector.TlsInspector()))
    _disable(found, sorted(set(disabled_ports)))
    return found


def original_dst() -> Any:
    """The listener filter that restores the address that was dialled before the redirect."""
    found = _components.ListenerFilter(name="envoy.filters.listener.original_dst")
    found.typed_config.CopyFrom(pb.pack(pb.original_dst.OriginalDst()))
    return found


def proxy_protocol() -> Any:
    """The listener filter that reads, and takes off, the header of the PROXY protocol: versions 1 and 2."""
    found = _components.ListenerFilter(name="envoy.filters.listener.proxy_protocol")
    found.typed_config.CopyFrom(pb.pack(pb.proxy_protocol_listener.ProxyProtocol()))
    return found


def original_src() -> Any:
    """The listener filter that lets the application see who called; the mark brings its answers back here."""
    found = _components.ListenerFilter(name="envoy.filters.listener.original_src")
    found.typed_config.CopyFrom(pb.pack(pb.original_src.OriginalSrc(mark=_MARK)))
    return found


def _disable(found: Any, ports: list[int]) -> None:
    """Switch a listener filter off for connections to these ports."""
    if len(ports) == 1:
        _port_range(found.filter_disabled, ports[0])
    elif ports:
        for port in ports:
            _port_range(found.filter_disabled.or_match.rules.add(), port)


def _port_range(predicate: Any, port: int) -> None:
    predicate.destination_port_range.start = port
    predicate.destination_port_range.end = port + 1


def chain(name: str, filters: Iterable[Any], match: Any | None = None) -> Any:
    """A FilterChain."""
    message = _components.FilterChain(name=name, filters=filters)
    if match is not None:
        message.filter_chain_match.CopyFrom(match)
    return message


def http_protocols(stance: Stance) -> tuple[str, ...]:
    """What counts as plaintext HTTP at a proxy."""
    return (HTTP10, *HTTP_PROTOCOLS) if stance.http10 else HTTP_PROTOCOLS


def http_match(stance: Stance) -> Any:
    """Matches plaintext HTTP."""
    return _components.FilterChainMatch(
        transport_protocol="raw_buffer", application_protocols=http_protocols(stance)
    )


def port_match(port: int) -> Any:
    """Matches everything to one destination port."""
    match = _components.FilterChainMatch()
    match.destination_port.value = port
    return match


def tcp_proxy(
    stat_prefix: str,
    destinations: tuple[Destination, ...] | str,
    log: AccessLog | None,
    tcp: Tcp = NOTHING_SAID,
) -> Any:
    """The filter that passes connections on, to shares of destinations or to a cluster by its name."""
    message = pb.tcp_proxy.TcpProxy(stat_prefix=stat_prefix, access_log=access_logs(log))
    if isinstance(destinations, str):
        message.cluster = destinations
    elif len(destinations) == 1:
        message.cluster = cluster_of(destinations[0].target)
    else:
        for share in destinations:
            message.weighted_clusters.clusters.add(name=cluster_of(share.target), weight=share.weight)
    if tcp.idle_timeout is not None:
        message.idle_timeout.CopyFrom(pb.duration(tcp.idle_timeout))
    if tcp.max_duration is not None:
        message.max_downstream_connection_duration.CopyFrom(pb.duration(tcp.max_duration))
    if tcp.hash_source:
        message.hash_policy.add().source_ip.SetInParent()
    if tcp.tunnel is not None:
        host = tcp.tunnel.target_host
        address = f"[{host}]" if ":" in host else host
        message.tunneling_config.hostname = f"{address}:{tcp.tunnel.target_port}"
        message.tunneling_config.use_post = tcp.tunnel.protocol == "POST"
    return _network_filter("envoy.filters.network.tcp_proxy", message)


def mongo_proxy(stat_prefix: str) -> Any:
    """The filter that reads MongoDB's protocol on its way, for statistics."""
    return _network_filter(
        "envoy.filters.network.mongo_proxy", pb.mongo_proxy.MongoProxy(stat_prefix=stat_prefix)
    )


def redis_proxy(cluster: str) -> Any:
    """The filter that speaks Redis: each request goes to the server that its key belongs to."""
    message = pb.redis_proxy.RedisProxy(stat_prefix=cluster)
    message.settings.op_timeout.CopyFrom(pb.duration(_REDIS_TIMEOUT))
    message.prefix_routes.catch_all_route.cluster = cluster
    return _network_filter("envoy.filters.network.redis_proxy", message)


def speaking(where: Chain, stance: Stance) -> Chain:
    """A chain at a proxy that listens so."""
    return where._replace(http10=stance.http10, idle_timeout=stance.idle_timeout)


def offer_alpn(protocols: Iterable[str]) -> Any:
    """The filter that writes what the connection's upstream TLS, if there is any, offers by ALPN."""
    message = pb.set_filter_state.Config()
    value = message.on_new_connection.add(object_key="envoy.network.application_protocols")
    value.format_string.text_format_source.inline_string = ",".join(protocols)
    return _network_filter("envoy.filters.network.set_filter_state", message)


def http_manager(stat_prefix: str, routes: Any, where: Chain, log: AccessLog | None) -> Any:
    """The filter that speaks HTTP; `routes` is the name of an RDS resource or a RouteConfiguration."""
    message = pb.hcm.HttpConnectionManager(
        stat_prefix=stat_prefix,
        http_filters=http_filters(where),
        access_log=access_logs(log),
        proxy_100_continue=True,
    )
    if isinstance(routes, str):
        _discover_routes(message.rds, routes)
    else:
        message.route_config.CopyFrom(routes)
    # Long answers and WebSockets are not ours to end.
    message.stream_idle_timeout.SetInParent()
    message.upgrade_configs.add(upgrade_type="websocket")
    behave(message, where)
    if where.http10:
        message.http_protocol_options.accept_http_10 = True
    if where.proxy:
        message.http_protocol_options.allow_absolute_url.value = True
    if where.idle_timeout is not None:
        message.common_http_protocol_options.idle_timeout.CopyFrom(pb.duration(where.idle_timeout))
    return _network_filter("envoy.filters.network.http_connection_manager", message)


def _discover_routes(rds: Any, name: str) -> None:
    rds.route_config_name = name
    rds.config_source.ads.SetInParent()
    rds.config_source.resource_api_version = pb.config_source.ApiVersion.V3
    # Wait for ever: a listener without routes would answer 404.
    rds.config_source.initial_fetch_timeout.SetInParent()


def _network_filter(name: str, config: Any) -> Any:
    return _components.Filter(name=name, typed_config=pb.pack(config))


def limit_buffer(listener: Any, manners: Manners) -> Any:
    """How many bytes a connection may hold; the listener."""
    if manners.connections.listener_buffer is not None:
        listener.per_connection_buffer_limit_bytes.value = manners.connections.listener_buffer
    return listener


def wait_for_inspection(listener: Any, timeout: int) -> None:
    """How long inspectors may wait for the first bytes (nanoseconds, 0 = for ever); then go on without."""
    listener.listener_filters_timeout.CopyFrom(pb.duration(timeout))
    listener.continue_on_listener_filters_timeout = True
