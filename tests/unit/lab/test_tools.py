"""Where programs are looked for, in which order, and what is said when they are absent."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import tools


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\necho 'envoy  version: abc/1.40.0/Clean/RELEASE/BoringSSL'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """An Envoy in every place, in the order of preference."""
    return {
        "ENVOY_BIN": program(tmp_path / "own/my-envoy"),
        "PATH": program(tmp_path / "path/envoy"),
        "checkout": program(tmp_path / "checkout/.tools/bin/envoy"),
        "cache": program(tmp_path / "cache/mini-istiod/envoy-1.40.0/envoy"),
    }


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"PATH": str(tmp_path / "path"), "XDG_CACHE_HOME": str(tmp_path / "cache"), **more}


def test_the_order(tmp_path: Path, places: dict[str, Path]) -> None:
    checkout = tmp_path / "checkout"
    own = environment(tmp_path, ENVOY_BIN=str(places["ENVOY_BIN"]))
    assert tools.find_envoy(own, checkout) == places["ENVOY_BIN"]
    for name in ("PATH", "checkout", "cache"):
        assert tools.find_envoy(environment(tmp_path), checkout) == places[name]
        places[name].unlink()


def test_a_named_envoy_that_is_absent_is_not_replaced_by_another(
    tmp_path: Path, places: dict[str, Path]
) -> None:
    env = environment(tmp_path, ENVOY_BIN=str(tmp_path / "typo"))
    with pytest.raises(EnvironmentUnfit, match="typo"):
        tools.find_envoy(env, tmp_path / "checkout")
    with pytest.raises(EnvironmentUnfit, match="typo"):
        tools.install(env, tmp_path / "checkout")


def test_a_file_that_cannot_be_executed_is_no_envoy(tmp_path: Path, places: dict[str, Path]) -> None:
    places["checkout"].chmod(0o644)
    places["PATH"].unlink()
    assert tools.find_envoy(environment(tmp_path), tmp_path / "checkout") == places["cache"]


def test_the_cache_is_under_home_without_xdg(tmp_path: Path) -> None:
    last = tools.candidates({"HOME": str(tmp_path)}, tmp_path / "checkout")[-1]
    assert last == tmp_path / ".cache/mini-istiod/envoy-1.40.0/envoy"


def test_nothing_found_tells_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnfit, match=r"controlplane\.lab\.tools.*ENVOY_BIN"):
        tools.find_envoy(environment(tmp_path), tmp_path / "checkout")


def test_what_is_there_is_not_downloaded_again(tmp_path: Path, places: dict[str, Path]) -> None:
    assert tools.install(environment(tmp_path), tmp_path / "checkout") == places["PATH"]


def test_missing_iptables_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_SYSTEM", "")
    with pytest.raises(EnvironmentUnfit, match="apt-get install iptables"):
        tools.find_iptables_restore({"PATH": ""})


def test_reachable_looks_at_the_way_too() -> None:
    # Not tmp_path: pytest keeps that in a folder that others cannot enter.
    with tempfile.TemporaryDirectory() as folder:
        binary = program(Path(folder) / "envoy")
        Path(folder).chmod(0o755)
        assert tools.reachable(binary)
        Path(folder).chmod(0o700)
        assert not tools.reachable(binary)


def test_packages_are_asked_for_only_where_they_are_missing_and_of_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tools, "_SYSTEM", "")
    nowhere, here = {"PATH": ""}, {"PATH": str(tmp_path)}
    program(tmp_path / "iptables-restore")
    assert tools.needed_packages(nowhere, "Linux") == ("iptables",)
    assert tools.needed_packages(here, "Linux") == ()
    assert tools.needed_packages(nowhere, "Darwin") == ()
