"""The Sidecar: what a workload may see and on which ports it listens."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.checks import (
    UNIX,
    check_protocol,
    check_short_name,
    check_socket,
    is_dns_label,
    repeated,
)
from controlplane.model.describe import shorten
from controlplane.model.hosts import host_fault, is_address
from controlplane.model.keys import Labels
from controlplane.model.kinds.connection_pool import ConnectionPoolSettings, read_connection_pool
from controlplane.model.kinds.http_route import Destination, read_destination
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.kinds.service_entry import read_workload_selector
from controlplane.model.kinds.sidecar_tls import check_sidecar_tls
from controlplane.model.kinds.tls import ServerTLSSettings, read_server_tls
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader


@dataclass(frozen=True, slots=True)
class SidecarPort:
    """A port of a listener; `protocol` as written, "" = detect; number 0 with a unix bind."""

    number: int
    protocol: str = ""
    name: str = ""
    target_port: int | None = None


@dataclass(frozen=True, slots=True)
class IstioIngressListener:
    """An inbound listener; `default_endpoint` is address:port, unix://path or None (= 127.0.0.1:port)."""

    port: SidecarPort
    bind: str | None = None
    capture_mode: str = "DEFAULT"
    default_endpoint: str | None = None
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None


@dataclass(frozen=True, slots=True)
class IstioEgressListener:
    """Outbound imports: `hosts` as written (namespace/dnsName); no `port` = the services' own ports."""

    hosts: tuple[str, ...]
    port: SidecarPort | None = None
    bind: str | None = None
    capture_mode: str = "DEFAULT"


@dataclass(frozen=True, slots=True)
class OutboundTrafficPolicy:
    """What happens to traffic to unknown destinations.

    `mode` is REGISTRY_ONLY, ALLOW_ANY or (in MeshConfig) ALLOW_ANY_DYNAMIC_DNS.
    """

    mode: str = "ALLOW_ANY"
    egress_proxy: Destination | None = None


@dataclass(frozen=True, slots=True)
class Sidecar:
    """`workload_selector` None = all workloads of the namespace; no `egress` = everything visible."""

    meta: Meta
    workload_selector: Labels | None = None
    ingress: tuple[IstioIngressListener, ...] = ()
    egress: tuple[IstioEgressListener, ...] = ()
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
    inbound_connection_pool: ConnectionPoolSettings | None = None


def scope_of(value: Sidecar) -> tuple[str, Labels]:
    """For whom a Sidecar is: of several for the same the oldest is in force."""
    return value.meta.namespace, value.workload_selector or ()


sidecars = Table(
    "sidecars",
    indexes={"namespace": by_namespace, "scope": lambda key, value: (scope_of(value),)},
    # A Sidecar without a selector is in force for every workload of its namespace.
    selector=lambda value: value.workload_selector or (),
    namespace=namespace_of,
)


_PARTS = ("egress", "ingress", "outboundTrafficPolicy", "inboundConnectionPool")
CAPTURE_MODES = ("DEFAULT", "IPTABLES", "NONE")
_LOCAL_ADDRESSES = ("127.0.0.1", "0.0.0.0", "[::1]", "[::]")


def _read(r: Reader, meta: Meta) -> Sidecar:
    value = Sidecar(
        meta=meta,
        workload_selector=r.message("workloadSelector", read_workload_selector) or None,
        ingress=r.messages("ingress", _read_ingress),
        egress=r.messages("egress", _read_egress),
        outbound_traffic_policy=r.message("outboundTrafficPolicy", _read_outbound_policy),
        inbound_connection_pool=r.message("inboundConnectionPool", _read_pool),
    )
    for index, port in repeated(listener.port.number for listener in value.ingress):
        if port:
            r.error(f"ingress[{index}].port.number", f"{port} is given twice", "use another port")
    _check_egress(r, value.egress)
    if not any(map(r.has, _PARTS)):
        r.error("", "says nothing", "say one of " + ", ".join(_PARTS))
    return value


def _check_egress(r: Reader, listeners: tuple[IstioEgressListener, ...]) -> None:
    """No two listeners in one place; the one without a port, which takes the rest, comes last."""
    catch_alls = [index for index, listener in enumerate(listeners) if listener.port is None]
    for index in catch_alls[1:]:
        r.error(f"egress[{index}]", "is a second listener without a port", "merge their hosts")
    if catch_alls and catch_alls[0] != len(listeners) - 1 and len(catch_alls) == 1:
        r.error(f"egress[{catch_alls[0]}]", "has no port and is not the last one", "move it to the end")
    numbers = [0 if listener.port is None else listener.port.number for listener in listeners]
    for index, number in repeated(numbers):
        if number:
            r.error(f"egress[{index}].port.number", f"{number} is given twice", "merge their hosts")
    sockets = (listener.bind if _is_socket(listener.bind) else None for listener in listeners)
    for index, bind in repeated(sockets):
        if bind:
            r.error(f"egress[{index}].bind", f"{shorten(bind)} is given twice", "merge their hosts")


def _is_socket(bind: str | None) -> bool:
    return bind is not None and bind.startswith(UNIX)


def _read_ingress(r: Reader) -> IstioIngressListener:
    port = r.message("port", lambda p: _read_port(p, p.required_port("number")))
    r.demand("port", "say port: {number: …, protocol: …, name: …}")
    listener = IstioIngressListener(
        port=port or SidecarPort(0),
        bind=r.string("bind"),
        capture_mode=r.enum("captureMode", CAPTURE_MODES, "DEFAULT"),
        default_endpoint=r.string("defaultEndpoint"),
        tls=r.message("tls", read_server_tls),
        connection_pool=r.message("connectionPool", _read_pool),
    )
    if listener.bind is not None and not is_address(listener.bind):
        r.error("bind", f"{shorten(listener.bind)} is no IP address", "write an IP address, or leave it out")
    _check_default_endpoint(r, listener.default_endpoint)
    if listener.tls is not None:
        check_sidecar_tls(r, listener.port.protocol, listener.tls)
    if _is_udp(listener.port):
        r.warn("port.protocol", "UDP passes by the proxy: this listener is left out", "remove it")
    return listener


def _read_pool(r: Reader) -> ConnectionPoolSettings:
    pool = read_connection_pool(r)
    if pool.http is not None and pool.http.h2_upgrade_policy != "DEFAULT":
        why = "has no effect: what the application speaks, its port says"
        r.warn("http.h2UpgradePolicy", why, "call the port http2 or grpc, or leave it out")
    return pool


def _is_udp(port: SidecarPort) -> bool:
    return port.protocol.upper() == "UDP"


def _check_default_endpoint(r: Reader, endpoint: str | None) -> None:
    if endpoint is None:
        return
    if endpoint.startswith(UNIX):
        check_socket(r, "defaultEndpoint", endpoint)
        return
    address, _, port = endpoint.rpartition(":")
    valid = port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535
    if address not in _LOCAL_ADDRESSES or not valid:
        r.error(
            "defaultEndpoint",
            f"{shorten(endpoint)} is not an endpoint of the workload itself",
            "write 127.0.0.1:port, 0.0.0.0:port or unix:///path",
        )


def _read_egress(r: Reader) -> IstioEgressListener:
    listener = IstioEgressListener(
        hosts=r.strings("hosts"),
        port=r.message("port", lambda p: _read_port(p, p.port("number") or 0)),
        bind=r.string("bind"),
        capture_mode=r.enum("captureMode", CAPTURE_MODES, "DEFAULT"),
    )
    r.demand("hosts", 'name at least one, or "~/*" for none')
    for index, host in enumerate(listener.hosts):
        _check_import(r, f"hosts[{index}]", host)
    for index, host in repeated(listener.hosts):
        r.warn(f"hosts[{index}]", f"{shorten(host)} is named twice", "remove it")
    if "*/*" in listener.hosts and any(h != "*/*" and not h.startswith("~") for h in listener.hosts):
        r.warn("hosts", "*/* imports everything, so that the others add nothing", "remove them")
    _check_bind(r, listener)
    if listener.port is not None and _is_udp(listener.port):
        r.warn("port.protocol", "UDP passes by the proxy: this listener is left out", "remove it")
    return listener


def _check_bind(r: Reader, listener: IstioEgressListener) -> None:
    bind, port = listener.bind, listener.port
    if _is_socket(bind):
        if port is None or port.number:
            r.error("bind", "is a socket, which has no port number", "say port with protocol alone")
        check_socket(r, "bind", bind or "")
        if listener.capture_mode == "IPTABLES":
            r.error("captureMode", "IPTABLES cannot redirect to a socket", "use NONE, or leave it out")
        return
    if port is not None and not port.number:
        r.error("port.number", "is missing", "write a number from 1 to 65535")
    if bind is not None and not is_address(bind):
        r.error("bind", f"{shorten(bind)} is neither an IP address nor a socket", "write one of these")


def _check_import(r: Reader, name: str, text: str) -> None:
    """namespace/dnsName; "~namespace/dnsName" takes out what another entry brings in."""
    namespace, slash, host = text.partition("/")
    if not slash:
        r.error(name, f"{shorten(text)} names no namespace", 'write "namespace/host", "./host" or "*/host"')
    elif namespace == "~" and host != "*":
        r.error(name, f"{shorten(text)} imports nothing but names a host", 'write "~/*"')
    elif namespace not in ("*", ".", "~") and not is_dns_label(namespace.removeprefix("~")):
        r.error(name, f"{shorten(namespace)} is no namespace", 'use ".", "*", "~" or the name of a namespace')
    elif host_fault(host) or (host.startswith("*") and host[1:2] not in ("", ".")):
        what = host_fault(host) or "has half a label for a wildcard"
        r.error(name, f"{shorten(host)} {what}", "write a host or a wildcard like *.example.com")
    elif "." not in host and host != "*":
        r.error(name, f"{shorten(host)} is a short name", f"write {host}.{namespace}.svc.cluster.local")


def _read_port(r: Reader, number: int) -> SidecarPort:
    port = SidecarPort(
        number=number,
        protocol=r.text("protocol"),
        name=r.text("name"),
        target_port=r.port("targetPort"),
    )
    check_protocol(r, "protocol", port.protocol)
    check_short_name(r, "name", port.name, "port")
    if port.target_port is not None:
        r.error("targetPort", "has no effect", "say defaultEndpoint: 127.0.0.1:port, or remove it")
    return port


def _read_outbound_policy(r: Reader) -> OutboundTrafficPolicy:
    policy = OutboundTrafficPolicy(
        # The API's zero value: a policy that does not say its mode is the strict one.
        mode=r.enum("mode", ("REGISTRY_ONLY", "ALLOW_ANY"), "REGISTRY_ONLY"),
        egress_proxy=r.message("egressProxy", read_destination),
    )
    if policy.egress_proxy is not None and policy.mode != "ALLOW_ANY":
        r.error("egressProxy", "needs mode ALLOW_ANY", "say mode: ALLOW_ANY")
    if policy.egress_proxy is not None and policy.egress_proxy.port is None:
        r.error("egressProxy.port", "is missing", "say port: {number: …}")
    if policy.egress_proxy is not None and policy.egress_proxy.host.startswith("*"):
        r.error("egressProxy.host", "is a wildcard", "name the service")
    return policy


SIDECAR = Kind(
    name="Sidecar",
    group="networking.istio.io",
    versions=("v1", "v1beta1", "v1alpha3"),
    plural="sidecars",
    namespaced=True,
    table=sidecars,
    read=_read,
)
