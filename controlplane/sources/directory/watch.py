"""The operating system's word that something moved, as places to look at.

Events only say where to look; what is there is found out by looking.  So an event too many costs a
few calls of stat, and one too few costs time until the next sweep, never correctness.

inotify wakes the event loop by itself.  Nothing is collected first: whoever looks takes all places that
are known by then, and what comes while he looks is the next group.  A file that is being written
is news when it is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from asyncinotify import Event, Inotify, Mask

from controlplane.sources.directory.tree import MAX_DEPTH, affected, identity, is_config, within

TICK = 0.25
"""Seconds between two checks that the directory itself is still the same one."""

RETRY = 5.0
"""Seconds until a watch that was refused is tried again; sweeps stand in for it."""

EVERYTHING = ""

_NEWS = Mask.CLOSE_WRITE | Mask.CREATE | Mask.DELETE | Mask.MOVE | Mask.ATTRIB
_OWN = Mask.DELETE_SELF | Mask.MOVE_SELF
_LOST = Mask.Q_OVERFLOW | Mask.UNMOUNT
_EVENTS = 256
"""Events that are read at a time."""


class Watch:
    """Collects places below `root` until somebody takes them.

    `refused` is why the system gives no events though the directory is there, None when it does.
    `ended` turns true when the directory itself was removed or moved; the reader resets it.  It tells
    what looking cannot: a directory made anew may get the old one's inode.
    """

    def __init__(self, root: Path) -> None:
        self.refused: str | None = None
        self.ended = False
        self._root = root
        # Never resolved: links in the path may be turned while we watch.
        self._path = Path(os.path.normpath(root.absolute()))
        self._places: set[str] = set()
        self._woken = asyncio.Event()
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled, whatever becomes of the directory."""
        while True:
            present = identity(self._root)
            if not isinstance(present, str):
                self._add(EVERYTHING)
                try:
                    await self._watch(present)
                except OSError as error:
                    # Typically: no inotify watches left.
                    away = identity(self._root) != present
                    self.refused = None if away else error.strerror or str(error)
                self._add(EVERYTHING)
            await asyncio.sleep(TICK if self.refused is None else RETRY)

    async def take(self, seconds: float) -> set[str]:
        """The places since the last call; waits for one, no longer than `seconds`.  May be empty."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return set()
        self._woken.clear()
        places, self._places = self._places, set()
        return places

    async def _watch(self, present: tuple[int, int]) -> None:
        """Collect events until the directory is another one."""
        self._over.clear()
        loop = asyncio.get_running_loop()
        with Inotify(cache_size=_EVENTS, sync_timeout=0) as inotify:
            tree = _Tree(inotify, self._path)
            # In a thread: a tree may have thousands of directories.
            await asyncio.to_thread(tree.cover, "")
            loop.add_reader(inotify.fd, self._drain, tree)
            try:
                # Events flow from now on; look once at what happened before that.
                self.refused = None
                self._add(EVERYTHING)
                while not self._over.is_set() and identity(self._root) == present:
                    try:
                        async with asyncio.timeout(TICK):
                            await self._over.wait()
                    except TimeoutError:
                        continue
            finally:
                loop.remove_reader(inotify.fd)

    def _drain(self, tree: _Tree) -> None:
        try:
            for name in tree.events():
                if name is None:
                    # The watch follows a directory that moved, and dies with one that was removed.
                    self.ended = True
                    self._over.set()
                elif (place := affected(name)) is not None:
                    self._add(place)
        except OSError as error:
            # No watch could be had for a new directory.
            self.refused = error.strerror or str(error)
            self._over.set()

    def _add(self, place: str) -> None:
        self._places.add(place)
        self._woken.set()


class _Tree:
    """The watches on all directories of a tree; inotify itself knows no subdirectories.

    Links to directories are followed, as they are in looking.
    """

    def __init__(self, inotify: Inotify, root: Path) -> None:
        self._inotify = inotify
        self._root = root
        # Watch descriptor -> the names, relative to the root, under which a directory is found.
        self._names: dict[int, set[str]] = {}

    def cover(self, name: str) -> None:
        """Watch a directory and everything below it; what is gone meanwhile is left out.

        OSError when the root cannot be watched, or the system has no watches left.
        """
        pending = [(name, frozenset[tuple[int, int]]())]
        while pending:
            name, above = pending.pop()
            path = self._root / name
            try:
                found = path.stat()
                here = (found.st_dev, found.st_ino)
                # A link may lead back up.
                if here in above or len(above) > MAX_DEPTH:
                    continue
                watch = self._inotify.add_watch(path, _NEWS | (Mask.ZERO if name else _OWN) | Mask.ONLYDIR)
                self._names.setdefault(watch.wd, set()).add(name)
                with os.scandir(path) as entries:
                    below = [entry.name for entry in entries if entry.is_dir()]
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                if not name:
                    raise
                continue
            pending += [(_join(name, one), above | {here}) for one in below]

    def events(self) -> Iterator[str | None]:
        """Names at which something happened, all that are known now; None when the root itself ended."""
        while (event := self._inotify.sync_get()) is not None:
            if event.mask & _LOST:
                yield EVERYTHING
            elif event.watch is not None:
                yield from self._event(event, event.watch.wd)

    def _event(self, event: Event, descriptor: int) -> Iterator[str | None]:
        if event.mask & Mask.IGNORED:
            self._names.pop(descriptor, None)
            return
        directories = self._names.get(descriptor, set())
        if event.mask & _OWN:
            if "" in directories:
                yield None
            return
        for name in [_join(directory, str(event.name or "")) for directory in sorted(directories)]:
            if event.mask & (Mask.MOVED_FROM | Mask.DELETE):
                # A directory, or a link to one: not what is deleted by the thousand.
                if event.mask & Mask.ISDIR or not is_config(name.rpartition("/")[2]):
                    self._uncover(name)
            elif event.mask & (Mask.CREATE | Mask.MOVED_TO) and (self._root / name).is_dir():
                # Watched before it is looked at: nothing falls between.
                self.cover(name)
            yield name

    def _uncover(self, name: str) -> None:
        """What was moved or unlinked is watched under its new name, if it has one here."""
        for descriptor, names in list(self._names.items()):
            names -= {one for one in names if one and within(one, name)}
            if not names:
                del self._names[descriptor]
        for watch in self._inotify.watches:
            if watch.wd not in self._names:
                # It may be gone by itself: removed at its new place.
                with contextlib.suppress(OSError):
                    self._inotify.rm_watch(watch)


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory and name else directory or name
