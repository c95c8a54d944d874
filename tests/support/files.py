"""The hand that edits a watched directory, and the knowledge of what is in it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controlplane.model.kinds import BY_NAME
from controlplane.sources.naming import Name, NoName, name_of

Object = Mapping[str, Any]


class MeshFiles:
    """A directory of YAML.  Every write is atomic: a draft beside the directory is moved in.

    `valid` is what a control plane that started now would read: object name -> value.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._drafts = Path(tempfile.mkdtemp(prefix="drafts-", dir=directory.parent))
        self.valid: dict[Name, Any] = {}
        self.holds: dict[str, tuple[Object, ...]] = {}
        """What every file was last written with, by `write`."""

    def write(self, file: str, *objects: Object) -> None:
        """Let a file hold these objects (each of them valid), one document each."""
        # A JSON document is a YAML document.
        self.text(file, "\n---\n".join(json.dumps(one, indent=1) for one in objects) + "\n")
        self._forget(file)
        found = dict(map(_parsed, objects))
        clash = found.keys() & self.valid.keys()
        assert not clash, f"{clash} are in other files"
        self.holds[file] = objects
        self.valid.update(found)

    def put(self, one: Object) -> str:
        """Let a file of its own hold this object; returns the file's name."""
        file = file_of(one)
        self.write(file, one)
        return file

    def delete(self, one: Object) -> None:
        """Remove the file that `put` made."""
        self.remove(file_of(one))

    def text(self, file: str, text: str) -> None:
        """Let a file hold this text, whatever it is; what is expected of the mesh stays as it was."""
        draft = self._drafts / "draft"
        draft.write_text(text, encoding="utf-8")
        draft.replace(self.directory / file)

    def restore(self, file: str) -> None:
        """Let a file hold again what it was last written with."""
        self.write(file, *self.holds[file])

    def remove(self, file: str) -> None:
        (self.directory / file).unlink()
        self._forget(file)

    def rename(self, file: str, to: str) -> None:
        (self.directory / file).rename(self.directory / to)
        self.holds[to] = self.holds.pop(file)

    def _forget(self, file: str) -> None:
        for one in self.holds.pop(file, ()):
            del self.valid[_parsed(one)[0]]


def file_of(one: Object) -> str:
    """The name of the file that holds this object alone."""
    meta = one["metadata"]
    return f"{one['kind']}.{meta.get('namespace', '')}.{meta['name']}.yaml".lower()


def _parsed(one: Object) -> tuple[Name, Any]:
    name = name_of(one)
    assert not isinstance(name, NoName), name
    value = BY_NAME[one["kind"]].parse(one, None).value
    assert value is not None, one
    return name, value
