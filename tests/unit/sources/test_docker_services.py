"""A service for each name: its containers, ports and endpoints, and where containers disagree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.model.kinds import BY_NAME
from controlplane.sources.docker.container import Attachment, Container, Exposed
from controlplane.sources.docker.objects import Described
from tests.support.containers import container, described, endpoints, kind, meshed, told


def ports(found: Described, service: str) -> list[tuple[int, str]]:
    return [(port["port"], port["name"]) for port in kind(found, "Service")[service]["spec"]["ports"]]


def slices(found: Described, service: str) -> dict[tuple[tuple[str, int], ...], list[str]]:
    """((port name, target), ...) -> addresses."""
    return {
        tuple((port["name"], port["port"]) for port in part["ports"]): [
            one["addresses"][0] for one in part["endpoints"]
        ]
        for part in kind(found, "EndpointSlice").values()
        if part["metadata"]["labels"]["kubernetes.io/service-name"] == service
    }


def test_versions_with_one_alias_are_one_service() -> None:
    found = described(
        *(
            c
            for n in (1, 2, 3)
            for c in meshed(f"reviews-v{n}", f"172.18.0.{n}", aliases=["reviews"], ports=(9080,))
        )
    )
    assert set(kind(found, "Service")) == {"reviews", "reviews-v1", "reviews-v2", "reviews-v3"}
    assert list(endpoints(found, "reviews")) == ["172.18.0.1", "172.18.0.2", "172.18.0.3"]
    assert list(endpoints(found, "reviews-v2")) == ["172.18.0.2"]
    assert kind(found, "Service")["reviews"]["spec"]["clusterIPs"] == [
        "172.18.0.1",
        "172.18.0.2",
        "172.18.0.3",
    ]
    assert not found.problems


def test_a_container_that_comes_and_one_that_goes_change_one_slice() -> None:
    one = container("web", "172.18.0.2", ports=(80,))
    two = replace(
        container("web", ports=(80,), name="shop_web_2", id="2" * 64),
        networks=(Attachment("shop_default", "172.18.0.3", "", ("web",)),),
    )
    before, after = described(one), described(one, two)
    assert slices(before, "web") == {(("port-80", 80),): ["172.18.0.2"]}
    assert slices(after, "web") == {(("port-80", 80),): ["172.18.0.2", "172.18.0.3"]}
    # Its name stays, so that an equal slice is no change.
    assert kind(before, "EndpointSlice").keys() == kind(after, "EndpointSlice").keys()
    again = replace(one, networks=(Attachment("shop_default", "172.18.0.7", "", ("web",)),))
    assert slices(described(again), "web") == {(("port-80", 80),): ["172.18.0.7"]}


def test_one_port_may_lead_to_different_ones() -> None:
    labels = {"mini-istiod.service": "shop", "mini-istiod.ports": "80:8080"}
    other = {**labels, "mini-istiod.ports": "80:9090"}
    found = described(container("a", "172.18.0.2", labels=labels), container("b", "172.18.0.3", labels=other))
    assert ports(found, "shop") == [(80, "port-80")]
    assert slices(found, "shop") == {
        (("port-80", 8080),): ["172.18.0.2"],
        (("port-80", 9090),): ["172.18.0.3"],
    }
    assert not found.problems


def test_two_containers_that_claim_a_service_with_different_ports_are_both_named() -> None:
    labels = {"mini-istiod.service": "shop"}
    found = described(
        container("a", "172.18.0.2", labels=labels, ports=(80, 81)),
        container("b", "172.18.0.3", labels=labels, ports=(80, 82)),
    )
    (problem,) = found.problems
    assert (problem.level, problem.name, problem.field) == ("warning", "shop_b_1", "ports")
    assert "shop_a_1" in problem.message and "80/auto, 82/auto" in problem.message
    # Each port leads to the containers that have it.
    assert ports(found, "shop") == [(80, "port-80"), (81, "port-81"), (82, "port-82")]
    assert slices(found, "shop") == {
        (("port-80", 80), ("port-81", 81)): ["172.18.0.2"],
        (("port-80", 80), ("port-82", 82)): ["172.18.0.3"],
    }


def test_two_that_speak_different_protocols_are_both_named() -> None:
    labels = {"mini-istiod.service": "shop", "mini-istiod.protocol": "http"}
    found = described(
        container("a", "172.18.0.2", labels=labels, ports=(80,)),
        container("b", "172.18.0.3", labels={**labels, "mini-istiod.protocol": "tcp"}, ports=(80,)),
    )
    (problem,) = found.problems
    assert "protocols" in problem.message and "80/tcp" in problem.message and "80/http" in problem.message
    assert ports(found, "shop") == [(80, "http-80")]


def test_who_says_a_protocol_says_it_for_all() -> None:
    labels = {"mini-istiod.service": "shop"}
    found = described(
        container("a", "172.18.0.2", labels=labels, ports=(80,)),
        container("b", "172.18.0.3", labels={**labels, "mini-istiod.protocol": "http"}, ports=(80,)),
    )
    assert ports(found, "shop") == [(80, "http-80")] and not found.problems


def test_who_serves_a_meshed_name_without_a_sidecar_is_named() -> None:
    beside = container("intruder", "172.18.0.9", labels={"mini-istiod.service": "web"}, ports=(80,))
    found = described(*meshed("web", "172.18.0.2", ports=(80,)), beside)
    (problem,) = found.problems
    assert (problem.level, problem.name, problem.field) == ("warning", "shop_intruder_1", "service")
    assert "shop_web_1" in problem.message and "plaintext" in problem.message
    # Where nobody has one, there is nothing to say.
    alone = container("web", "172.18.0.2", ports=(80,))
    assert not described(alone, beside).problems


def test_one_that_has_ended_disagrees_with_nobody() -> None:
    labels = {"mini-istiod.service": "shop"}
    ended = container("b", "", labels=labels, ports=(82,), state="exited")
    assert not described(container("a", "172.18.0.2", labels=labels, ports=(80,)), ended).problems


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ({"aliases": ["shop"]}, "info"),
        ({"labels": {"mini-istiod.service": "shop"}}, "warning"),
        ({"labels": {"mini-istiod.service": "web"}}, "warning"),
    ],
)
def test_a_service_without_ports_is_told(said: dict[str, Any], level: str) -> None:
    found = described(container("web", "172.18.0.2", **said))
    assert told(found) == [(level, "shop_web_1", "ports")]
    assert "expose" in found.problems[0].remedy and "mini-istiod.ports" in found.problems[0].remedy
    assert not kind(found, "Service") and kind(found, "Pod")


def test_what_has_ended_and_had_no_ports_was_a_job() -> None:
    assert described(container("migrate", state="exited")) == ((), ())


@pytest.mark.parametrize(
    "worker",
    [
        [container("worker", "172.18.0.2")],
        [container("Worker", "172.18.0.2", name="bee", aliases=["bee"])],
        meshed("worker", "172.18.0.2"),
        # A copy is called like the first of its kind, too.
        meshed("worker-2", "172.18.0.2", aliases=["worker"], labels={"mini-istiod.account": "worker"}),
    ],
)
def test_who_only_calls_others_needs_no_ports(worker: list[Container]) -> None:
    found = described(*worker)
    assert not found.problems and not kind(found, "Service") and kind(found, "Pod")


def test_udp_alone_is_no_port() -> None:
    found = described(replace(container("dns", "172.18.0.2", aliases=["ns"]), exposed=(Exposed(53, "udp"),)))
    assert told(found) == [("info", "shop_dns_1", "ports")]


class TestOrder:
    """Where services share an address, the older one has what names nobody: the one of more containers."""

    def created(self, *containers: Any) -> dict[str, str]:
        found = described(*containers)
        every = kind(found, "Service") | kind(found, "ServiceEntry")
        return {name: one["metadata"].get("creationTimestamp", "") for name, one in every.items()}

    def test_the_one_of_more_containers_goes_first(self) -> None:
        found = self.created(
            *meshed("reviews-v1", "172.18.0.2", aliases=["reviews"], ports=(80,)),
            *meshed("reviews-v2", "172.18.0.3", aliases=["reviews"], ports=(80,)),
            container("ratings", "172.18.0.4", ports=(80,)),
        )
        assert found["reviews"] == found["ratings"] == ""
        assert found["reviews-v1"] == found["reviews-v2"] == "1970-01-01T00:00:01Z"

    def test_names_of_the_same_containers_have_an_order_too(self) -> None:
        found = self.created(container("web", "172.18.0.2", ports=(80,), aliases=["www", "shop"]))
        assert sorted(found, key=found.__getitem__) == ["shop", "web", "www"]
        assert len(set(found.values())) == 3


class TestEntries:
    """Names that Kubernetes does not take."""

    def entry(self, **said: Any) -> dict[str, Any]:
        containers = meshed("web", "172.18.0.2", aliases=["shop.example.com"], ports=(80,), **said)
        (found,) = kind(described(*containers), "ServiceEntry").values()
        return dict(found["spec"])

    def test_with_dots(self) -> None:
        assert self.entry(labels={"mini-istiod.protocol": "http"}) == {
            "hosts": ["shop.example.com"],
            "addresses": ["172.18.0.2"],
            "ports": [{"number": 80, "name": "http-80", "protocol": "HTTP"}],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "endpoints": [
                {
                    "address": "172.18.0.2",
                    "ports": {"http-80": 80},
                    "labels": {"app": "web", "security.istio.io/tlsMode": "istio"},
                    "serviceAccount": "web",
                }
            ],
        }

    @pytest.mark.parametrize("said", [{"health": "unhealthy"}, {"stopping": True}])
    def test_what_is_not_ready_is_no_endpoint(self, said: dict[str, Any]) -> None:
        assert self.entry(**said)["endpoints"] == []

    def test_without_a_sidecar_there_is_no_account_to_prove(self) -> None:
        found = described(container("my_web", "172.18.0.2", ports=(80,)))
        (entry,) = kind(found, "ServiceEntry").values()
        assert "serviceAccount" not in entry["spec"]["endpoints"][0]
        assert entry["metadata"]["name"].startswith("my-web-")

    def test_names_that_are_spelled_alike_stay_apart(self) -> None:
        found = described(container("web", "172.18.0.2", ports=(80,), aliases=["a_b", "a-b", "a__b"]))
        assert len(kind(found, "ServiceEntry")) == 2 and set(kind(found, "Service")) == {"web", "a-b"}


def test_what_is_made_is_valid() -> None:
    """Whatever containers are like, their objects are never refused."""
    long = "x" * 63
    odd = [
        *meshed("a_b", "172.18.0.2", ports=(80,)),
        container("Shop.Web", "172.18.0.3", ports=tuple(range(8000, 8100)), aliases=["A_B", long, "1.2.x"]),
        container("web", "", state="exited", ports=(80,)),
        container("v6", "", ports=(3306, 80), networks=(Attachment("n", "", "fd00::1", ("v6", "x_y")),)),
    ]
    found = described(*odd)
    assert len(found.objects) > 10
    for raw in found.objects:
        parsed = BY_NAME[raw["kind"]].parse(raw)
        assert parsed.value is not None and not parsed.problems, (raw, parsed.problems)
