"""One typing error and a restart days later: what was closed stays closed, in the bytes that proxies get."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import objects as a
from tests.support.plane import client, serving
from tests.support.process import Process, started
from tests.support.recording import final

SECURITY = "security.istio.io/v1"
DENY: dict[str, Any] = {
    "apiVersion": SECURITY,
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "nobody", "namespace": "front"},
    "spec": {"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/admin"]}}]}]},
}
STRICT: dict[str, Any] = {
    "apiVersion": SECURITY,
    "kind": "PeerAuthentication",
    "metadata": {"name": "default", "namespace": "istio-system"},
    "spec": {"mtls": {"mode": "STRICT"}},
}
FILES = {"deny.yaml": DENY, "strict.yaml": STRICT}
WRONG = {
    "deny.yaml": json.dumps(DENY).replace('"DENY"', '"DENNY"'),
    "strict.yaml": json.dumps(STRICT).replace('"mode"', '"mod"'),
}
TORN = {name: text[:-1] for name, text in WRONG.items()}
RESTARTED = "the last valid version, from before the restart, stays in use"


def write(directory: Path, files: Mapping[str, str]) -> None:
    (directory / "config").mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / "config" / name).write_text(text)


def views(directory: Path, *flags: str) -> dict[str, dict[str, bytes]]:
    """What one proxy of a control plane that is started anew is sent."""

    async def main() -> dict[str, dict[str, bytes]]:
        async with serving(directory, *flags) as plane:
            one = client("web-1", "front", app="web")
            await plane.connect(one, "one")
            # What is there is what is meant: this test is about what becomes of files that are wrong.
            plane.files.valid = {one.name: one.value for one in plane.app.ingest.objects() if one.used}
            await plane.quiet()
            return one.views()

    return asyncio.run(main())


def test_policies_outlive_a_restart_while_they_are_wrong(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path / "data"), "--trust-loopback-identities", "true")
    valid = {name: json.dumps(one) for name, one in FILES.items()}
    write(tmp_path, {"web.yaml": json.dumps(a.service("web", namespace="front", number=10))})
    nothing = views(tmp_path, *data)
    write(tmp_path, valid)
    guarded = views(tmp_path, *data)
    assert guarded != nothing
    for wrong in (WRONG, WRONG, TORN, WRONG):
        write(tmp_path, wrong)
        assert views(tmp_path, *data) == guarded
    # Without the directory for data nobody can know.
    assert views(tmp_path, "--trust-loopback-identities", "true") == nothing
    for name in FILES:
        (tmp_path / "config" / name).unlink()
    assert views(tmp_path, *data) == nothing
    assert list((tmp_path / "data" / "last-valid").iterdir()) == []


def test_a_replay_has_what_was_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, recording = ("--data-dir", str(tmp_path / "data")), tmp_path / "mesh.jsonl"
    write(tmp_path, {"web.yaml": json.dumps(a.service("web", namespace="front", number=10))})
    nothing = views(tmp_path)
    write(tmp_path, {name: json.dumps(one) for name, one in FILES.items()})
    guarded = views(tmp_path, *data)
    write(tmp_path, {**WRONG, "strict.yaml": TORN["strict.yaml"]})
    assert views(tmp_path, *data, "--record", str(recording)) == guarded != nothing
    result, has = final(recording, monkeypatch)
    assert result.ended == ""
    (found,) = has.values()
    # A replay also has routes that no listener names: where nobody is let in, nobody asks for them.
    for url, resources in guarded.items():
        assert resources.items() <= found.get(url, {}).items(), url


def in_force(process: Process) -> dict[str, Any]:
    found = process.get("/debug/configz").json
    return {
        one["kind"]: one["value"]
        for one in found
        if one["kind"] in ("AuthorizationPolicy", "PeerAuthentication")
    }


@pytest.mark.whole
def test_a_process_that_was_killed(tmp_path: Path) -> None:
    flags = ("--data-dir", str(tmp_path / "data"))
    write(tmp_path, {name: json.dumps(one) for name, one in FILES.items()})
    with started(tmp_path, *flags) as process:
        process.wait_ready()
        valid = in_force(process)
        write(tmp_path, WRONG)
        process.wait(lambda: len(process.get("/debug/problems").json) == 2, "two problems")
        process.end(signal.SIGKILL)
    with started(tmp_path, *flags) as process:
        process.wait_ready()
        assert in_force(process) == valid
        said = [one["message"] for one in process.get("/debug/problems").json]
        assert len(said) == 2
        assert all(message.endswith(RESTARTED) for message in said)
        assert (
            'mini_istiod_objects_not_in_force{kind="PeerAuthentication"} 0.0' in process.get("/metrics").text
        )
        process.end(signal.SIGKILL)
    with started(tmp_path) as process:
        process.wait_ready()
        assert set(in_force(process).values()) == {None}
        assert (
            'mini_istiod_objects_not_in_force{kind="PeerAuthentication"} 1.0' in process.get("/metrics").text
        )
        errors = [one for one in process.records() if "is NOT in force" in str(one)]
        assert len(errors) == 2
