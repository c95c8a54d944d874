"""Key sets on disk: what was fetched last outlives a restart, as long as its provider does not answer.

They are public keys, so nothing here is secret; whoever can write this folder can write the roots' keys
beside it too.
"""

from __future__ import annotations

import logging
from pathlib import Path

from controlplane.model.jwks import read_key_set
from controlplane.model.kinds.key_set import key_set_key

_log = logging.getLogger(__name__)


class Shelf:
    """One file per URI in a folder, made when missing; None = nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, uri: str) -> str:
        """The key set that was put there; "" where there is none that can be used."""
        if self._folder is None:
            return ""
        try:
            return read_key_set(self._path(self._folder, uri).read_bytes()).text
        except OSError:
            return ""

    def put(self, uri: str, keys: str) -> None:
        """Keep a key set; a disk that is full costs a line in the log, not the keys."""
        if self._folder is None:
            return
        path = self._path(self._folder, uri)
        new = path.with_suffix(".new")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            new.write_text(keys)
            new.replace(path)
        except OSError as error:
            _log.warning("a key set could not be kept", extra={"uri": uri, "reason": error.strerror})

    def drop(self, uri: str) -> None:
        """Forget a key set that nobody wants any more."""
        if self._folder is not None:
            self._path(self._folder, uri).unlink(missing_ok=True)

    def _path(self, folder: Path, uri: str) -> Path:
        # A hash: a URI could not be a file's name, and must not choose one.
        return folder / f"{key_set_key(uri).name}.json"
