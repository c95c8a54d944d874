"""What is known of containers, from lists, events and answers in any order."""

from __future__ import annotations

import random

import pytest

from controlplane.sources.docker.container import Container
from controlplane.sources.docker.event import read_event
from controlplane.sources.docker.follow import Follower, Picture
from controlplane.sources.docker.stopping import GRACE, MARGIN
from tests.support.engine import Engine, id_of


class Scene:
    """A follower beside an engine; nothing is told before the test says so."""

    def __init__(self, project: str = "shop", candidates: tuple[str, ...] = (), warm_up: float = 0.0) -> None:
        self.engine = Engine()
        self.follower = Follower(project, candidates, warm_up)
        self.heard = 0
        self.last: Picture | None = None

    def list(self) -> int:
        return self.follower.listed(self.engine.list())

    def hear(self, count: int | None = None) -> None:
        """Deliver the next events, all by default."""
        end = len(self.engine.log) if count is None else self.heard + count
        for raw in self.engine.log[self.heard : end]:
            event = read_event(raw)
            assert event is not None
            self.follower.heard(event)
        self.heard = min(end, len(self.engine.log))

    def answer(self) -> list[str]:
        """Ask and answer for all that are wanted; the names asked about."""
        ids = sorted(self.follower.wanted)
        for id in ids:
            cause = self.follower.wanted.pop(id)
            self.follower.answered(id, self.engine.containers.get(id), self.engine.now, cause)
        return ids

    def settle(self) -> dict[str, Container]:
        self.hear()
        self.list()
        self.answer()
        return self.seen()

    def seen(self) -> dict[str, Container]:
        """The containers of the newest picture, by name."""
        self.last = self.follower.take(self.engine.now) or self.last
        return {} if self.last is None else {one.name: one for one in self.last.containers}

    @property
    def picture(self) -> Picture:
        assert self.last is not None
        return self.last


def test_containers_of_the_project_and_those_that_ask_for_it_count() -> None:
    scene = Scene()
    for name, project, labels in (
        ("reviews", "shop", {}),
        ("stranger", "other", {}),
        ("guest", "other", {"mini-istiod.service": "guest"}),
        ("alone", "", {}),
        ("visitor", "shop", {"com.docker.compose.oneoff": "True"}),
    ):
        scene.engine.run(name, project=project, labels=labels)
    scene.list()
    assert sorted(scene.follower.wanted) == sorted(map(id_of, ("reviews", "guest")))
    scene.answer()
    assert list(scene.seen()) == ["guest", "reviews"]
    # What happens to others is not asked about.
    for name in ("stranger", "alone"):
        scene.engine.restart(id_of(name))
    scene.hear()
    assert not scene.follower.wanted.keys() & {id_of("stranger"), id_of("alone")}


def test_a_new_container_is_judged_by_its_answer() -> None:
    scene = Scene()
    scene.list()
    scene.engine.run("reviews")
    scene.engine.run("stranger", project="other")
    scene.hear()
    assert len(scene.answer()) == 2
    assert list(scene.seen()) == ["reviews"]
    scene.engine.restart(id_of("stranger"))
    scene.hear()
    assert scene.answer() == []


def test_without_a_project_it_is_the_own_containers_or_all() -> None:
    scene = Scene("", (id_of("plane"),))
    scene.engine.run("plane", networks=("shop_back", "shop_front"))
    scene.engine.run("reviews")
    scene.engine.run("stranger", project="other")
    assert sorted(scene.settle()) == ["plane", "reviews"]
    assert scene.picture.networks == {"shop_back", "shop_front"}

    scene = Scene("", ("f" * 64,))
    scene.engine.run("reviews")
    scene.engine.run("stranger", project="other")
    assert sorted(scene.settle()) == ["reviews", "stranger"]
    assert scene.picture.networks is None


def test_the_own_containers_networks_are_followed() -> None:
    scene = Scene("shop", (id_of("plane")[:12],))
    plane = scene.engine.run("plane", project="", networks=("edge",))
    scene.engine.run("guest", project="other", networks=("far",), labels={"mini-istiod.service": "guest"})
    scene.engine.run("reviews", networks=("far",))
    # Who is of the project is told to be out of reach by others; who only asks to be in it is left out.
    assert sorted(scene.settle()) == ["reviews"]
    assert scene.picture.networks == {"edge"}
    scene.engine.connect(plane, "far")
    scene.hear()
    scene.answer()
    assert sorted(scene.seen()) == ["guest", "reviews"]
    assert scene.picture.networks == {"edge", "far"}


def test_networks_of_who_is_on_the_host_or_shares_anothers() -> None:
    scene = Scene("shop", (id_of("plane"),))
    plane = scene.engine.run("plane", networks=())
    raw = scene.engine.containers[plane]
    raw["HostConfig"]["NetworkMode"] = "host"
    raw["NetworkSettings"]["Networks"]["host"] = {"IPAddress": ""}
    scene.settle()
    assert scene.picture.networks is None
    raw["NetworkSettings"]["Networks"].clear()
    raw["HostConfig"]["NetworkMode"] = f"container:{id_of('envoy')}"
    scene.engine.run("envoy", networks=("back",))
    scene.settle()
    assert scene.picture.networks == {"back"}


def test_the_same_again_is_no_news() -> None:
    scene = Scene()
    scene.engine.run("reviews", health="healthy")
    scene.settle()
    assert scene.list() == 0
    assert scene.answer() == []
    scene.follower.listed([{**one, "Status": None, "NetworkSettings": None} for one in scene.engine.list()])
    assert scene.answer() == []
    scene.hear()
    assert scene.follower.take(scene.engine.now) is None


@pytest.mark.parametrize("what", ["health", "address", "name", "state", "gone"])
def test_a_list_finds_what_no_event_told(what: str) -> None:
    scene = Scene()
    id = scene.engine.run("reviews", health="healthy")
    before = scene.settle()
    match what:
        case "health":
            scene.engine.health(id, "unhealthy")
        case "address":
            scene.engine.restart(id)
        case "name":
            scene.engine.rename(id, "ratings")
        case "state":
            scene.engine.pause(id)
        case "gone":
            scene.engine.remove(id)
    assert scene.list() == (what != "gone")
    scene.answer()
    assert scene.seen() != before
    assert ("reviews" in scene.seen()) == (what not in ("gone", "name"))


@pytest.mark.parametrize(
    ("signal", "stop_signal", "stopping"),
    [
        (15, "", True),
        (9, "", True),
        (1, "", False),
        (10, "", False),
        (10, "SIGUSR1", True),
        (15, "SIGUSR1", True),
    ],
)
def test_a_signal_that_stops_makes_a_container_stopping_at_once(
    signal: int, stop_signal: str, stopping: bool
) -> None:
    scene = Scene()
    id = scene.engine.run("reviews", stop_signal=stop_signal)
    assert not scene.settle()["reviews"].stopping
    scene.engine.signal(id, signal)
    scene.hear()
    assert scene.seen()["reviews"].stopping == stopping
    assert scene.picture.cause == (pytest.approx(scene.engine.now) if stopping else scene.picture.cause)
    # Docker says "running" all the while.
    scene.answer()
    assert scene.seen()["reviews"].stopping == stopping
    scene.engine.die(id)
    assert not scene.settle()["reviews"].stopping
    scene.engine.start(id)
    assert not scene.settle()["reviews"].stopping


def test_a_container_that_goes_on_after_the_signal_comes_back() -> None:
    scene = Scene()
    id = scene.engine.run("reviews")
    scene.settle()
    scene.engine.signal(id, 15)
    scene.hear()
    assert scene.seen()["reviews"].stopping
    due = scene.follower.due()
    assert due == pytest.approx(scene.engine.now + GRACE + MARGIN)
    scene.engine.now = due + 0.001
    scene.follower.expire()
    assert not scene.seen()["reviews"].stopping
    assert scene.follower.due() is None


def test_a_stop_that_is_under_way_when_the_control_plane_starts_is_seen() -> None:
    scene = Scene()
    id = scene.engine.run("reviews")
    scene.engine.signal(id, 15)
    scene.hear()
    scene.list()
    scene.answer()
    assert scene.seen()["reviews"].stopping
    # One before the last start is history.
    scene = Scene()
    scene.engine.restart(scene.engine.run("reviews"))
    scene.hear()
    scene.list()
    scene.answer()
    assert not scene.seen()["reviews"].stopping


def test_bad_news_is_believed_before_the_answer() -> None:
    scene = Scene()
    ids = [scene.engine.run(name, health="healthy") for name in ("a", "b", "c")]
    scene.settle()
    scene.engine.die(ids[0])
    scene.engine.pause(ids[1])
    scene.engine.health(ids[2], "unhealthy")
    scene.hear()
    seen = scene.seen()
    assert (seen["a"].state, seen["b"].state, seen["c"].health) == ("exited", "paused", "unhealthy")
    assert sorted(scene.answer()) == sorted(ids)
    assert {name: one.state for name, one in scene.seen().items()} == {
        "a": "exited",
        "b": "paused",
        "c": "running",
    }


def test_the_list_does_not_say_the_health_of_what_is_stopped_or_paused() -> None:
    scene = Scene()
    ids = [scene.engine.run(name, health="healthy") for name in ("a", "b")]
    scene.engine.health(ids[0], "unhealthy")
    scene.engine.die(ids[0])
    scene.engine.pause(ids[1])
    seen = scene.settle()
    assert (seen["a"].health, seen["b"].health) == ("unhealthy", "healthy")
    # Nobody is asked about again and again.
    assert scene.list() == 0
    assert scene.answer() == []


def test_old_news_does_not_undo_an_answer() -> None:
    scene = Scene()
    id = scene.engine.run("reviews", health="starting")
    scene.settle()
    scene.engine.health(id, "unhealthy")
    scene.engine.die(id)
    scene.engine.start(id)
    scene.engine.health(id, "healthy")
    scene.list()
    scene.answer()
    assert scene.seen()["reviews"].health == "healthy"
    scene.hear()
    assert scene.seen()["reviews"].health == "healthy"
    assert scene.seen()["reviews"].state == "running"


def test_an_event_that_an_answer_knew_of_or_that_was_heard_asks_for_nothing() -> None:
    scene = Scene()
    id = scene.engine.run("reviews")
    scene.engine.now += 5.0
    scene.list()
    scene.answer()
    scene.hear()
    assert scene.answer() == []
    scene.engine.rename(id, "ratings")
    scene.hear()
    assert scene.answer() == [id]
    scene.heard -= 1
    scene.hear()
    assert scene.answer() == []


def test_a_network_told_of_while_a_container_starts_is_not_asked_about() -> None:
    """Docker would answer only when it is started: half a second in which nothing else is asked."""
    scene = Scene()
    id = scene.engine.run("reviews")
    scene.settle()
    scene.engine.stop(id)
    scene.hear()
    scene.answer()
    begin = len(scene.engine.log)
    scene.engine.start(id)
    assert [one["Action"] for one in scene.engine.log[begin:]] == ["connect", "start"]
    scene.hear(1)
    assert scene.answer() == []
    scene.hear()
    assert scene.answer() == [id]


def test_a_container_that_vanished_before_it_was_asked_about() -> None:
    scene = Scene()
    id = scene.engine.run("reviews")
    scene.hear()
    del scene.engine.containers[id]
    scene.answer()
    assert scene.seen() == {}
    scene.engine.run("ratings")
    scene.settle()
    scene.engine.remove(id_of("ratings"))
    scene.hear()
    assert scene.seen() == {}
    assert scene.answer() == []


def test_an_answer_that_cannot_be_used_leaves_what_was_known() -> None:
    scene = Scene()
    id = scene.engine.run("reviews")
    known = scene.settle()["reviews"]
    scene.follower.answered(id, {"Id": id, "Name": "/reviews"}, scene.engine.now)
    assert scene.seen()["reviews"] == known
    (problem,) = scene.picture.problems
    assert (problem.level, problem.name, problem.file) == ("error", "reviews", "docker:reviews")
    scene.follower.failed(id, "did not answer within 10 s")
    # Of a container that may be anybody's there is nothing to tell.
    scene.follower.failed(id_of("stranger"), "did not answer within 10 s")
    scene.follower.answered(id, scene.engine.containers[id], scene.engine.now)
    assert scene.seen()["reviews"] == known
    assert scene.picture.problems == ()
    scene.follower.failed(id, "did not answer within 10 s")
    assert scene.seen()["reviews"] == known
    (problem,) = scene.picture.problems
    assert problem.message.startswith("Docker did not answer within 10 s")
    assert problem.remedy == "try docker inspect reviews"


def test_the_cause_is_the_first_event_of_what_changed() -> None:
    scene = Scene()
    id = scene.engine.run("reviews")
    scene.settle()
    assert scene.picture.cause is not None
    scene.engine.now += 5
    scene.engine.rename(id, "ratings")
    at = scene.engine.now
    scene.engine.now += 1
    scene.hear()
    scene.answer()
    scene.seen()
    assert scene.picture.cause == pytest.approx(at)
    # Found by a list: nobody knows since when.
    scene.engine.rename(id, "reviews")
    scene.list()
    scene.answer()
    scene.seen()
    assert scene.picture.cause is None


@pytest.mark.parametrize("seed", range(40))
def test_in_whatever_order_it_comes_in_the_end_it_is_the_truth(seed: int) -> None:
    """Events late, twice or never, answers in between: after one list all is as in a fresh follower."""
    draw = random.Random(seed)
    scene = Scene()
    engine, names = scene.engine, ["a", "b", "c", "d"]
    for step in range(60):
        engine.now += draw.choice((0.0, 0.01, 3.0))
        id = draw.choice(sorted(engine.containers) or [""])
        running = bool(id) and engine.containers[id]["State"]["Running"]
        match draw.randrange(12):
            case 0 if len(engine.containers) < 4:
                engine.run(f"{draw.choice(names)}{step}", health=draw.choice(("", "healthy")))
            case 1 if running:
                engine.stop(id)
            case 2 if id and not running:
                engine.start(id)
            case 3 if running:
                engine.restart(id)
            case 4 if id and not running:
                engine.remove(id)
            case 5 if running:
                engine.health(id, draw.choice(("healthy", "unhealthy")))
            case 6 if id:
                engine.rename(id, f"{draw.choice(names)}{step}")
            case 7 if running:
                engine.signal(id, draw.choice((1, 9, 15)))
            case 8:
                scene.hear(draw.randrange(4))
            case 9:
                scene.heard = max(0, scene.heard - draw.randrange(3))
            case 10:
                scene.answer()
            case 11:
                scene.list()
        if draw.randrange(8) == 0:
            scene.heard = len(engine.log)
        scene.seen()
    engine.now += 3.0
    told = scene.settle()
    fresh = Scene()
    fresh.engine, fresh.heard = engine, len(engine.log)
    truth = fresh.settle()
    assert {name: (one.id, one.state, one.health, one.networks) for name, one in told.items()} == {
        name: (one.id, one.state, one.health, one.networks) for name, one in truth.items()
    }
    scene.engine.now += 1000
    scene.follower.expire()
    assert scene.seen() == truth


class TestWarmUp:
    """A program does not listen from its first moment; without a health check nobody says when it does."""

    def test_a_container_is_starting_for_a_while(self) -> None:
        scene = Scene(warm_up=1.0)
        id = scene.engine.run("reviews")
        assert scene.settle()["reviews"].health == "starting"
        due = scene.follower.due()
        assert due == pytest.approx(scene.engine.now + 1.0, abs=0.01)
        scene.engine.now = due
        scene.follower.expire()
        assert scene.seen()["reviews"].health == ""
        assert scene.follower.due() is None
        # And again after a restart.
        scene.engine.restart(id)
        assert scene.settle()["reviews"].health == "starting"

    def test_a_while_that_is_over_before_anybody_looks_is_due_all_the_same(self) -> None:
        scene = Scene(warm_up=1.0)
        scene.engine.run("reviews")
        assert scene.settle()["reviews"].health == "starting"
        scene.engine.now += 5.0  # delivering took so long
        due = scene.follower.due()
        assert due is not None and due < scene.engine.now
        scene.follower.expire()
        assert scene.seen()["reviews"].health == "" and scene.follower.due() is None

    def test_a_health_check_knows_better(self) -> None:
        scene = Scene(warm_up=1.0)
        id = scene.engine.run("reviews", health="starting")
        scene.settle()
        scene.engine.health(id, "healthy")
        assert scene.settle()["reviews"].health == "healthy"

    def test_who_comes_later_finds_it_warm(self) -> None:
        scene = Scene(warm_up=1.0)
        scene.engine.run("reviews")
        scene.engine.now += 1.0
        assert scene.settle()["reviews"].health == ""
