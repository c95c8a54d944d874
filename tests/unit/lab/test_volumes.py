"""What a kubelet keeps fresh in pods: files behind a symlink that is swapped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.lab.volumes import Account, Kubelet, VolumeError, project
from controlplane.lab.waiting import wait_until

ME = os.getuid()
ACCOUNT = Account("prod", "web", "web-1")


def test_files_are_reached_through_one_symlink_that_is_swapped(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    project(volume, {"token": b"one", "other": b"1"}, ME)
    first = (volume / "..data").readlink()
    assert (volume / "token").readlink() == Path("..data/token")
    assert (volume / "token").read_bytes() == b"one"
    link = (volume / "token").lstat().st_ino
    with (volume / "token").open("rb") as held:
        project(volume, {"token": b"two"}, ME)
        assert held.read() == b"one"
    assert (volume / "token").read_bytes() == b"two"
    # The name itself was not touched: only ..data moved, and what it led to is gone.
    assert (volume / "token").lstat().st_ino == link
    assert (volume / "..data").readlink() != first
    names = {path.name for path in volume.iterdir()}
    assert names == {"..data", "token", (volume / "..data").readlink().name}


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    project(tmp_path / "volume", {"token": b"one"}, ME)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "volume", tmp_path / "volume" / "token")]
    assert modes == [0o700, 0o400]


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    path = tmp_path / "root-cert.pem"
    path.write_text("old root")
    return path


@pytest.fixture
def minted() -> list[Account]:
    return []


@pytest.fixture
def kubelet(roots: Path, minted: list[Account]) -> Iterator[Kubelet]:
    def mint(account: Account) -> str:
        minted.append(account)
        return f"token {len(minted)}"

    found = Kubelet(roots, mint, ME, renew_after=0.1)
    yield found
    found.close()


def test_a_pod_finds_its_token_and_the_roots(tmp_path: Path, kubelet: Kubelet, minted: object) -> None:
    trust = kubelet.mount(tmp_path, ACCOUNT)
    assert minted == [ACCOUNT]
    assert (Path(trust.token).read_text(), Path(trust.root).read_text()) == ("token 1", "old root")
    assert trust.directory == str(tmp_path)


def test_roots_and_tokens_are_kept_fresh(tmp_path: Path, roots: Path, kubelet: Kubelet) -> None:
    trust = kubelet.mount(tmp_path, ACCOUNT)
    roots.write_text("both roots")
    assert wait_until(lambda: Path(trust.root).read_text() == "both roots", 5)
    assert wait_until(lambda: Path(trust.token).read_text() == "token 2", 5)
    # Roots that are gone for a moment are no roots to spread.
    roots.unlink()
    assert wait_until(lambda: Path(trust.token).read_text() == "token 3", 5)
    assert Path(trust.root).read_text() == "both roots"


def test_what_is_unmounted_is_left_alone(tmp_path: Path, kubelet: Kubelet) -> None:
    first, second = (tmp_path / name for name in ("first", "second"))
    for directory in (first, second):
        directory.mkdir()
    kept, left = kubelet.mount(first, ACCOUNT), kubelet.mount(second, ACCOUNT)
    kubelet.unmount(second)
    before = Path(left.token).read_text()
    assert wait_until(lambda: Path(kept.token).read_text() != "token 1", 5)
    assert Path(left.token).read_text() == before


def test_without_roots_there_is_nothing_to_mount(tmp_path: Path, roots: Path, kubelet: Kubelet) -> None:
    roots.unlink()
    with pytest.raises(VolumeError, match="are no roots for pods to trust"):
        kubelet.mount(tmp_path, ACCOUNT)
