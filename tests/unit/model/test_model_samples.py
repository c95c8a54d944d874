"""The objects that Istio ships as samples are read without errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.model.kinds import BY_NAME

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "istio-samples"
NEEDED = pytest.mark.skipif(not SAMPLES.is_dir(), reason="Istio's samples are not beside this repository")


def objects(file: Path) -> Iterator[dict[str, Any]]:
    for document in yaml.safe_load_all(file.read_text()):
        if isinstance(document, dict) and document.get("kind") in BY_NAME:
            yield document


@NEEDED
@pytest.mark.parametrize(
    "file", sorted(SAMPLES.rglob("*.yaml")), ids=lambda file: file.relative_to(SAMPLES).as_posix()
)
def test_a_sample_is_read_without_a_problem(file: Path) -> None:
    for raw in objects(file):
        parsed = BY_NAME[raw["kind"]].parse(raw)
        assert parsed.value is not None
        assert parsed.problems == ()


@NEEDED
def test_the_samples_hold_the_kinds_that_matter() -> None:
    seen = {raw["kind"] for file in SAMPLES.rglob("*.yaml") for raw in objects(file)}
    assert {"Service", "VirtualService", "DestinationRule", "ServiceAccount"} <= seen
