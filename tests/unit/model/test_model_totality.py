"""Parsing is total and a function of the object: no input raises, and equal objects give equal values."""

from __future__ import annotations

import copy
import json
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from model_objects import WHERE, build

from controlplane.model.kinds import BY_NAME, KINDS, Kind, Parsed
from tests.support.pairs import key_text, pair

CHAIN, KEY = pair()[0], key_text(pair()[1])
POLICY = """
loadBalancer:
  consistentHash: {httpCookie: {name: c, ttl: 1s, attributes: [{name: a, value: b}]}, maglev: {tableSize: 7}}
  localityLbSetting: {failover: [{from: a, to: b}], failoverPriority: [x], distribute: []}
  zoneAwareLbSetting: {failover: [{from: a, to: b}], minClusterSize: 3}
  warmup: {duration: 1s, minimumPercent: 1, aggression: 2}
connectionPool:
  tcp: {maxConnections: 1, connectTimeout: 1s, tcpKeepalive: {probes: 1, time: 1s}, idleTimeout: 1s}
  http: {http1MaxPendingRequests: 1, h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 1s}, maxRetries: 2}
outlierDetection: {consecutive5xxErrors: 1, interval: 1s, outlierDetectionHttpErrorCodes: [500]}
tls: {mode: SIMPLE, caCertificates: c, subjectAltNames: [a]}
portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]
tunnel: {targetHost: a, targetPort: 1}
proxyProtocol: {version: V1}
retryBudget: {percent: 1, budgetInterval: 1s}
"""
SPECS = {
    "VirtualService": """
hosts: [a.com]
gateways: [mesh, ns/gw]
exportTo: [.]
http:
- name: r
  match:
  - {uri: {prefix: /}, headers: {h: {exact: v}}, queryParams: {q: {regex: x}}, withoutHeaders: {w: {}},
     port: 80, sourceLabels: {a: b}, gateways: [mesh], sourceNamespace: n, ignoreUriCase: true}
  route: [{destination: {host: a, subset: s, port: {number: 80}}, weight: 1, headers: {response: {}}}]
  mirror: {host: m}
  mirrorPercentage: {value: 5}
  fault: {delay: {fixedDelay: 1s, percentage: {value: 1}}, abort: {httpStatus: 500, percentage: {value: 1}}}
  retries: {attempts: 1, perTryTimeout: 1s, retryOn: 5xx, backoff: 1s}
  rewrite: {uriRegexRewrite: {match: a, rewrite: b}}
  corsPolicy: {allowOrigins: [{exact: a}], allowMethods: [GET], maxAge: 1s, allowCredentials: true}
  headers: {response: {remove: [x], add: {y: z}}}
  timeout: 1s
- redirect: {uri: /, redirectCode: 302, port: 80, scheme: https}
- directResponse: {status: 200, body: {bytes: AAE=}}
- delegate: {name: d, namespace: n}
tls: [{match: [{sniHosts: [a.com], destinationSubnets: [10.0.0.0/8]}], route: [{destination: {host: a}}]}]
tcp: [{match: [{port: 1, sourceLabels: {a: b}}], route: [{destination: {host: a}, weight: 2}]}]
""",
    "DestinationRule": f"""
host: a
exportTo: [n]
workloadSelector: {{matchLabels: {{a: b}}}}
trafficPolicy: {json.dumps(yaml.safe_load(POLICY))}
subsets: [{{name: v, labels: {{a: b}}, trafficPolicy: {{tls: {{mode: DISABLE}}}}}}]
""",
    "Gateway": """
selector: {a: b}
servers:
- {port: {number: 443, protocol: HTTPS, name: s, targetPort: 1}, hosts: ["./a.com", "*"],
   bind: 10.0.0.1, name: n, defaultEndpoint: e,
   tls: {mode: MUTUAL, credentialName: c, minProtocolVersion: TLSV1_2, cipherSuites: [x],
   ecdhCurves: [y], subjectAltNames: [z],
   verifyCertificateHash: ['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'],
   insecureSkipVerify: true}}
- {port: {number: 80, protocol: HTTP, name: p}, hosts: ["*"], tls: {httpsRedirect: true}}
""",
    "ProxyConfig": """
selector: {matchLabels: {a: b}}
concurrency: 2
environmentVariables: {ISTIO_META_A: b, TZ: c}
image: {imageType: distroless}
""",
    "ServiceEntry": """
hosts: [a.com]
addresses: [10.0.0.0/8]
ports: [{number: 80, name: http, protocol: HTTP, targetPort: 81}]
location: MESH_INTERNAL
resolution: STATIC
endpoints: [{address: 10.0.0.1, ports: {http: 1}, labels: {a: b}, network: n, locality: l, weight: 1}]
exportTo: [.]
subjectAltNames: [s]
""",
    "WorkloadEntry": "{address: 10.0.0.1, ports: {a: 1}, labels: {a: b}, weight: 1, serviceAccount: s}",
    "WorkloadGroup": """
metadata: {labels: {a: b}, annotations: {c: d}}
template: {ports: {a: 1}, labels: {a: b}, network: n, locality: r/z, weight: 1, serviceAccount: s}
probe: {initialDelaySeconds: 1, httpGet: {path: /, host: h, port: 80, httpHeaders: [{name: a, value: b}]}}
""",
    "Sidecar": """
workloadSelector: {labels: {a: b}}
ingress:
- {port: {number: 80, protocol: HTTP}, bind: 0.0.0.0, defaultEndpoint: "127.0.0.1:80",
   tls: {mode: SIMPLE, tlsCertificates: [{serverCertificate: a}]}, connectionPool: {tcp: {maxConnections: 1}}}
egress: [{hosts: [./*, a/b.com], port: {number: 80}, bind: 127.0.0.1}]
outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a, port: {number: 1}}}
inboundConnectionPool: {http: {maxRetries: 1}}
""",
    "EnvoyFilter": """
workloadSelector: {labels: {a: b}}
priority: -1
configPatches:
- applyTo: HTTP_FILTER
  match:
    context: SIDECAR_INBOUND
    proxy: {proxyVersion: "^1", metadata: {a: b}}
    listener:
      name: l
      portNumber: 80
      listenerFilter: f
      filterChain:
        {name: c, sni: s, transportProtocol: tls, applicationProtocols: "h2,h3", destinationPort: 1,
        transportSocket: t,
        filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: r}}}
  patch: {operation: ADD, filterClass: AUTHN, value: {name: x, typed_config: {"@type": a/b}}}
- applyTo: HTTP_ROUTE
  match: {routeConfiguration: {name: r, portNumber: 1, portName: p, gateway: a/b,
    vhost: {name: v, domainName: d, route: {name: r, action: ROUTE}}}}
  patch: {operation: REMOVE}
- applyTo: CLUSTER
  match: {cluster: {name: c, service: s, subset: v, portNumber: 1}}
  patch: {operation: MERGE, value: {a: 1}}
""",
    "RequestAuthentication": """
selector: {matchLabels: {a: b}}
jwtRules:
- {issuer: i, audiences: [a], jwksUri: "https://a.com/keys", timeout: 1s, presence: REQUIRED,
   fromHeaders: [{name: x-token, prefix: "Bearer "}], fromParams: [p], fromCookies: [c],
   outputPayloadToHeader: x-payload, outputClaimToHeaders: [{header: x-sub, claim: sub}],
   forwardOriginalToken: true, spaceDelimitedClaims: [roles]}
- {issuer: j, jwks: '{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}'}
- {issuer: "https://k.com", jwks_uri: "http://k.com:81/keys"}
targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: g, namespace: n}]
targetRef: {kind: Gateway, name: g}
""",
    "AuthorizationPolicy": """
selector: {matchLabels: {a: b}}
targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: g}]
action: CUSTOM
provider: {name: p}
rules:
- from:
  - source: {principals: [cluster.local/ns/a/sa/b], notPrincipals: ["*"], requestPrincipals: ["i/*"],
      notRequestPrincipals: [i/s], namespaces: [a, "b*"], notNamespaces: [c], trustDomains: [t],
      notTrustDomains: ["*.t"], ipBlocks: [10.0.0.0/8], notIpBlocks: ["::1"], remoteIpBlocks: [1.2.3.4],
      notRemoteIpBlocks: [1.2.3.0/24]}
  - source: {serviceAccounts: [a/b, c], notServiceAccounts: [d]}
  to:
  - operation: {hosts: [a.com, "*.b.com"], notHosts: [c.com], ports: ["80"], notPorts: ["81"], methods: [GET],
      notMethods: [P*], paths: [/a, "/b/{*}/{**}"], notPaths: ["*"]}
  when:
  - {key: "request.headers[x]", values: [a], notValues: ["b*"]}
  - {key: "request.auth.claims[a][b]", values: [c]}
  - {key: destination.port, values: ["80"]}
  - {key: source.ip, notValues: [10.0.0.1]}
- {}
""",
    "PeerAuthentication": """
selector: {matchLabels: {a: b}}
mtls: {mode: STRICT}
portLevelMtls: {8080: {mode: DISABLE}, "80": {mode: UNSET}}
""",
    "MeshConfig": """
outboundTrafficPolicy: {mode: ALLOW_ANY}
inboundTrafficPolicy: {mode: LOCALHOST}
connectTimeout: 1s
tcpKeepalive: {time: 1s}
defaultServiceExportTo: ["*"]
rootNamespace: r
trustDomain: t
enableAutoMtls: true
accessLogFile: f
defaultHttpRetryPolicy: {attempts: 1}
localityLbSetting: {enabled: true}
discoverySelectors: [{matchLabels: {a: b}, matchExpressions: [{key: k, operator: In, values: [v]}]}]
defaultConfig: {concurrency: 1, proxyMetadata: {a: b}, drainDuration: 1s}
extensionProviders: []
""",
    "Service": """
spec:
  type: ClusterIP
  clusterIP: 10.0.0.1
  clusterIPs: [10.0.0.1]
  selector: {a: b}
  ports: [{name: http, port: 80, targetPort: 80, appProtocol: http}, {name: x, port: 81, targetPort: web}]
""",
    "EndpointSlice": """
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}, nodeName: n, targetRef: {kind: Pod, name: p}}]
""",
    "Endpoints": """
subsets: [{addresses: [{ip: 10.0.0.1, targetRef: {kind: Pod}}], notReadyAddresses: [], ports: [{port: 80}]}]
""",
    "Pod": """
spec: {serviceAccountName: s, nodeName: n, containers: [{name: a, ports: [{name: p, containerPort: 80}]}]}
status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}], conditions: [{type: Ready, status: "True"}]}
""",
    "Node": "status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}",
    "Namespace": "{}",
    "ServiceAccount": "{}",
    "Secret": json.dumps(
        {
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": b64encode(CHAIN).decode(), "tls.key": b64encode(KEY).decode()},
            "stringData": {"ca.crt": CHAIN.decode(), "key": "x"},
        }
    ),
}
NASTY = (
    None,
    True,
    0,
    -1,
    2**64,
    16**5000,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "*",
    "(",
    "-5s",
    "10.0.0.300",
    "\ud800",
    "a\x00\nb",
    "x" * 5000,
    [],
    [None],
    [[]],
    {},
    {"a": None},
    {"": {}},
    {1: 2, None: 3},
    {"\ud800": []},
    object(),
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([value for value in NASTY if isinstance(value, str)])
)
trees = st.recursive(
    scalars,
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=12,
)


def example(kind: Kind) -> dict[str, Any]:
    """A copy of it, to be spoiled; reading YAML for each would take most of the time."""
    return copy.deepcopy(_example(kind))


@cache
def _example(kind: Kind) -> dict[str, Any]:
    return build(
        kind.name,
        yaml.safe_load(SPECS[kind.name]),
        labels={"kubernetes.io/service-name": "a"},
        annotations={"k": "v"},
        creationTimestamp="2024-01-01T00:00:00Z",
    )


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) of a tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in items:
        yield tree, key
        yield from places(child)


def check(parsed: Parsed) -> None:
    """What holds of every outcome: a value or an error, hashable, and Problems that can be served."""
    errors = [problem for problem in parsed.problems if problem.level == "error"]
    assert (parsed.value is None) == bool(errors)
    hash(parsed.value)
    for problem in parsed.problems:
        assert problem.message
        json.dumps(problem.as_json(), ensure_ascii=False).encode()
        assert all(
            text.isprintable()
            for text in (problem.field, problem.message, problem.remedy, problem.namespace, problem.name)
        )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_examples_are_rich_and_not_refused_for_their_types(kind: Kind) -> None:
    problems = kind.parse(example(kind), WHERE).problems
    assert not [
        problem for problem in problems if "expected" in problem.message or "known" in problem.message
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_part_of_an_object_may_be_anything(kind: Kind) -> None:
    raw = example(kind)
    for container, key in list(places(raw)):
        saved = container[key]
        for value in NASTY:
            container[key] = value
            check(kind.parse(raw, WHERE))
        container[key] = saved


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_tree_in_any_place_is_survived(kind: Kind, data: st.DataObject) -> None:
    raw = example(kind)
    check(kind.parse(data.draw(trees), WHERE))
    spots = list(places(raw))
    if spots:
        container, key = data.draw(st.sampled_from(spots))
        container[key] = data.draw(trees)
    check(kind.parse(raw, WHERE))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_equal_objects_give_equal_outcomes(kind: Kind, data: st.DataObject) -> None:
    raw = example(kind)
    spots = list(places(raw))
    if spots:
        container, key = data.draw(st.sampled_from(spots))
        container[key] = data.draw(st.none() | st.text(max_size=5) | st.integers(0, 80) | st.just([]))
    before = copy.deepcopy(raw)
    first = kind.parse(raw, WHERE)
    assert raw == before
    # The order of a mapping's keys means nothing.
    second = kind.parse(reordered(raw), WHERE)
    assert first.value == second.value
    assert hash(first.value) == hash(second.value)
    assert sorted(map(repr, first.problems)) == sorted(map(repr, second.problems))


def reordered(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: reordered(tree[key]) for key in reversed(list(tree))}
    return [reordered(item) for item in tree] if isinstance(tree, list) else tree


def test_an_object_that_contains_itself_is_survived() -> None:
    loop: dict[str, Any] = {"apiVersion": "networking.istio.io/v1", "metadata": {"name": "it"}}
    loop["spec"] = loop
    loop["http"] = loop["match"] = [loop]
    for kind in KINDS:
        check(kind.parse(loop, WHERE))


def test_one_mistake_leaves_the_other_objects_alone() -> None:
    good = BY_NAME["DestinationRule"].parse(build("DestinationRule", {"host": "a"}), WHERE)
    bad = BY_NAME["DestinationRule"].parse(build("DestinationRule", {"host": 1}), WHERE)
    assert good.value is not None
    assert good.problems == ()
    assert bad.value is None
