"""The simulator reads Envoy's own words as Envoy does: drawn chains, domains, matchers and redirects."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.envoy import pb
from controlplane.envoy.types import LISTENER
from controlplane.lab.tools import find_envoy
from controlplane.lab.waiting import wait_until
from controlplane.sim import Call, Outcome, Served, simulate
from tests.support.sim_talk import Seen, talk
from tests.support.sim_words import Words

pytestmark = pytest.mark.envoy

LISTENERS, CALLS = 60, 8
SEEDS = (1, 5, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 20)))
# Clients are given ports above these by the kernel, and so cannot have taken one of them.
_PORTS = range(13_000 + os.getpid() % 10_000, 32_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_words(tmp_path: Path, seed: int) -> None:
    try:
        envoy = find_envoy(os.environ)
    except EnvironmentUnfit as error:
        pytest.skip(str(error))
    words = Words(Random(seed))
    log = tmp_path / "access.log"
    ports = list(islice(filter(_is_free, _PORTS), LISTENERS))
    drawn = [words.listener(port, str(log)) for port in ports]
    config = tmp_path / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": drawn}}))
    flags = (
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "--file-flush-interval-msec",
        "100",
        "-l",
        "error",
    )
    with (tmp_path / "envoy.log").open("w") as output:
        process = subprocess.Popen([envoy, "-c", str(config), *flags], stdout=output, stderr=output)
    try:
        assert wait_until(lambda: _listens(process, ports[-1]), 30), (tmp_path / "envoy.log").read_text()[
            -2000:
        ]
        served = Served({one["name"]: pb.from_dump(LISTENER, one) for one in drawn})
        calls = [words.call(port) for port in ports for _ in range(CALLS)]
        played = [_call(call) for call in calls]
        wanted = {peer for _, peer in played}
        assert wait_until(lambda: _logged(log).keys() >= wanted, 20), "connections are missing in the log"
    finally:
        process.terminate()
        process.wait(20)
    entries = _logged(log)
    wrong = []
    for call, (seen, peer) in zip(calls, played, strict=True):
        outcome = simulate(served, call)
        found = _differs(outcome, seen, entries[peer])
        if found:
            wrong.append(f"{found}\n  {call}\n  {seen}\n  {entries[peer]}\n  {outcome}")
    assert not wrong, "\n".join((f"{len(wrong)} of {len(calls)}", *wrong[:8]))


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("", port))
        except OSError:
            return False
    return True


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    assert process.poll() is None
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _call(call: Call) -> tuple[Seen, str]:
    with socket.create_connection((call.address, call.port), 5, (call.source, 0)) as connection:
        peer = "{}:{} {}:{}".format(*connection.getsockname(), *connection.getpeername())
        try:
            return talk(connection, call), peer
        except (OSError, http.client.HTTPException):
            return Seen(), peer


def _logged(log: Path) -> dict[str, Any]:
    # The last line may be on its way.
    lines = log.read_text().rpartition("\n")[0].splitlines() if log.exists() else []
    entries = map(json.loads, lines)
    return {entry["peer"]: entry for entry in entries}


def _differs(outcome: Outcome, seen: Seen, entry: Any) -> str:
    end = outcome.end
    chain = next((step.name for step in outcome.steps if step.at == "filter chain"), "")
    if (entry["chain"] or "") != chain:
        return f"chain {entry['chain']}, expected {chain}"
    if end.kind == "closed":
        unread = seen.status is None or seen.status == end.status
        return "" if unread and (entry["flags"] == "NR") == (end.flags == "NR") else "it was to be closed"
    if end.kind != "answer" or seen.status != end.status:
        return f"status {seen.status}, expected {end.kind} {end.status}"
    if seen.headers.get("location", "") != end.location:
        return f"location {seen.headers.get('location')}, expected {end.location}"
    return "" if seen.body == end.body else f"body {seen.body!r}, expected {end.body!r}"
