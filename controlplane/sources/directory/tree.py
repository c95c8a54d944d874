"""What is below a directory now: files by their signatures, and places that cannot be looked at.

Only names and metadata are read here.  Links are followed, as Kubernetes mounts a ConfigMap as

    reviews.yaml -> ..data/reviews.yaml      ..data -> ..2024_05_01      ..2024_05_01/reviews.yaml

and replaces `..data`.  Names with a leading dot are never entries themselves; what tells a file from
an editor's litter is its ending (`reviews.yaml~`, `.reviews.yaml.swp`, `4913`, `reviews.yaml.tmp`).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ENDINGS = (".yaml", ".yml", ".json")
MAX_DEPTH = 64

# Read by kubectl's -k, which never treats it as an object.
_NO_OBJECTS = ("kustomization.yaml", "kustomization.yml")


class Signature(NamedTuple):
    """Metadata that differ when the content may differ; times in nanoseconds since the epoch."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


@dataclass(slots=True)
class Look:
    """What was found: files by name relative to the root, and what hides an unknown part of the tree.

    `hidden` maps a file or directory to the reason; "" is the root.
    """

    files: dict[str, Signature] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict)

    def hides(self, name: str) -> bool:
        """Whether nothing can be said about this file now."""
        return any(within(name, place) for place in self.hidden)


def within(name: str, place: str) -> bool:
    """Whether a file is this place or lies below it."""
    return not place or name == place or name.startswith(place + "/")


def affected(name: str) -> str | None:
    """Which place to look at after an event at `name`; None when it cannot matter.

    A swap of `..data`, or a write below it, may change every visible link beside it.
    """
    parts = name.split("/") if name else []
    for position, part in enumerate(parts):
        if part.startswith(".."):
            return "/".join(parts[:position])
        if part.startswith("."):
            return None
    if parts and _is_litter(parts[-1]):
        return None
    return name


def _is_litter(name: str) -> bool:
    return name.startswith(("#", "~")) or name.endswith(("~", ".swp", ".swx", ".tmp"))


def is_config(name: str) -> bool:
    """Whether a file of this name is read."""
    return name.endswith(ENDINGS) and not name.startswith((".", "#", "~")) and name not in _NO_OBJECTS


def identity(root: Path) -> tuple[int, int] | str:
    """What tells the directory from another one put in its place, or why it cannot be read."""
    try:
        found = root.stat()
        if not stat.S_ISDIR(found.st_mode):
            return "it is not a directory"
        with os.scandir(root):
            return found.st_dev, found.st_ino
    except OSError as error:
        return reason(error)


def reason(error: OSError) -> str:
    """The system's own words, in lower case as they stand within a sentence."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def look(root: Path, place: str = "") -> Look:
    """Everything below one place (a file or a directory, "" = all), which may be gone."""
    found = Look()
    ancestors = _ancestors(root, place)
    if ancestors is not None:
        _visit(root, place, ancestors, found)
    return found


def _ancestors(root: Path, place: str) -> tuple[tuple[int, int], ...] | None:
    """Identities of the directories above a place; None when a link leads from there back up."""
    seen: list[tuple[int, int]] = []
    for parent in reversed(PurePosixPath(place).parents) if place else ():
        try:
            above = (root / parent).stat()
        except OSError:
            break
        if (above.st_dev, above.st_ino) in seen:
            return None
        seen.append((above.st_dev, above.st_ino))
    return tuple(seen)


def _visit(root: Path, place: str, ancestors: tuple[tuple[int, int], ...], found: Look) -> None:
    path = root / place
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            found.hidden[place] = "it is a link that points to nothing"
        return
    except OSError as error:
        found.hidden[place] = reason(error)
        return
    if stat.S_ISREG(status.st_mode):
        if is_config(path.name):
            found.files[place] = signature(status)
        return
    me = (status.st_dev, status.st_ino)
    if not stat.S_ISDIR(status.st_mode) or me in ancestors:
        return
    if len(ancestors) >= MAX_DEPTH:
        found.hidden[place] = f"it is more than {MAX_DEPTH} directories deep"
        return
    _visit_directory(root, place, (*ancestors, me), found)


def _visit_directory(root: Path, place: str, ancestors: tuple[tuple[int, int], ...], found: Look) -> None:
    try:
        with os.scandir(root / place) as entries:
            names = sorted(entry.name for entry in entries if _may_matter(entry))
    except FileNotFoundError:
        return
    except OSError as error:
        found.hidden[place] = reason(error)
        return
    for name in names:
        _visit(root, f"{place}/{name}" if place else name, ancestors, found)


def _may_matter(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith((".", "#", "~")):
        return False
    return is_config(entry.name) or entry.is_symlink() or entry.is_dir()


def signature(status: os.stat_result) -> Signature:
    """The signature of a file."""
    return Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
