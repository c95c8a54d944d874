"""ProxyConfig: what Envoys are started with."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.kinds.proxy_config import PROXY_CONFIG, ProxyConfig


def parse(**spec: Any) -> Any:
    metadata = {"name": "few", "namespace": "shop"}
    return PROXY_CONFIG.parse(
        {
            "apiVersion": "networking.istio.io/v1beta1",
            "kind": "ProxyConfig",
            "metadata": metadata,
            "spec": spec,
        }
    )


def test_every_field() -> None:
    parsed = parse(
        selector={"matchLabels": {"app": "web"}},
        concurrency=0,
        environmentVariables={"ISTIO_META_DNS_CAPTURE": "true"},
    )
    assert parsed.problems == ()
    value: ProxyConfig = parsed.value
    assert value.selector == (("app", "web"),)
    # Not the same as nothing: a thread for each processor, whatever a wider object says.
    assert value.concurrency == 0
    assert value.environment == (("ISTIO_META_DNS_CAPTURE", "true"),)
    assert parse().value.concurrency is None


@pytest.mark.parametrize(
    ("spec", "level", "field", "message"),
    [
        ({"image": {"imageType": "distroless"}}, "warning", "spec.image.imageType", "names its image"),
        ({"image": {"imageType": "a b"}}, "error", "spec.image.imageType", "no type of image"),
        (
            {"environmentVariables": {"TZ": "UTC"}},
            "warning",
            "spec.environmentVariables['TZ']",
            "no agent",
        ),
        ({"environmentVariables": {"A=B": ""}}, "error", "spec.environmentVariables['A=B']", "cannot be"),
        ({"concurrency": -1}, "error", "spec.concurrency", "integer"),
        ({"concurency": 1}, "warning", "spec.concurency", "not a known field"),
    ],
)
def test_what_is_wrong_or_has_no_effect(spec: dict[str, Any], level: str, field: str, message: str) -> None:
    parsed = parse(**spec)
    (problem,) = parsed.problems
    assert (problem.level, problem.field) == (level, field)
    assert message in problem.message
    assert problem.remedy
    assert (parsed.value is None) == (level == "error")
