"""Users of pods: which ones a user namespace has, and what stands for Envoy's where it has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.inject.iptables import Interception, nat_rules
from controlplane.lab import namespace
from controlplane.lab.users import ALONE, SEPARATE, holds, marked, present, redirect_rules


def process(folder: Path, uids: str, gids: str) -> Path:
    (folder / "uid_map").write_text(uids)
    (folder / "gid_map").write_text(gids)
    return folder


def test_on_the_machine_itself_everybody_exists(tmp_path: Path) -> None:
    everybody = "         0          0 4294967295\n"
    assert present(process(tmp_path, everybody, everybody)) == SEPARATE


def test_subordinate_users_are_enough_and_one_is_not(tmp_path: Path) -> None:
    both = "0 1001 1\n1337 100000 1\n65534 100001 1\n"
    assert present(process(tmp_path, both, both)) == SEPARATE
    assert present(process(tmp_path, both, "0 1001 1\n")) == ALONE
    assert present(process(tmp_path, "0 1001 1\n", "0 1001 1\n")) == ALONE


@pytest.mark.parametrize(("count", "there"), [(1337, False), (1338, True)])
def test_a_range_ends_before_its_count(count: int, there: bool) -> None:
    assert holds(f"0 500 {count}\n", (1337,)) is there


def test_with_users_the_rules_are_those_of_a_pod() -> None:
    assert redirect_rules(SEPARATE) == nat_rules(Interception())


def test_a_mark_stands_where_the_user_stood() -> None:
    rules = redirect_rules(ALONE).splitlines()
    assert not [line for line in rules if "owner" in line]
    by_user = [line for line in nat_rules(Interception()).splitlines() if "--uid-owner" in line]
    by_mark = [line for line in rules if "--mark" in line]
    assert len(by_mark) == len(by_user) == 3
    assert [line.replace("mark --mark 1337", "owner --uid-owner 1337") for line in by_mark] == [
        line.replace("owner ! --uid-owner", "mark ! --mark") for line in by_user
    ]
    # Everything else is as before, in its order.
    others = [line for line in nat_rules(Interception()).splitlines() if "owner" not in line]
    assert [line for line in rules if "--mark" not in line] == others


def test_only_who_needs_a_mark_gets_one() -> None:
    assert marked({"node": {}}, SEPARATE) == {"node": {}}
    found = marked({"node": {}}, ALONE)
    (option,) = found.pop("cluster_manager")["upstream_bind_config"]["socket_options"]
    assert (option["level"], option["name"], option["int_value"]) == (1, 36, 1337)
    assert found == {"node": {}}


TABLE = "alice:100000:65536\n1002:165536:2\nbob:300000:1\nbroken:x:y\ncarol:5\n"


@pytest.mark.parametrize(
    ("name", "uid", "first"),
    [
        ("alice", 1001, 100000),
        ("whoever", 1002, 165536),
        ("bob", 1003, None),
        ("broken", 1004, None),
        ("carol", 1005, None),
        ("dave", 1006, None),
    ],
)
def test_what_the_table_of_subordinate_users_gives(name: str, uid: int, first: int | None) -> None:
    assert namespace.subordinate(TABLE, name, uid) == first


def test_the_caller_is_root_and_the_users_of_pods_are_subordinate() -> None:
    assert namespace.id_map(1001, None) == ((0, 1001, 1),)
    assert namespace.id_map(1001, 100000) == ((0, 1001, 1), (1337, 100000, 1), (65534, 100001, 1))
