"""What of a changing tree is believed, and when.  Real files; the time is ours."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.sources.directory import reading
from controlplane.sources.directory.follow import Follower, Limits, Moment, Outcome

SETTLE, GRACE = 0.1, 2.0


def service(name: str, port: int = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n"


class World:
    """A directory, its follower, and what a sink would have by now."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.now = 1000.0
        self.follower = Follower(root, itertools.count(1), limits=Limits(SETTLE, GRACE))
        self.objects: dict[tuple[str, str], int] = {}
        self.problems: dict[str, list[str]] = {}
        self.due: float | None = None

    def write(self, name: str, *texts: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("---\n".join(texts))

    def look(self, *places: str, after: float = 0.0) -> list[str]:
        """Look at places ("" = all) after so many seconds; what changed, as `+name` and `-name`."""
        self.now += after
        outcome = self.follower.examine(places, Moment(self.now, 0.0))
        return self._apply(outcome)

    def _apply(self, outcome: Outcome) -> list[str]:
        told = []
        for change in outcome.changes:
            assert change.origin is not None
            where = (change.key.name, change.origin.file)
            if change.raw is None:
                del self.objects[where]
                told.append("-" + change.key.name)
            else:
                self.objects[where] = change.raw["spec"]["ports"][0]["port"]
                told.append("+" + change.key.name)
        for place, problems in outcome.reports:
            self.problems[place] = [f"{one.file}:{one.line} {one.message}" for one in problems]
        self.due = outcome.due
        return told

    @property
    def names(self) -> str:
        return "".join(sorted(name for name, _ in self.objects))

    @property
    def complaints(self) -> str:
        return "; ".join(text for texts in self.problems.values() for text in texts)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "config")
    world.write("a.yaml", service("a"), service("b"), service("c"))
    assert world.look("") == ["+a", "+b", "+c"]
    yield world


def test_the_first_look_tells_everything_at_once(tmp_path: Path) -> None:
    world = World(tmp_path / "config")
    world.write("x/a.yaml", service("a"), "x: [\n", service("b"))
    world.write("b.json", "{}")
    assert world.look("") == ["+a", "+b"]
    assert "x/a.yaml:6 not YAML" in world.complaints
    assert "b.json:1 the document has no kind" in world.complaints
    assert world.due is None


def test_nothing_new_is_nothing(world: World) -> None:
    assert world.look("") == []
    # The same bytes again, with other times.
    world.write("a.yaml", service("a"), service("b"), service("c"))
    assert world.look("a.yaml") == []
    # Other bytes, the same content in the same lines.
    world.write("a.yaml", service("a"), service("b"), service("c") + "# the end\n")
    assert world.look("a.yaml") == []


def test_only_what_changed_is_told(world: World) -> None:
    world.write("a.yaml", service("a"), service("b", 81), service("c"), service("d"))
    assert world.look("a.yaml") == ["+b", "+d"]


def test_moved_lines_are_told(world: World) -> None:
    world.write("a.yaml", service("a") + "\n\n", service("b"), service("c"))
    assert world.look("a.yaml") == ["+b", "+c"]


def test_a_file_not_looked_at_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("b.yaml", service("x"))
    world.write("c.yaml", service("y"))
    opened: list[str] = []
    load = reading.load

    def spy(path: Path, limit: int) -> object:
        opened.append(path.name)
        return load(path, limit)

    monkeypatch.setattr(reading, "load", spy)
    world.look("b.yaml")
    assert opened == ["b.yaml"]
    world.look("")
    assert opened == ["b.yaml", "c.yaml"]


def test_a_broken_document_holds_its_object_and_spares_the_rest(world: World) -> None:
    world.write("a.yaml", service("a"), service("b", 81) + "  oops: [\n", service("c", 82))
    assert world.look("a.yaml") == []
    assert world.complaints == ""
    assert world.look(after=SETTLE) == ["+c"]
    assert world.objects == {("a", "a.yaml"): 80, ("b", "a.yaml"): 80, ("c", "a.yaml"): 82}
    assert "a.yaml:10 not YAML" in world.complaints
    assert "Service default/b stays in use" in world.complaints
    # Mended: told at once.
    world.write("a.yaml", service("a"), service("b", 83), service("c", 82))
    assert world.look("a.yaml") == ["+b", "+c"]
    assert world.complaints == ""
    assert world.objects["b", "a.yaml"] == 83


def test_a_held_object_can_still_be_removed(world: World) -> None:
    world.write("a.yaml", service("a"), "oops: [\n", service("c"))
    world.look("a.yaml")
    world.look(after=SETTLE)
    world.write("a.yaml", service("a"), service("c"))
    assert world.look("a.yaml") == []
    assert world.look(after=SETTLE) == ["-b", "+c"]
    assert world.names == "ac"


def test_an_emptied_file_on_its_way_to_be_written_is_not_believed(world: World) -> None:
    # A write-through editor: truncate, then write.
    (world.root / "a.yaml").write_text("")
    assert world.look("a.yaml") == []
    world.write("a.yaml", service("a"), service("b", 81), service("c"))
    assert world.look("a.yaml", after=SETTLE / 2) == ["+b"]
    assert world.look(after=SETTLE) == []


def test_an_emptied_file_is_believed_when_it_stays_so(world: World) -> None:
    (world.root / "a.yaml").write_text("")
    world.look("a.yaml")
    assert world.due == pytest.approx(world.now + SETTLE)
    assert world.look(after=SETTLE * 1.01) == ["-a", "-b", "-c"]


def test_a_half_written_new_file_is_no_problem_yet(world: World) -> None:
    world.write("new.yaml", service("n")[:-4])
    assert world.look("new.yaml") == []
    world.write("new.yaml", service("n"))
    assert world.look("new.yaml", after=SETTLE / 2) == ["+n"]
    assert world.problems == {}


def test_a_file_that_never_rests_is_believed_in_the_end(world: World) -> None:
    told = []
    for turn in range(200):
        world.write("a.yaml", service("a"), service("b", turn + 100))
        told += world.look("a.yaml", after=SETTLE / 2)
    assert "-c" in told
    assert "+b" in told


def test_a_deleted_file_is_believed_a_moment_later(world: World) -> None:
    (world.root / "a.yaml").unlink()
    assert world.look("a.yaml") == []
    assert world.look(after=SETTLE / 2) == []
    assert world.look(after=SETTLE) == ["-a", "-b", "-c"]
    assert world.due is None


def test_the_time_of_a_deletion_is_when_it_was_first_seen(world: World) -> None:
    (world.root / "a.yaml").unlink()
    world.look("a.yaml")
    seen = world.now
    world.now += SETTLE * 2
    outcome = world.follower.examine((), Moment(world.now, 0.0))
    assert {change.at for change in outcome.changes} == {seen}


def test_the_time_of_a_change_is_that_of_the_file(world: World) -> None:
    world.write("a.yaml", service("a", 81), service("b"), service("c"))
    changed = (world.root / "a.yaml").stat().st_ctime_ns / 1e9
    (change,) = world.follower.examine(["a.yaml"], Moment(world.now, changed + 0.25)).changes
    assert change.at == pytest.approx(world.now - 0.25)
    # It may change while the look is on its way to it.
    world.write("a.yaml", service("a", 82), service("b"), service("c"))
    changed = (world.root / "a.yaml").stat().st_ctime_ns / 1e9
    (change,) = world.follower.examine(["a.yaml"], Moment(world.now, changed - 0.02)).changes
    assert change.at == pytest.approx(world.now + 0.02)
    # A time that lies long ago, or in the future, says nothing about the event.
    for age in (60.0, -60.0):
        world.write("a.yaml", service("a", 183 + int(age)), service("b"), service("c"))
        changed = (world.root / "a.yaml").stat().st_ctime_ns / 1e9
        (change,) = world.follower.examine(["a.yaml"], Moment(world.now, changed + age)).changes
        assert change.at == world.now


def test_vim_saves(world: World) -> None:
    # The old file becomes the backup, a new one is created, the backup is removed.
    path = world.root / "a.yaml"
    (world.root / "4913").write_text("")
    (world.root / "4913").unlink()
    path.rename(world.root / "a.yaml~")
    assert world.look("a.yaml", "4913") == []
    world.write("a.yaml", service("a", 81), service("b"), service("c"))
    (world.root / "a.yaml~").unlink()
    assert world.look("a.yaml", after=0.03) == ["+a"]
    assert world.look(after=SETTLE) == []


def test_emacs_saves(world: World) -> None:
    (world.root / ".#a.yaml").symlink_to("user@host.123:1")
    (world.root / "#a.yaml#").write_text("draft: [")
    assert world.look("") == []
    (world.root / "a.yaml").rename(world.root / "a.yaml~")
    world.write("a.yaml", service("a", 81), service("b"), service("c"))
    (world.root / ".#a.yaml").unlink()
    assert world.look("a.yaml") == ["+a"]
    assert world.problems == {}


def test_an_atomic_replacement(world: World) -> None:
    world.write(".a.yaml.new", service("a", 81), service("b"), service("c"))
    (world.root / ".a.yaml.new").replace(world.root / "a.yaml")
    assert world.look("a.yaml") == ["+a"]


def test_a_renamed_file_moves_its_objects_in_one_step(world: World) -> None:
    (world.root / "a.yaml").rename(world.root / "z.yaml")
    assert world.look("a.yaml", "z.yaml") == ["+a", "+b", "+c", "-a", "-b", "-c"]
    assert set(world.objects) == {("a", "z.yaml"), ("b", "z.yaml"), ("c", "z.yaml")}


def test_a_rename_seen_in_two_halves(world: World) -> None:
    (world.root / "a.yaml").rename(world.root / "z.yaml")
    assert world.look("a.yaml") == []
    assert world.look("z.yaml", after=0.01) == ["+a", "+b", "+c", "-a", "-b", "-c"]


def test_a_renamed_directory(world: World) -> None:
    world.write("dir/x.yaml", service("x"))
    world.write("dir/sub/y.yaml", service("y"))
    world.look("dir")
    (world.root / "dir").rename(world.root / "other")
    assert sorted(world.look("dir", "other")) == ["+x", "+y", "-x", "-y"]
    assert ("y", "other/sub/y.yaml") in world.objects


def test_a_removed_directory(world: World) -> None:
    world.write("dir/x.yaml", service("x"))
    world.look("dir")
    shutil.rmtree(world.root / "dir")
    assert world.look("dir") == []
    assert world.look(after=SETTLE * 1.01) == ["-x"]


def test_a_directory_in_the_place_of_a_file(world: World) -> None:
    (world.root / "a.yaml").unlink()
    world.write("a.yaml/x.yaml", service("x"))
    assert world.look("a.yaml", "a.yaml/x.yaml") == ["+x"]
    world.look(after=SETTLE * 1.01)
    assert world.names == "x"


def test_a_configmap_swap(tmp_path: Path) -> None:
    world = World(tmp_path / "config")
    world.write("..1/a.yaml", service("a"))
    world.write("..1/b.yaml", service("b"))
    (world.root / "..data").symlink_to("..1")
    for name in ("a.yaml", "b.yaml"):
        (world.root / name).symlink_to(f"..data/{name}")
    assert world.look("") == ["+a", "+b"]
    world.write("..2/a.yaml", service("a", 81))
    world.write("..2/c.yaml", service("c"))
    (world.root / "..data_tmp").symlink_to("..2")
    (world.root / "..data_tmp").replace(world.root / "..data")
    (world.root / "c.yaml").symlink_to("..data/c.yaml")
    assert world.look("") == ["+a", "+c"]
    # The link of the removed key is still there for a moment: held; then it is removed.
    assert "b.yaml:None cannot be read" in world.complaints
    (world.root / "b.yaml").unlink()
    assert world.look("b.yaml") == []
    assert world.look(after=SETTLE * 1.01) == ["-b"]
    assert world.complaints == ""


def test_a_vanished_directory_takes_nothing_with_it(world: World) -> None:
    away = world.root.with_name("away")
    (world.root).rename(away)
    assert world.look("") == []
    assert world.look("", after=60) == []
    assert "the directory cannot be read: no such file" in world.complaints
    assert world.names == "abc"
    (away).rename(world.root)
    world.write("a.yaml", service("a", 81), service("b"), service("c"))
    assert world.look("") == ["+a"]
    assert world.complaints == ""


def test_a_deleted_directory_takes_nothing_with_it(world: World) -> None:
    # rm -r: its files go first, then it goes itself, before the moment is over.
    (world.root / "a.yaml").unlink()
    assert world.look("a.yaml") == []
    shutil.rmtree(world.root)
    assert world.look(after=SETTLE * 2) == []
    assert world.look("", after=60) == []
    assert world.names == "abc"


def test_a_slow_rm_takes_nothing_with_it(world: World) -> None:
    for number in range(20):
        world.write(f"{number}.yaml", service(f"s{number}"))
    world.look("")
    for number in range(20):
        (world.root / f"{number}.yaml").unlink()
        assert world.look(f"{number}.yaml", after=SETTLE * 0.8) == []
    shutil.rmtree(world.root)
    assert world.look("", after=SETTLE * 2) == []
    assert len(world.objects) == 23


def test_an_empty_directory_in_its_place_takes_nothing(world: World) -> None:
    # What an unmount leaves: the bare mount point.
    (world.root).rename(world.root.with_name("away"))
    world.root.mkdir()
    assert world.look("") == []
    assert world.look("", after=3600) == []
    assert "came back empty" in world.complaints
    assert world.names == "abc"


def test_a_directory_that_returns_file_by_file_loses_only_what_stays_away(world: World) -> None:
    world.write("b.yaml", service("x"))
    world.write("c.yaml", service("y"))
    world.look("")
    shutil.rmtree(world.root)
    world.look("")
    world.root.mkdir()
    world.write("b.yaml", service("x", 81))
    assert world.look("") == ["+x"]
    assert world.look("", after=GRACE * 0.9) == []
    world.write("a.yaml", service("a"), service("b"), service("c", 81))
    # A sign of life: the grace begins anew.
    assert world.look("a.yaml", after=GRACE * 0.05) == ["+c"]
    assert world.look("", after=GRACE * 0.9) == []
    assert world.look("", after=GRACE * 0.2) == ["-y"]
    assert world.names == "abcx"
    assert world.complaints == ""


def test_a_directory_made_anew_may_look_like_the_old_one(world: World) -> None:
    # The same inode, but the watch saw the old one go.
    (world.root / "a.yaml").unlink()
    world.follower.end()
    assert world.look("") == []
    assert world.look("", after=60) == []
    assert "came back empty" in world.complaints


def test_a_turned_link_to_the_directory(tmp_path: Path, world: World) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "v2").mkdir()
    (tmp_path / "v1/a.yaml").write_text(service("a"))
    (tmp_path / "v1/b.yaml").write_text(service("b"))
    (tmp_path / "v2/a.yaml").write_text(service("a", 81))
    link = tmp_path / "current"
    link.symlink_to("v1")
    follower = Follower(link, itertools.count(1), limits=Limits(SETTLE, GRACE))
    assert len(follower.examine([""], Moment(1, 0)).changes) == 2
    link.unlink()
    link.symlink_to("v2")
    (change,) = follower.examine([], Moment(2, 0)).changes
    assert change.key.name == "a"
    (change,) = follower.examine([], Moment(2 + GRACE * 1.1, 0)).changes
    assert (change.key.name, change.raw) == ("b", None)


def test_a_directory_that_does_not_exist_yet(tmp_path: Path) -> None:
    world = World(tmp_path / "config")
    world.root.rmdir()
    assert world.look("") == []
    before = world.follower.started
    assert "cannot be read" in world.complaints
    world.write("a.yaml", service("a"))
    assert world.look("") == ["+a"]
    assert (before, world.follower.started) == (False, True)
    assert world.complaints == ""


def test_an_unreadable_file_holds_its_objects(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opener = os.open

    def refuse(path: Path, flags: int) -> int:
        if Path(path).name == "a.yaml":
            raise PermissionError(13, "Permission denied")
        return opener(path, flags)

    world.write("a.yaml", service("a", 81))
    monkeypatch.setattr(os, "open", refuse)
    assert world.look("a.yaml") == []
    assert world.look("", after=60) == []
    assert "a.yaml:None cannot be read: permission denied" in world.complaints
    monkeypatch.undo()
    world.look("a.yaml")
    world.look(after=SETTLE)
    assert world.objects == {("a", "a.yaml"): 81}
    assert world.complaints == ""


def test_a_link_to_itself_holds_what_was_there(world: World) -> None:
    (world.root / "a.yaml").unlink()
    (world.root / "a.yaml").symlink_to("a.yaml")
    assert world.look("a.yaml") == []
    assert world.look("", after=60) == []
    assert "symbolic links" in world.complaints


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    root = tmp_path / "config"
    root.mkdir()
    (root / "a.yaml").write_text(service("a"))
    follower = Follower(root, itertools.count(1), limits=Limits(max_bytes=200))
    follower.examine([""], Moment(1, 0))
    (root / "a.yaml").write_text(service("a") + "#" * 200)
    outcome = follower.examine(["a.yaml"], Moment(2, 0))
    assert outcome.changes == []
    ((place, (problem,)),) = outcome.reports
    assert place == "directory:a.yaml"
    assert "more than the limit of 200" in problem.message
    assert "split" in problem.remedy


def test_copies_within_a_file(world: World) -> None:
    world.write("b.yaml", service("x", 81), service("x", 82))
    assert world.look("b.yaml") == ["+x"]
    assert world.objects["x", "b.yaml"] == 81
    assert "b.yaml:6 Service default/x is defined twice; the one at b.yaml:1 is used" in world.complaints
    world.write("b.yaml", service("x", 82))
    assert world.look("b.yaml") == ["+x"]
    assert world.complaints == ""


def test_dead_links_that_never_led_to_objects_are_not_mentioned(world: World) -> None:
    (world.root / "notes").symlink_to("/nowhere")
    world.look("")
    assert world.complaints == ""


def test_a_stopped_look_ends_early(world: World) -> None:
    world.write("b.yaml", service("x"))
    world.follower.stop.set()
    assert world.look("") == []
