"""The demo's command line and its last words; what it shows is in tests/envoy/test_demo.py."""

from __future__ import annotations

import argparse
import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from controlplane.lab import demo_pods as demo
from controlplane.lab.pushes import Push
from controlplane.lab.screen import Screen
from controlplane.lab.steps import STEPS, Visit, admission


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(words)


def test_defaults() -> None:
    found = options()
    assert (found.steps, found.requests, found.keep, found.protocol) == (None, 200, False, "DELTA_GRPC")
    assert options("--sotw").protocol == "GRPC"
    assert options("--delta").protocol == "DELTA_GRPC"


@pytest.mark.parametrize("words", [("--delta", "--sotw"), ("--requests", "0"), ("--requests", "x")])
def test_nonsense_is_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(*words)
    capsys.readouterr()


def test_steps_are_chosen_by_name_and_in_the_order_given() -> None:
    assert demo.choose(None) == STEPS
    assert [step.name for step in demo.choose("back, strict")] == ["back", "strict"]
    for wrong in ("strict,nonsense", "", ","):
        with pytest.raises(demo.DemoError, match="there are strict, permissive"):
            demo.choose(wrong)


def test_a_user_who_is_not_root_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert demo.run(options()) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("demo: FAIL: ") and "as root" in last


def test_a_missing_envoy_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "iptables-restore").touch(mode=0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ENVOY_BIN", str(tmp_path / "absent"))
    assert demo.run(options()) == 1
    assert "demo: FAIL: no Envoy found" in capsys.readouterr().out


def result(status: int, overloaded: bool = False) -> dict[str, object]:
    return {"status": status, "overloaded": overloaded, "error": None, "seconds": 0.1, "body": ""}


CROWD = Visit("a [bold] crowd", admission, {"200": None, "503 overloaded": None})


def test_off_a_terminal_there_is_one_line_per_visit() -> None:
    out = io.StringIO()
    seen = Screen(Console(file=out, width=40)).watch(
        CROWD, iter([result(200), result(503, True), result(200)])
    )
    assert len(seen) == 3
    assert out.getvalue() == "  a [bold] crowd: 200 2 (66.7%), 503 overloaded 1 (33.3%)\n"


SPIFFE = "spiffe://cluster.local/ns/bookstore/sa/bookstore-client"
REACHED = {"name": "productpage", "version": "v1", "caller": SPIFFE, "hops": []}


def test_below_it_stands_who_was_known_to_whom() -> None:
    out = io.StringIO()
    reached = [{**result(200), "body": {**REACHED, "caller": who}} for who in (SPIFFE, "", SPIFFE)]
    Screen(Console(file=out, width=40)).watch(CROWD, iter(reached))
    assert out.getvalue().splitlines()[1:] == [
        "      mutual TLS: client → productpage 2",
        "      plaintext: client → productpage 1",
    ]


def test_on_a_terminal_there_is_a_table() -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, width=120, force_terminal=True))
    screen.watch(CROWD, iter([{**result(200), "body": REACHED}, result(404)]))
    last = out.getvalue()
    assert "a [bold] crowd" in last and "404" in last and "50.0%" in last and "some" in last
    assert "client → productpage" in last and "mutual TLS" in last and "as bookstore-client" in last


def test_a_push_is_told_with_its_stages() -> None:
    out = io.StringIO()
    stages = (("debounce_in", 0.001), ("commit", 0.101), ("ack", 0.106))
    Screen(Console(file=out, width=40)).push(Push(1, ("Service", "a", "b"), stages, 7, 6, True))
    assert (
        out.getvalue()
        == "  pushed Service a/b: 6 of 7 proxies in 106.0 ms  (notice 1.0, debounce 100.0, ack 5.0)\n"
    )


def test_the_verdict_is_the_last_line_even_if_there_is_more_to_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object) -> None:
        raise demo.DemoError("the control plane ended (1):\nTraceback\nValueError: 7")

    monkeypatch.setattr(demo, "Lab", fail)
    assert demo.run(options()) == 1
    assert capsys.readouterr().out.splitlines() == [
        "  Traceback",
        "  ValueError: 7",
        "demo: FAIL: the control plane ended (1)",
    ]
