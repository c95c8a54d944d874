"""The proxy on the other end of a stream, as its Envoy node describes it.

Istio's proxies name themselves `<type>~<ip>~<name.namespace>~<namespace>.svc.<domain>` and add
metadata.  A node is a peer's claim: whatever it holds, the answer is a Proxy or a ProtocolError that
says what is wrong with it.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from controlplane.base.errors import ProtocolError
from controlplane.model.describe import describe, shorten
from controlplane.model.hosts import DOMAIN, is_address
from controlplane.model.identity import Identity
from controlplane.model.keys import Labels, labels_of
from controlplane.model.locality import Locality

ProxyType: TypeAlias = Literal["sidecar", "router"]
_TYPES: Mapping[str, ProxyType] = {"sidecar": "sidecar", "router": "router"}
INTERCEPTION_MODES = ("REDIRECT", "TPROXY", "NONE")
LONGEST_ID = 1024
"""Characters; a pod name and two namespaces need 600 at most."""


@dataclass(frozen=True, slots=True)
class ProxyMetadata:
    """What Istio's node metadata says, as far as it is used; absent strings are "".

    `proxy_config` is PROXY_CONFIG as JSON text with sorted keys ("" when absent), which keeps it
    hashable; `texts` likewise are all entries that are strings, which an EnvoyFilter may ask for; ports are
    None when absent.
    """

    workload_name: str = ""
    owner: str = ""
    service_account: str = ""
    node_name: str = ""
    cluster_id: str = ""
    network: str = ""
    mesh_id: str = ""
    istio_version: str = ""
    istio_revision: str = ""
    interception_mode: str = "REDIRECT"
    idle_timeout: str = ""
    generator: str = ""
    http10: bool = False
    dns_capture: bool = False
    dns_auto_allocate: bool = False
    unprivileged_pod: bool = False
    http_proxy_port: int | None = None
    envoy_status_port: int | None = None
    envoy_prometheus_port: int | None = None
    proxy_config: str = ""
    auto_register_group: str = ""
    texts: str = ""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A connected proxy; `id` is name.namespace, `domain` the mesh's DNS domain ("cluster.local").

    `ips` holds all addresses of the workload, `ip` is the one in the node id (else the first of `ips`).
    `identity` is who the control plane knows it to be, never what it claims; None is nobody.
    """

    type: ProxyType
    ip: str
    id: str
    namespace: str
    domain: str = DOMAIN
    labels: Labels = ()
    metadata: ProxyMetadata = field(default=ProxyMetadata())
    ips: tuple[str, ...] = ()
    locality: Locality = field(default=Locality())
    identity: Identity | None = None

    @property
    def name(self) -> str:
        """The workload instance's name (the pod's)."""
        return self.id.removesuffix(f".{self.namespace}")


def parse_node(id: str, metadata: Mapping[str, object] | None, locality: Locality | None = None) -> Proxy:
    """The proxy that an Envoy node describes.

    `metadata` is the node's Struct as plain values (dict, list, str, float, bool, None).
    Raises ProtocolError naming the part of the id, or the metadata key, that cannot be used.
    """
    kind, address, name, dns = _parts(id)
    fields = _Fields(metadata)
    namespace = fields.text("NAMESPACE") or _first_label(dns)
    if not namespace:
        raise ProtocolError(f"node id {shorten(id)} names no namespace, and metadata NAMESPACE is absent")
    ips = _addresses(id, address, fields.text("INSTANCE_IPS"))
    return Proxy(
        type=kind,
        ip=_canonical(address) if is_address(address) else ips[0],
        id=name,
        namespace=namespace,
        domain=_domain(dns),
        labels=fields.labels("LABELS"),
        metadata=_metadata(fields),
        ips=ips,
        locality=locality or Locality(),
    )


def _parts(id: str) -> tuple[ProxyType, str, str, str]:
    if not isinstance(id, str) or not id:
        raise ProtocolError(
            "the node has no id; expected <type>~<ip>~<name.namespace>~<namespace>.svc.<domain>"
        )
    if len(id) > LONGEST_ID:
        raise ProtocolError(f"the node id is {len(id)} characters long, at most {LONGEST_ID} are read")
    if not id.isprintable():
        raise ProtocolError(f"node id {shorten(id)} holds characters that cannot be printed")
    parts = id.split("~")
    if len(parts) != 4:
        raise ProtocolError(
            f"node id {shorten(id)} has {len(parts)} parts; "
            "expected <type>~<ip>~<name.namespace>~<namespace>.svc.<domain>"
        )
    kind, address, name, dns = parts
    served = _TYPES.get(kind)
    if served is None:
        raise ProtocolError(
            f"node id {shorten(id)} is of type {shorten(kind)}; served are sidecar and router"
        )
    if not name:
        raise ProtocolError(f"node id {shorten(id)} has no name in its third part")
    return served, address, name, dns


def _first_label(dns: str) -> str:
    label, dot, _ = dns.partition(".")
    return label if dot else ""


def _domain(dns: str) -> str:
    _, found, domain = dns.partition(".svc.")
    return domain if found and domain else DOMAIN


def _canonical(address: str) -> str:
    return str(ipaddress.ip_address(address))


def _addresses(id: str, address: str, instance_ips: str) -> tuple[str, ...]:
    """All addresses: those of the metadata if every one is valid, else the one in the id, as Istio does."""
    listed = [part.strip() for part in instance_ips.split(",") if part.strip()]
    if listed and all(map(is_address, listed)):
        return tuple(dict.fromkeys(map(_canonical, listed)))
    if is_address(address):
        return (_canonical(address),)
    raise ProtocolError(
        f"node id {shorten(id)} has no valid IP address in its second part, nor has metadata INSTANCE_IPS"
    )


def _metadata(fields: _Fields) -> ProxyMetadata:
    mode = fields.text("INTERCEPTION_MODE") or "REDIRECT"
    if mode not in INTERCEPTION_MODES:
        raise ProtocolError(
            f"node metadata INTERCEPTION_MODE is {shorten(mode)}; allowed are {', '.join(INTERCEPTION_MODES)}"
        )
    return ProxyMetadata(
        workload_name=fields.text("WORKLOAD_NAME"),
        owner=fields.text("OWNER"),
        service_account=fields.text("SERVICE_ACCOUNT"),
        node_name=fields.text("NODE_NAME"),
        cluster_id=fields.text("CLUSTER_ID"),
        network=fields.text("NETWORK"),
        mesh_id=fields.text("MESH_ID"),
        istio_version=fields.text("ISTIO_VERSION"),
        istio_revision=fields.text("ISTIO_REVISION"),
        interception_mode=mode,
        idle_timeout=fields.text("IDLE_TIMEOUT"),
        generator=fields.text("GENERATOR"),
        http10=fields.flag("HTTP10"),
        dns_capture=fields.flag("DNS_CAPTURE"),
        dns_auto_allocate=fields.flag("DNS_AUTO_ALLOCATE"),
        unprivileged_pod=fields.flag("UNPRIVILEGED_POD"),
        http_proxy_port=fields.port("HTTP_PROXY_PORT"),
        envoy_status_port=fields.port("ENVOY_STATUS_PORT"),
        envoy_prometheus_port=fields.port("ENVOY_PROMETHEUS_PORT"),
        proxy_config=fields.json("PROXY_CONFIG"),
        auto_register_group=fields.text("AUTO_REGISTER_GROUP"),
        texts=fields.texts(),
    )


def is_true(text: str) -> bool:
    """Whether a text means yes, as Istio reads the booleans of node metadata."""
    return text.lower() in ("1", "t", "true")


class _Fields:
    """Typed reading of node metadata; null counts as absent."""

    def __init__(self, metadata: object) -> None:
        if metadata is None:
            metadata = {}
        if not isinstance(metadata, Mapping):
            raise ProtocolError(f"node metadata is {describe(metadata)}, expected a mapping")
        self._raw: Mapping[object, object] = metadata

    def text(self, key: str) -> str:
        value = self._raw.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise _wrong(key, value, "a string")
        return value

    def flag(self, key: str) -> bool:
        """Istio writes these booleans as the strings "true", "1" and the like."""
        value = self._raw.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        if isinstance(value, str) and value.lower() in ("", "0", "1", "f", "t", "false", "true"):
            return is_true(value)
        raise _wrong(key, value, "true or false")

    def port(self, key: str) -> int | None:
        value = self._raw.get(key)
        if value is None or value == "":
            return None
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 5:
            value = int(value)
        # Numbers in a Struct are doubles.
        if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 65535:
            return int(value)
        raise _wrong(key, value, "a port, 1 to 65535")

    def labels(self, key: str) -> Labels:
        value = self._raw.get(key)
        if value is None:
            return ()
        if not isinstance(value, Mapping):
            raise _wrong(key, value, "a mapping of strings to strings")
        for name, text in value.items():
            if not isinstance(name, str) or not isinstance(text, str):
                raise _wrong(key, value, "a mapping of strings to strings")
        return labels_of(value)

    def texts(self) -> str:
        found = {
            key: value for key, value in self._raw.items() if isinstance(key, str) and isinstance(value, str)
        }
        return json.dumps(found, sort_keys=True) if found else ""

    def json(self, key: str) -> str:
        value = self._raw.get(key)
        if value is None:
            return ""
        if not isinstance(value, Mapping):
            raise _wrong(key, value, "a mapping")
        try:
            return json.dumps(value, sort_keys=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise ProtocolError(f"node metadata {key} cannot be written as JSON: {error}") from error


def _wrong(key: str, value: object, expected: str) -> ProtocolError:
    return ProtocolError(f"node metadata {key} is {describe(value)}, expected {expected}")
