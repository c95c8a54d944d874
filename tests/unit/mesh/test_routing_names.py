"""The names that virtual hosts answer to, and who gets a name that several could have."""

from __future__ import annotations

import pytest

from tests.unit.envoy.traffic import Traffic, domains, virtual_service
from tests.unit.mesh.world import service

TO = "[{route: [{destination: {host: reviews}}]}]"
V6 = "2001:db8::1"
REVIEWS = "reviews.default.svc.cluster.local"


def entry(name: str, hosts: str, *, namespace: str = "default", created: str = "", **spec: str) -> str:
    spec = {"resolution": "DNS", "ports": "[{number: 9080, name: http, protocol: HTTP}]", **spec}
    fields = ", ".join(f"{field}: {value}" for field, value in spec.items())
    return (
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n"
        f"metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created!r}}}\n"
        f"spec: {{hosts: {hosts}, {fields}}}\n---\n"
    )


def names(world: Traffic, host: str, who: str = "default", route: str = "9080") -> list[str]:
    return domains(world.routes(who)[route])[f"{host}:{route}"]


def test_a_kubernetes_service_answers_to_what_resolvers_complete() -> None:
    world = Traffic(service("reviews", "http=9080", ip="10.96.0.3"))
    far = [REVIEWS, REVIEWS + ".", "reviews.default", "reviews.default.svc", "10.96.0.3"]
    assert names(world, REVIEWS, "prod") == far
    assert names(world, REVIEWS) == [*far[:2], "reviews", *far[2:]]


def test_a_service_entry_answers_to_its_host_and_addresses() -> None:
    world = Traffic(
        entry("a", "[a.example.com]", resolution="NONE", addresses=f"[192.0.2.1, 10.0.0.0/8, '{V6}']")
    )
    assert names(world, "a.example.com") == ["a.example.com", "a.example.com.", "192.0.2.1", f"[{V6}]"]


def test_a_wildcard_host_has_no_absolute_form() -> None:
    world = Traffic(entry("a", '["*.example.com"]', resolution="NONE"))
    assert names(world, "*.example.com") == ["*.example.com"]


def test_headless_services_answer_for_their_pods_too() -> None:
    world = Traffic(service("db", "http=9080", ip="None"))
    host = "db.default.svc.cluster.local"
    assert names(world, host, "prod") == [
        host,
        f"{host}.",
        "db.default",
        "db.default.svc",
        f"*.{host}",
        "*.db.default",
        "*.db.default.svc",
    ]


def test_external_names_are_more_names_of_their_target() -> None:
    world = Traffic(
        service("reviews", "http=9080")
        + "apiVersion: v1\nkind: Service\nmetadata: {name: alias, namespace: prod}\n"
        "spec: {type: ExternalName, externalName: reviews.default.svc.cluster.local}\n"
    )
    alias = ["alias.prod.svc.cluster.local", "alias.prod", "alias.prod.svc"]
    assert [name for name in names(world, REVIEWS, "third") if "alias" in name] == alias
    assert "alias" in names(world, REVIEWS, "prod")
    assert "reviews" not in names(world, REVIEWS, "prod")


@pytest.mark.parametrize("name", ["reviews", "reviews.default", "reviews.default.svc"])
def test_a_short_form_loses_to_a_service_of_that_very_host(name: str) -> None:
    world = Traffic(service("reviews", "http=9080") + entry("rival", f"[{name}]"))
    assert names(world, name)[0] == name
    assert name not in names(world, REVIEWS)
    world.delete("ServiceEntry", "rival")
    assert name in names(world, REVIEWS)


def test_a_rival_counts_only_where_it_is_seen() -> None:
    world = Traffic(
        service("reviews", "http=9080", namespace="prod")
        + entry("private", "[reviews.prod]", exportTo='["."]')
        + entry("port", "[reviews.prod.svc]", ports="[{number: 1234, name: http, protocol: HTTP}]")
        + entry(
            "tcp", "[reviews.prod.svc]", namespace="other", ports="[{number: 9080, name: t, protocol: TCP}]"
        )
    )
    host = "reviews.prod.svc.cluster.local"
    assert "reviews.prod" not in names(world, host, "default")
    assert "reviews.prod" in names(world, host, "third")
    assert "reviews.prod.svc" in names(world, host, "third")


def test_a_derived_name_loses_to_the_host_of_a_virtual_service() -> None:
    world = Traffic(service("reviews", "http=80") + virtual_service("v", "[reviews.default]", TO))
    assert names(world, "reviews.default", route="80") == ["reviews.default"]
    assert "reviews.default" not in names(world, REVIEWS, route="80")
    world.delete("VirtualService", "v")
    assert "reviews.default" in names(world, REVIEWS, route="80")


def test_a_virtual_service_that_is_not_served_takes_no_name() -> None:
    # Its host would be served on port 80 only, and not for others' eyes.
    world = Traffic(
        service("reviews", "http=80, http-alt=9080")
        + virtual_service("v", "[reviews.default]", TO, exportTo='["."]')
    )
    assert "reviews.default" in names(world, REVIEWS, route="9080")
    assert "reviews.default" in names(world, REVIEWS, "prod", route="80")
    assert "reviews.default" not in names(world, REVIEWS, route="80")


def test_the_older_service_keeps_a_shared_address() -> None:
    world = Traffic(
        entry("young", "[y.example.com]", created="2024-01-02T00:00:00Z", addresses="[192.0.2.1]")
        + entry("old", "[z.example.com]", created="2024-01-01T00:00:00Z", addresses="[192.0.2.1]")
        + entry("twins", "[a.example.com, b.example.com]", addresses="[192.0.2.2]")
    )
    assert "192.0.2.1" in names(world, "z.example.com")
    assert "192.0.2.1" not in names(world, "y.example.com")
    assert "192.0.2.2" in names(world, "a.example.com")
    assert "192.0.2.2" not in names(world, "b.example.com")
    world.delete("ServiceEntry", "old")
    assert "192.0.2.1" in names(world, "y.example.com")


def test_an_address_loses_to_a_host_that_is_that_address() -> None:
    world = Traffic(service("reviews", "http=80", ip="10.96.0.3") + virtual_service("v", "['10.96.0.3']", TO))
    assert names(world, "10.96.0.3", route="80") == ["10.96.0.3"]
    assert "10.96.0.3" not in names(world, REVIEWS, route="80")


def test_an_alias_loses_to_a_service_entry_of_that_host() -> None:
    world = Traffic(
        service("reviews", "http=9080")
        + "apiVersion: v1\nkind: Service\nmetadata: {name: alias, namespace: prod}\n"
        "spec: {type: ExternalName, externalName: reviews.default.svc.cluster.local}\n---\n"
        + entry("rival", "[alias.prod.svc.cluster.local]")
    )
    every = domains(world.routes("default")["9080"])
    assert every["alias.prod.svc.cluster.local:9080"][0] == "alias.prod.svc.cluster.local"
    assert not [name for name in every[f"{REVIEWS}:9080"] if "alias" in name]


class TestUnregistered:
    def test_on_port_80_without_any_service(self) -> None:
        world = Traffic(service("web", "http=80") + virtual_service("v", "[a.example.com, '*.b.com']", TO))
        every = domains(world.routes()["80"])
        assert every["a.example.com:80"] == ["a.example.com"]
        assert every["*.b.com:80"] == ["*.b.com"]

    def test_on_the_ports_of_the_services_that_it_names_besides(self) -> None:
        world = Traffic(
            service("web", "http=80")
            + service("reviews", "http=9080")
            + virtual_service("v", "[reviews, a.com]", TO)
        )
        assert "a.com:9080" in domains(world.routes()["9080"])
        assert "a.com:80" not in domains(world.routes()["80"])

    def test_the_first_virtual_service_of_a_host_has_it(self) -> None:
        world = Traffic(
            service("web", "http=80")
            + virtual_service("b", "[a.com]", "[{name: b, route: [{destination: {host: x}}]}]")
            + virtual_service("a", "[a.com]", "[{name: a, route: [{destination: {host: x}}]}]")
        )
        (route,) = world.host("80", "a.com").routes
        assert route.name == "a"

    def test_a_wildcard_that_has_services_stands_for_them_alone(self) -> None:
        text = service("web", "http=80") + virtual_service(
            "v", "['*.svc.cluster.local']", "[{timeout: 5s, " + TO[2:]
        )
        world = Traffic(text)
        assert list(domains(world.routes()["80"])) == ["web.default.svc.cluster.local:80", "allow_any"]
        assert world.host("80", "web.default.svc.cluster.local").routes[0].route.timeout.seconds == 5

    def test_a_host_that_becomes_a_service(self) -> None:
        world = Traffic(service("web", "http=80") + virtual_service("v", "[a.com]", TO))
        assert domains(world.routes()["80"])["a.com:80"] == ["a.com"]
        world.apply(entry("e", "[a.com]", ports="[{number: 80, name: http, protocol: HTTP}]"))
        assert domains(world.routes()["80"])["a.com:80"] == ["a.com", "a.com."]
        world.delete("ServiceEntry", "e")
        assert domains(world.routes()["80"])["a.com:80"] == ["a.com"]

    def test_rules_for_others_make_no_host(self) -> None:
        rule = "[{match: [{sourceNamespace: prod}], route: [{destination: {host: x}}]}]"
        world = Traffic(service("web", "http=80") + virtual_service("v", "[a.com]", rule))
        assert "a.com:80" not in domains(world.routes("default")["80"])
        assert "a.com:80" in domains(world.routes("prod")["80"])
