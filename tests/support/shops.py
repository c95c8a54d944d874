"""Gateways with certificates in Secrets, as objects: what one namespace has and another would like to."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from tests.support.trust import Trusting


def secret(trust: Trusting, name: str, namespace: str) -> dict[str, Any]:
    """A Secret with a new certificate."""
    made = trust.served.app.trust.authority.issue((), dns=("shop.example",))
    data = {"tls.crt": b64encode(made.chain).decode(), "tls.key": b64encode(made.key).decode()}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "kubernetes.io/tls", "data": data}


def gateway(namespace: str, credential: str) -> dict[str, Any]:
    """A Gateway that speaks for the gateways whose label `app` is its namespace."""
    server = {
        "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
        "hosts": [f"{namespace}.example"],
        "tls": {"mode": "SIMPLE", "credentialName": credential},
    }
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": namespace},
        "spec": {"selector": {"app": namespace}, "servers": [server]},
    }
