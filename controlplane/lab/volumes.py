"""Files that a kubelet keeps fresh in pods: the token of the service account, and the roots to trust.

A volume is a folder whose files are symlinks that lead through one called `..data`.  A change is a new
folder and one rename of that symlink, as in Kubernetes: whoever reads sees the old or the new, whoever
watches the folder is told, and all files change together.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from controlplane.base.errors import MiniIstiodError
from controlplane.envoy.bootstrap_trust import Trust

ROOTS, TOKEN = "root-cert.pem", "token"
_LOOK = 0.2  # seconds between looks at the roots


class VolumeError(MiniIstiodError):
    """What belongs into a volume is not there yet."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose token a pod gets: that of a service account, bound to the pod."""

    namespace: str
    service_account: str
    pod: str


Mint = Callable[[Account], str]
"""A new token."""


@dataclass(slots=True)
class _Mount:
    account: Account
    roots: bytes
    minted: float


class Kubelet:
    """Mounts `roots` (a file that may change) and tokens into pods, until closed.

    A token is renewed after `renew_after` seconds, which should be well before it expires.
    """

    def __init__(self, roots: Path, mint: Mint, owner: int, renew_after: float = 3600.0) -> None:
        """`owner` is the only user, besides root, that may read what is mounted."""
        self._roots = roots
        self._mint = mint
        self._owner = owner
        self._renew_after = renew_after
        self._mounts: dict[Path, _Mount] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="kubelet", daemon=True)
        self._thread.start()

    def mount(self, directory: Path, account: Account) -> Trust:
        """Make the pod's two volumes below `directory`, and keep them fresh.  VolumeError without roots."""
        roots = self._read_roots()
        if roots is None:
            raise VolumeError(f"there are no roots for pods to trust: {self._roots} is not there")
        with self._lock:
            mounted = self._mounts[directory] = _Mount(account, roots, time.monotonic())
            self._project_roots(directory, mounted)
            self._project_token(directory, mounted)
        return Trust(
            str(directory), root=str(directory / "roots" / ROOTS), token=str(directory / "tokens" / TOKEN)
        )

    def unmount(self, directory: Path) -> None:
        """Leave these volumes alone from now on."""
        with self._lock:
            self._mounts.pop(directory, None)

    def close(self) -> None:
        """Leave all volumes as they are."""
        self._closed.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._closed.wait(_LOOK):
            roots = self._read_roots()
            with self._lock:
                for directory, mounted in self._mounts.items():
                    if roots is not None and roots != mounted.roots:
                        mounted.roots = roots
                        self._project_roots(directory, mounted)
                    if time.monotonic() - mounted.minted >= self._renew_after:
                        mounted.minted = time.monotonic()
                        self._project_token(directory, mounted)

    def _read_roots(self) -> bytes | None:
        try:
            return self._roots.read_bytes()
        except FileNotFoundError:
            return None

    def _project_roots(self, directory: Path, mounted: _Mount) -> None:
        project(directory / "roots", {ROOTS: mounted.roots}, self._owner)

    def _project_token(self, directory: Path, mounted: _Mount) -> None:
        token = self._mint(mounted.account)
        project(directory / "tokens", {TOKEN: token.encode()}, self._owner)


def project(volume: Path, files: Mapping[str, bytes], owner: int) -> None:
    """Make the volume hold exactly these files; readable for `owner` and root."""
    volume.mkdir(mode=0o700, exist_ok=True)
    os.chown(volume, owner, owner)
    fresh = volume / f"..{time.time_ns()}"
    fresh.mkdir(mode=0o700)
    os.chown(fresh, owner, owner)
    for name, content in files.items():
        descriptor = os.open(fresh / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chown(fresh / name, owner, owner)
    swapped = volume / "..data_tmp"
    swapped.symlink_to(fresh.name)
    swapped.replace(volume / "..data")
    for name in files:
        if not (volume / name).is_symlink():
            (volume / name).symlink_to(f"..data/{name}")
    for old in volume.iterdir():
        if old.is_symlink() and not old.name.startswith("..") and old.name not in files:
            old.unlink()
        elif old.is_dir() and not old.is_symlink() and old != fresh:
            shutil.rmtree(old)
