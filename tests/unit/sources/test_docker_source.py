"""The Docker source: what it delivers, when, and what it does when Docker is away."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from controlplane.base.clock import FakeClock
from controlplane.base.parse import address
from controlplane.sources.docker import source as module
from controlplane.sources.docker.source import DockerSource, Pace
from controlplane.sources.docker.told import Told
from tests.support.engine import BEGIN, Engine, Played, id_of
from tests.support.inbox import Inbox

PACE = Pace(round=30.0, gap=0.01, retry=1.0, longest_retry=8.0, patience=10.0, look_back=60.0, warm_up=0.0)


class World:
    def __init__(self) -> None:
        self.clock = FakeClock(BEGIN)
        self.engine = Engine()
        self.inbox = Inbox()
        self.source = DockerSource(
            address("unix:/run/docker.sock"),
            project="shop",
            clock=self.clock,
            ids=itertools.count(1),
            docker=Played(self.engine),
            pace=PACE,
            candidates=(id_of("plane"),),
        )

    async def pass_(self, seconds: float = 0.1) -> None:
        """Let time go by, here and in the engine."""
        await self.clock.advance(seconds)
        self.engine.now = max(self.engine.now, self.clock.wall())

    async def next_round(self) -> None:
        """Let the stream of events come to its end, and a new one begin with a list."""
        await self.pass_(PACE.round)
        self.engine.end_streams()
        await self.pass_()


def follow(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """The test as pytest takes it, beside a source that runs; nothing of it may be left."""

    async def main() -> None:
        world = World()
        task = asyncio.create_task(world.source.run(world.inbox))
        await test(world)
        assert not task.done(), task.exception()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert world.engine.asked[-1] == "close"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    return lambda: asyncio.run(main())


@follow
async def test_what_is_there_is_delivered_at_once_and_then_synced(world: World) -> None:
    for name in ("reviews", "ratings"):
        world.engine.run(name)
    world.engine.run("stranger", project="other")
    await world.pass_()
    inbox = world.inbox
    assert inbox.synced_with == sorted(inbox.rows)
    assert {name for kind, name in inbox.rows if kind == "Pod"} == {"reviews", "ratings"}
    assert len(inbox.batches) == 1
    assert inbox.endpoints("reviews") == [("172.18.0.2", True, False)]
    assert all(change.origin and change.origin.file.startswith("docker:") for change in inbox.batches[0])
    ids = [change.id for change in inbox.batches[0]]
    assert ids == sorted(set(ids))


@follow
async def test_no_containers_are_a_mesh_too(world: World) -> None:
    await world.pass_()
    assert world.inbox.synced_with == []


@follow
async def test_a_container_from_its_start_to_its_end(world: World) -> None:
    engine, inbox = world.engine, world.inbox
    await world.pass_()
    id = engine.run("reviews", health="starting")
    await world.pass_()
    assert inbox.endpoints("reviews") == [("172.18.0.2", False, False)]
    engine.health(id, "healthy")
    await world.pass_()
    assert inbox.endpoints("reviews") == [("172.18.0.2", True, False)]
    engine.signal(id, 15)
    await world.pass_()
    assert inbox.endpoints("reviews") == [("172.18.0.2", False, True)]
    engine.die(id)
    await world.pass_()
    assert inbox.endpoints("reviews") == []
    engine.start(id)
    engine.health(id, "healthy")
    await world.pass_()
    assert inbox.endpoints("reviews") == [("172.18.0.3", True, False)]
    engine.stop(id)
    engine.remove(id)
    await world.pass_()
    assert inbox.rows == {}


@follow
async def test_a_change_is_as_old_as_its_event(world: World) -> None:
    engine, inbox = world.engine, world.inbox
    id = engine.run("reviews", health="healthy")
    await world.pass_()
    await world.clock.advance(3.0)
    engine.health(id, "unhealthy")
    at = engine.now
    await world.pass_()
    assert world.clock.monotonic() - at > 2.0
    assert [change.at for change in inbox.batches[-1]] == pytest.approx(
        [at] * len(inbox.batches[-1]), abs=0.1
    )


def test_an_event_from_long_ago_or_from_the_future_is_not_when_it_changed() -> None:
    world = World()
    now = world.clock.monotonic()
    assert world.source._at(None) == now
    assert world.source._at(BEGIN - 2.0) == now - 2.0
    assert world.source._at(BEGIN - PACE.round - 1.0) == now
    assert world.source._at(BEGIN + 1.0) == now


@follow
async def test_a_thousand_events_at_once_are_one_question_per_container_and_one_delivery(
    world: World,
) -> None:
    engine, inbox = world.engine, world.inbox
    ids = [engine.run(f"reviews-{n}", service="reviews", health="healthy") for n in range(20)]
    await world.pass_()
    batches, asked = len(inbox.batches), len(engine.asked)
    for turn in range(50):
        for id in ids:
            engine.health(id, "unhealthy" if turn % 2 == 0 else "healthy")
    await world.pass_(1.0)
    assert len(inbox.batches) - batches <= 2
    assert len(engine.asked) - asked <= 2 * len(ids)
    assert [ready for _, ready, _ in inbox.endpoints("reviews")] == [True] * len(ids)


@follow
async def test_what_no_event_told_is_found_by_the_next_list(world: World) -> None:
    engine, inbox = world.engine, world.inbox
    id = engine.run("reviews")
    await world.pass_()
    streams, engine._streams = engine._streams, []
    engine.restart(id)
    engine.run("ratings")
    await world.pass_()
    assert inbox.endpoints("ratings") == []
    engine._streams = streams
    await world.next_round()
    assert inbox.endpoints("reviews") == [("172.18.0.3", True, False)]
    assert inbox.endpoints("ratings") == [("172.18.0.4", True, False)]
    assert inbox.outage == ""


@follow
async def test_what_happens_while_the_list_is_made_is_not_missed(world: World) -> None:
    engine, inbox = world.engine, world.inbox
    answer = engine.containers_json

    async def list_then_change() -> Any:
        found = await answer()
        if not engine.containers:
            engine.run("reviews")
        return found

    world.source._docker.containers = list_then_change  # type: ignore[method-assign]
    await world.pass_()
    assert inbox.endpoints("reviews") == [("172.18.0.2", True, False)]
    events = engine.asked.index("/events")
    assert engine.asked[: events + 2] == ["/_ping", "/events", "/containers/json"]


@follow
async def test_an_outage_of_docker_empties_nothing_and_on_its_return_the_difference_is_delivered(
    world: World,
) -> None:
    engine, inbox = world.engine, world.inbox
    for name in ("reviews", "ratings"):
        engine.run(name)
    await world.pass_()
    rows = dict(inbox.rows)
    engine.leave("cannot be reached (Connection refused)")
    await world.pass_(3.0)
    assert inbox.rows == rows
    (problem,) = inbox.problems["docker:api"]
    assert problem.level == "error"
    assert problem.message.startswith(
        "Docker cannot be reached (Connection refused); away since 2026-11-20 15:"
    )
    assert problem.file == "unix:/run/docker.sock"
    told = problem
    # What happens meanwhile is not lost, and nobody asks again and again.
    engine.remove(id_of("ratings"))
    engine.restart(id_of("reviews"))
    asked = len(engine.asked)
    await world.pass_(60.0)
    assert 7 <= len(engine.asked) - asked <= 15
    assert inbox.rows == rows
    assert inbox.problems["docker:api"] == (told,)
    engine.down = ""
    await world.pass_(PACE.longest_retry)
    assert inbox.outage == ""
    assert inbox.endpoints("reviews") == [("172.18.0.4", True, False)]
    assert inbox.endpoints("ratings") == []
    # The next one is another one.
    engine.leave("cannot be reached (Connection refused)")
    await world.pass_(3.0)
    assert inbox.outage.partition(";")[2] != told.message.partition(";")[2]


@follow
async def test_another_docker_at_the_same_address_empties_nothing(world: World) -> None:
    engine, inbox = world.engine, world.inbox
    for name in ("plane", "reviews"):
        engine.run(name)
    await world.pass_()
    rows = dict(inbox.rows)
    containers, engine.containers = engine.containers, {}
    await world.next_round()
    await world.pass_(5.0)
    assert inbox.rows == rows
    assert "does not know the container that this program runs in" in inbox.outage
    engine.containers = containers
    await world.pass_(PACE.longest_retry)
    assert inbox.outage == ""
    assert inbox.rows == rows


@follow
async def test_a_stream_that_breaks_and_is_there_again_is_no_problem(world: World) -> None:
    world.engine.run("reviews")
    await world.pass_()
    world.engine.leave("broke off (ServerDisconnectedError)")
    await world.pass_(0.01)
    world.engine.down = ""
    await world.pass_(1.0)
    assert world.inbox.outages == []
    world.engine.restart(id_of("reviews"))
    await world.pass_()
    assert world.inbox.endpoints("reviews") == [("172.18.0.3", True, False)]


@follow
async def test_streams_that_end_too_early_are_not_opened_again_and_again(world: World) -> None:
    engine = world.engine
    await world.pass_()
    for _ in range(100):
        engine.end_streams()
        await world.pass_(0.1)
    assert engine.asked.count("/_ping") <= 20


@follow
async def test_while_docker_is_away_no_container_is_asked_about(world: World) -> None:
    engine = world.engine
    engine.run("reviews")
    await world.pass_()
    engine.stuck.add(id_of("reviews"))
    engine.rename(id_of("reviews"), "ratings")
    await world.pass_()
    engine.leave("cannot be reached (Connection refused)")
    await world.pass_(2.0)
    asked = len(engine.asked)
    await world.pass_(20.0)
    assert set(engine.asked[asked:]) == {"/_ping"}
    assert world.inbox.problems["docker:containers"] == ()


def test_a_stop_that_is_under_way_at_the_start_is_known_with_the_first_delivery() -> None:
    @follow
    async def test(world: World) -> None:
        # What the source begins with is what is there when the loop has its turn.
        world.engine.signal(world.engine.run("reviews"), 15)
        world.clock._now += 20.0
        await world.pass_()
        assert world.inbox.endpoints("reviews") == [("172.18.0.2", False, True)]
        assert len(world.inbox.batches) == 1

    test()


@follow
async def test_between_two_deliveries_is_a_moment(world: World) -> None:
    engine = world.engine
    id = engine.run("reviews", health="healthy")
    await world.pass_()
    batches, asked = len(world.inbox.batches), len(engine.asked)
    for turn in range(100):
        engine.health(id, "unhealthy" if turn % 3 == 0 else "healthy")
        await world.pass_(0.001)
    engine.health(id, "healthy")
    await world.pass_()
    assert 2 <= len(world.inbox.batches) - batches <= 12
    assert len(engine.asked) - asked <= 12
    assert world.inbox.endpoints("reviews") == [("172.18.0.2", True, False)]


@follow
async def test_an_answer_is_delivered_when_it_comes(world: World) -> None:
    engine, inbox = world.engine, world.inbox
    id = engine.run("reviews", health="healthy")
    await world.pass_()
    inspect = engine.inspect

    async def slowly(container: str) -> Any:
        await world.clock.sleep(0.002)
        return await inspect(container)

    world.source._docker.inspect = slowly  # type: ignore[method-assign]
    engine.pause(id)
    await world.pass_(1.0)
    assert inbox.endpoints("reviews") == [("172.18.0.2", False, False)]
    engine.unpause(id)
    await world.pass_(0.003)
    assert inbox.endpoints("reviews") == [("172.18.0.2", True, False)]


def test_the_same_objects_are_no_change() -> None:
    told = Told(itertools.count(1))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reviews", "namespace": "default"}}
    (change,) = told.difference([pod], 5.0)
    assert (change.kind, change.key, change.id, change.at) == ("Pod", ("default", "reviews"), 1, 5.0)
    assert told.difference([dict(pod)], 6.0) == []
    (change,) = told.difference([], 7.0)
    assert (change.raw, change.place) == (None, "docker:reviews")
    with pytest.raises(ValueError, match="metadata"):
        told.difference([{"apiVersion": "v1", "kind": "Pod"}], 8.0)


@follow
async def test_a_docker_that_is_not_there_yet_is_waited_for(world: World) -> None:
    world.engine.run("reviews")
    world.engine.leave("cannot be reached (No such file or directory)")
    await world.pass_(5.0)
    assert world.inbox.synced_with is None
    assert "No such file" in world.inbox.outage
    world.engine.down = ""
    await world.pass_(PACE.longest_retry)
    assert world.inbox.synced_with is not None
    assert world.inbox.endpoints("reviews") == [("172.18.0.2", True, False)]


@follow
async def test_a_container_that_docker_is_silent_about_holds_up_the_start_only_for_a_while(
    world: World,
) -> None:
    engine, inbox = world.engine, world.inbox
    for name in ("reviews", "ratings"):
        engine.run(name)
    engine.stuck.add(id_of("ratings"))
    await world.pass_(PACE.patience - 1.0)
    assert inbox.synced_with is None
    await world.pass_(1.5)
    assert inbox.synced_with is not None
    assert inbox.endpoints("reviews") == [("172.18.0.2", True, False)]
    (problem,) = inbox.problems["docker:containers"]
    assert (problem.name, problem.file) == ("ratings", "docker:ratings")
    engine.stuck.clear()
    await world.pass_(PACE.longest_retry)
    assert inbox.endpoints("ratings") == [("172.18.0.3", True, False)]
    assert inbox.problems["docker:containers"] == ()
    # Later it holds up nobody, and stays as it was.
    engine.stuck.add(id_of("ratings"))
    engine.rename(id_of("ratings"), "scores")
    engine.health(id_of("reviews"), "unhealthy")
    await world.pass_(5.0)
    assert inbox.endpoints("reviews") == [("172.18.0.2", False, False)]
    assert inbox.endpoints("ratings") == [("172.18.0.3", True, False)]
    (problem,) = inbox.problems["docker:containers"]
    assert problem.file == "docker:ratings"


@follow
async def test_a_docker_that_goes_is_not_the_containers_problem(world: World) -> None:
    world.engine.run("reviews")
    await world.pass_()
    world.engine.away = True
    world.engine.stuck.add(id_of("reviews"))
    world.engine.rename(id_of("reviews"), "ratings")
    await world.pass_(10.0)
    assert world.inbox.problems["docker:containers"] == ()


@follow
async def test_a_container_that_survives_its_signal_is_an_endpoint_again(world: World) -> None:
    id = world.engine.run("reviews")
    await world.pass_()
    world.engine.signal(id, 15)
    await world.pass_(29.0)
    assert world.inbox.endpoints("reviews") == [("172.18.0.2", False, True)]
    await world.pass_(2.0)
    assert world.inbox.endpoints("reviews") == [("172.18.0.2", True, False)]


@follow
async def _fault(world: World) -> None:
    world.engine.run("reviews")
    await world.pass_()
    world.engine.rename(id_of("reviews"), "ratings")
    await world.pass_()
    assert world.inbox.endpoints("reviews") == [("172.18.0.2", True, False)]
    (problem,) = world.inbox.problems["docker:containers"]
    assert "not understood" in problem.message
    await world.pass_(1.0)


def test_a_fault_of_ours_with_one_container_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.Follower.answered
    calls = itertools.count()

    def answered(self: Any, *args: Any) -> None:
        if next(calls) > 0:
            raise TypeError("not as it was thought")
        real(self, *args)

    monkeypatch.setattr(module.Follower, "answered", answered)
    _fault()
