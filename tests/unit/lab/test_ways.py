"""Which way the demo goes, from facts alone: every kind of machine that it may meet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.lab.ways import (
    Compose,
    Facts,
    Go,
    LookForCompose,
    NoWay,
    Refusal,
    Switches,
    Try,
    Way,
    Wish,
    next_step,
)

USER = Facts("Linux", root=False)
ROOT = Facts("Linux", root=True, no_subuids="/etc/subuid gives nothing to root")
MAC = Facts("Darwin", root=False, missing=("no Envoy found",), no_subuids="newuidmap not installed")
DOCKER = Compose(("docker", "compose"))
NO_DOCKER = Compose(why="docker is not installed")
EPERM = Refusal("users", "EPERM: Operation not permitted")


def decided(
    facts: Facts, wish: Wish = Wish.WHICHEVER, works: Way | None = None, compose: Compose = DOCKER
) -> Go:
    """What it comes to on a machine where pods work in one way only."""
    refusal = Refusal("users", "EPERM: Operation not permitted")
    for _ in range(10):
        match next_step(facts, wish):
            case Go() as go:
                return go
            case Try(way):
                assert way not in dict(facts.tried)
                facts = replace(facts, tried=(*facts.tried, (way, None if way is works else refusal)))
            case LookForCompose():
                assert facts.compose is None
                facts = replace(facts, compose=compose)
    raise AssertionError("it never decides")


def test_the_best_way_is_tried_first_and_taken_when_it_works() -> None:
    assert next_step(ROOT, Wish.WHICHEVER) == Try(Way.ROOT)
    assert next_step(USER, Wish.WHICHEVER) == Try(Way.SUBUIDS)
    assert decided(ROOT, works=Way.ROOT) == Go(Way.ROOT)
    assert decided(USER, works=Way.SUBUIDS) == Go(Way.SUBUIDS)
    assert decided(USER, works=Way.ONE_USER) == Go(Way.ONE_USER)


def test_without_subordinate_users_they_are_not_tried() -> None:
    facts = replace(USER, no_subuids="/etc/subuid gives nothing to alice")
    assert next_step(facts, Wish.WHICHEVER) == Try(Way.ONE_USER)


def test_root_in_a_container_that_may_not_is_tried_as_anybody() -> None:
    assert decided(ROOT, works=Way.ONE_USER) == Go(Way.ONE_USER)


def test_containers_come_last_and_the_reason_is_told() -> None:
    go = decided(USER)
    assert go.way is Way.COMPOSE
    (line,) = go.instead
    assert "EPERM" in line and "sudo make run" in line


def test_without_linux_or_programs_nothing_is_tried() -> None:
    assert next_step(MAC, Wish.WHICHEVER) == LookForCompose()
    assert decided(MAC) == Go(Way.COMPOSE, ("only Linux has them, and this is Darwin",), DOCKER.command)
    missing = replace(USER, missing=("no Envoy found", "iptables-restore is not installed"))
    assert decided(missing) == Go(Way.COMPOSE, missing.missing, DOCKER.command)


def test_a_wish_is_a_wish() -> None:
    assert decided(USER, Wish.COMPOSE) == Go(Way.COMPOSE, (), DOCKER.command)
    with pytest.raises(NoWay, match=r"^no network namespaces here: only Linux"):
        next_step(MAC, Wish.NAMESPACES)
    with pytest.raises(NoWay, match="docker is not installed"):
        decided(USER, Wish.COMPOSE, compose=NO_DOCKER)


def test_nothing_at_all_says_all_reasons() -> None:
    with pytest.raises(NoWay) as told:
        decided(USER, compose=NO_DOCKER)
    first, namespaces, containers = str(told.value).splitlines()
    assert first == "the demo has nowhere to run"
    assert namespaces.startswith("  no network namespaces: ") and "EPERM" in namespaces
    assert containers == "  no containers: docker is not installed"


@pytest.mark.parametrize(
    ("switches", "refusal", "words"),
    [
        (
            Switches(most=0),
            Refusal("users", "ENOSPC: No space left on device"),
            "sysctl user.max_user_namespaces=",
        ),
        (Switches(most=9, clone=0), EPERM, "sysctl kernel.unprivileged_userns_clone=1"),
        (
            Switches(most=9, clone=1, apparmor=1),
            Refusal("map", "EACCES: Permission denied"),
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (Switches(most=9, filtered=True), EPERM, "container around this process"),
        (Switches(most=9), Refusal("mount", "EPERM: not permitted"), "container around this process"),
        (Switches(most=9), Refusal("map", "EPERM: newuidmap failed"), "look at /etc/subuid"),
        (Switches(most=9), EPERM, "sudo make run"),
        (Switches(most=0), Refusal("pods", "the kernel refuses the redirect rules: x"), "redirect rules: x"),
    ],
)
def test_what_forbids_it_is_named_and_how_to_allow_it(
    switches: Switches, refusal: Refusal, words: str
) -> None:
    facts = replace(USER, switches=switches, tried=((Way.SUBUIDS, refusal), (Way.ONE_USER, refusal)))
    with pytest.raises(NoWay) as told:
        next_step(facts, Wish.NAMESPACES)
    assert str(told.value).count(words) == 1  # both trials say the same, so it is said once
    assert refusal.text in str(told.value)
