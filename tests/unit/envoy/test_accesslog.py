"""Access logs as MeshConfig asks for them, everywhere where connections end."""

from __future__ import annotations

import pytest
from google.protobuf import json_format

from controlplane.envoy import pb
from controlplane.envoy.accesslog import DEFAULT_JSON, DEFAULT_TEXT, AccessLog, access_logs, refusal_logs
from tests.unit.envoy.test_listeners import manager, proxy
from tests.unit.envoy.traffic import Traffic
from tests.unit.mesh.world import service


def file_log(log: AccessLog) -> pb.file_access_log.FileAccessLog:
    (found,) = access_logs(log)
    assert found.name == "envoy.access_loggers.file"
    return pb.file_access_log.FileAccessLog.FromString(found.typed_config.value)


def test_none_by_default() -> None:
    found = Traffic(service("a", "http=80, tcp=81")).listeners()
    assert not any(listener.access_log for listener in found.values())
    assert not manager(found["0.0.0.0_80"].filter_chains[0]).access_log
    assert access_logs(None) == refusal_logs(None) == []


def test_on_requests_connections_and_refusals() -> None:
    world = Traffic(service("a", "http=80, tcp=81") + "kind: MeshConfig\naccessLogFile: /dev/stdout\n")
    found = world.listeners()
    assert len(manager(found["0.0.0.0_80"].filter_chains[0]).access_log) == 1
    assert len(proxy(found["0.0.0.0_80"].default_filter_chain).access_log) == 1
    assert len(proxy(found["10.96.0.10_81"].default_filter_chain).access_log) == 1
    for listener in found.values():
        (refusals,) = listener.access_log
        assert list(refusals.filter.response_flag_filter.flags) == ["NR"]
        assert not manager(found["0.0.0.0_80"].filter_chains[0]).access_log[0].HasField("filter")


def test_text() -> None:
    found = file_log(AccessLog("/tmp/log", "", "TEXT"))
    assert (found.path, found.log_format.text_format_source.inline_string) == ("/tmp/log", DEFAULT_TEXT)
    assert DEFAULT_TEXT.startswith(
        '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    )
    assert DEFAULT_TEXT.endswith("%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n")
    assert file_log(
        AccessLog("/tmp/log", "%PROTOCOL%\n", "TEXT")
    ).log_format.text_format_source.inline_string == ("%PROTOCOL%\n")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", DEFAULT_JSON),
        ('{"a": "%PROTOCOL%", "b": {"c": 1}}', {"a": "%PROTOCOL%", "b": {"c": 1.0}}),
        ("not json", DEFAULT_JSON),
        ("[1]", DEFAULT_JSON),
    ],
)
def test_json(written: str, expected: dict[str, object]) -> None:
    found = file_log(AccessLog("/tmp/log", written, "JSON")).log_format.json_format
    assert json_format.MessageToDict(found) == expected


def test_a_listener_follows_the_log_and_no_other_setting() -> None:
    world = Traffic(service("a", "http=80, tcp=81") + "kind: MeshConfig\naccessLogFile: /dev/stdout\n")
    before = world.listener_resources()
    with world.counting() as runs:
        world.apply("kind: MeshConfig\naccessLogFile: /dev/stdout\nconnectTimeout: 3s\n")
        assert world.listener_resources() == before
    assert not runs["listeners_outbound.outbound_listener"]
    world.apply("kind: MeshConfig\naccessLogFile: /dev/stderr\n")
    after = world.listener_resources()
    assert all(after[name] != before[name] for name in before)
