"""Mistakes in files, from the file to /debug/problems and the log; everything that is valid is served."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from controlplane.envoy.types import CLUSTER
from controlplane.lab.client import channel
from tests.support import objects as a
from tests.support.plane import client
from tests.support.process import Process, started
from tests.support.waiting import until

BROKEN = """\
apiVersion: v1
kind: Service
metadata: {name: broken
spec: {}
"""
WRONG_TYPE = """\
# comments and empty documents count as lines
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wrong}
spec:
  hosts: 7
  http: [{route: [{destination: {host: good}}]}]
"""
UNKNOWN_KIND = """\

apiVersion: networking.istio.io/v1
kind: VirtualServce
metadata: {name: typo, namespace: default}
"""
UNKNOWN_FIELD = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: field, namespace: default}
spec: {host: good, trafficPolcy: {}}
"""
DANGLING = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: dangling, namespace: default}
spec:
  hosts: [good]
  http:
  - match: [{uri: {prefix: /a}}]
    route: [{destination: {host: nowhere}}]
  - route: [{destination: {host: good, subset: v9}}]
"""
GOOD = a.service("good", number=10)
EARLIER = a.service_entry("one", "one.example.com", ports="tcp=9000", resolution="DNS", endpoints=("a.test",))
LATER = a.service_entry("two", "two.example.com", ports="tcp=9000", resolution="DNS", endpoints=("b.test",))

MISTAKES = {
    "broken.yaml": BROKEN,
    "wrong.yaml": WRONG_TYPE,
    "unknown.yaml": UNKNOWN_KIND,
    "field.yaml": UNKNOWN_FIELD,
    "dangling.yaml": DANGLING,
    "twice.yaml": json.dumps(a.service("good", number=77)),
    "clash.yaml": f"{json.dumps(EARLIER)}\n---\n{json.dumps(LATER)}\n",
    "port.yaml": json.dumps(a.service("double", ports="http=80, web=80", number=78)),
}

# level, kind, namespace, name, file, line, field
FOUND = {
    ("error", "", "", "", "broken.yaml", 4, ""),
    ("error", "VirtualService", "default", "wrong", "wrong.yaml", 3, "spec.hosts"),
    ("warning", "VirtualServce", "default", "typo", "unknown.yaml", 2, "kind"),
    ("warning", "DestinationRule", "default", "field", "field.yaml", 1, "spec.trafficPolcy"),
    *(
        ("warning", "VirtualService", "default", "dangling", "dangling.yaml", 1, field)
        for field in ("spec.http[0].route[0].destination.host", "spec.http[1].route[0].destination.subset")
    ),
    ("error", "Service", "default", "good", "twice.yaml", 1, "metadata.name"),
    ("warning", "ServiceEntry", "default", "one", "clash.yaml", 1, "spec.ports[0]"),
    ("warning", "ServiceEntry", "default", "two", "clash.yaml", 3, "spec.ports[0]"),
    ("error", "Service", "default", "double", "port.yaml", 1, "spec.ports[1].port"),
}
KEYS = ["level", "kind", "namespace", "name", "file", "line", "field", "message", "remedy"]


def problems(process: Process) -> list[dict[str, Any]]:
    found = process.get("/debug/problems")
    assert found.status == 200
    return list(found.json)


def summary(problem: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(problem[key] for key in KEYS[:7])


async def clusters(process: Process, expected: set[str]) -> None:
    """Waits until a new proxy has exactly these outbound clusters."""
    one = client("web")

    def outbound() -> set[str]:
        return {name for name in one.state[CLUSTER] if name.startswith("outbound|")}

    async with channel(process.address) as connection:
        stream = asyncio.create_task(one.run(connection))
        try:
            await until(lambda: stream.done() or outbound() == expected, lambda: f"{outbound()}", 10)
            assert not stream.done()
        finally:
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)


def test_every_mistake_is_told_and_harms_nothing_else(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        files = process.files
        files.put(GOOD)
        for file, text in MISTAKES.items():
            files.text(file, text)
        process.wait_ready()
        process.wait(lambda: len(problems(process)) >= len(FOUND), "all problems")
        found = problems(process)
        assert {summary(problem) for problem in found} == FOUND
        for problem in found:
            assert list(problem) == KEYS
            assert problem["message"] and problem["remedy"]

        logged = [record["message"] for record in process.records()]
        for problem in found:
            place = f"{problem['file']}:{problem['line']}: "
            told = [line for line in logged if line.startswith(place) and problem["message"] in line]
            assert len(told) == 1, f"{place}{problem['message']} is logged {len(told)} times"

        served = {
            "outbound|80||good.default.svc.cluster.local",
            "outbound|9000||one.example.com",
            "outbound|9000||two.example.com",
        }
        asyncio.run(clusters(process, served))

        # Mended one by one, nothing is left.
        files.text("broken.yaml", BROKEN.replace("{name: broken", "{name: broken}"))
        files.text("port.yaml", json.dumps(a.service("double", ports="http=80, web=81", number=78)))
        for file in ("wrong.yaml", "unknown.yaml", "field.yaml", "dangling.yaml", "twice.yaml", "clash.yaml"):
            files.remove(file)
        process.wait(lambda: problems(process) == [], lambda: str(problems(process)))
        logged = [record["message"] for record in process.records()]
        for problem in found:
            solved = [line for line in logged if line.startswith("solved: ") and problem["message"] in line]
            assert len(solved) == 1, f"{problem['message']} is solved {len(solved)} times"
        asyncio.run(
            clusters(
                process,
                {
                    "outbound|80||good.default.svc.cluster.local",
                    "outbound|80||double.default.svc.cluster.local",
                    "outbound|81||double.default.svc.cluster.local",
                },
            )
        )
        assert process.end() == 0


def test_what_breaks_later_keeps_its_last_valid_version(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        process.files.put(GOOD)
        file = process.files.put(a.service("edited", number=11))
        process.wait_ready()
        served = {f"outbound|80||{name}.default.svc.cluster.local" for name in ("good", "edited")}
        asyncio.run(clusters(process, served))
        for text in (BROKEN, json.dumps({**a.service("edited"), "spec": 7})):
            process.files.text(file, text)
            process.wait(lambda: problems(process), "the problem")
            (problem, *_) = problems(process)
            assert "last valid version" in problem["message"] or "stays" in problem["message"], problem
            asyncio.run(clusters(process, served))
            process.files.restore(file)
            process.wait(lambda: problems(process) == [], "no problem")
