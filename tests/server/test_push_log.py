"""The push log of a real server over real gRPC says what /debug/traces says, proxy by proxy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controlplane.app.deferred import Deferred
from controlplane.base.errors import EnvironmentUnfit
from controlplane.telemetry.trace import Trace
from controlplane.telemetry.trace_report import traces
from controlplane.telemetry.wave import Response, Seen
from tests.support.edits import Editor
from tests.support.plane import client, serving

EDITS = 25


def test_joined_it_is_the_trace(tmp_path: Path) -> None:
    found, log = asyncio.run(_churn(tmp_path))
    assert len(found) >= EDITS // 2
    again = {trace["id"]: trace for trace in traces(_traced(log))}
    for trace in found:
        joined = again[trace["id"]]
        assert {stage for stage, at in joined["stages"].items() if at is not None} == {
            stage for stage, at in trace["stages"].items() if at is not None
        }
        for stage, at in trace["stages"].items():
            # Of two of the stages each takes the time itself, one right after the other.
            near = 0.05 if stage in ("commit", "compute") else 1e-5
            assert joined["stages"][stage] == pytest.approx(at, abs=near), stage
        assert joined["at"] == pytest.approx(trace["at"], abs=0.05)
        assert joined["origin"] == trace["origin"].partition(":")[0]
        for field in ("revision", "kind", "namespace", "name", "proxies", "complete", "bytes", "responses"):
            assert joined[field] == trace[field], field
        assert {name: one["names"] for name, one in joined["types"].items()} == {
            name: one["names"] for name, one in trace["types"].items()
        }
    assert sum(trace["responses"] for trace in found) >= EDITS


def _traced(log: list[dict[str, Any]]) -> Trace:
    """The trace that a recorder makes of what the log says, moment by moment."""
    trace = Trace(epoch=log[0]["epoch"])
    moments: list[tuple[float, Callable[[], None]]] = []
    for one in log:
        event, proxy, at = one["e"], one.get("proxy", ""), one.get("at", 0.0)
        if event == "batch":
            changes = [
                Seen(c["id"], c["kind"], c["namespace"], c["name"], c["file"] or "", c["at"], c["in"])
                for c in one["changes"]
            ]
            times = (one["opened"], one["committed"])
            moments.append((times[1], partial(trace.batch, one["revision"], changes, *times)))
        elif event == "settled":
            moments.append((at, partial(trace.settled, one["revision"], at)))
        elif event == "woken":
            moments.append((at, partial(trace.woken, one["revision"], [proxy])))
        elif event == "untouched":
            moments.append((at, partial(trace.untouched, proxy, one["revision"])))
        elif event == "gone":
            moments.append((at, partial(trace.gone, proxy)))
        elif event == "response":
            moments += _of_response(trace, one)
    for _, happen in sorted(moments, key=lambda moment: moment[0]):
        happen()
    return trace


def _of_response(trace: Trace, one: dict[str, Any]) -> list[tuple[float, Callable[[], None]]]:
    proxy, short, planned = one["proxy"], one["type"], one["planned"]
    sizes = (one["bytes"], one["names"], one["echoes"], one["took"])
    response = Response(short, one["revision"], planned, *sizes)
    moments: list[tuple[float, Callable[[], None]]] = [(planned, partial(trace.planned, proxy, response))]
    if one["written"] is not None:
        moments.append((one["written"], partial(trace.written, proxy, short, one["written"])))
    if one["answered"] is not None:
        tell = trace.acked if one["ok"] else trace.nacked
        moments.append((one["answered"], partial(tell, proxy, short, one["answered"])))
    return moments


def test_without_the_flag_a_push_has_one_observer_and_there_is_no_journal(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as served:
            app = served.app
            assert app.journals == ()
            told = vars(app.xds._observer)
            # Only who comes and goes is of interest to others: a machine may join.
            others = {
                name for name, tell in told.items() if type(getattr(tell, "__self__", None)) is not Deferred
            }
            assert others == {"connected", "gone"}
            assert app.sources and all(app.sink(source) is app.ingest for source in app.sources)

    asyncio.run(scenario())


@pytest.mark.parametrize("flag", ["--push-log", "--record"])
def test_a_file_that_cannot_be_made_is_told_at_the_start(tmp_path: Path, flag: str) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, flag, str(tmp_path / "nowhere" / "log"), wait=False):
            await asyncio.sleep(0)

    with pytest.raises(EnvironmentUnfit, match=r"cannot be written: .*nowhere"):
        asyncio.run(scenario())


async def _churn(directory: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    path = directory / "push.jsonl"
    async with serving(directory, "--push-log", str(path)) as served:
        editor = Editor(served.files, 1)
        editor.begin()
        await served.taken_in()
        for number, protocol in enumerate(("DELTA_GRPC", "GRPC", "DELTA_GRPC")):
            await served.connect(client(f"web-{number}", "front", protocol, number=number + 2, app="web"))
        await served.quiet()
        before = served.app.graph.revision
        while len(editor.history) < EDITS:
            editor.edit()
            await served.quiet()
        found = [trace for trace in traces(served.app.trace) if trace["revision"] > before]
    return found, [json.loads(line) for line in path.read_text().splitlines()]
