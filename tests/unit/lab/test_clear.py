"""`python -m controlplane.lab`: it says what it does before it does it."""

from __future__ import annotations

import pytest

from controlplane.lab import __main__ as command
from controlplane.lab import site


def test_help_clears_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cleared: list[object] = []

    def sweep(place: object) -> list[int]:
        cleared.append(place)
        return []

    monkeypatch.setattr(site, "sweep", sweep)
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0 and "owner was killed" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        command.main(["--place"])
    assert ended.value.code == 2
    assert cleared == []
    assert command.main([]) == 0
    assert cleared == [site.DEFAULT_PLACE]
