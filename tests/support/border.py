"""A town with gateways, a server that speaks TLS itself, and another outside that knows no mesh."""

from __future__ import annotations

import json
import ssl

from controlplane.lab.fetch import Target, connect
from controlplane.lab.pod_spec import App, PodSpec
from controlplane.lab.pods import Lab
from tests.support.residents import ECHO, Resident, outside, pem_file, pod, web
from tests.support.servers import Issuer, Pair
from tests.support.town import Town

ISSUER, OTHERS = Issuer(), Issuer("others")
CNN, OTHER, NAMES = "203.0.113.10", "203.0.113.11", "10.244.0.2"
INGRESS, EGRESS = "10.244.0.20", "10.244.0.21"
SECURED = f"{INGRESS}:8443"
"""Where the ingress speaks TLS."""
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
    files = {name: pem_file(lab, name, pair) for name, pair in (("news", NEWS), ("till", TILL))}
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


def secure(town: Town, who: str, where: str, host: str, shows: Pair | None = None) -> str:
    """Who answers a request over TLS at an address (and a port, if not 443).

    "" where it is refused, FOREIGN where the certificate is another's.
    """
    address, _, port = where.partition(":")
    context = ssl.create_default_context(cadata=ISSUER.certificate.decode())
    if shows is not None:
        own = town.lab.directory / "own.pem"
        own.write_bytes(shows.chain + shows.key)
        context.load_cert_chain(own)
    try:
        with (
            connect(Target(town.lab.pods[who].netns, address, int(port or 443)), 5.0) as raw,
            context.wrap_socket(raw, server_hostname=host) as wrapped,
        ):
            head = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            wrapped.sendall(head.encode())
            answer = b"".join(iter(lambda: wrapped.recv(4096), b"")).decode()
    except ssl.SSLCertVerificationError:
        return FOREIGN
    except OSError:
        return ""
    found = [line.partition(": ")[2] for line in answer.splitlines() if line.startswith("x-server: ")]
    return found[0] if found else answer.split(" ")[1]
