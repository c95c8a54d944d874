"""Where the roots' keys outlive a restart.

In a data directory they are one file, which is replaced as a whole: a crash leaves the stage before or
the stage after, never half of one.  `root-cert.pem` beside it has what is trusted at present, for
bootstraps to point to; it is made anew from the kept state at each start.  A copy of it may be wanted where
proxies can see it, and the keys beside it they cannot.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any, Protocol

from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca.pem import certificates, private_key
from controlplane.ca.signer import Signer, pem, signer_pem
from controlplane.ca.stages import Roots
from controlplane.model.certificate import TrustBundle

_FORM = 1
ROOT_FILE = "root-cert.pem"
"""The name, in the data directory, of the file with the roots that are trusted now."""


class Keeper(Protocol):
    """Keeps the roots with their keys.  All three raise `EnvironmentUnfit` when it cannot be done."""

    def load(self) -> Roots | None:
        """What was kept last; None when nothing ever was."""
        ...

    def create(self, roots: Roots) -> Roots:
        """Keep the first roots, unless somebody was faster; what is kept now."""
        ...

    def save(self, roots: Roots) -> None:
        """Keep these in place of the last, and show who is trusted; when it returns both outlive a crash."""
        ...


class MemoryKeeper:
    """Keeps nothing beyond the process: the next one has another root, which nobody trusts.

    `copy` is where the trusted roots are shown, if anywhere.
    """

    def __init__(self, copy: Path | None = None) -> None:
        self._roots: Roots | None = None
        self._copy = copy

    def load(self) -> Roots | None:
        return self._roots

    def create(self, roots: Roots) -> Roots:
        self._roots = roots
        return roots

    def save(self, roots: Roots) -> None:
        self._roots = roots
        publish(self._copy, _bundle(roots))


class DirectoryKeeper:
    """Keeps the roots in `<data directory>/ca/roots.json`, mode 0600 in a directory of mode 0700.

    `copy` is where the trusted roots are shown beside root-cert.pem, if anywhere.
    """

    def __init__(self, data_dir: Path, copy: Path | None = None) -> None:
        self._data_dir = data_dir
        self._copy = copy
        self._folder = data_dir / "ca"
        self._file = self._folder / "roots.json"

    def load(self) -> Roots | None:
        try:
            text = self._file.read_text()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise EnvironmentUnfit(f"{self._file}: cannot be read: {_reason(error)}") from error
        return _parsed(text, str(self._file))

    def create(self, roots: Roots) -> Roots:
        self._make_folder()
        try:
            temporary = _written(self._folder, _text(roots), 0o600)
            try:
                # Unlike a rename this fails when the file is there: two that start at once agree on one.
                os.link(temporary, self._file)
            finally:
                temporary.unlink()
            _sync_folder(self._folder)
        except FileExistsError:
            return self.load() or roots
        except OSError as error:
            raise EnvironmentUnfit(f"{self._file}: cannot be written: {_reason(error)}") from error
        return roots

    def save(self, roots: Roots) -> None:
        self._make_folder()
        replace(self._file, _text(roots), 0o600)
        # Should this fail, the stage counts as not entered, and is kept again when it is tried again.
        write_bundle(self._data_dir, _bundle(roots))
        publish(self._copy, _bundle(roots))

    def _make_folder(self) -> None:
        try:
            private_folder(self._folder)
        except OSError as error:
            raise EnvironmentUnfit(f"{self._folder}: cannot be made: {_reason(error)}") from error


def private_folder(path: Path) -> None:
    """Make a folder that only its owner can enter, unless it is there; raises OSError."""
    path.mkdir(parents=True, exist_ok=True)
    # What is right already may be another user's to change.
    if stat.S_IMODE(path.stat().st_mode) != 0o700:
        path.chmod(0o700)
    inherit(path)


def write_bundle(data_dir: Path, bundle: TrustBundle) -> None:
    """Make `root-cert.pem` hold what is trusted now; readable by all, as roots are no secret."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentUnfit(f"{data_dir}: cannot be made: {_reason(error)}") from error
    replace(data_dir / ROOT_FILE, b"".join(bundle.roots), 0o644)


def publish(copy: Path | None, bundle: TrustBundle) -> None:
    """Make a file elsewhere hold what is trusted now, if one is asked for; its folder is one to mount.

    The file is moved in, which a running Envoy notices.
    """
    if copy is not None:
        replace(copy, b"".join(bundle.roots), 0o644)


def _bundle(roots: Roots) -> TrustBundle:
    return TrustBundle(tuple(map(pem, roots.trusted)))


def replace(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Put a new file in a file's place at once; when it returns it outlives a crash.

    `owner` is (user, group) if it is to be another's; else it is as `inherit` says.  Both take CAP_CHOWN.
    EnvironmentUnfit where there is something else than a file: /dev/null would be gone.
    """
    if path.exists() and not path.is_file():
        raise EnvironmentUnfit(f"{path}: cannot be written: it is no file")
    try:
        temporary = _written(path.parent, data, mode, owner)
        try:
            temporary.replace(path)
        except OSError:
            temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise EnvironmentUnfit(f"{path}: cannot be written: {_reason(error)}") from error


def _written(folder: Path, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> Path:
    handle, name = tempfile.mkstemp(dir=folder, prefix=".new-")  # with mode 0600 from the first moment
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)  # first: who has given a file away may not change its mode
            _give(file.fileno(), owner or _heir(folder))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink()
        raise
    return path


def inherit(path: Path) -> None:
    """What root makes in another user's folder is that user's: who works there has to be able to use it.

    Raises OSError.
    """
    heir = _heir(path.parent)
    state = path.stat()
    if heir != (state.st_uid, state.st_gid):
        _give(path, heir)


def _heir(folder: Path) -> tuple[int, int] | None:
    """Whose a new file in a folder is to be, as (user, group); None is whoever makes it."""
    if os.geteuid() != 0:
        return None
    state = folder.stat()
    return (state.st_uid, state.st_gid) if state.st_uid != 0 else None


def _give(file: int | Path, owner: tuple[int, int] | None) -> None:
    if owner is not None:
        os.chown(file, *owner)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _text(roots: Roots) -> bytes:
    value = {
        "form": _FORM,
        "stage": roots.stage,
        "since": roots.since,
        "current": signer_pem(roots.current),
        "next": None if roots.next is None else signer_pem(roots.next),
    }
    return json.dumps(value, indent=1).encode()


def _parsed(text: str, where: str) -> Roots:
    try:
        value = json.loads(text)
        if value["form"] != _FORM:
            raise EnvironmentUnfit(f"{where}: it is of form {value['form']!r}; this program knows {_FORM}")
        after = value["next"]
        return Roots(
            value["stage"],
            float(value["since"]),
            _signer(value["current"], where),
            None if after is None else _signer(after, where),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        # Nothing of the content, which is keys, may get into the message: not even the parser's own words.
        raise EnvironmentUnfit(
            f"{where}: it is damaged; restore it from a copy, or move it and {ROOT_FILE} away for a new "
            "root, which every proxy then has to be told"
        ) from None


def _signer(value: dict[str, Any], where: str) -> Signer:
    (certificate,) = certificates(value["certificate"].encode(), where)
    (root,) = certificates(value["root"].encode(), where)
    between = certificates(value["between"].encode(), where) if value["between"] else ()
    key = private_key(value["key"].encode(), where)
    if key.public_key() != certificate.public_key():
        raise EnvironmentUnfit(f"{where}: a key does not belong to its certificate")
    return Signer(certificate, key, root, between)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
