"""VirtualServices among each other, and what they look at, told to real Envoys.

    client (shop), guest (team) ──► shop.shop:80 ──► front, back          delegates in namespace team
    outsider ──► ingress ──► shop.shop:80                                 several VirtualServices of a host

The servers have no sidecars: the caller's Envoy, or the gateway's, decides all.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controlplane.lab.pod_spec import PodSpec
from tests.support.envoys import MARKS, scenes
from tests.support.residents import Resident, outside, pod, web
from tests.support.town import Town

pytestmark = MARKS

HOST, INGRESS = "shop.shop", "10.244.0.20"
OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: front}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: team}
spec: {clusterIP: 10.96.0.11, selector: {app: back}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: shop}
spec: {type: ExternalName, externalName: shop.shop.svc.cluster.local, ports: [{name: http, port: 80}]}
"""
FRONT, BACK = (
    "route: [{destination: {host: shop}}]",
    "route: [{destination: {host: cart.team.svc.cluster.local}}]",
)
RESIDENTS = (
    pod("client", "shop", 10, app="client", tier="gold"),
    pod("guest", "team", 14),
    pod("front", "shop", 11, web("front", 80), meshed=False),
    pod("back", "team", 12, web("back", 80), meshed=False),
    Resident(PodSpec("ingress", "edge", INGRESS, {"istio": "ingress"}, "ingress", kind="router")),
    outside("outsider", 99, web("outsider", 80)),
)

town = scenes(lambda lab: Town(lab, RESIDENTS, OBJECTS))


@pytest.fixture(autouse=True)
def peaceful(town: Town) -> Iterator[None]:
    yield
    town.accepted()
    town.mesh("")
    town.apply()


def virtual_service(name: str, http: str, namespace: str = "shop", **spec: str) -> str:
    more = "".join(f"  {field}: {value}\n" for field, value in spec.items() if field != "created")
    created = spec.get("created", "2024-01-01T00:00:00Z")
    return f"""---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{created}"}}
spec:
{more}  http: {http}
"""


def routes(town: Town, http: str) -> None:
    """Let these be the rules of the shop."""
    town.apply(virtual_service("shop", http, hosts="[shop]"))


def status(town: Town, path: str = "/", who: str = "client", where: str = HOST, **how: str) -> str:
    """Who answers a request, or its status."""
    (found,) = town.servers(1, who, where, path, **how)
    return found


# -- delegates ------------------------------------------------------------------------------------------


def lent(http: str) -> str:
    return virtual_service("parts", http, "team")


def test_a_delegate_decides_within_what_it_was_given(town: Town) -> None:
    # The one is for the carts of the team, by a name that means the team's service there alone.
    root = virtual_service(
        "shop",
        "[{match: [{uri: {prefix: /cart}}], headers: {request: {set: {x-root: said}}}, "
        f"delegate: {{name: parts, namespace: team}}}}, {{{FRONT}}}]",
        hosts="[shop]",
    )
    own = "route: [{destination: {host: cart}}]"
    rules = (
        f"[{{match: [{{uri: {{prefix: /cart/items}}}}], {own}}}, "
        "{match: [{uri: {exact: /cart}}], directResponse: {status: 418}}, "
        f"{{match: [{{uri: {{prefix: /}}}}], {own}}}]"
    )
    town.apply(root + lent(rules))
    assert status(town, "/cart/items/7") == "back"
    assert status(town, "/cart") == "418"
    # In none of the delegate's: the third of its rules takes more than it was given, and is left out.
    assert status(town, "/cart/other") == "front"
    assert status(town, "/") == "front"
    heard = town.call("client", HOST, "/cart/items/7", headers={"x-key": "delegated"})
    assert heard.status == 200
    (seen,) = town.seen("back", "delegated")
    assert seen["headers"]["x-root"] == "said"
    assert [line for line in town.problems() if "is left out" in line] == [
        "VirtualService parts: spec.http[2].match: takes requests that http[0] of VirtualService shop/shop "
        "does not: this rule is left out there",
        "VirtualService shop: spec.http[0].delegate: http[2] of VirtualService team/parts is left out: "
        "it takes requests that this rule does not",
    ]
    # Its owner changes it, and the host's routes with it; then it goes, and only its rule does.
    town.apply(root + lent(f"[{{{own}}}]"))
    assert status(town, "/cart/other") == "back"
    town.apply(root)
    assert status(town, "/cart/items/7") == "front"


def test_delegates_of_several_hosts_behind_a_gateway(town: Town) -> None:
    gateway = """---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: edge}
spec:
  selector: {istio: ingress}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
"""
    roots = "".join(
        virtual_service(
            name,
            f"[{{match: [{{uri: {{prefix: {prefix}}}}}], delegate: {{name: parts, namespace: team}}}}]",
            hosts=f"[{name}.example.com]",
            gateways="[edge/edge]",
        )
        for name, prefix in (("one", "/one"), ("two", "/two"))
    )
    town.apply(gateway + roots + lent("[{route: [{destination: {host: cart}}]}]"))
    for path, host, expected in (
        ("/one", "one.example.com", "back"),
        ("/two", "two.example.com", "back"),
        ("/two", "one.example.com", "404"),
    ):
        found = town.servers(1, "outsider", INGRESS, path, host=host, port=8080)
        assert found == {expected: 1}, (path, host)


# -- several of one host --------------------------------------------------------------------------------


def test_a_gateway_joins_what_several_say_of_a_host_and_a_sidecar_asks_one(town: Town) -> None:
    gateway = """---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: edge}
spec:
  selector: {istio: ingress}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: [shop.shop.svc.cluster.local]}]
"""
    both = {"hosts": "[shop.shop.svc.cluster.local]", "gateways": "[edge/edge, mesh]"}
    older = virtual_service("older", f"[{{match: [{{uri: {{prefix: /a}}}}], {BACK}}}, {{{FRONT}}}]", **both)
    younger = virtual_service(
        "younger",
        f"[{{match: [{{uri: {{prefix: /b}}}}], {BACK}}}, {{directResponse: {{status: 418}}}}]",
        created="2024-02-01T00:00:00Z",
        **both,
    )
    town.apply(gateway + older + younger)
    full = "shop.shop.svc.cluster.local"

    def edge(path: str) -> str:
        (found,) = town.servers(1, "outsider", INGRESS, path, host=full, port=8080)
        return found

    # The older one takes what is left, and the rule of the younger one stands before that all the same.
    assert [edge(path) for path in ("/a", "/b", "/c")] == ["back", "back", "front"]
    # A sidecar knows the older one alone.
    assert [status(town, path) for path in ("/a", "/b", "/c")] == ["back", "front", "front"]
    told = town.problems()
    assert any(
        "older: spec.hosts[0]: this and VirtualService shop/younger both take" in line for line in told
    )
    assert any(
        "younger: spec.hosts[0]: this and VirtualService shop/older both take" in line for line in told
    )
    assert any("older: spec.hosts[0]: in namespace shop this one speaks for" in line for line in told)
    assert any(
        "VirtualService younger: spec.hosts[0]: VirtualService shop/older speaks" in line for line in told
    )


# -- what rules look at ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "taken", "left"),
    [
        ("uri: {prefix: /A}, ignoreUriCase: true", [("/ab", {})], [("/b", {})]),
        ("uri: {prefix: ''}", [("/", {}), ("/ab", {})], []),
        # The path without its query; the whole of it.
        ("uri: {regex: '/v[0-9]+/.*'}", [("/v12/x?y", {})], [("/v/x", {}), ("/a/v1/x", {})]),
        ("uri: {exact: /a}", [("/a?b=c", {})], [("/a/", {})]),
        ("queryParams: {v: {exact: '1'}}", [("/?v=1", {}), ("/?w=2&v=1", {})], [("/?v=2", {}), ("/", {})]),
        ("queryParams: {v: {regex: '[0-9]+'}}", [("/?v=12", {})], [("/?v=1a", {})]),
        ("queryParams: {v: {}}", [("/?v=", {})], [("/?w", {})]),
        ("headers: {x-a: {}}", [("/", {"x-a": "b"})], [("/", {})]),
        ("headers: {x-a: {regex: 'b|c'}}", [("/", {"x-a": "c"})], [("/", {"x-a": "bc"}), ("/", {})]),
        ("withoutHeaders: {x-a: {exact: b}}", [("/", {}), ("/", {"x-a": "c"})], [("/", {"x-a": "b"})]),
        ("withoutHeaders: {x-a: {}}", [("/", {})], [("/", {"x-a": "b"})]),
        ("authority: {prefix: shop.}", [("/", {})], [("/", {"Host": "alias.shop"})]),
        ("scheme: {exact: http}", [("/", {})], []),
        ("method: {exact: GET}, port: 80", [("/", {})], []),
        ("port: 81", [], [("/", {})]),
        ("sourceLabels: {tier: gold}, sourceNamespace: shop", [("/", {})], []),
        ("sourceLabels: {tier: silver}", [], [("/", {})]),
        ("gateways: [edge/edge]", [], [("/", {})]),
    ],
)
def test_what_a_rule_takes_and_what_it_leaves(
    town: Town, match: str, taken: list[tuple[str, dict[str, str]]], left: list[tuple[str, dict[str, str]]]
) -> None:
    routes(town, f"[{{match: [{{{match}}}], {BACK}}}, {{{FRONT}}}]")
    for expected, requests in (("back", taken), ("front", left)):
        for path, headers in requests:
            assert town.servers(1, "client", HOST, path, headers=headers) == {expected: 1}, (path, headers)


def test_rules_for_the_one_namespace_are_not_those_of_another(town: Town) -> None:
    routes(town, f"[{{match: [{{sourceNamespace: team}}], {BACK}}}, {{{FRONT}}}]")
    assert (status(town), status(town, who="guest")) == ("front", "back")


def test_an_alias_is_answered_as_what_it_stands_for(town: Town) -> None:
    routes(town, f"[{{{BACK}}}]")
    assert status(town, where=HOST, host="alias.shop.svc.cluster.local") == "back"
    assert status(town, where=HOST, host="shop.shop.svc.cluster.local.") == "back"


def test_a_body_of_bytes_comes_as_it_is(town: Town) -> None:
    routes(town, "[{directResponse: {status: 203, body: {bytes: aGVsbG8=}}}]")
    found = town.call("client", HOST)
    assert (found.status, found.body) == (203, "hello")
