"""What Istio's MeshConfig and ProxyConfig have that means nothing here: why, and what to do instead.

These fields are for parts that do not exist here (an agent beside Envoy, a Kubernetes Ingress, other
clusters), or for what is said elsewhere: how an Envoy starts is written in its bootstrap, which it has
before anybody can tell it anything.  Each is named where it is given, unless what it says is so anyway.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.model.reader import Reader


class Absent(NamedTuple):
    """Why a field has no effect and what to do; `harmless` are values that say what is so anyway."""

    why: str
    remedy: str
    harmless: tuple[object, ...] = ()


_NO_SPANS = "proxies send no spans"
_TRACING = "add the tracer with an EnvoyFilter, or let applications send their spans"
_NO_AGENT = "no agent stands beside Envoy"
_ONE_CLUSTER = "there is one cluster, and all services are its own"
_INGRESS = Absent("Ingress objects are not read", "write a Gateway and a VirtualService")
_OWN_LOG = "use accessLogFile, accessLogFormat and accessLogEncoding"
_NO_COLLECTOR = "access logs are written to a file"

MESH: dict[str, Absent] = {
    "ca": Absent("the control plane signs certificates itself", "plug in a CA with --root-ca-dir"),
    "caCertificates": Absent(
        "what proxies believe comes with the CA", "put more roots into root-cert.pem of --root-ca-dir"
    ),
    "certificates": Absent(
        "the control plane makes no certificates for DNS names", "make the Secret with a tool for it"
    ),
    "configSources": Absent("sources are settings of the process", "use --config-dir or --docker-host"),
    "enableEnvoyAccessLogService": Absent(_NO_COLLECTOR, _OWN_LOG, (False,)),
    "enablePrometheusMerge": Absent(
        _NO_AGENT,
        "scrape Envoy at port 15090 and the application at its own port",
        (False,),
    ),
    "enableTracing": Absent(_NO_SPANS, _TRACING, (False,)),
    "hboneIdleTimeout": Absent("there are sidecars and gateways, and no HBONE between them", "remove it"),
    "ingressClass": _INGRESS,
    "ingressControllerMode": Absent(*_INGRESS[:2], ("OFF", "UNSPECIFIED")),
    "ingressSelector": _INGRESS,
    "ingressService": _INGRESS,
    "serviceScopeConfigs": Absent(_ONE_CLUSTER, "remove it"),
    "serviceSettings": Absent(_ONE_CLUSTER, "remove it"),
}
"""Fields of MeshConfig."""

OUTBOUND: dict[str, Absent] = {
    "tls": Absent(
        "what nobody has registered is sent as the application sent it",
        "write a ServiceEntry with resolution DYNAMIC_DNS, and a DestinationRule with tls for it",
    ),
}
"""Fields of outboundTrafficPolicy."""

PROXIES: dict[str, Absent] = {
    "availabilityZone": Absent("it is the zone of the locality", "use bootstrap --locality"),
    "binaryPath": Absent(_NO_AGENT, "start the Envoy that you mean"),
    "caCertificatesPem": Absent(
        "what proxies believe comes with the CA", "put more roots into root-cert.pem of --root-ca-dir"
    ),
    "configPath": Absent(_NO_AGENT, "use bootstrap --out"),
    "controlPlaneAuthPolicy": Absent("it is the bootstrap that says so", "use bootstrap --root-file"),
    "customConfigFile": Absent(_NO_AGENT, "start Envoy with that file"),
    "discoveryAddress": Absent(
        "it is the bootstrap that says so",
        "use bootstrap --xds-address",
        ("istiod.istio-system.svc:15012",),
    ),
    "discoveryRefreshDelay": Absent("changes are pushed, and not asked for", "use --debounce-after"),
    "envoyAccessLogService": Absent(_NO_COLLECTOR, _OWN_LOG),
    "envoyMetricsService": Absent("Envoy is scraped", "use port 15090 of each proxy"),
    "envoyMetricsServiceAddress": Absent("Envoy is scraped", "use port 15090 of each proxy"),
    "extraStatTags": Absent("proxies make no metrics of Istio's own", "remove it"),
    "holdApplicationUntilProxyStarts": Absent(
        _NO_AGENT, "let the application wait for port 15021 to be ready", (False,)
    ),
    "image": Absent("no proxies are injected", "name the image where the container is started"),
    "privateKeyProvider": Absent("keys are handed out by SDS", "remove it"),
    "proxyBootstrapTemplatePath": Absent(_NO_AGENT, "use bootstrap, and edit what it writes"),
    "readinessProbe": Absent(
        "no agent looks after the application", "let Kubernetes or Docker probe the application itself"
    ),
    "sds": Absent("certificates always come by SDS", "remove it"),
    "serviceCluster": Absent("it is the label app and the namespace", "set the label app"),
    "statNameLength": Absent("Envoy knows no such limit any more", "remove it", (189,)),
    "statsCompression": Absent(_NO_AGENT, "compress where the statistics are collected"),
    "statsdUdpAddress": Absent("Envoy is scraped", "use port 15090 of each proxy"),
    "statusPort": Absent(_NO_AGENT, "ask port 15021 whether a proxy is ready", (15020,)),
    "terminationDrainDuration": Absent(
        _NO_AGENT, "give the container time to stop, and drain Envoy by its admin port", ("5s",)
    ),
    "tracing": Absent(_NO_SPANS, _TRACING),
    "tracingServiceName": Absent(_NO_SPANS, _TRACING),
    "zipkinAddress": Absent(_NO_SPANS, _TRACING),
}
"""Fields of ProxyConfig, MeshConfig's defaultConfig."""

PROVIDERS: dict[str, Absent] = {
    "datadog": Absent(_NO_SPANS, _TRACING),
    "envoyHttpAls": Absent(_NO_COLLECTOR, _OWN_LOG),
    "envoyOtelAls": Absent(_NO_COLLECTOR, _OWN_LOG),
    "envoyTcpAls": Absent(_NO_COLLECTOR, _OWN_LOG),
    "lightstep": Absent(_NO_SPANS, _TRACING),
    "opencensus": Absent(_NO_SPANS, _TRACING),
    "opentelemetry": Absent(_NO_SPANS, _TRACING),
    "prometheus": Absent("statistics are always there to be scraped", "use port 15090 of each proxy", ({},)),
    "sds": Absent("certificates come from the control plane alone", "make Secrets of them"),
    "skywalking": Absent(_NO_SPANS, _TRACING),
    "stackdriver": Absent(_NO_SPANS, _TRACING),
    "zipkin": Absent(_NO_SPANS, _TRACING),
}
"""Kinds of extensionProviders."""

DEFAULT_PROVIDERS: dict[str, Absent] = {
    "tracing": Absent(_NO_SPANS, _TRACING, ([],)),
    "metrics": Absent(
        "statistics are always there to be scraped", "use port 15090 of each proxy", ([], ["prometheus"])
    ),
}
"""Fields of defaultProviders, which name those that are used unasked."""


def note_absent(r: Reader, fields: dict[str, Absent]) -> None:
    """Accept these fields, and say of those that are given why they have no effect."""
    for name, absent in fields.items():
        value = r.value(name)
        if value is not None and value not in absent.harmless:
            r.warn(name, f"has no effect: {absent.why}", absent.remedy)
