"""What outlives a restart: modes, wholeness, and what a damaged or missing file says."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca.keep import DirectoryKeeper, MemoryKeeper, private_folder, replace, write_bundle
from controlplane.ca.signer import pem, self_signed
from controlplane.ca.stages import Roots, advanced, begun
from controlplane.model.certificate import TrustBundle
from tests.support.cas import NOW


def roots() -> Roots:
    return Roots("idle", NOW, self_signed(NOW, 1e8))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_stage_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = roots()
    assert DirectoryKeeper(tmp_path).load() is None
    assert DirectoryKeeper(tmp_path).create(kept) == kept
    for stage in ("trust", "sign", "drop", "idle"):
        kept = begun(kept, self_signed(NOW, 1e8), NOW) if stage == "trust" else advanced(kept, NOW)
        assert kept.stage == stage
        DirectoryKeeper(tmp_path).save(kept)
        found = DirectoryKeeper(tmp_path).load()
        assert found == kept
        # Equality is of certificates; that the keys are theirs was checked by `load`.
        assert found.signer.key.private_numbers() == kept.signer.key.private_numbers()  # type: ignore[union-attr]
        shown = (tmp_path / "root-cert.pem").read_bytes()
        assert shown == b"".join(map(pem, kept.trusted))


@pytest.mark.parametrize("in_memory", [False, True])
def test_proxies_see_a_copy_of_what_is_trusted_at_every_stage(tmp_path: Path, in_memory: bool) -> None:
    (tmp_path / "roots").mkdir()
    copy = tmp_path / "roots/root-cert.pem"
    keeper = MemoryKeeper(copy) if in_memory else DirectoryKeeper(tmp_path / "data", copy)
    kept = keeper.create(roots())
    for stage in ("trust", "sign", "drop", "idle"):
        kept = begun(kept, self_signed(NOW, 1e8), NOW) if stage == "trust" else advanced(kept, NOW)
        keeper.save(kept)
        assert copy.read_bytes() == b"".join(map(pem, kept.trusted))
    assert mode(copy) == 0o644
    # Nothing else may get to where others look.
    assert [path.name for path in copy.parent.iterdir()] == ["root-cert.pem"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root works in another user's folder")
def test_what_root_makes_in_another_users_folder_is_theirs(tmp_path: Path) -> None:
    os.chown(tmp_path, 65532, 65533)
    replace(tmp_path / "file", b"x", 0o600)
    private_folder(tmp_path / "folder")
    replace(tmp_path / "folder/file", b"x", 0o644)
    for path in (tmp_path / "file", tmp_path / "folder", tmp_path / "folder/file"):
        assert (path.stat().st_uid, path.stat().st_gid) == (65532, 65533)
    replace(tmp_path / "file", b"y", 0o400, (1337, 1338))
    given = (tmp_path / "file").stat()
    assert (given.st_uid, given.st_gid, mode(tmp_path / "file")) == (1337, 1338, 0o400)


def test_keys_are_for_their_owner_only_and_roots_for_all(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keeper = DirectoryKeeper(tmp_path)
        keeper.create(roots())
        keeper.save(roots())
    finally:
        os.umask(before)
    assert mode(tmp_path / "ca") == 0o700
    assert mode(tmp_path / "ca/roots.json") == 0o600
    assert mode(tmp_path / "root-cert.pem") == 0o644
    assert b"PRIVATE" not in (tmp_path / "root-cert.pem").read_bytes()


def test_the_old_key_is_gone_when_its_root_is(tmp_path: Path) -> None:
    old = roots()
    keeper = DirectoryKeeper(tmp_path)
    now = advanced(begun(old, self_signed(NOW, 1e8), NOW), NOW)
    keeper.save(now)
    secret = json.loads((tmp_path / "ca/roots.json").read_text())["current"]["key"]
    keeper.save(advanced(now, NOW))
    assert secret not in (tmp_path / "ca/roots.json").read_text()
    assert [path.name for path in (tmp_path / "ca").iterdir()] == ["roots.json"]


def test_two_that_start_at_once_agree_on_one_root(tmp_path: Path) -> None:
    first, second = DirectoryKeeper(tmp_path), DirectoryKeeper(tmp_path)
    assert (first.load(), second.load()) == (None, None)
    mine, yours = roots(), roots()
    assert first.create(mine) == mine
    assert second.create(yours) == mine
    assert [path.name for path in (tmp_path / "ca").iterdir()] == ["roots.json"]


@pytest.mark.parametrize("fails", ["fsync", "fchmod", "replace"])
def test_a_write_that_fails_leaves_the_old_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def fail(*args: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "file"
    replace(target, b"old", 0o600)
    if fails == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(os, fails, fail)
    with pytest.raises(EnvironmentUnfit, match="file: cannot be written: No space left"):
        replace(target, b"new", 0o600)
    monkeypatch.undo()
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_stage_whose_bundle_cannot_be_written_is_not_entered_by_halves(tmp_path: Path) -> None:
    keeper = DirectoryKeeper(tmp_path)
    kept = keeper.create(roots())
    (tmp_path / "root-cert.pem").mkdir()
    with pytest.raises(EnvironmentUnfit, match=r"root-cert\.pem: cannot be written"):
        keeper.save(begun(kept, self_signed(NOW, 1e8), NOW))
    found = DirectoryKeeper(tmp_path).load()
    # What is kept is one of the two that are compatible with what proxies have: the new stage.
    assert found is not None
    assert (found.stage, found.current) == ("trust", kept.current)


def damaged(tmp_path: Path, text: str) -> str:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca/roots.json").write_text(text)
    with pytest.raises(EnvironmentUnfit) as caught:
        DirectoryKeeper(tmp_path).load()
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"form": 1}',
        '{"form": 1, "stage": "idle", "since": 0, "current": 5, "next": null}',
    ],
)
def test_damage(tmp_path: Path, text: str) -> None:
    assert "ca/roots.json: it is damaged" in damaged(tmp_path, text)


@pytest.mark.parametrize("change", [{"stage": "trust"}, {"stage": "never"}, {"since": "now"}])
def test_what_does_not_go_together(tmp_path: Path, change: dict[str, object]) -> None:
    DirectoryKeeper(tmp_path / "good").create(roots())
    value = json.loads((tmp_path / "good/ca/roots.json").read_text())
    assert "it is damaged" in damaged(tmp_path, json.dumps({**value, **change}))


def test_the_key_of_another(tmp_path: Path) -> None:
    DirectoryKeeper(tmp_path / "good").create(roots())
    DirectoryKeeper(tmp_path / "other").create(roots())
    value = json.loads((tmp_path / "good/ca/roots.json").read_text())
    other = json.loads((tmp_path / "other/ca/roots.json").read_text())
    value["current"]["key"] = other["current"]["key"]
    text = damaged(tmp_path, json.dumps(value))
    assert "does not belong" in text
    assert value["current"]["key"].splitlines()[1][:20] not in text


def test_a_later_form(tmp_path: Path) -> None:
    assert "it is of form 2" in damaged(tmp_path, '{"form": 2}')


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentUnfit, match="cannot be made: Not a directory"):
        DirectoryKeeper(tmp_path / "file/data").create(roots())
    with pytest.raises(EnvironmentUnfit, match="cannot be made"):
        write_bundle(tmp_path / "file/data", TrustBundle((b"x",)))
