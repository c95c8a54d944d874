"""The YAML that people write into annotations."""

from __future__ import annotations

import pytest

from controlplane.model.little_yaml import parse_annotation

TEXT = """
# what stands in front of this gateway
gatewayTopology:
  numTrustedProxies: 2   # two load balancers
  forwardClientCertDetails: "APPEND_FORWARD"
  proxyProtocol: {}
concurrency: 0
holdApplicationUntilProxyStarts: true
proxyMetadata:
  ISTIO_META_DNS_CAPTURE: 'true'
  NOTHING:
proxyStatsMatcher:
  inclusionPrefixes:
  - cluster.outbound
  - "a # b"
discoveryAddress: istiod.istio-system.svc:15012
share: 0.5
"""


def test_what_people_write() -> None:
    assert parse_annotation(TEXT) == {
        "gatewayTopology": {
            "numTrustedProxies": 2,
            "forwardClientCertDetails": "APPEND_FORWARD",
            "proxyProtocol": {},
        },
        "concurrency": 0,
        "holdApplicationUntilProxyStarts": True,
        "proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true", "NOTHING": None},
        "proxyStatsMatcher": {"inclusionPrefixes": ["cluster.outbound", "a # b"]},
        "discoveryAddress": "istiod.istio-system.svc:15012",
        "share": 0.5,
    }


def test_json_and_nothing() -> None:
    assert parse_annotation('{"gatewayTopology": {"numTrustedProxies": 1}}') == {
        "gatewayTopology": {"numTrustedProxies": 1}
    }
    assert parse_annotation("") == parse_annotation("---\n# nothing\n") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{concurrency: 2}", "begins like JSON"),
        ("a: 1\n  b: 2", "line 2"),
        ("a:\n    b: 1\n  c: 2", "line 3"),
        ("a: 1\na: 2", "line 2 says a again"),
        ("a: [1, 2]", "line 1"),
        ("a: &x 1", "line 1"),
        ("a: |\n  b", "line 1"),
        ("a: b: c", "line 1"),
        ("\ta: 1", "tab"),
        ("just words", "line 1"),
        ("a: 'b", "quotation"),
        ("\n".join(f"{' ' * n}a:" for n in range(40)), "nested too deeply"),
        ("a: " + "x" * 70000, "longer than"),
    ],
)
def test_what_is_not_understood_is_not_guessed_at(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_annotation(text)
