"""The authority across restarts: another root is not taken up by the way, and there is a way to one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from controlplane import settings
from controlplane.app.trust import Trust, build_trust
from controlplane.base.clock import SystemClock
from controlplane.base.errors import EnvironmentUnfit
from tests.support.cas import Made, make_ca, plug, shaped


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    return tmp_path / "data"


def started(data: Path, *flags: str) -> Trust:
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser)
    argv = ["--config-dir", str(data.parent / "config"), "--data-dir", str(data), *flags]
    return build_trust(settings.from_args(parser.parse_args(argv), {}), SystemClock())


def operators(data: Path) -> tuple[Path, Made]:
    """A CA of an operator, and the folder that it is in."""
    now = SystemClock().wall()
    own = make_ca("own", shape=shaped(begin=now - 60, end=now + 1e6))
    return plug(data.parent / "cacerts", own, (own,)), own


def test_a_start_with_a_ca_of_ones_own_does_not_replace_the_root_of_the_last_run(data: Path) -> None:
    before = started(data).authority.root
    cacerts, _ = operators(data)
    for _ in range(2):
        with pytest.raises(EnvironmentUnfit, match="no proxy that was told of the first would come back"):
            started(data, "--root-ca-dir", str(cacerts))
        assert (data / "root-cert.pem").read_bytes() == before
    assert started(data).authority.root == before
    # To remove the file is to say that it is meant.
    (data / "root-cert.pem").unlink()
    root = started(data, "--root-ca-dir", str(cacerts)).authority.root
    assert (data / "root-cert.pem").read_bytes() == root != before


def test_nor_does_a_start_that_has_lost_its_keys(data: Path) -> None:
    before = started(data).authority.root
    (data / "ca" / "roots.json").unlink()
    with pytest.raises(EnvironmentUnfit, match="remove the file for a new beginning"):
        started(data)
    assert (data / "root-cert.pem").read_bytes() == before


def test_files_of_a_ca_that_change_while_nobody_looks_are_held_against_the_same(data: Path) -> None:
    cacerts, _ = operators(data)
    before = started(data, "--root-ca-dir", str(cacerts)).authority.root
    (data.parent / "cacerts").rename(data.parent / "before")
    operators(data)
    with pytest.raises(EnvironmentUnfit, match="step by step"):
        started(data, "--root-ca-dir", str(cacerts))
    assert (data / "root-cert.pem").read_bytes() == before


def test_the_kept_root_can_be_plugged_in_and_changed_from_there(data: Path) -> None:
    """The way in docs/certificates.md from a root of our own to a CA of yours."""
    before = started(data).authority.root
    kept = json.loads((data / "ca" / "roots.json").read_text())["current"]
    folder = data.parent / "kept"
    folder.mkdir()
    for name, part in (("ca-cert", "certificate"), ("root-cert", "root"), ("ca-key", "key")):
        (folder / f"{name}.pem").write_text(kept[part])
    trust = started(data, "--root-ca-dir", str(folder))
    assert trust.authority.root == before
    assert trust.reload is not None
    new, own = operators(data)
    with (folder / "root-cert.pem").open("ab") as file:
        file.write(own.pem)
    assert trust.reload.reload()
    assert (data / "root-cert.pem").read_bytes() == before + own.pem
    for name in ("ca-cert.pem", "ca-key.pem"):
        (folder / name).write_bytes((new / name).read_bytes())
    assert trust.reload.reload()
    assert trust.authority.root == own.pem


def test_proxies_find_the_roots_where_they_were_asked_for(data: Path) -> None:
    shown = data.parent / "roots" / "ca.pem"
    with pytest.raises(EnvironmentUnfit, match=r"--publish-root-cert: .*/roots/ca.pem: cannot be written"):
        started(data, "--publish-root-cert", str(shown))
    shown.parent.mkdir()
    trust = started(data, "--publish-root-cert", str(shown))
    assert shown.read_bytes() == trust.authority.root == (data / "root-cert.pem").read_bytes()
    assert trust.rotation is not None
    trust.rotation.start()
    assert shown.read_bytes() == (data / "root-cert.pem").read_bytes() != trust.authority.root


def test_so_they_do_when_the_root_is_an_operators(data: Path) -> None:
    cacerts, own = operators(data)
    shown = data.parent / "ca.pem"
    started(data, "--root-ca-dir", str(cacerts), "--publish-root-cert", str(shown))
    assert shown.read_bytes() == own.pem
