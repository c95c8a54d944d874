"""Whatever happened to the tree, once it rests the sink has what a fresh look finds."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from controlplane.sources.directory.follow import Follower, Limits, Moment

DIRECTORIES = ("", "x", "x/y")
FILES = ("a.yaml", "b.yaml", "c.json")
PLACES = [f"{directory}/{file}".lstrip("/") for directory in DIRECTORIES for file in FILES]


def document(name: str, port: int, file: str) -> str:
    mapping = '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "%s"}, "spec": {"port": %d}}'
    return mapping % (name, port) + ("\n" if file.endswith(".json") else "\n---\n")


class Following(RuleBasedStateMachine):
    """Edits with looks in between, at the places of the edits or at nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp())
        self.root = self.base / "root"
        self.root.mkdir()
        self.now = 0.0
        self.told: dict[tuple[str, str], tuple[object, int | None]] = {}
        self.problems: dict[str, object] = {}

    @initialize()
    def begin(self) -> None:
        self.follower = Follower(self.root, itertools.count(1), limits=Limits(settle=1.0, grace=5.0))
        self.look([""])

    def look(self, places: list[str]) -> None:
        outcome = self.follower.examine(places, Moment(self.now, 0.0))
        for change in outcome.changes:
            where = (change.place, change.key.name)
            if change.raw is None:
                del self.told[where]
            else:
                assert change.origin is not None
                self.told[where] = (change.raw, change.origin.line)
        for place, found in outcome.reports:
            self.problems.pop(place, None)
            if found:
                self.problems[place] = found

    @rule(
        place=st.sampled_from(PLACES),
        documents=st.dictionaries(st.sampled_from("pqr"), st.integers(1, 3)),
        broken=st.booleans(),
        atomically=st.booleans(),
        noticed=st.booleans(),
    )
    def write(
        self, place: str, documents: dict[str, int], broken: bool, atomically: bool, noticed: bool
    ) -> None:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(document(name, port, place) for name, port in documents.items())
        text += "{[\n" if broken else ""
        if atomically:
            path.with_name(".new").write_text(text)
            path.with_name(".new").replace(path)
        else:
            path.write_text(text)
        self.look([place] if noticed else [])

    @rule(place=st.sampled_from(PLACES), noticed=st.booleans())
    def delete(self, place: str, noticed: bool) -> None:
        (self.root / place).unlink(missing_ok=True)
        self.look([place] if noticed else [])

    @rule(old=st.sampled_from(PLACES), new=st.sampled_from(PLACES), noticed=st.booleans())
    def rename(self, old: str, new: str, noticed: bool) -> None:
        if (self.root / old).exists():
            (self.root / new).parent.mkdir(parents=True, exist_ok=True)
            (self.root / old).rename(self.root / new)
            self.look([old, new] if noticed else [])

    @rule(noticed=st.booleans())
    def rename_directory(self, noticed: bool) -> None:
        if (self.root / "x").exists() and not (self.root / "z").exists():
            (self.root / "x").rename(self.root / "z")
            self.look(["x", "z"] if noticed else [])

    @rule(noticed=st.booleans())
    def remove_directory(self, noticed: bool) -> None:
        shutil.rmtree(self.root / "x", ignore_errors=True)
        self.look(["x"] if noticed else [])

    @rule(seconds=st.sampled_from([0.3, 1.1]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.look([])

    @precondition(lambda self: any(path.suffix in (".yaml", ".json") for path in self.root.rglob("*")))
    @rule()
    def vanish_and_return(self) -> None:
        before = dict(self.told)
        self.root.rename(self.base / "away")
        self.now += 60
        self.look([""])
        assert self.told == before
        (self.base / "away").rename(self.root)
        self.look([])

    @rule()
    def rest(self) -> None:
        self.look([""])
        for _ in range(3):
            self.now += 10
            self.look([])
        fresh = Following.__new__(Following)
        fresh.told, fresh.problems, fresh.root, fresh.now = {}, {}, self.root, self.now
        fresh.begin()
        # What broken documents hold is known only to who saw them before they broke.
        assert fresh.told.items() <= self.told.items()
        held = self.told.keys() - fresh.told.keys()
        assert {f"directory:{file}" for file, _ in held} <= self.problems.keys()
        assert fresh.problems.keys() == self.problems.keys()
        assert all(os.path.exists(self.root / file) for file, _ in self.told)  # noqa: PTH110

    def teardown(self) -> None:
        shutil.rmtree(self.base)


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
