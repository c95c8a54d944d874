"""The border: who gets in at the ingress gateway, and what gets out, past the mesh or by the egress gateway.

    visitor ──► ingress ──► shop.shop:80, till.shop:8443 (speaks TLS itself)
    client  ──► (egress) ──► edition.cnn.com (203.0.113.10) in a namespace of its own, found by a name server

The server outside has an authority of its own, and knows nothing of the mesh.
"""

from __future__ import annotations

import json
import ssl
from collections import Counter
from collections.abc import Iterator

import pytest

from controlplane.lab.fetch import Target, connect
from controlplane.lab.pod_spec import App, PodSpec
from controlplane.lab.pods import Lab
from tests.support.chances import likely
from tests.support.envoys import MARKS, scenes
from tests.support.servers import Issuer, Pair
from tests.support.town import ECHO, Resident, Town, outside, pod, web

pytestmark = MARKS

ISSUER, OTHERS = Issuer(), Issuer("others")
CNN, OTHER, NAMES = "203.0.113.10", "203.0.113.11", "10.244.0.2"
INGRESS, EGRESS = "10.244.0.20", "10.244.0.21"
NEWS = ISSUER.issue("edition.cnn.com")
TILL = ISSUER.issue("till.example.com")
FOREIGN = "another's certificate"
KNOWN = {"edition.cnn.com": [CNN], "other.example.com": [OTHER]}

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: shop}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: till, namespace: shop}
spec: {clusterIP: 10.96.0.11, selector: {app: till}, ports: [{name: tls, port: 8443}]}
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  clusterIP: 10.96.0.20
  selector: {istio: ingressgateway}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: https, port: 443, targetPort: 8443}
  - {name: tcp, port: 31400}
---
apiVersion: v1
kind: Service
metadata: {name: istio-egressgateway, namespace: istio-system}
spec:
  clusterIP: 10.96.0.21
  selector: {istio: egressgateway}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: https, port: 443, targetPort: 8443}]
"""


def gateway(name: str, ip: str) -> Resident:
    labels = {"istio": f"{name}gateway"}
    return Resident(PodSpec(name, "istio-system", ip, labels, name, kind="router", nameservers=(NAMES,)))


def secrets(*found: tuple[str, Pair, bytes]) -> str:
    return "".join(pair.secret(name, "istio-system", authorities) for name, pair, authorities in found)


def build(lab: Lab) -> Town:
    files = {}
    for name, pair in (("news", NEWS), ("till", TILL)):
        files[name] = lab.directory / f"{name}.pem"
        files[name].write_bytes(pair.chain + pair.key)
        files[name].chmod(0o644)
    names = App(ECHO / "names.py", ("53", json.dumps(KNOWN)))
    client = pod("client", "shop", 10)
    return Town(
        lab,
        (
            Resident(PodSpec("names", "kube-system", NAMES, app=names), meshed=False),
            Resident(
                PodSpec("client", "shop", client.spec.ip, {"app": "client"}, "client", nameservers=(NAMES,))
            ),
            pod("shop-v1", "shop", 11, web("shop-v1", 80), app="shop", version="v1"),
            pod("shop-v2", "shop", 12, web("shop-v2", 80), meshed=False, app="shop", version="v2"),
            pod("till", "shop", 13, web("till", 8443, pem=files["till"]), meshed=False),
            gateway("ingress", INGRESS),
            gateway("egress", EGRESS),
            outside("visitor", 99, web("visitor", 80)),
            outside("other", 11, web("other", 80)),
            Resident(PodSpec("news", "outside", CNN, app=web("news", 443, pem=files["news"])), False, ""),
        ),
        OBJECTS,
    )


town = scenes(build)


@pytest.fixture(autouse=True)
def peaceful(town: Town) -> Iterator[None]:
    yield
    town.accepted()
    town.mesh("")
    town.apply()


# -- TLS ------------------------------------------------------------------------------------------------


def secure(
    town: Town, who: str, where: str, host: str, *, port: int = 443, shows: Pair | None = None, key: str = "-"
) -> str:
    """Who answers a request over TLS; "" where it is refused, FOREIGN where the certificate is another's."""
    context = ssl.create_default_context(cadata=ISSUER.certificate.decode())
    if shows is not None:
        own = town.lab.directory / "own.pem"
        own.write_bytes(shows.chain + shows.key)
        context.load_cert_chain(own)
    try:
        with (
            connect(Target(town.lab.pods[who].netns, where, port), 5.0) as raw,
            context.wrap_socket(raw, server_hostname=host) as wrapped,
        ):
            head = f"GET / HTTP/1.1\r\nHost: {host}\r\nx-key: {key}\r\nConnection: close\r\n\r\n"
            wrapped.sendall(head.encode())
            answer = b"".join(iter(lambda: wrapped.recv(4096), b"")).decode()
    except ssl.SSLCertVerificationError:
        return FOREIGN
    except OSError:
        return ""
    found = [line.partition(": ")[2] for line in answer.splitlines() if line.startswith("x-server: ")]
    return found[0] if found else answer.split(" ")[1]


# -- in -------------------------------------------------------------------------------------------------

SHOP = """---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [shop.example.com]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop, namespace: shop}
spec: {host: shop, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [shop]
  http:
  - match: [{uri: {prefix: /buy}}]
    route: [{destination: {host: shop, subset: v1}}]
  - match: [{uri: {prefix: /look}}]
    route:
    - {destination: {host: shop, subset: v1}, weight: 75}
    - {destination: {host: shop, subset: v2}, weight: 25}
"""


def test_requests_come_in_by_host_and_path_and_in_shares(town: Town) -> None:
    town.apply(SHOP)
    how = {"host": "shop.example.com", "port": 8080}
    town.becomes({"shop-v1": 10}, lambda: town.servers(10, "visitor", INGRESS, "/buy", **how))
    found = town.servers(300, "visitor", INGRESS, "/look", **how)
    assert sum(found.values()) == 300 and likely(found["shop-v2"], 300, 0.25), found
    assert town.call("visitor", INGRESS, "/else", **how).status == 404
    assert town.call("visitor", INGRESS, "/buy", host="nobody.example.com", port=8080).status == 404
    # The gateway shows who it is to who has a sidecar; and tells whence the request came.
    got = town.call("visitor", INGRESS, "/buy", **how).body["headers"]
    assert "URI=spiffe://cluster.local/ns/istio-system/sa/ingress" in got["x-forwarded-client-cert"]
    assert got["x-forwarded-for"] == "203.0.113.99"


def test_https_for_everybody_and_for_those_with_a_certificate(town: Town) -> None:
    pair, visitor, stranger = ISSUER.issue("shop.example.com"), OTHERS.issue("me"), ISSUER.issue("me")
    town.apply(
        secrets(("shop-tls", pair, b""), ("shop-mutual", pair, OTHERS.certificate))
        + SHOP.replace(
            "protocol: HTTP}", "protocol: HTTPS}\n    tls: {mode: SIMPLE, credentialName: shop-tls}"
        )
        .replace("number: 80", "number: 443")
        .replace("http:\n  - match", "http:\n  - route: [{destination: {host: shop, subset: v1}}]\n  - match")
    )
    town.becomes("shop-v1", lambda: secure(town, "visitor", INGRESS, "shop.example.com", port=8443))
    town.apply(
        secrets(("shop-mutual", pair, OTHERS.certificate))
        + SHOP.replace(
            "protocol: HTTP}", "protocol: HTTPS}\n    tls: {mode: MUTUAL, credentialName: shop-mutual}"
        )
        .replace("number: 80", "number: 443")
        .replace("http:\n  - match", "http:\n  - route: [{destination: {host: shop, subset: v1}}]\n  - match")
    )

    def by(shown: Pair | None) -> str:
        return secure(town, "visitor", INGRESS, "shop.example.com", port=8443, shows=shown)

    town.becomes("", lambda: by(None))
    assert (by(visitor), by(stranger)) == ("shop-v1", "")


def test_tls_is_passed_on_by_its_name(town: Town) -> None:
    town.apply("""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: till, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: tls, protocol: TLS}
    tls: {mode: PASSTHROUGH}
    hosts: [till.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: till, namespace: shop}
spec:
  hosts: [till.example.com]
  gateways: [till]
  tls:
  - match: [{port: 443, sniHosts: [till.example.com]}]
    route: [{destination: {host: till, port: {number: 8443}}}]
""")
    # With the application's own certificate.
    town.becomes("till", lambda: secure(town, "visitor", INGRESS, "till.example.com", port=8443))
    assert secure(town, "visitor", INGRESS, "shop.example.com", port=8443) == ""


# -- out ------------------------------------------------------------------------------------------------

REGISTRY_ONLY = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n"
OTHER_ENTRY = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: other, namespace: shop}
spec:
  hosts: [other.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
"""
# As in the fourth of the seeds.
CNN_ENTRY = """---
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: {name: cnn, namespace: shop}
spec:
  hosts: [edition.cnn.com]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
"""


def test_only_what_is_registered_is_reached(town: Town) -> None:
    def reached() -> tuple[str, str]:
        over_http = town.call("client", OTHER, host="other.example.com", headers={"x-key": "registry"})
        return over_http.server or str(over_http.status), secure(town, "client", CNN, "edition.cnn.com")

    assert reached() == ("other", "news")
    town.mesh(REGISTRY_ONLY)
    town.becomes(("502", ""), reached)
    town.apply(OTHER_ENTRY)
    town.becomes(("other", ""), reached)
    town.apply(CNN_ENTRY)
    town.becomes(("502", "news"), reached)
    # By name and port, not by address: another name at the same place stays closed.
    assert town.call("client", OTHER, host="another.example.com").status == 502
    # Whoever has no sidecar is free to go.
    assert town.call("shop-v2", OTHER).server == "other"


def test_the_name_is_asked_for_where_the_pod_asks(town: Town) -> None:
    town.apply(OTHER_ENTRY)
    # An address that is nobody's: the Host header says who is meant, and Envoy finds it.
    town.becomes({"other": 4}, lambda: town.servers(4, "client", "198.51.100.7", host="other.example.com"))


BY_THE_EGRESS = """---
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: {name: istio-egressgateway, namespace: shop}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: 443, name: tls, protocol: TLS}
    hosts: [edition.cnn.com]
    tls: {mode: PASSTHROUGH}
---
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {name: egressgateway-for-cnn, namespace: shop}
spec:
  host: istio-egressgateway.istio-system.svc.cluster.local
  subsets: [{name: cnn}]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: direct-cnn-through-egress-gateway, namespace: shop}
spec:
  hosts: [edition.cnn.com]
  gateways: [mesh, istio-egressgateway]
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: [edition.cnn.com]}]
    route:
    - destination:
        host: istio-egressgateway.istio-system.svc.cluster.local
        subset: cnn
        port: {number: 443}
  - match: [{gateways: [istio-egressgateway], port: 443, sniHosts: [edition.cnn.com]}]
    route: [{destination: {host: edition.cnn.com, port: {number: 443}}, weight: 100}]
"""


def test_what_leaves_by_the_egress_gateway_leaves_nowhere_else(town: Town) -> None:
    town.mesh(REGISTRY_ONLY)
    town.apply(CNN_ENTRY + BY_THE_EGRESS)
    passed = r"^cluster\.outbound\|443\|\|edition\.cnn\.com;\.upstream_cx_total$"
    handed = r"^cluster\.outbound\|443\|cnn\|istio-egressgateway.*upstream_cx_total$"

    def leaves() -> bool:
        return secure(town, "client", CNN, "edition.cnn.com") == "news" and town.stat("client", handed) > 0

    town.becomes(True, leaves)
    before = {name: town.stat(name, pattern) for name, pattern in (("egress", passed), ("client", handed))}
    direct = town.stat("client", passed)
    found = Counter(secure(town, "client", CNN, "edition.cnn.com") for _ in range(10))
    assert found == {"news": 10}
    assert town.stat("egress", passed) - before["egress"] == 10
    assert town.stat("client", handed) - before["client"] == 10
    assert town.stat("client", passed) == direct
    # It is the news' own certificate that the client has checked all along; and the name decides.
    town.becomes("", lambda: secure(town, "client", CNN, "other.example.com"))
    with town.gone("egress"):
        assert secure(town, "client", CNN, "edition.cnn.com") == ""
    assert secure(town, "client", CNN, "edition.cnn.com") == "news"
