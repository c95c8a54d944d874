"""What counts as a file of ours, what links lead to, and what cannot be looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controlplane.sources.directory.tree import affected, identity, look, within


def files(root: Path, place: str = "") -> list[str]:
    return sorted(look(root, place).files)


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_only_objects_are_read(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml", "c.json", "sub/deep/d.yaml"):
        write(tmp_path / name)
    litter = (
        ".a.yaml.swp", "a.yaml~", "#a.yaml#", ".#a.yaml", "4913", "a.yaml.tmp", ".hidden.yaml", "README.md",
        ".git/x.yaml", "..2024/x.yaml", "~a.yaml", "kustomization.yaml",
    )  # fmt: skip
    for name in litter:
        write(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.yaml")
    assert files(tmp_path) == ["a.yaml", "b.yml", "c.json", "sub/deep/d.yaml"]


def test_a_part_of_the_tree(tmp_path: Path) -> None:
    write(tmp_path / "a/b/c.yaml")
    write(tmp_path / "a-b.yaml")
    assert files(tmp_path, "a") == ["a/b/c.yaml"]
    assert files(tmp_path, "a/b/c.yaml") == ["a/b/c.yaml"]
    assert files(tmp_path, "nowhere/x.yaml") == []
    assert files(tmp_path, "a-b.yaml/x.yaml") == []


def test_links_are_followed_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    write(tmp_path / "..2024_05_01/a.yaml")
    (tmp_path / "..data").symlink_to("..2024_05_01")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    write(outside / "b.yaml")
    (tmp_path / "link").symlink_to(outside)
    assert files(tmp_path) == ["a.yaml", "link/b.yaml"]


def test_links_that_lead_back_up_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "a/b.yaml")
    (tmp_path / "a/up").symlink_to("..")
    (tmp_path / "a/self").symlink_to(".")
    assert files(tmp_path) == ["a/b.yaml"]
    # An event may name a path through such a link.
    assert files(tmp_path, "a/up/a/b.yaml") == []


def test_what_cannot_be_looked_at_is_hidden_not_gone(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "dead.yaml").symlink_to("nowhere")
    (tmp_path / "mount").symlink_to("/nowhere/at/all")
    found = look(tmp_path)
    assert found.files == {}
    assert sorted(found.hidden) == ["dead.yaml", "loop.yaml", "mount"]
    assert found.hides("mount/x/y.yaml")
    assert not found.hides("mountain.yaml")


def test_a_directory_without_permission_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "closed/a.yaml")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert look(tmp_path).hidden == {"closed": "permission denied"}
    assert look(tmp_path).hides("closed/a.yaml")


@pytest.mark.parametrize(
    ("event", "place"),
    [
        ("a.yaml", "a.yaml"),
        ("sub/a.yaml", "sub/a.yaml"),
        ("sub", "sub"),
        ("..data", ""),
        ("sub/..data", "sub"),
        ("sub/..2024/a.yaml", "sub"),
        (".git/index", None),
        ("sub/.a.yaml.swp", None),
        ("a.yaml~", None),
        ("#a.yaml#", None),
        ("a.yaml.tmp", None),
        ("", ""),
    ],
)
def test_where_to_look_after_an_event(event: str, place: str | None) -> None:
    assert affected(event) == place


def test_within() -> None:
    assert within("a/b.yaml", "")
    assert within("a/b.yaml", "a")
    assert within("a", "a")
    assert not within("ab.yaml", "a")


def test_identity(tmp_path: Path) -> None:
    assert identity(tmp_path) == identity(tmp_path)
    assert identity(tmp_path / "no") == "no such file or directory"
    assert identity(write(tmp_path / "file")) == "it is not a directory"
    (tmp_path / "link").symlink_to(tmp_path)
    assert identity(tmp_path / "link") == identity(tmp_path)
