"""Real files of Istio are read as PyYAML reads them, apart from dates; needs the shared samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.sources.directory.documents import Object, read_units
from controlplane.sources.directory.reading import Known, Reading, Told, accept, read

DATA = Path(__file__).parents[4] / "shared/data"
FILES = sorted(DATA.rglob("*.yaml"))

pytestmark = pytest.mark.skipif(not FILES, reason="the shared samples are not there")


class PlainLoader(yaml.SafeLoader):
    """PyYAML without dates."""


PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def objects(path: Path) -> list[Any]:
    found = [one for one in yaml.load_all(path.read_text(), PlainLoader) if one is not None]
    return [item for one in found for item in (one["items"] if one.get("kind") == "List" else [one])]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_same_objects_in_the_right_lines(path: Path) -> None:
    if path.name == "istio-analysis-messages.yaml":
        pytest.skip("not a file of objects")
    units = read_units(path.read_bytes(), path.name)
    raws = [unit.raw for unit in units if isinstance(unit, Object)]
    assert len(raws) == len(units)
    assert raws == objects(path)
    lines = path.read_text().split("\n")
    for unit in units:
        assert lines[unit.line - 1].startswith(("apiVersion:", "kind:", "metadata:", '"apiVersion"'))


def test_nothing_is_told_twice(tmp_path: Path) -> None:
    for number, path in enumerate(FILES):
        if path.name == "istio-analysis-messages.yaml":
            continue
        name = f"{number}.yaml"
        (tmp_path / name).write_bytes(path.read_bytes())
        first = read(tmp_path, name, None)
        assert isinstance(first, Reading)
        known = Known(first.signature)
        news = accept(known, first)
        assert all(isinstance(one, Told) and one.raw is not None for one in news)
        (tmp_path / name).write_bytes(path.read_bytes() + b"\n# the end\n")
        second = read(tmp_path, name, known)
        assert isinstance(second, Reading)
        assert accept(known, second) == []
