"""What a VirtualService says is what happens to requests: counted at the caller and at the servers.

client ──► reviews.shop:80 ──► v1, v2, v3      all with sidecars, under mutual TLS
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.chances import likely
from tests.support.envoys import MARKS, scenes
from tests.support.residents import pod, web
from tests.support.town import Town

pytestmark = MARKS

HOST, FULL = "reviews.shop", "reviews.shop.svc.cluster.local"
V1, V2, V3 = "reviews-v1", "reviews-v2", "reviews-v3"

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: reviews}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  - {name: v3, labels: {version: v3}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
"""
RESIDENTS = (
    pod("client", "shop", 10),
    *(
        pod(
            f"reviews-{version}",
            "shop",
            10 + number,
            web(f"reviews-{version}", 80),
            app="reviews",
            version=version,
        )
        for number, version in enumerate(("v1", "v2", "v3"), 1)
    ),
)

town = scenes(lambda lab: Town(lab, RESIDENTS, OBJECTS))


@pytest.fixture(autouse=True)
def peaceful(town: Town) -> Iterator[None]:
    yield
    town.accepted()


def routes(town: Town, http: str) -> None:
    """Let these be the routes of the reviews."""
    town.apply(f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews, namespace: shop}}
spec:
  hosts: [reviews]
  http: {http}
""")


def to(*shares: int) -> str:
    """Where requests go: to the versions by weight."""
    listed = (
        f"{{destination: {{host: reviews, subset: v{number}}}, weight: {share}}}"
        for number, share in enumerate(shares, 1)
    )
    return f"[{', '.join(listed)}]"


ONLY_V1 = "[{destination: {host: reviews, subset: v1}}]"
ONLY_V2 = "[{destination: {host: reviews, subset: v2}}]"
ONLY_V3 = "[{destination: {host: reviews, subset: v3}}]"


# -- where ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [(90, 10, 0), (50, 30, 20)])
def test_weights_are_shares_of_requests(town: Town, shares: tuple[int, ...]) -> None:
    routes(town, f"[{{route: {to(*shares)}}}]")
    count = 600
    found = town.servers(count, "client", HOST)
    assert sum(found.values()) == count
    for name, share in zip((V1, V2, V3), shares, strict=True):
        assert likely(found[name], count, share / 100), found


def test_a_header_and_a_cookie_choose(town: Town) -> None:
    by_header = f"{{match: [{{headers: {{end-user: {{exact: jason}}}}}}], route: {ONLY_V2}}}"
    regex = "'^(.*?; )?(user=beta)(;.*)?$'"
    by_cookie = f"{{match: [{{headers: {{cookie: {{regex: {regex}}}}}}}], route: {ONLY_V3}}}"
    routes(town, f"[{by_header}, {by_cookie}, {{route: {ONLY_V1}}}]")
    for headers, chosen in (
        ({}, V1),
        ({"end-user": "jason"}, V2),
        ({"end-user": "jasonx"}, V1),
        ({"cookie": "a=b; user=beta; c=d"}, V3),
        ({"cookie": "user=beta"}, V3),
        ({"cookie": "user=beta2"}, V1),
        # The first that matches decides.
        ({"end-user": "jason", "cookie": "user=beta"}, V2),
    ):
        assert town.servers(10, "client", HOST, headers=headers) == {chosen: 10}, headers


# -- faults -----------------------------------------------------------------------------------------


def test_an_aborted_request_reaches_nobody(town: Town) -> None:
    routes(town, f"[{{fault: {{abort: {{percentage: {{value: 30}}, httpStatus: 418}}}}, route: {ONLY_V1}}}]")
    count = 500
    found = town.servers(count, "client", HOST, headers={"x-key": "aborted"})
    assert found.keys() == {"418", V1}
    assert likely(found["418"], count, 0.3), found
    assert len(town.seen(V1, "aborted")) == found[V1]
    assert town.logged("client", "aborted", count)["418 FI"] == found["418"]


def test_a_delay_is_for_those_that_it_is_meant_for(town: Town) -> None:
    delay = "{delay: {percentage: {value: 100}, fixedDelay: 0.4s}}"
    meant = f"{{match: [{{headers: {{slow: {{exact: very}}}}}}], fault: {delay}, route: {ONLY_V1}}}"
    routes(town, f"[{meant}, {{route: {ONLY_V1}}}]")
    slow = town.calls(8, "client", HOST, headers={"slow": "very", "x-key": "slow"}, at_once=8)
    quick = town.calls(8, "client", HOST, headers={"x-key": "quick"})
    assert {one.server for one in (*slow, *quick)} == {V1}
    assert min(one.seconds for one in slow) >= 0.4
    # Every one could be late on a busy machine, but not by that and all of them.
    assert min(one.seconds for one in quick) < 0.4
    assert town.logged("client", "slow", 8) == {"200 DI": 8}
    assert town.logged("client", "quick", 8) == {"200 -": 8}


def test_a_share_of_requests_is_delayed(town: Town) -> None:
    routes(
        town, f"[{{fault: {{delay: {{percentage: {{value: 20}}, fixedDelay: 0.05s}}}}, route: {ONLY_V1}}}]"
    )
    count = 400
    found = town.servers(count, "client", HOST, headers={"x-key": "share"}, at_once=8)
    assert found == {V1: count}
    told = town.logged("client", "share", count)
    assert told.keys() == {"200 DI", "200 -"}
    assert likely(told["200 DI"], count, 0.2), told


# -- once more, and not for ever ----------------------------------------------------------------------


def retried(town: Town, key: str, query: str, method: str = "GET") -> tuple[int, int]:
    """The status that a caller sees, and how often servers were asked for it."""
    reply = town.call("client", HOST, f"/?{query}", headers={"x-key": key}, method=method)
    return reply.status, sum(len(town.seen(name, key)) for name in (V1, V2, V3))


def test_retries_are_attempts_at_the_server(town: Town) -> None:
    routes(town, f"[{{retries: {{attempts: 3, retryOn: 5xx}}, route: {ONLY_V1}}}]")
    assert retried(town, "never", "status=503") == (503, 4)
    assert retried(town, "third", "status=500&times=2") == (200, 3)
    assert retried(town, "well", "") == (200, 1)
    assert retried(town, "posted", "status=503&times=1", "POST") == (200, 2)
    routes(town, f"[{{retries: {{attempts: 0}}, route: {ONLY_V1}}}]")
    assert retried(town, "once", "status=503") == (503, 1)
    # What is said by default does not hold for what a server says of itself.
    routes(town, f"[{{route: {ONLY_V1}}}]")
    assert retried(town, "default", "status=500") == (500, 1)


def test_a_retry_goes_to_another_pod(town: Town) -> None:
    routes(town, "[{retries: {attempts: 2, retryOn: 5xx}, route: [{destination: {host: reviews}}]}]")
    counts = []
    for number in range(20):
        key = f"elsewhere-{number}"
        assert retried(town, key, "status=503") == (503, 3)
        counts.append([len(town.seen(name, key)) for name in (V1, V2, V3)])
    # Envoy looks for one that it has not tried, and gives up looking after some draws.
    assert counts.count([1, 1, 1]) >= 15, counts


def test_a_timeout_ends_a_request_and_one_for_a_try_ends_the_try(town: Town) -> None:
    routes(town, f"[{{timeout: 0.3s, route: {ONLY_V1}}}]")
    late = town.call("client", HOST, "/?delay=3", headers={"x-key": "late"})
    # Envoy's timers count from the time that its loop last looked at the clock: a little before the request.
    assert late.status == 504 and 0.29 <= late.seconds < 3
    assert town.logged("client", "late", 1) == {"504 UT": 1}
    assert town.call("client", HOST, "/").status == 200
    again = "{attempts: 2, perTryTimeout: 0.3s, retryOn: 'gateway-error'}"
    routes(town, f"[{{retries: {again}, route: {ONLY_V1}}}]")
    tried = town.call("client", HOST, "/?delay=3", headers={"x-key": "tried"})
    assert tried.status == 504 and 0.9 <= tried.seconds < 3
    assert len(town.seen(V1, "tried")) == 3


# -- twice --------------------------------------------------------------------------------------------


def test_a_mirror_sees_a_share_and_nobody_waits_for_it(town: Town) -> None:
    mirror = "mirror: {host: reviews, subset: v2}"
    routes(town, f"[{{route: {ONLY_V1}, {mirror}}}]")
    # What the mirror answers, and how late, is nobody's affair.
    found = town.servers(40, "client", HOST, headers={"x-key": "all"})
    assert found == {V1: 40}
    town.becomes(40, lambda: len(town.seen(V2, "all")))
    assert {one["headers"]["host"] for one in town.seen(V2, "all")} == {HOST}

    routes(town, f"[{{route: {ONLY_V1}, {mirror}, mirrorPercentage: {{value: 40}}}}]")
    count, sent = 400, r"^cluster\.outbound\|80\|v2\|reviews.*upstream_rq_total$"
    before = town.stat("client", sent)
    assert town.servers(count, "client", HOST, headers={"x-key": "some"}) == {V1: count}
    mirrored = town.stat("client", sent) - before
    assert likely(mirrored, count, 0.4), mirrored
    town.becomes(mirrored, lambda: len(town.seen(V2, "some")))


def test_two_mirrors(town: Town) -> None:
    mirrors = (
        "mirrors: [{destination: {host: reviews, subset: v2}}, "
        "{destination: {host: reviews, subset: v3}, percentage: {value: 50}}]"
    )
    routes(town, f"[{{route: {ONLY_V1}, {mirrors}}}]")
    count = 200
    assert town.servers(count, "client", HOST, headers={"x-key": "two"}) == {V1: count}
    town.becomes(count, lambda: len(town.seen(V2, "two")))
    assert likely(len(town.seen(V3, "two")), count, 0.5)


# -- as it is said ------------------------------------------------------------------------------------


def test_a_path_is_rewritten_and_a_request_sent_elsewhere(town: Town) -> None:
    old = f"{{match: [{{uri: {{prefix: /old/}}}}], rewrite: {{uri: /new/}}, route: {ONLY_V1}}}"
    away = (
        "{match: [{uri: {exact: /away}}], redirect: {uri: /there, authority: example.com, redirectCode: 307}}"
    )
    said = "{match: [{uri: {exact: /said}}], directResponse: {status: 299, body: {string: said}}}"
    marked = f"{{route: {ONLY_V1}, headers: {{request: {{set: {{x-marked: set}}, remove: [x-gone]}}}}}}"
    routes(town, f"[{old}, {away}, {said}, {marked}]")
    assert town.call("client", HOST, "/old/page?a=b").body["path"] == "/new/page?a=b"
    sent = town.call("client", HOST, "/away")
    assert (sent.status, sent.headers["location"]) == (307, "http://example.com/there")
    assert town.call("client", HOST, "/said")[0:2] == (299, "")
    got = town.call("client", HOST, "/", headers={"x-gone": "1", "x-marked": "0"}).body["headers"]
    assert (got["x-marked"], got.get("x-gone")) == ("set", None)


def test_names_of_a_service_are_one(town: Town) -> None:
    routes(town, f"[{{route: {ONLY_V3}}}]")
    names = (HOST, "reviews", FULL, f"{HOST}.svc", "10.96.0.10", f"{FULL}:80")
    found = Counter(town.call("client", "10.96.0.10", host=name).server for name in names)
    assert found == {V3: len(names)}
