"""Which of a service's pods is asked, and when none is: counted at the caller and at the servers.

client ──► pool.shop:80 ──► one, two, three     which have no sidecars: the client's Envoy decides all

Where they are is not known, so none is nearer than others; see test_places for that.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from controlplane.lab.pods import Lab
from tests.support.chances import likely
from tests.support.envoys import MARKS, scenes
from tests.support.residents import pod, web
from tests.support.town import Town

pytestmark = MARKS

HOST = "pool.shop"
SERVERS = ("one", "two", "three")

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: pool, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: pool}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pool, namespace: shop}
spec:
  hosts: [pool]
  http: [{retries: {attempts: 0}, route: [{destination: {host: pool}}]}]
"""


RESIDENTS = (
    pod("client", "shop", 10),
    *(
        pod(name, "shop", number, web(name, 80), meshed=False, app="pool")
        for number, name in enumerate(SERVERS, 11)
    ),
)


def build(lab: Lab) -> Town:
    return Town(lab, RESIDENTS, OBJECTS)


town = scenes(build)


@pytest.fixture(autouse=True)
def peaceful(town: Town) -> Iterator[None]:
    yield
    town.accepted()
    town.apply()


def test_by_turns_everybody_gets_the_same(town: Town) -> None:
    town.policy(HOST, "{loadBalancer: {simple: ROUND_ROBIN}}")
    assert town.servers(90, "client", HOST, at_once=1) == dict.fromkeys(SERVERS, 30)
    town.policy(HOST, "{loadBalancer: {simple: RANDOM}}")
    found = town.servers(300, "client", HOST)
    assert sum(found.values()) == 300
    for name in SERVERS:
        assert likely(found[name], 300, 1 / 3), found


# -- ejection -----------------------------------------------------------------------------------------


def test_who_fails_is_asked_no_more_and_comes_back(town: Town) -> None:
    ejects = "{consecutive5xxErrors: 3, interval: 1s, baseEjectionTime: 2s, maxEjectionPercent: 100}"
    town.policy(HOST, f"{{loadBalancer: {{simple: ROUND_ROBIN}}, outlierDetection: {ejects}}}")
    failing = "/?status=500&by=two"
    found = town.servers(60, "client", HOST, failing, at_once=1, headers={"x-key": "ejected"})
    assert sum(found.values()) == 60
    # Three in a row were enough, and none of the sixty came after them.
    assert len(town.seen("two", "ejected")) == 3
    assert found["one"] + found["three"] == 57
    assert town.stat("client", r"outbound\|80\|\|pool.*ejections_active$") == 1
    assert town.logged("client", "ejected", 60) == {"500 -": 3, "200 -": 57}
    town.becomes(True, lambda: "two" in town.servers(6, "client", HOST))
    assert town.stat("client", r"outbound\|80\|\|pool.*ejections_active$") == 0


def test_errors_that_envoy_makes_itself_eject_by_their_own_number(town: Town) -> None:
    ejects = (
        "{splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, consecutive5xxErrors: 0,"
        " interval: 60s, baseEjectionTime: 60s, maxEjectionPercent: 100}"
    )
    # No connection is kept, on which a request could wait for an answer for ever.
    quick = "connectionPool: {tcp: {connectTimeout: 0.3s}, http: {maxRequestsPerConnection: 1}}"
    town.policy(HOST, f"{{loadBalancer: {{simple: ROUND_ROBIN}}, {quick}, outlierDetection: {ejects}}}")
    # Failures of the server do not count.
    assert Counter(one.status for one in town.calls(30, "client", HOST, "/?status=500&by=three")) == {
        200: 20,
        500: 10,
    }
    with town.gone("three"):
        found = Counter(one.status for one in town.calls(30, "client", HOST, at_once=1))
        assert found == {503: 2, 200: 28}


# -- circuit breaking -----------------------------------------------------------------------------------

# As in the third of the seeds.
BREAKER = """
    connectionPool:
      tcp: {maxConnections: 1}
      http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}
    outlierDetection: {consecutiveErrors: 1, interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}
"""


def test_what_is_too_much_overflows(town: Town) -> None:
    town.policy(HOST, BREAKER)
    assert [one.status for one in town.calls(5, "client", HOST, at_once=1)] == [200] * 5
    found = town.together(12, "client", HOST, "/?delay=0.5", headers={"x-key": "many"})
    # One waits until it has a connection, and only then the next may.  Envoy never refuses a pod its first
    # connection, so there may be one on its way to each of the three.
    told = town.logged("client", "many", 12)
    assert told.keys() == {"200 -", "503 UO"} and 1 <= told["200 -"] <= 4, told
    turned_away = [one for one in found if one.status == 503]
    assert len(turned_away) == told["503 UO"]
    assert {one.headers.get("x-envoy-overloaded") for one in turned_away} == {"true"}
    assert sum(len(town.seen(name, "many")) for name in SERVERS) == told["200 -"]
    # It was not the servers' fault, and afterwards all is well.
    assert [one.status for one in town.calls(5, "client", HOST, at_once=1)] == [200] * 5


def test_requests_at_once_have_a_limit_of_their_own(town: Town) -> None:
    town.policy(HOST, "{connectionPool: {http: {http2MaxRequests: 1}}}")
    found = town.together(8, "client", HOST, "/?delay=0.5", headers={"x-key": "one"})
    assert Counter(one.status for one in found) == {200: 1, 503: 7}
    assert town.logged("client", "one", 8) == {"200 -": 1, "503 UO": 7}


# -- hashing --------------------------------------------------------------------------------------------

USERS = [f"user-{number}" for number in range(60)]


def chosen(town: Town, *users: str) -> dict[str, str]:
    """Who answers each user; always the same one."""
    found: dict[str, set[str]] = defaultdict(set)
    for user in (users or USERS) * 3:
        found[user].add(town.call("client", HOST, headers={"x-user": user}).server)
    assert {len(names) for names in found.values()} == {1}, found
    return {user: name for user, (name,) in found.items()}


@pytest.mark.parametrize("ring", ["", ", ringHash: {minimumRingSize: 512}", ", maglev: {tableSize: 65537}"])
def test_a_header_decides_by_its_hash(town: Town, ring: str) -> None:
    town.policy(HOST, f"{{loadBalancer: {{consistentHash: {{httpHeaderName: x-user{ring}}}}}}}")
    before = chosen(town, *USERS)
    assert set(before.values()) == set(SERVERS)
    # Without the header there is nothing to go by.
    assert len(town.servers(40, "client", HOST)) > 1


def test_who_goes_takes_only_his_own_users_away(town: Town) -> None:
    town.policy(HOST, "{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}")
    before = chosen(town, *USERS)
    town.relabel("three", app="nobody")
    after = chosen(town, *USERS)
    town.relabel("three", app="pool")
    assert "three" not in after.values()
    kept = [user for user in USERS if before[user] != "three"]
    # The ring is of another size, so a few of the others may move, too.
    assert sum(before[user] != after[user] for user in kept) < len(kept) / 5
    assert chosen(town, *USERS) == before


def test_a_cookie_is_given_and_kept_to(town: Town) -> None:
    town.policy(HOST, "{loadBalancer: {consistentHash: {httpCookie: {name: who, path: /p, ttl: 60s}}}}")
    first = [town.call("client", HOST) for _ in range(30)]
    given = [one.headers["set-cookie"] for one in first]
    assert len({one.partition(";")[0] for one in given}) == 30
    assert all("Max-Age=60" in one and "Path=/p" in one and "HttpOnly" in one for one in given)
    assert {one.server for one in first} == set(SERVERS)
    for one in first[:10]:
        kept = town.calls(3, "client", HOST, headers={"cookie": one.headers["set-cookie"].partition(";")[0]})
        assert {again.server for again in kept} == {one.server}
        assert {again.headers.get("set-cookie") for again in kept} == {None}


def test_a_parameter_and_an_address_decide_too(town: Town) -> None:
    town.policy(HOST, "{loadBalancer: {consistentHash: {httpQueryParameterName: user}}}")
    found = {
        user: {town.call("client", HOST, f"/?user={user}").server for _ in range(3)} for user in USERS[:20]
    }
    assert {len(names) for names in found.values()} == {1}
    assert len({name for names in found.values() for name in names}) > 1
    town.policy(HOST, "{loadBalancer: {consistentHash: {useSourceIp: true}}}")
    assert len(town.servers(30, "client", HOST)) == 1
