"""The border: who gets in at the ingress gateway, and what gets out, past the mesh or by the egress gateway.

    visitor ──► ingress ──► shop.shop:80, till.shop:8443 (speaks TLS itself)
    client  ──► (egress) ──► edition.cnn.com (203.0.113.10) in a namespace of its own, found by a name server

The server outside has an authority of its own, and knows nothing of the mesh.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.border import CNN, INGRESS, ISSUER, OTHER, OTHERS, SECURED, build, secrets, secure
from tests.support.chances import likely
from tests.support.envoys import MARKS, scenes
from tests.support.servers import Pair
from tests.support.town import Town

pytestmark = MARKS

town = scenes(build)


@pytest.fixture(autouse=True)
def peaceful(town: Town) -> Iterator[None]:
    yield
    town.accepted()
    town.mesh("")
    town.apply()


# -- TLS ------------------------------------------------------------------------------------------------


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
    town.becomes("shop-v1", lambda: secure(town, "visitor", SECURED, "shop.example.com"))
    town.apply(
        secrets(("shop-mutual", pair, OTHERS.certificate))
        + SHOP.replace(
            "protocol: HTTP}", "protocol: HTTPS}\n    tls: {mode: MUTUAL, credentialName: shop-mutual}"
        )
        .replace("number: 80", "number: 443")
        .replace("http:\n  - match", "http:\n  - route: [{destination: {host: shop, subset: v1}}]\n  - match")
    )

    def by(shown: Pair | None) -> str:
        return secure(town, "visitor", SECURED, "shop.example.com", shows=shown)

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
    town.becomes("till", lambda: secure(town, "visitor", SECURED, "till.example.com"))
    assert secure(town, "visitor", SECURED, "shop.example.com") == ""


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
