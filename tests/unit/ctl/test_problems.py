"""mini-istioctl problems: rows for grep, paragraphs for a terminal, JSON for the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.console import Console
from test_istioctl import serving

from controlplane.ctl import problems
from controlplane.ctl.__main__ import main
from controlplane.model.problem import Problem

COMMAND = "docker compose -p shop -f /srv/shop/docker-compose.mesh.yml up -d " + "web " * 60
ADVICE = Problem("info", "Container", "default", "shop_job_1", "docker:shop_job_1", None, "", "none", "add")
LOST = Problem(
    "warning",
    "Container",
    "default",
    "shop_web_1",
    "docker:shop_web_1",
    None,
    "network_mode",
    "lost",
    COMMAND,
)
BROKEN = Problem("error", "VirtualService", "default", "ext", "a.yaml", 11, "", "not YAML", "mend it")
AWAY = Problem("error", "", "", "", "unix:/x.sock", None, "", "cannot be reached", "start it")


def asked(*words: str, told: tuple[Problem, ...]) -> int:
    answer = (200, json.dumps([one.as_json() for one in told]))
    with serving({"/debug/problems": answer}) as address:
        return main(["problems", "--monitoring", address, *words])


def test_one_row_each_the_worst_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(told=(ADVICE, LOST, BROKEN, AWAY)) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["LEVEL", "OBJECT", "PLACE", "MESSAGE", "REMEDY"]
    cells = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows]
    assert cells == [
        ["error", "VirtualService default/ext", "a.yaml:11", "not YAML", "mend it"],
        ["error", "unix:/x.sock", "cannot be reached", "start it"],
        [
            "warning",
            "Container default/shop_web_1",
            "docker:shop_web_1",
            "network_mode: lost",
            COMMAND.strip(),
        ],
        ["info", "Container default/shop_job_1", "docker:shop_job_1", "none", "add"],
    ]


def test_json_is_what_was_answered_in_that_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert asked("-o", "json", told=(ADVICE, BROKEN)) == 0
    assert json.loads(capsys.readouterr().out) == [BROKEN.as_json(), ADVICE.as_json()]


def test_nothing_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(told=()) == 0
    assert capsys.readouterr().out == "No problems.\n"
    assert asked("-o", "json", told=()) == 0
    assert capsys.readouterr().out == "[]\n"


def test_no_answer_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with serving({}) as address:
        assert main(["problems", "--monitoring", address]) == 1
    assert "/debug/problems answered 404" in capsys.readouterr().err


def on_a_terminal(one: dict[str, Any]) -> list[str]:
    console = Console(width=80, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(problems.paragraphs([one]), soft_wrap=True)
    return capture.get().splitlines()


def test_on_a_terminal_a_command_stays_whole() -> None:
    assert on_a_terminal(dict(LOST.as_json())) == [
        "warning Container default/shop_web_1 (docker:shop_web_1)",
        "  network_mode: lost",
        f"  remedy: {COMMAND}",
    ]


def test_what_others_wrote_cannot_steer_the_terminal() -> None:
    odd = {"level": "\x1b[2J", "name": "[red]\x07", "message": "\x9b", "remedy": "a\nb"}
    assert on_a_terminal(odd) == ["?[2J [red]?", "  ?", "  remedy: a?b"]
