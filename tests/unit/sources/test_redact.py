"""No secret gets into a recording, and what is none stays as it is."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from controlplane.model.jwks import NOBODYS_KEYS
from controlplane.sources.redact import MARKER, Redaction

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n"


def spec(**fields: Any) -> dict[str, Any]:
    return {"kind": "VirtualService", "metadata": {"name": "x"}, "spec": fields}


@pytest.mark.parametrize(
    "kind, raw",
    [
        ("Secret", {"data": {"tls.key": "hunter2"}, "stringData": {"a": "hunter2"}}),
        ("Secret", {"data": ["hunter2"], "whatever": {"deep": [{"er": "hunter2"}]}}),
        ("Secret", {"metadata": {"name": "s", "annotations": {"last": "hunter2"}}}),
        ("Gateway", spec(tls={"privateKey": "hunter2"})),
        ("Thing", spec(private_key="hunter2", deep=[{"clientSecret": {"inline": "hunter2"}}])),
        ("Thing", spec(Password="hunter2")),
        ("Thing", spec(config={"auth-token": 1, "token": "hunter2"})),
        ("VirtualService", spec(http=[{"headers": {"request": {"set": {"Authorization": "hunter2"}}}}])),
        ("VirtualService", spec(http=[{"match": [{"headers": {"x-api-key": {"exact": "hunter2"}}}]}])),
        ("ConfigMap", {"data": {"file": f"a: {KEY.replace('MIIEow', 'hunter2')}"}}),
        ("Pod", {"spec": {"containers": [{"env": [{"name": "A", "value": "hunter2"}]}]}}),
        ("Pod", {"spec": {"initContainers": [{"command": ["sh", "-c", "hunter2"], "args": ["hunter2"]}]}}),
        (
            "Service",
            {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}}},
        ),
    ],
)
def test_secrets_go(kind: str, raw: dict[str, Any]) -> None:
    before = copy.deepcopy(raw)
    found = json.dumps(Redaction().raw(kind, raw))
    assert "hunter2" not in found
    assert MARKER in found
    assert raw == before


@pytest.mark.parametrize(
    "kind, raw",
    [
        ("VirtualService", spec(http=[{"match": [{"headers": {"cookie": {"regex": ".*user=jason.*"}}}]}])),
        ("VirtualService", spec(http=[{"match": [{"headers": {"authorization": {"prefix": "Bearer"}}}]}])),
        ("VirtualService", spec(http=[{"headers": {"request": {"set": {"x-change": "change-00000042"}}}}])),
        ("DestinationRule", spec(trafficPolicy={"tls": {"credentialName": "cacerts", "mode": "SIMPLE"}})),
        (
            "DestinationRule",
            spec(loadBalancer={"consistentHash": {"httpCookie": {"name": "user", "ttl": "0s"}}}),
        ),
        ("ConfigMap", {"data": {"root-cert.pem": CERTIFICATE}}),
        ("Pod", {"spec": {"containers": [{"name": "a", "env": [{"name": "A", "valueFrom": {"x": 1}}]}]}}),
        ("Secret", {"kind": "Secret", "type": "Opaque", "metadata": {"name": "s", "labels": {"a": "b"}}}),
    ],
)
def test_the_rest_stays(kind: str, raw: dict[str, Any]) -> None:
    assert Redaction().raw(kind, raw) == raw


def test_of_a_key_set_its_public_keys_stay() -> None:
    (public,) = json.loads(NOBODYS_KEYS)["keys"]
    raw = spec(jwtRules=[{"issuer": "i", "jwks": json.dumps({"keys": [{**public, "d": "hunter2"}]})}])
    assert Redaction().raw("RequestAuthentication", raw)["spec"]["jwtRules"][0]["jwks"] == NOBODYS_KEYS
    shared = spec(jwtRules=[{"issuer": "i", "jwks": '{"keys": [{"kty": "oct", "k": "hunter2"}]}'}])
    found = Redaction().raw("RequestAuthentication", shared)["spec"]["jwtRules"][0]
    assert found["jwks"].startswith(MARKER)


def test_equal_secrets_have_equal_markers_in_one_recording_and_different_ones_in_two() -> None:
    one, other = Redaction(), Redaction()
    hidden = one.hidden(["a", "b", "a", None, {"deep": "a"}, 7])
    assert hidden[0] == hidden[2] == hidden[4]["deep"] != hidden[1]
    assert hidden[3] is None
    assert hidden[5].startswith(MARKER)
    assert one.hidden("a") != other.hidden("a")
    assert one.hidden(hidden) == hidden
    assert Redaction(b"key").hidden("a") == Redaction(b"key").hidden("a")
