"""`mini-istiod ca`: what it says of a control plane that goes away, comes back, or has changed its mind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.app import ca_command
from controlplane.app.commands import main
from controlplane.ctl.monitoring import NoAnswerError

OLD, NEW = {"sha256": "01d"}, {"sha256": "2e3"}


def shown(stage: str, signer: dict[str, str] = OLD, **more: Any) -> dict[str, Any]:
    roots = {"trust": [OLD, NEW], "sign": [OLD, NEW]}.get(stage, [signer])
    return {"kind": "self-signed", "stage": stage, "behind": [], "signer": signer, "roots": roots, **more}


class Plane:
    """Answers what it is to answer, one after the other, the last for ever; None is no answer."""

    def __init__(self, *answers: dict[str, Any] | None) -> None:
        self._answers: Iterator[dict[str, Any] | None] = iter(answers)
        self._last = answers[-1]

    def fetch(self, base: str, path: str, *_: object, **__: object) -> dict[str, Any]:
        found = next(self._answers, self._last)
        if found is None:
            raise NoAnswerError(f"cannot reach {base}{path}: Connection refused")
        return found


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca_command, "_LOOK", 0.0)


def run(monkeypatch: pytest.MonkeyPatch, plane: Plane, *args: str) -> int:
    monkeypatch.setattr("controlplane.ctl.monitoring.fetch", plane.fetch)
    return main(["ca", *args])


def test_a_restart_in_the_midst_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plane = Plane(shown("trust"), shown("trust"), None, None, None, shown("sign", NEW), shown("idle", NEW))
    assert run(monkeypatch, plane, "rotate") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].endswith("stage      idle: one root, which signs")
    assert err.splitlines() == [
        "mini-istiod: cannot reach http://127.0.0.1:15014/debug/ca: Connection refused (asking on)",
        "mini-istiod: it answers again",
    ]


@pytest.mark.parametrize("flags", [(), ("--timeout", "0.02")])
def test_a_control_plane_that_stays_away_is_said_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    if not flags:
        monkeypatch.setattr(ca_command, "_PATIENCE", 0.02)
    assert run(monkeypatch, Plane(shown("trust"), shown("trust"), None), "rotate", *flags) == 1
    first, last = capsys.readouterr().err.splitlines()
    assert "cannot reach" in first
    assert "the rotation goes on where it was as soon as the control plane runs again" in last
    assert "mini-istiod ca status" in last


def test_a_rotation_that_ended_at_the_old_root_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, Plane(shown("trust"), shown("trust"), shown("idle")), "rotate") == 1
    assert "it is not the new root: the rotation was abandoned" in capsys.readouterr().err


def test_who_is_behind_holds_a_stage_and_in_idle_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late: Any = {"behind": ["web.default"]}
    assert run(monkeypatch, Plane(shown("trust", **late)), "status") == 0
    assert "behind     1: web.default\n" in capsys.readouterr().out
    assert run(monkeypatch, Plane(shown("idle", **late)), "status") == 0
    out = capsys.readouterr().out
    assert "behind" not in out
    assert "to follow  1: web.default (the last change is on its way to them)\n" in out
