"""When key sets are asked for: refresh, back-off, last good, and what is no longer wanted."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from controlplane.base.clock import FakeClock
from controlplane.model.jwks import DISCOVERY, NOBODYS_KEYS
from controlplane.model.kinds.key_set import key_set_key
from controlplane.model.problem import Problem
from controlplane.sources.change import Change
from controlplane.sources.jwks.fetch import Fetched, FetchFailed
from controlplane.sources.jwks.follow import AGAIN_AT_ONCE, AT_ONCE, KeySets, Pace
from controlplane.sources.jwks.shelf import Shelf

URI = "https://issuer.example/keys"
OTHER = "https://other.example/keys"
PACE = Pace(refresh=1000.0, least=100.0, retry=1.0, longest_retry=64.0)


def key_set(*exponents: str) -> str:
    modulus = "x" + "A" * 200 + "Q"
    return json.dumps({"keys": [{"kty": "RSA", "kid": one, "n": modulus, "e": "AQAB"} for one in exponents]})


class Issuer:
    """Answers by URI: a text, seconds to live, or a failure."""

    def __init__(self) -> None:
        self.answers: dict[str, str | Exception] = {}
        self.max_age: float | None = None
        self.asked: list[str] = []
        self.held: asyncio.Event | None = None
        self.most = self.under_way = 0

    async def fetch(self, uri: str, within: float) -> Fetched:
        self.asked.append(uri)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if self.held is not None:
                await self.held.wait()
            answer = self.answers.get(uri, FetchFailed("does not answer"))
            if isinstance(answer, Exception):
                raise answer
            return Fetched(answer.encode(), self.max_age)
        finally:
            self.under_way -= 1


class Store:
    """What arrived, by URI's key."""

    def __init__(self) -> None:
        self.rows: dict[Any, Any] = {}
        self.changes: list[Change] = []
        self.is_synced = False

    async def apply(self, changes: Sequence[Change]) -> None:
        await asyncio.sleep(0)
        for change in changes:
            self.changes.append(change)
            self.rows[change.key] = change.raw
            if change.raw is None:
                del self.rows[change.key]

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        raise AssertionError("what is wrong is told by the check of the policy")

    def synced(self, source: str) -> None:
        self.is_synced = source == "jwks"

    def spec(self, uri: str = URI) -> Any:
        row = self.rows.get(key_set_key(uri))
        return row and row["spec"]


class World:
    def __init__(self, shelf: Shelf) -> None:
        self.clock = FakeClock()
        self.issuer = Issuer()
        self.store = Store()
        self.counts: list[bool] = []
        self.keys = KeySets(
            self.issuer,
            clock=self.clock,
            ids=itertools.count(1),
            pace=PACE,
            shelf=shelf,
            counted=self.counts.append,
        )


def follow(test: Callable[[World], Coroutine[Any, Any, None]], shelf: Shelf | None = None) -> None:
    """Run a test beside the task; nothing of it may be left."""

    async def main() -> None:
        world = World(shelf or Shelf(None))
        task = asyncio.create_task(world.keys.run(world.store))
        await asyncio.sleep(0)
        await test(world)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def following(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """The test, run by `follow`."""

    def run() -> None:
        follow(test)

    run.__name__ = test.__name__
    return run


@following
async def test_nothing_wanted_is_nothing_to_wait_for(world: World) -> None:
    world.keys.want({})
    await world.keys.tried()
    await world.clock.advance(5000)
    assert world.store.is_synced
    assert world.issuer.asked == []


@following
async def test_before_anything_is_wanted_nothing_is_waited_for(world: World) -> None:
    async with asyncio.timeout(20):
        await world.keys.tried()


@following
async def test_keys_are_fetched_at_once_and_again_before_they_are_old(world: World) -> None:
    world.issuer.answers[URI] = key_set("a")
    world.keys.want({URI: 5.0})
    await world.keys.tried()
    assert "a" in world.store.spec()["keys"]
    assert world.store.spec()["fault"] == ""
    world.issuer.answers[URI] = key_set("b")
    await world.clock.advance(PACE.refresh * 0.89)
    assert "b" not in world.store.spec()["keys"]
    await world.clock.advance(PACE.refresh * 0.11)
    assert "b" in world.store.spec()["keys"]
    assert world.counts == [True, True]


@following
async def test_equal_keys_are_no_change(world: World) -> None:
    world.issuer.answers[URI] = key_set("a", "b")
    world.keys.want({URI: 5.0})
    await world.keys.tried()
    world.issuer.answers[URI] = key_set("b", "a")
    await world.clock.advance(3 * PACE.refresh)
    assert world.issuer.asked.count(URI) >= 3
    assert len(world.store.changes) == 1


@following
async def test_a_provider_may_ask_for_less_within_bounds(world: World) -> None:
    world.issuer.answers[URI] = key_set("a")
    world.issuer.max_age = 0.0
    world.keys.want({URI: 5.0})
    await world.keys.tried()
    await world.clock.advance(PACE.least * 0.89)
    assert len(world.issuer.asked) == 1
    await world.clock.advance(PACE.least * 0.11)
    assert len(world.issuer.asked) == 2
    world.issuer.max_age = 10 * PACE.refresh
    await world.clock.advance(PACE.least)
    assert len(world.issuer.asked) == 3
    await world.clock.advance(PACE.refresh)
    assert len(world.issuer.asked) == 4


@following
async def test_a_failure_keeps_the_last_good_and_is_told_once(world: World) -> None:
    world.issuer.answers[URI] = key_set("a")
    world.keys.want({URI: 5.0})
    await world.keys.tried()
    world.issuer.answers[URI] = FetchFailed("answers 500")
    await world.clock.advance(3 * PACE.refresh)
    assert "a" in world.store.spec()["keys"]
    assert world.store.spec()["fault"] == "answers 500"
    assert len(world.store.changes) == 2
    assert world.counts[:2] == [True, False]
    world.issuer.answers[URI] = key_set("b")
    await world.clock.advance(PACE.longest_retry)
    assert "b" in world.store.spec()["keys"]
    assert world.store.spec()["fault"] == ""


@following
async def test_failures_are_retried_with_growing_patience(world: World) -> None:
    world.keys.want({URI: 5.0})
    await world.keys.tried()
    assert world.store.spec() == {"uri": URI, "keys": "", "fault": "does not answer"}
    # 0.5..1, 1..2, 2..4 s after each other; never further apart than 64 s.
    await world.clock.advance(7.01)
    assert 4 <= len(world.issuer.asked) <= 5
    await world.clock.advance(640)
    before = len(world.issuer.asked)
    await world.clock.advance(640)
    assert 10 <= len(world.issuer.asked) - before <= 20


@following
async def test_what_is_not_wanted_any_more_goes(world: World) -> None:
    world.issuer.answers = {URI: key_set("a"), OTHER: key_set("b")}
    world.keys.want({URI: 5.0, OTHER: 5.0})
    await world.keys.tried()
    world.keys.want({OTHER: 5.0})
    await world.clock.advance(10 * PACE.refresh)
    assert world.store.spec() is None
    assert "b" in world.store.spec(OTHER)["keys"]
    assert world.issuer.asked.count(URI) == 1
    world.keys.want({URI: 5.0, OTHER: 5.0})
    await world.keys.tried()
    assert "a" in world.store.spec()["keys"]


@following
async def test_what_is_given_up_during_its_fetch_leaves_nothing(world: World) -> None:
    world.issuer.held = asyncio.Event()
    world.issuer.answers[URI] = key_set("a")
    world.keys.want({URI: 5.0})
    await world.clock.advance(0)
    world.keys.want({})
    await world.keys.tried()
    world.issuer.held.set()
    await world.clock.advance(1)
    assert world.store.rows == {}


@following
async def test_one_that_does_not_answer_holds_up_no_other(world: World) -> None:
    world.issuer.answers[OTHER] = key_set("b")
    world.keys.want({URI: 5.0, OTHER: 5.0})
    await world.keys.tried()
    assert "b" in world.store.spec(OTHER)["keys"]
    assert world.store.spec()["keys"] == ""


@following
async def test_a_fault_of_ours_is_told_and_ends_nothing(world: World) -> None:
    world.issuer.answers = {URI: RuntimeError("ours"), OTHER: key_set("b")}
    world.keys.want({URI: 5.0, OTHER: 5.0})
    await world.keys.tried()
    assert "a fault of the control plane" in world.store.spec()["fault"]
    world.issuer.answers[URI] = key_set("a")
    await world.clock.advance(PACE.longest_retry)
    assert world.store.spec()["fault"] == ""


@following
async def test_only_some_are_asked_at_the_same_time(world: World) -> None:
    world.issuer.held = asyncio.Event()
    world.keys.want({f"https://{number}.example/keys": 5.0 for number in range(3 * AT_ONCE)})
    await world.clock.advance(0)
    assert world.issuer.under_way == AT_ONCE - AGAIN_AT_ONCE
    world.issuer.held.set()
    await world.keys.tried()
    assert world.issuer.most == AT_ONCE - AGAIN_AT_ONCE
    assert len(world.issuer.asked) == 3 * AT_ONCE


@following
async def test_who_never_answers_keeps_nobody_else_waiting(world: World) -> None:
    tarpit = {f"https://{number}.example/keys": 5.0 for number in range(3 * AT_ONCE)}
    world.keys.want(tarpit)
    await world.keys.tried()
    world.issuer.held = asyncio.Event()
    await world.clock.advance(PACE.longest_retry)
    assert world.issuer.under_way == AGAIN_AT_ONCE
    asked = len(world.issuer.asked)
    world.keys.want({**tarpit, URI: 5.0})
    await world.clock.advance(0)
    assert world.issuer.asked[asked:] == [URI]
    world.issuer.held.set()


def test_what_was_fetched_before_a_restart_is_there_until_something_better_comes(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "jwks")

    async def before(world: World) -> None:
        world.issuer.answers = {URI: key_set("a"), OTHER: key_set("b")}
        world.keys.want({URI: 5.0, OTHER: 5.0})
        await world.keys.tried()
        world.keys.want({URI: 5.0})
        await world.clock.advance(1)

    async def after(world: World) -> None:
        world.keys.want({URI: 5.0, OTHER: 5.0})
        await world.keys.tried()
        assert "a" in world.store.spec()["keys"]
        assert world.store.spec()["fault"] == "does not answer"
        # Nobody wanted it any more.
        assert world.store.spec(OTHER)["keys"] == ""
        world.issuer.answers[URI] = key_set("c")
        await world.clock.advance(2)
        assert "c" in world.store.spec()["keys"]
        assert '"c"' in shelf.get(URI)

    follow(before, shelf)
    follow(after, shelf)


def test_a_shelf_that_is_broken_costs_no_keys(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shelf = Shelf(tmp_path / "file")
    shelf.put(URI, NOBODYS_KEYS)
    assert shelf.get(URI) == ""
    good = Shelf(tmp_path / "folder")
    good.put(URI, NOBODYS_KEYS)
    assert good.get(URI) == NOBODYS_KEYS
    (path,) = (tmp_path / "folder").iterdir()
    path.write_bytes(b"\xff torn")
    assert good.get(URI) == ""
    good.drop(URI)
    good.drop(URI)
    assert not list((tmp_path / "folder").iterdir())


METADATA = "https://issuer.example" + DISCOVERY


@following
async def test_an_issuer_says_where_its_keys_are(world: World) -> None:
    world.issuer.answers[METADATA] = json.dumps({"issuer": "https://issuer.example", "jwks_uri": URI})
    world.issuer.answers[URI] = NOBODYS_KEYS
    world.keys.want({METADATA: 5.0})
    await world.keys.tried()
    assert world.store.spec(METADATA) == {"uri": METADATA, "keys": NOBODYS_KEYS, "fault": ""}


@pytest.mark.parametrize(
    ("metadata", "fault"),
    [
        ("[]", "answers with what is no metadata of an issuer"),
        ("{", "answers with what is no metadata of an issuer"),
        ({"issuer": "https://evil.example", "jwks_uri": URI}, "answers with the metadata of another issuer"),
        ({"jwks_uri": URI}, "answers with the metadata of another issuer"),
        ({"issuer": "https://issuer.example"}, "no http or https URI"),
        ({"issuer": "https://issuer.example", "jwks_uri": "file:///etc/passwd"}, "no http or https URI"),
        (
            {"issuer": "https://issuer.example", "jwks_uri": "http://issuer.example/k"},
            "less safe than itself",
        ),
    ],
)
def test_bad_metadata_is_a_fault(metadata: Any, fault: str) -> None:
    async def check(world: World) -> None:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        world.issuer.answers = {METADATA: text, URI: key_set("a")}
        world.keys.want({METADATA: 5.0})
        await world.keys.tried()
        assert fault in world.store.spec(METADATA)["fault"]
        assert world.store.spec(METADATA)["keys"] == ""

    follow(check)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("nonsense, with a secret", "answers with what is no key set: it is no JSON"),
        ('{"keys": []}', "answers with what is no key set: keys is empty"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "keys[0] is a shared secret"),
    ],
)
def test_what_is_no_key_set_is_a_fault_without_its_content(body: str, fault: str) -> None:
    async def check(world: World) -> None:
        world.issuer.answers[URI] = body
        world.keys.want({URI: 5.0})
        await world.keys.tried()
        assert fault in world.store.spec()["fault"]
        assert "secret," not in world.store.spec()["fault"]
        assert "c2Vj" not in world.store.spec()["fault"]

    follow(check)
