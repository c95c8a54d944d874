"""Servers under test: what they are told, what is read of them, and that they run where they are there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import subjects_running
from controlplane.lab.subjects import BY_NAME, Options
from controlplane.lab.subjects_istiod import environment
from controlplane.lab.subjects_options import milliseconds
from controlplane.lab.subjects_programs import built_in, find
from controlplane.lab.subjects_running import Line, Running, SubjectError, free_ports, parse_metrics
from controlplane.lab.waiting import wait_until


def test_durations_are_written_as_both_sides_read_them() -> None:
    assert [milliseconds(0.1), milliseconds(10), milliseconds(0)] == ["100ms", "10000ms", "0ms"]


def test_istiod_keeps_its_defaults_unless_told_otherwise() -> None:
    plain = environment(Options(env={"PATH": "/bin"}))
    assert plain["PILOT_DEBOUNCE_AFTER"] == "100ms"
    assert plain["PATH"] == "/bin"
    assert not {"PILOT_PUSH_THROTTLE", "PILOT_MAX_REQUESTS_PER_SECOND"} & plain.keys()


def test_what_one_server_is_told_istiod_is_told() -> None:
    told = environment(
        Options(debounce_after=0.01, eds_debounce=False, push_throttle=7, max_requests_per_second=1e4, env={})
    )
    assert told["PILOT_DEBOUNCE_AFTER"] == "10ms"
    assert told["PILOT_ENABLE_EDS_DEBOUNCE"] == "false"
    assert told["PILOT_PUSH_THROTTLE"] == "7"
    assert told["PILOT_MAX_REQUESTS_PER_SECOND"] == "10000"


def test_programs_are_found_where_the_environment_says(tmp_path: Path) -> None:
    env = {"MINI_ISTIOD_PEERS": str(tmp_path)}
    with pytest.raises(EnvironmentUnfit, match=r"bench\.peers snapshot"):
        find("snapshot", env)
    program = tmp_path / "snapshot"
    program.write_text("")
    with pytest.raises(EnvironmentUnfit):
        find("snapshot", env)
    program.chmod(0o755)
    assert find("snapshot", env) == program


def test_a_relative_folder_of_programs_is_one_of_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert built_in({"MINI_ISTIOD_PEERS": "peers"}) == tmp_path / "peers"


def test_programs_belong_to_the_checkout_or_to_the_user(tmp_path: Path) -> None:
    assert built_in({"XDG_CACHE_HOME": "/c"}, tmp_path) == Path("/c/mini-istiod/peers")
    (tmp_path / "pyproject.toml").write_text("")
    assert built_in({}, tmp_path) == tmp_path / ".tools/peers"


def test_a_missing_program_is_said_before_anything_starts(tmp_path: Path) -> None:
    options = Options(env={"MINI_ISTIOD_PEERS": str(tmp_path)}, folder=tmp_path / "run")
    for name in sorted(set(BY_NAME) - {"mini-istiod"}):
        with pytest.raises(EnvironmentUnfit):
            BY_NAME[name].start(tmp_path, options)


def test_metrics_are_read_with_labels_and_without() -> None:
    text = '# HELP a b\n# TYPE a counter\na 3\npushes{type="cds",x="a b} c"} 1.5e+01\nold{} 2 17000\nbroken\n'
    assert parse_metrics(text) == {"a": 3.0, 'pushes{type="cds",x="a b} c"}': 15.0, "old{}": 2.0}


def test_a_server_that_ends_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    line = Line("quitter", (sys.executable, "-c", "print('no such mesh'); raise SystemExit(3)"), {})
    running = Running(tmp_path, line, *free_ports(2)).start()
    with running, pytest.raises(SubjectError, match=r"quitter ended \(3\):\nno such mesh"):
        running.wait_ready(10.0)


def test_an_aid_that_ends_is_told_with_the_end_of_its_own_log(tmp_path: Path) -> None:
    server = Line("server", (sys.executable, "-c", "raise SystemExit('never started')"), {})
    aid = Line("aid", (sys.executable, "-c", "print('no such folder'); raise SystemExit(4)"), {})
    xds, monitoring, api = free_ports(3)
    with pytest.raises(SubjectError, match=r"aid ended \(4\):\nno such folder"):
        Running(tmp_path, server, xds, monitoring, aid=aid, aid_port=api).start()


def test_an_aid_that_does_not_answer_is_ended_and_told_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "aid.log"

    def impatient(condition: Callable[[], bool], timeout: float) -> bool:
        return not wait_until(lambda: condition() or "deaf" in log.read_text(), timeout)

    monkeypatch.setattr(subjects_running, "wait_until", impatient)
    server = Line("server", (sys.executable, "-c", "raise SystemExit('never started')"), {})
    script = "import time; print('deaf', flush=True); time.sleep(60)"
    xds, monitoring, api = free_ports(3)
    aid = Line("aid", (sys.executable, "-c", script), {})
    running = Running(tmp_path, server, xds, monitoring, aid=aid, aid_port=api)
    with pytest.raises(SubjectError, match=r"aid does not answer:\ndeaf"):
        running.start()
    assert running.aid_cpu() == 0.0


def test_what_a_process_costs_is_read_from_outside(tmp_path: Path) -> None:
    script = (
        "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass\ntime.sleep(60)"
    )
    line = Line("worker", (sys.executable, "-c", script), {})
    with Running(tmp_path, line, *free_ports(2)).start() as running:
        while running.cpu() < 0.1:
            running.check()
        assert 1_000_000 < running.rss() <= running.rss_peak()
        assert running.aid_cpu() == 0.0
        pid = running.pid
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(SubjectError, match="not running"):
        running.cpu()
