"""Who shares a network is one workload: its state, its names, its addresses."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from controlplane.sources.docker.container import Attachment, Container
from tests.support.containers import container, described, endpoints, kind, meshed, told

WEB = container("web", "172.18.0.2", ports=(80,))


def state(*containers: Container) -> tuple[bool, bool]:
    """(ready, terminating) of the only endpoint, which its pod must say as well."""
    found = described(*containers)
    (state,) = endpoints(found, "web").values()
    (pod,) = kind(found, "Pod").values()
    assert pod["status"]["conditions"] == [{"type": "Ready", "status": str(state[0])}]
    assert ("deletionTimestamp" in pod["metadata"]) == state[1]
    return state


class TestState:
    @pytest.mark.parametrize(
        ("said", "wanted"),
        [
            ({}, (True, False)),
            ({"health": "healthy"}, (True, False)),
            ({"health": "starting"}, (False, False)),
            ({"health": "unhealthy"}, (False, False)),
            ({"state": "paused"}, (False, False)),
            ({"stopping": True}, (False, True)),
            ({"stopping": True, "health": "healthy"}, (False, True)),
        ],
    )
    def test_of_a_container(self, said: dict[str, Any], wanted: tuple[bool, bool]) -> None:
        assert state(replace(WEB, **said)) == wanted
        # With a sidecar the state of either counts.
        sidecar, init, app = meshed("web", "172.18.0.2", ports=(80,))
        assert state(sidecar, init, replace(app, **said)) == wanted
        assert state(replace(sidecar, **said), init, app) == wanted

    @pytest.mark.parametrize("ended", ["exited", "dead", "created"])
    def test_what_does_not_run_has_no_endpoint_and_keeps_its_service(self, ended: str) -> None:
        found = described(replace(WEB, state=ended, networks=(Attachment("shop_default", "", "", ("web",)),)))
        assert not kind(found, "Pod") and not kind(found, "EndpointSlice")
        (address,) = kind(found, "Service")["web"]["spec"]["clusterIPs"]
        # Some address, lest the service's port be claimed at all of them.
        assert address.startswith("241.")
        assert not found.problems

    def test_a_crashing_container_is_not_told_to_be_unreachable(self) -> None:
        attached = (Attachment("shop_default", "", "", ("web",)),)
        found = described(replace(WEB, state="restarting", networks=attached))
        assert not endpoints(found, "web") and not found.problems

    @pytest.mark.parametrize("ended", ["exited", "created"])
    def test_a_sidecar_whose_application_does_not_run_is_not_ready(self, ended: str) -> None:
        sidecar, init, app = meshed("web", "172.18.0.2", ports=(80,))
        assert state(sidecar, init, replace(app, state=ended)) == (False, False)

    def test_a_job_beside_the_application_that_has_ended_says_nothing(self) -> None:
        sidecar, init, app = meshed("web", "172.18.0.2", ports=(80,))
        job = container("migrate", joins=sidecar, state="exited")
        assert state(sidecar, init, app, job) == (True, False)
        assert state(sidecar, init, app, replace(job, state="running", health="unhealthy")) == (
            False,
            False,
        )


class TestSidecar:
    def test_a_pod_is_called_like_its_proxy_and_says_that_it_takes_mutual_tls(self) -> None:
        found = described(*meshed("reviews-v1", "172.18.0.2", aliases=["reviews"], ports=(9080,)))
        (pod,) = kind(found, "Pod").values()
        assert pod["metadata"]["name"] == "reviews-v1"
        assert pod["metadata"]["labels"]["security.istio.io/tlsMode"] == "istio"
        assert pod["spec"]["serviceAccountName"] == "reviews"
        assert set(kind(found, "Service")) == {"reviews", "reviews-v1"}
        assert not found.problems

    def test_its_own_ports_and_those_of_its_image_are_not_the_applications(self) -> None:
        containers = meshed("web", "172.18.0.2", ports=(80,), envoy={"published": (8443, 15090)})
        ports = kind(described(*containers), "Service")["web"]["spec"]["ports"]
        assert [port["port"] for port in ports] == [80, 8443]

    def test_before_its_application_is_there_it_is_known_and_has_no_traffic(self) -> None:
        sidecar, init, _ = meshed("web-v2", "172.18.0.2", ports=(80,), envoy={"published": (80,)})
        found = described(sidecar, init)
        pod = kind(found, "Pod")["web-v2"]
        assert pod["metadata"]["labels"]["version"] == "v2"
        assert pod["spec"]["serviceAccountName"] == "web"
        assert endpoints(found, "web-v2") == {"172.18.0.2": (False, False)}
        assert told(found) == [("info", "shop_web-v2-envoy_1", "labels[mini-istiod.proxy]")]

    def test_a_name_that_kubernetes_does_not_take(self) -> None:
        sidecar, init, app = meshed("my_web", "172.18.0.2", ports=(80,))
        labels = tuple(sorted((dict(sidecar.labels) | {"mini-istiod.proxy": "my-web"}).items()))
        found = described(replace(sidecar, labels=labels), init, app)
        assert list(kind(found, "Pod")) == ["my-web"]
        (entry,) = kind(found, "ServiceEntry").values()
        assert entry["spec"]["hosts"] == ["my_web.default.svc.cluster.local"]
        assert not found.problems

    def test_two_of_one_name_are_told_and_the_older_one_is_used(self) -> None:
        sidecar, init, app = meshed("web", "172.18.0.2", ports=(80,))
        second = replace(sidecar, id="f" * 64, name="shop_web-envoy_2", created="2026-11-20T10:00:01Z")
        second = replace(
            second, networks=(Attachment("shop_default", "172.18.0.9", "", ("web", "web-envoy")),)
        )
        found = described(second, sidecar, init, app)
        (problem,) = found.problems
        assert (problem.level, problem.name) == ("error", "shop_web-envoy_2")
        assert "shop_web-envoy_1" in problem.message and "--scale" in problem.remedy
        assert endpoints(found, "web") == {"172.18.0.2": (True, False)}

    def test_one_that_is_replaced_is_not_told(self) -> None:
        sidecar, init, app = meshed("web", "172.18.0.2", ports=(80,))
        old = replace(sidecar, id="0" * 64, name="aaa_shop_web-envoy_1", state="exited")
        old = replace(old, networks=(Attachment("shop_default", "", "", ("web", "web-envoy")),))
        found = described(old, sidecar, init, app)
        assert list(kind(found, "Pod")) == ["web"] and not found.problems

    def test_a_gateway_is_a_proxy_called_like_its_own_service(self) -> None:
        labels = {"mini-istiod.proxy": "ingressgateway", "istio": "ingressgateway"}
        one = container(
            "ingressgateway",
            "172.18.0.2",
            labels=labels,
            ports=(10000, 80),
            published=(80,),
            health="healthy",
        )
        found = described(one)
        pod = kind(found, "Pod")["ingressgateway"]
        # What it takes is its Gateway's to say.
        assert pod["metadata"]["labels"] == {"app": "ingressgateway", "istio": "ingressgateway"}
        assert endpoints(found, "ingressgateway") == {"172.18.0.2": (True, False)}
        assert [p["port"] for p in kind(found, "Service")["ingressgateway"]["spec"]["ports"]] == [80]
        assert not found.problems


class TestNames:
    def services(self, one: Container) -> set[str]:
        found = described(one)
        assert not found.problems
        hosts = {host for entry in kind(found, "ServiceEntry").values() for host in entry["spec"]["hosts"]}
        return set(kind(found, "Service")) | hosts

    @pytest.mark.parametrize(
        "name",
        ["shop_web_1", "shop-web-1", "0a1b2c3d4e5f_shop_web_1", "shop_web_run_0123abcd", "shop-web-run-0a"],
    )
    def test_composes_own_names_are_nobodys(self, name: str) -> None:
        assert self.services(container("web", "172.18.0.2", ports=(80,), name=name, aliases=[name])) == {
            "web"
        }

    def test_a_chosen_name_and_aliases_are(self) -> None:
        one = container(
            "web", "172.18.0.2", ports=(80,), name="Frontend", aliases=["shop.example.com", "www"]
        )
        assert self.services(one) == {"web", "frontend", "www", "shop.example.com"}

    def test_what_a_cluster_would_call_it_is_the_same_name(self) -> None:
        spelled = ["web.default", "web.default.svc", "web.default.svc.cluster.local", "api.prod"]
        assert self.services(container("web", "172.18.0.2", ports=(80,), aliases=spelled)) == {
            "web",
            "api.prod",
        }

    def test_a_chosen_name_stays_while_its_container_is_replaced(self) -> None:
        assert self.services(container("web", "172.18.0.2", ports=(80,), name="0a1b2c3d4e5f_shop")) == {
            "web",
            "shop",
        }

    def test_a_replaced_sidecars_names_are_none_of_the_applications(self) -> None:
        made_up = ["shop-web-envoy-1", "web-envoy"]
        containers = meshed(
            "web", "172.18.0.2", ports=(80,), aliases=made_up, envoy={"name": "0a1b2c3d4e5f_shop-web-envoy-1"}
        )
        assert set(kind(described(*containers), "Service")) == {"web"}

    def test_without_compose_the_containers_name_is(self) -> None:
        assert self.services(replace(container("web", "172.18.0.2", ports=(80,)), labels=(), name="db")) == {
            "db",
            "web",
        }

    def test_a_one_off_has_none_but_its_aliases(self) -> None:
        one = container("web", "172.18.0.2", ports=(80,), name="shop_web_run_1a", labels={ONE_OFF: "True"})
        assert (
            self.services(replace(one, networks=(Attachment("shop_default", "172.18.0.2", "", ()),))) == set()
        )

    def test_a_label_names_all_of_them(self) -> None:
        one = container("web", "172.18.0.2", ports=(80,), labels={"mini-istiod.service": "shop, api.shop"})
        assert self.services(one) == {"shop", "api.shop"}

    def test_an_empty_label_names_none(self) -> None:
        assert self.services(container("web", "172.18.0.2", labels={"mini-istiod.service": ""})) == set()

    def test_what_dns_does_not_know_is_told(self) -> None:
        found = described(container("web", "172.18.0.2", ports=(80,), aliases=["a..b"]))
        assert told(found) == [("warning", "shop_web_1", "name")]
        assert set(kind(found, "Service")) == {"web"}


ONE_OFF = "com.docker.compose.oneoff"


class TestNetworks:
    def on(self, service: str, **addresses: str) -> Container:
        networks = tuple(Attachment(net, ip, "", (service,)) for net, ip in sorted(addresses.items()))
        return replace(container(service, ports=(80,)), networks=networks)

    def test_the_address_is_one_on_a_network_that_counts(self) -> None:
        one = self.on("web", back="10.1.0.2", front="10.2.0.2")
        assert list(endpoints(described(one, networks=frozenset({"front"})), "web")) == ["10.2.0.2"]
        assert list(endpoints(described(one), "web")) == ["10.1.0.2"]

    def test_it_is_the_network_that_most_are_on(self) -> None:
        containers = (
            self.on("web", back="10.1.0.2", front="10.2.0.2"),
            self.on("a", front="10.2.0.3"),
            self.on("b", front="10.2.0.4"),
            self.on("db", back="10.1.0.5"),
        )
        assert list(endpoints(described(*containers), "web")) == ["10.2.0.2"]

    def test_what_clients_may_dial_are_all_of_them(self) -> None:
        one = self.on("web", back="10.1.0.2", front="10.2.0.2")
        found = described(one)
        assert kind(found, "Service")["web"]["spec"]["clusterIPs"] == ["10.1.0.2", "10.2.0.2"]
        pod = kind(found, "Pod")["shop-web-1"]
        assert pod["status"]["podIPs"] == [{"ip": "10.1.0.2"}, {"ip": "10.2.0.2"}]

    def test_none_that_counts_is_told(self) -> None:
        found = described(self.on("web", elsewhere="10.9.0.2"), networks=frozenset({"front"}))
        (problem,) = found.problems
        assert (problem.level, problem.name, problem.field) == ("warning", "shop_web_1", "networks")
        assert "elsewhere" in problem.message
        assert not endpoints(found, "web")

    def test_ipv6(self) -> None:
        both = replace(WEB, networks=(Attachment("n", "172.18.0.2", "fd00::2", ("web",)),))
        assert kind(described(both), "Service")["web"]["spec"]["clusterIPs"] == ["172.18.0.2", "fd00::2"]
        (part,) = kind(described(both), "EndpointSlice").values()
        assert part["addressType"] == "IPv4"
        only = replace(WEB, networks=(Attachment("n", "", "fd00::2", ("web",)),))
        (part,) = kind(described(only), "EndpointSlice").values()
        assert (part["addressType"], part["endpoints"][0]["addresses"]) == ("IPv6", ["fd00::2"])

    def test_the_hosts_network_is_told(self) -> None:
        found = described(replace(WEB, network_mode="host", networks=(Attachment("host", "", "", ()),)))
        assert told(found) == [("warning", "shop_web_1", "network_mode")]
        assert not found.objects

    def test_none_at_all_was_meant(self) -> None:
        assert described(replace(WEB, network_mode="none", networks=(Attachment("none", "", "", ()),))) == (
            (),
            (),
        )

    def test_whose_networks_owner_is_gone_is_told(self) -> None:
        lost = replace(WEB, joins="e" * 64, networks=(), network_mode="container:" + "e" * 64)
        found = described(lost)
        assert told(found) == [("warning", "shop_web_1", "network_mode")]
        assert found.problems[0].remedy.endswith("docker compose -p shop up -d --force-recreate web")
        assert not described(replace(lost, state="exited")).problems

    def test_a_container_may_be_joined_by_its_name(self) -> None:
        sidecar, init, app = meshed("web", "172.18.0.2", ports=(80,))
        found = described(sidecar, replace(init, joins=sidecar.name), replace(app, joins=sidecar.name))
        assert endpoints(found, "web") == {"172.18.0.2": (True, False)}


def test_the_order_of_containers_makes_no_difference() -> None:
    containers = [
        *meshed("reviews-v1", "172.18.0.2", aliases=["reviews"], ports=(9080,)),
        container("ratings", "172.18.0.3", ports=(9080, 9081), aliases=["reviews"]),
    ]
    wanted = described(*containers)
    assert all(described(*order) == wanted for order in itertools.permutations(containers))


def test_pods_of_one_name_are_told_apart_and_the_proxy_keeps_it() -> None:
    sidecar, init, app = meshed("web", "172.18.0.2", ports=(80,))
    other = container("thing", "172.18.0.3", name="web", ports=(80,), id="ab" * 32)
    pods = kind(described(other, sidecar, init, app), "Pod")
    assert {name: pod["status"]["podIP"] for name, pod in pods.items()} == {
        "web": "172.18.0.2",
        "web-abababababab": "172.18.0.3",
    }
