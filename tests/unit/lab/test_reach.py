"""What a person is told about files and pods of a demo that lives in namespaces of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from controlplane.lab import reach
from controlplane.lab.namespace import OUTSIDE

INSIDE = {OUTSIDE: "4711"}


def test_on_the_machine_itself_things_are_where_they_are(tmp_path: Path) -> None:
    assert reach.path(tmp_path, {}) == tmp_path
    assert reach.shell("web", {}) == "nsenter --net=/run/netns/web"
    assert reach.save(tmp_path, {}) == tmp_path


def test_in_a_namespace_the_way_leads_through_a_process() -> None:
    assert reach.path(Path("/run/x/y"), INSIDE) == Path("/proc/4711/root/run/x/y")
    assert reach.shell("web", INSIDE).endswith("--preserve-credentials nsenter --net=/run/netns/web")


def test_logs_outlive_the_namespace_and_keys_do_not(tmp_path: Path) -> None:
    for name in ("a.log", "pods/x/envoy.log", "pods/x/bootstrap.json", "pods/x/tokens/token", "data/ca.key"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    kept = reach.save(tmp_path, INSIDE)
    try:
        found = {str(file.relative_to(kept)) for file in kept.rglob("*") if file.is_file()}
        assert found == {"a.log", "pods/x/envoy.log", "pods/x/bootstrap.json"}
    finally:
        shutil.rmtree(kept)
