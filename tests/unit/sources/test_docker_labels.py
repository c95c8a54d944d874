"""What labels say, their defaults, and what is told of a label that makes no sense."""

from __future__ import annotations

import pytest

from controlplane.sources.docker.labels import MOST_UNKNOWN
from controlplane.sources.docker.names import default_account, default_version, object_name, pod_name
from tests.support.containers import container, described, kind, meshed, told


def service_ports(label: str) -> dict[int, tuple[str, int]]:
    """Port -> (name, target), of a container with this label `ports`."""
    found = described(container("web", "172.18.0.2", labels={"mini-istiod.ports": label}))
    assert not found.problems
    (part,) = kind(found, "EndpointSlice").values()
    targets = {port["name"]: port["port"] for port in part["ports"]}
    ports = kind(found, "Service")["web"]["spec"]["ports"]
    return {port["port"]: (port["name"], targets[port["name"]]) for port in ports}


@pytest.mark.parametrize(
    ("label", "ports"),
    [
        ("9080", {9080: ("port-9080", 9080)}),
        ("80:9080", {80: ("port-80", 9080)}),
        ("9080/http", {9080: ("http-9080", 9080)}),
        (" 80:9080/GRPC , 81 ", {80: ("grpc-80", 9080), 81: ("port-81", 81)}),
        ("3306", {3306: ("tcp-3306", 3306)}),
        ("3306/auto", {3306: ("port-3306", 3306)}),
        ("27017/mongo,6379/redis", {6379: ("redis-6379", 6379), 27017: ("mongo-27017", 27017)}),
    ],
)
def test_ports(label: str, ports: dict[int, tuple[str, int]]) -> None:
    assert service_ports(label) == ports


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("ports", "http", "'http'"),
        ("ports", "", "''"),
        ("ports", "0", "1 to 65535"),
        ("ports", "80:70000", "1 to 65535"),
        ("ports", "80:1,80:2", "80 twice"),
        ("ports", "80/smtp", "'smtp'"),
        ("ports", "8000-8010", "'8000-8010'"),
        ("protocol", "smtp", "'smtp'"),
        ("protocol", "udp", "'udp'"),
        ("version", "v 1", "'v 1'"),
        ("version", "", "''"),
        ("account", "Reviews!", "'Reviews!'"),
        ("service", "a b", "'a b'"),
        ("service", "reviews,*", "'*'"),
        pytest.param("service", ",".join(f"s{one}" for one in range(101)), "101 names", id="services"),
        pytest.param("ports", ",".join(map(str, range(1, 1002))), "1001 ports", id="many ports"),
    ],
)
def test_a_label_that_makes_no_sense_is_named_and_the_default_counts(
    name: str, value: str, part: str
) -> None:
    plain = container("web", "172.18.0.2", ports=(8080,))
    labelled = container("web", "172.18.0.2", ports=(8080,), labels={f"mini-istiod.{name}": value})
    found = described(labelled)
    (problem,) = found.problems
    assert (problem.level, problem.kind, problem.name) == ("error", "Container", "shop_web_1")
    assert problem.file == "docker:shop_web_1"
    assert problem.field == f"labels[mini-istiod.{name}]"
    assert part in problem.message and "the default counts" in problem.message and problem.remedy
    assert found.objects == described(plain).objects


def test_a_misspelled_label_is_told_with_what_was_meant() -> None:
    found = described(container("web", "172.18.0.2", ports=(80,), labels={"mini-istiod.port": "80"}))
    (problem,) = found.problems
    assert (problem.level, problem.field) == ("warning", "labels[mini-istiod.port]")
    assert problem.remedy == "did you mean mini-istiod.ports?"


def test_ports_without_number_are_cut_so_that_nobody_waits_for_them() -> None:
    labels = {"mini-istiod.service": ",".join(f"s{one:02}" for one in range(50))}
    found = described(container("web", "172.18.0.2", ports=tuple(range(1, 901)), labels=labels))
    assert {len(one["spec"]["ports"]) for one in kind(found, "Service").values()} == {20}
    (problem,) = found.problems
    assert problem.message == "it has 900 ports under 50 names, of which the first 20 ports count"
    assert (problem.level, problem.name, problem.field) == ("error", "shop_web_1", "ports")


def test_labels_without_number_are_told_in_few_words() -> None:
    many = {f"mini-istiod.{one:04}": "x" for one in range(2000)}
    found = described(container("web", "172.18.0.2", ports=(80,), labels=many))
    assert len(found.problems) == MOST_UNKNOWN + 1
    assert [one.message for one in found.problems if one.field == "labels"] == [
        "1995 more begin with mini-istiod. and are not known"
    ]


@pytest.mark.parametrize("name", ["x" * 100_000, "x\nERROR all is lost"])
def test_a_label_that_is_told_makes_no_lines_of_its_own(name: str) -> None:
    found = described(container("web", "172.18.0.2", ports=(80,), labels={f"mini-istiod.{name}": ""}))
    (problem,) = found.problems
    assert len(problem.field) < 200 and problem.field.isprintable()


def test_a_proxy_that_cannot_be_called_so_is_no_proxy() -> None:
    found = described(container("web", "172.18.0.2", ports=(80,), labels={"mini-istiod.proxy": "my web"}))
    assert told(found) == [("error", "shop_web_1", "labels[mini-istiod.proxy]")]
    assert list(kind(found, "Pod")) == ["shop-web-1"]


@pytest.mark.parametrize(
    ("service", "account", "version"),
    [
        ("reviews", "reviews", ""),
        ("reviews-v1", "reviews", "v1"),
        ("reviews-v10", "reviews", "v10"),
        ("reviews-v1-2", "reviews-v1-2", ""),
        ("v1", "v1", ""),
        ("my_Service-v2", "my-service", "v2"),
        ("a.b", "a-b", ""),
        ("x" * 80, "x" * 63, ""),
    ],
)
def test_what_a_services_name_tells(service: str, account: str, version: str) -> None:
    assert (default_account(service), default_version(service)) == (account, version)


@pytest.mark.parametrize(("text", "name"), [("Shop_Web_1", "shop-web-1"), ("_a.", "a"), ("__", "x")])
def test_names_of_objects(text: str, name: str) -> None:
    assert (object_name(text), pod_name(text)) == (name, name)


class TestWorkload:
    def pod(self, **labels: str) -> dict[str, object]:
        spelled = {key.replace("__", "/").replace("_", "."): value for key, value in labels.items()}
        (found,) = kind(
            described(*meshed("reviews-v2", "172.18.0.2", ports=(80,), labels=spelled)), "Pod"
        ).values()
        return {"account": found["spec"]["serviceAccountName"], **found["metadata"]["labels"]}

    def test_without_labels(self) -> None:
        assert self.pod() == {
            "account": "reviews",
            "app": "reviews",
            "version": "v2",
            "security.istio.io/tlsMode": "istio",
        }

    def test_our_labels(self) -> None:
        found = self.pod(**{"mini-istiod.version": "canary", "mini-istiod.account": "critic"})
        assert (found["account"], found["app"], found["version"]) == ("critic", "critic", "canary")

    def test_plain_labels_are_the_workloads(self) -> None:
        found = self.pod(app="other", version="v9", team="a")
        assert (found["app"], found["version"], found["team"]) == ("other", "v9", "a")

    def test_ours_wins_over_a_plain_version(self) -> None:
        assert self.pod(**{"version": "v9", "mini-istiod.version": "v3"})["version"] == "v3"

    def test_what_kubernetes_would_not_take_is_left_out(self) -> None:
        found = self.pod(note="two words", **{"a/b/c": "x", "-x": "y", "com.docker.x": "y", "k8s.io/ok": "z"})
        assert set(found) == {"account", "app", "version", "security.istio.io/tlsMode", "k8s.io/ok"}

    def test_mutual_tls_can_be_declined(self) -> None:
        found = self.pod(security_istio_io__tlsMode="disabled")
        assert found["security.istio.io/tlsMode"] == "disabled"
