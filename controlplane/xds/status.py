"""The streams as /debug shows them: plain JSON values, made when somebody asks.

Names and shapes are those of Istio's debug endpoints where it has them, so that tools which read those
read these.  Private keys are never shown.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from controlplane.envoy import pb
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import (
    BY_SHORT,
    CLUSTER,
    ENDPOINT,
    EXTENSION,
    LISTENER,
    ROUTE,
    SECRET,
    TYPES,
    VIRTUAL_HOST,
)
from controlplane.xds.observer import Connection
from controlplane.xds.protocol import Subscription
from controlplane.xds.session import Session

_COLUMNS = {"cluster": "cds", "listener": "lds", "route": "rds", "endpoint": "eds"}
_ADMIN = "type.googleapis.com/envoy.admin.v3."
REDACTED = "[redacted]"
"""What is shown in place of a private key."""


class Served(Protocol):
    """A stream, as far as its status goes."""

    @property
    def connection(self) -> Connection: ...

    @property
    def session(self) -> Session: ...


def find(streams: Iterable[Served], proxy: str) -> Served | None:
    """The newest stream of a proxy, named by connection, by name and namespace, or by its name alone."""
    found: tuple[int, Served | None] = (0, None)
    for one in streams:
        names = (one.connection.proxy.name, one.connection.proxy.id, one.connection.id)
        fits = names.index(proxy) + 1 if proxy in names else 0
        if fits and fits >= found[0]:
            found = (fits, one)
    return found[1]


def syncz(streams: Iterable[Served], epoch: float) -> Iterator[dict[str, Any]]:
    """How far each proxy is; `sent` and `acked` are nonces, equal when it is in sync.

    `epoch` is wall clock minus monotonic clock, in seconds.
    """
    for one in streams:
        proxy = one.connection.proxy
        subs = one.session.subscriptions
        item: dict[str, Any] = {
            "cluster_id": proxy.metadata.cluster_id,
            "proxy": proxy.id,
            "connection": one.connection.id,
            "proxy_type": proxy.type,
            "istio_version": proxy.metadata.istio_version,
            "protocol": one.session.variant.value,
        }
        for column, short in _COLUMNS.items():
            sub = subs.get(BY_SHORT[short].url)
            item[f"{column}_sent"] = sub.nonce if sub else ""
            item[f"{column}_acked"] = sub.acked if sub else ""
        item["extensionconfig_sent"] = item["extensionconfig_acked"] = ""
        item["resources"] = {url: _sync(subs[url], epoch) for url in sorted(subs)}
        yield item


def _sync(sub: Subscription, epoch: float) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "sent": sub.nonce,
        "acked": sub.acked,
        "sentTime": _time(sub.sent_at + epoch) if sub.nonce else "",
        "lastError": last_error(sub),
    }
    if sub.rejected:
        shown["rejected"] = {name: sub.rejected[name].error for name in sorted(sub.rejected)}
    if sub.leaving:
        shown["leaving"] = sorted(sub.leaving)
    return shown


def last_error(sub: Subscription) -> str:
    """Why the last response was rejected, or why a resource is still held back; "" when all is well."""
    return sub.error or next((sub.rejected[name].error for name in sorted(sub.rejected)), "")


def connections(streams: Iterable[Served], epoch: float) -> dict[str, Any]:
    """Who is connected."""
    clients = [
        {
            "connectionId": one.connection.id,
            "connectedAt": _time(one.connection.connected_at + epoch),
            "address": one.connection.peer,
            "identity": _identity(one),
        }
        for one in streams
    ]
    return {"totalClients": len(clients), "clients": clients}


def _identity(one: Served) -> str:
    identity = one.connection.proxy.identity
    return "" if identity is None else identity.spiffe


def adsz(streams: Iterable[Served], epoch: float) -> dict[str, Any]:
    """Who is connected, as what, and watches what; a wildcard is an empty list."""
    clients = []
    for one in streams:
        proxy = one.connection.proxy
        clients.append(
            {
                "connectionId": one.connection.id,
                "connectedAt": _time(one.connection.connected_at + epoch),
                "address": one.connection.peer,
                "protocol": one.session.variant.value,
                "labels": dict(proxy.labels),
                "metadata": {
                    "NAMESPACE": proxy.namespace,
                    "WORKLOAD_NAME": proxy.metadata.workload_name,
                    "SERVICE_ACCOUNT": proxy.metadata.service_account,
                    "CLUSTER_ID": proxy.metadata.cluster_id,
                    "ISTIO_VERSION": proxy.metadata.istio_version,
                },
                "locality": str(proxy.locality),
                "watches": {
                    url: sorted(sub.interest.names) for url, sub in sorted(one.session.subscriptions.items())
                },
            }
        )
    return {"totalClients": len(clients), "clients": clients}


def push_status(streams: Iterable[Served]) -> dict[str, Any]:
    """All proxies together: by type how many are in sync, and every rejection that stands."""
    types = {spec.short: {"synced": 0, "waiting": 0, "rejecting": 0} for spec in TYPES}
    rejections = []
    proxies = 0
    for one in streams:
        proxies += 1
        for url in sorted(one.session.subscriptions):
            sub = one.session.subscriptions[url]
            error = last_error(sub)
            state = "rejecting" if error else "waiting" if sub.pending or sub.changed else "synced"
            types[sub.spec.short][state] += 1
            if error:
                rejections.append(
                    {
                        "proxy": one.connection.proxy.id,
                        "connection": one.connection.id,
                        "type": sub.spec.short,
                        "names": sorted(sub.rejected),
                        "error": error,
                    }
                )
    return {"proxies": proxies, "types": types, "rejections": rejections}


def config_dump(one: Served, types: Iterable[str] = ()) -> dict[str, Any]:
    """What a proxy was sent and has, in the form of Envoy's own dump; `types` are short names (none: all)."""
    wanted = frozenset(types)
    sections = []
    for spec in TYPES:
        sub = one.session.subscriptions.get(spec.url)
        if sub is None or (wanted and spec.short not in wanted):
            continue
        kind, items, field, wrap = _SECTIONS[spec.url]
        found = sub.holds()
        shown = [_item(found[name], field, wrap) for name in sorted(found)]
        sections.append({"@type": _ADMIN + kind, items: shown})
    return {"configs": sections}


# By type: message of Envoy's admin API, its list, the field of one item, the field around that if any.
_SECTIONS = {
    CLUSTER: ("ClustersConfigDump", "dynamic_active_clusters", "cluster", ""),
    ENDPOINT: ("EndpointsConfigDump", "dynamic_endpoint_configs", "endpoint_config", ""),
    SECRET: ("SecretsConfigDump", "dynamic_active_secrets", "secret", ""),
    LISTENER: ("ListenersConfigDump", "dynamic_listeners", "listener", "active_state"),
    ROUTE: ("RoutesConfigDump", "dynamic_route_configs", "route_config", ""),
    # Envoy has no message for them alone: each is shown within the route configuration that it is part of.
    VIRTUAL_HOST: ("RoutesConfigDump", "dynamic_route_configs", "route_config", ""),
    EXTENSION: ("EcdsConfigDump", "ecds_filters", "ecds_filter", ""),
}


def _item(found: Resource, field: str, wrap: str) -> dict[str, Any]:
    inner = {"version_info": found.version, field: _in_its_place(found)}
    if wrap:
        return {"name": found.name, wrap: inner}
    return {"name": found.name, **inner} if found.type_url == SECRET else inner


def _in_its_place(found: Resource) -> dict[str, Any]:
    shown = decoded(found)
    if found.type_url != VIRTUAL_HOST:
        return shown
    hosts = [{key: value for key, value in shown.items() if key != "@type"}]
    return {"@type": ROUTE, "name": found.name.partition("/")[0], "virtual_hosts": hosts}


def decoded(found: Resource) -> dict[str, Any]:
    """A resource as JSON; one that this program cannot decode as base64."""
    packed = pb.any_pb2.Any(type_url=found.type_url, value=found.body)
    try:
        shown: dict[str, Any] = MessageToDict(packed, preserving_proto_field_name=True)
    except (TypeError, DecodeError):
        if found.type_url == SECRET:
            return {"@type": found.type_url, "value": REDACTED}
        return {"@type": found.type_url, "value": base64.b64encode(found.body).decode()}
    return _redact(shown) if found.type_url == SECRET else shown


def _redact(secret: dict[str, Any]) -> dict[str, Any]:
    """Certificates are public; everything else in a secret is not."""
    open_fields = ("@type", "name", "validation_context")
    shown: dict[str, Any] = {key: secret[key] for key in open_fields if key in secret}
    certificate = secret.get("tls_certificate")
    if certificate is not None:
        shown["tls_certificate"] = {
            "certificate_chain": certificate.get("certificate_chain", {}),
            "private_key": REDACTED,
        }
    for key in ("session_ticket_keys", "generic_secret"):
        if key in secret:
            shown[key] = REDACTED
    return shown


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
