"""The Gateway: on which ports a proxy at the edge listens, for which hosts, with which certificates.

It says nothing about where requests go; VirtualServices that are bound to it do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from controlplane.graph import Table
from controlplane.model.checks import (
    UNIX,
    check_protocol,
    check_selector,
    check_short_name,
    check_socket,
    is_dns_label,
    repeated,
)
from controlplane.model.describe import shorten
from controlplane.model.hosts import canonical, host_fault, is_address
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.kinds.tls import (
    ServerTLSSettings,
    fields_excluded,
    fields_without_effect,
    read_server_tls,
)
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader

HTTP = ("HTTP", "HTTP2", "HTTP_PROXY", "GRPC", "GRPC-WEB")
ENCRYPTED = ("HTTPS", "TLS")
PASSING = ("PASSTHROUGH", "AUTO_PASSTHROUGH")
"""Modes in which the gateway decrypts nothing."""
ASKING = ("MUTUAL", "OPTIONAL_MUTUAL")
"""Modes in which clients are asked for certificates that users issue."""


_PAIRS = 2
_FILES = {
    "serverCertificate": "server_certificate",
    "privateKey": "private_key",
    "caCertificates": "ca_certificates",
}


class ServerHost(NamedTuple):
    """A host of a server: the VirtualServices of `namespace` ("*": of any) may answer for `host`."""

    namespace: str
    host: str


@dataclass(frozen=True, slots=True)
class ServerPort:
    """A port as Services number it, 0 of a Unix socket; `protocol` in upper case (HTTP, HTTPS, TLS, …)."""

    number: int
    protocol: str
    name: str


@dataclass(frozen=True, slots=True)
class Server:
    """One port and some hosts.

    `bind` is an IP, or a Unix socket ("unix:///path", "unix://@name"); "" = every address.
    """

    port: ServerPort
    hosts: tuple[ServerHost, ...] = ()
    tls: ServerTLSSettings | None = None
    bind: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Gateway:
    """No `selector`: every gateway workload."""

    meta: Meta
    selector: Labels = ()
    servers: tuple[Server, ...] = ()


gateways = Table(
    "gateways",
    indexes={"namespace": by_namespace, "selector": lambda _key, value: (value.selector,)},
    namespace=namespace_of,
)

MESH = "mesh"
"""The reserved name that stands for all sidecars where gateways are named."""


def gateway_key(text: str, namespace: str) -> Key | None:
    """The Gateway that an object of `namespace` means; None for the mesh.

    "ns/name", "./name", "name", and the older "name.ns.svc.cluster.local".
    """
    if text == MESH:
        return None
    space, slash, name = text.rpartition("/")
    if slash:
        return Key(namespace if space == "." else space, name)
    name, dot, rest = text.partition(".")
    return Key(rest.partition(".")[0] if dot else namespace, name)


def _read(r: Reader, meta: Meta) -> Gateway:
    value = Gateway(
        meta=meta,
        selector=r.labels("selector"),
        servers=r.messages("servers", lambda one: _read_server(one, meta.namespace)),
    )
    if not is_dns_label(meta.name):
        remedy = "use at most 63 lower case letters, digits and hyphens"
        r.report.add(
            "error", "metadata.name", f"{shorten(meta.name)} cannot be the name of a Gateway", remedy
        )
    check_selector(r, "selector", value.selector)
    r.demand("servers", "name at least one, with port and hosts")
    for index, name in repeated(server.port.name for server in value.servers if server.port.name):
        r.error(f"servers[{index}].port.name", f"{shorten(name)} is given twice", "use another name")
    return value


def _read_server(r: Reader, namespace: str) -> Server:
    port = r.message("port", _read_port) or ServerPort(0, "", "")
    r.demand("port", "say port: {number: …, protocol: …, name: …}")
    hosts = r.strings("hosts")
    server = Server(
        port=port,
        hosts=tuple(_host(text, namespace) for text in hosts),
        tls=r.guarding("tls", read_server_tls),
        bind=r.text("bind"),
        name=r.text("name"),
    )
    r.skip("defaultEndpoint")  # Istio reads it and does nothing with it, for gateways.
    _check_bind(r, server)
    r.demand("hosts", 'name at least one, or "*" for all')
    for index, text in enumerate(hosts):
        _check_host(r, f"hosts[{index}]", text)
    _check_tls(r, server)
    return server


def _check_bind(r: Reader, server: Server) -> None:
    """An IP address with a port, or the path of a socket, which has none."""
    number = server.port.number
    if server.bind.startswith(UNIX):
        if number:
            r.error("port.number", f"{number} does not go with a Unix socket", "write 0")
        check_socket(r, "bind", server.bind)
        return
    if server.bind and not is_address(server.bind):
        remedy = "write an IP address or unix:///path, or leave it out"
        r.error("bind", f"{shorten(server.bind)} is no IP address", remedy)
    if r.has("port") and not number and not r.report.failed:
        r.error("port.number", "is missing", "write a number from 1 to 65535")


def _host(text: str, namespace: str) -> ServerHost:
    space, slash, host = text.rpartition("/")
    return ServerHost("*" if not slash else namespace if space == "." else space, canonical(host))


def _check_host(r: Reader, name: str, text: str) -> None:
    """namespace/dnsName; a name without a dot could be completed by nobody."""
    space, slash, host = text.rpartition("/")
    if slash and space not in ("*", ".") and not is_dns_label(space):
        r.error(name, f"{shorten(space)} is no namespace", 'use ".", "*" or the name of a namespace')
    elif is_address(host):
        return
    elif host_fault(host):
        r.error(name, f"{shorten(host)} {host_fault(host)}", "write a host or a wildcard like *.example.com")
    elif host.startswith("*") and not host.startswith("*.") and host != "*":
        r.error(
            name, f"{shorten(host)} has half a label for a wildcard", "write a wildcard like *.example.com"
        )
    elif "." not in host and host != "*":
        r.error(name, f"{shorten(host)} is a short name", "write the full name, as clients ask for it")


def _read_port(r: Reader) -> ServerPort:
    port = ServerPort(
        number=r.port("number") or 0,
        protocol=r.required("protocol", "use HTTP, HTTPS, GRPC, HTTP2, TLS or TCP").upper(),
        name=r.required("name", "name the port"),
    )
    if r.port("targetPort"):
        r.error("targetPort", "has no effect: the Service's own counts", "remove it")
    check_protocol(r, "protocol", port.protocol)
    if port.protocol == "UDP":
        r.error("protocol", "UDP is not served by gateways", "use HTTP, HTTPS, GRPC, HTTP2, TLS or TCP")
    check_short_name(r, "name", port.name, "port")
    return port


def _check_tls(r: Reader, server: Server) -> None:
    protocol, tls = server.port.protocol, server.tls
    if protocol in ENCRYPTED and tls is None:
        r.error("tls", f"is missing, and {protocol} needs it", "say mode, and credentialName")
    if tls is None:
        return
    if protocol in ENCRYPTED:
        if tls.https_redirect:
            r.warn("tls.httpsRedirect", "has no effect on an encrypted port", "set it on the HTTP port")
    elif protocol not in HTTP:
        r.error("tls", f"is not allowed with protocol {shorten(protocol)}", "use protocol TLS or HTTPS")
    elif tls.mode not in PASSING:
        r.error("tls.mode", f"is not allowed on a port of protocol {protocol}", "use protocol HTTPS")
    elif tls.mode == "AUTO_PASSTHROUGH":
        why = f"has no effect on a port of protocol {protocol}: requests are served in plaintext"
        r.warn("tls.mode", why, "use protocol TLS, or remove it")
    elif files := [name for name in _FILES if getattr(tls, _FILES[name])]:
        r.error(f"tls.{files[0]}", f"is not allowed on a port of protocol {protocol}", "use protocol HTTPS")
    for name, given in (("credentialNames", tls.credential_names), ("tlsCertificates", tls.tls_certificates)):
        if len(given) > _PAIRS:
            r.error(
                f"tls.{name}",
                f"has {len(given)} entries, at most {_PAIRS} are allowed",
                "one for RSA, one for ECDSA",
            )
    _check_certificates(r, tls)


def _check_certificates(r: Reader, tls: ServerTLSSettings) -> None:
    """Whether what is said of certificates goes with the mode: nobody may think that clients are checked."""
    if tls.mode == "SIMPLE" and tls.ca_crl and tls.files:
        r.error("tls.caCrl", "does not go with SIMPLE: no client is checked", "remove it, or use MUTUAL")
    for name in fields_excluded(tls):
        r.error(f"tls.{name}", f"does not go with {tls.mode}", "remove it, or use MUTUAL")
    for name in fields_without_effect(tls):
        remedy = "remove it, or use MUTUAL with tls.caCertificates"
        if tls.mode in PASSING:
            why = "the gateway decrypts nothing"
            remedy = "remove it, or use SIMPLE or MUTUAL on a port of protocol HTTPS or TLS"
        elif "[" in name:
            why = "clients are checked by those of the server"
        else:
            why = f"mode {tls.mode} does not ask for it"
        r.warn(f"tls.{name}", f"has no effect: {why}", remedy)
    authorities = (
        tls.credential_name,
        tls.credential_names,
        tls.ca_cert_credential_name,
        tls.ca_certificates,
    )
    if tls.mode in ASKING and not any(authorities):
        remedy = "name it, or use credentialName"
        r.error("tls.caCertificates", f"is missing, and {tls.mode} needs it", remedy)


GATEWAY = Kind(
    name="Gateway",
    group="networking.istio.io",
    versions=("v1", "v1beta1", "v1alpha3"),
    plural="gateways",
    namespaced=True,
    table=gateways,
    read=_read,
)
