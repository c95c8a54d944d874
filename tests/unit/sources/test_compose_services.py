"""Compose files as containers: what is read of a service, how files are merged, where DNS says it runs."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.problem import Problem
from controlplane.sources.directory import yaml_value
from controlplane.sources.docker.compose_services import File, Written, containers, read_services
from controlplane.sources.docker.container import Container, Exposed
from controlplane.sources.docker.objects import Place, describe


def services(*texts: str, environ: dict[str, str] | None = None) -> dict[str, Written]:
    found, problems = reading(*texts, environ=environ)
    assert not problems
    return found


def reading(*texts: str, environ: dict[str, str] | None = None) -> tuple[dict[str, Written], list[Problem]]:
    files = [File(f"{number}.yaml", yaml_value.parse(text).value) for number, text in enumerate(texts, 1)]
    return read_services(files, environ or {})


def only(text: str, **environ: str) -> Written:
    (found,) = services(f"services: {{web: {{{text}}}}}", environ=environ).values()
    return found


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ('"80"', [80]),
        ("80", [80]),
        ('"8080:80"', [80]),
        ('"127.0.0.1:8080:80/tcp"', [80]),
        ('"[::1]:8080:80"', [80]),
        ('"8080-8081:80-81"', [80, 81]),
        ("{target: 80, published: 8080}", [80]),
        ('{target: "80-82"}', [80, 81, 82]),
        ('"127.0.0.1:${PORT:-8080}:80"', [80]),
    ],
)
def test_published_ports(text: str, ports: list[int]) -> None:
    assert only(f"ports: [{text}]").published == tuple(Exposed(port) for port in ports)


def test_protocols_of_ports() -> None:
    found = only('ports: ["53:53/udp", {target: 54, protocol: udp}], expose: ["55/udp", "56"]')
    assert found.published == (Exposed(53, "udp"), Exposed(54, "udp"))
    assert found.exposed == (Exposed(55, "udp"), Exposed(56))


@pytest.mark.parametrize("text", ['"http"', '"0"', '"81-80"', '"1-60000"', "{}", "[80]", '"80/icmp"', "true"])
def test_what_is_no_port_is_told(text: str) -> None:
    found, (problem,) = reading(f"services: {{web: {{ports: [80, {text}]}}}}")
    assert found["web"].published == (Exposed(80),)
    assert (problem.level, problem.file, problem.name) == ("warning", "1.yaml", "web")
    assert problem.field == "services.web.ports[1]" and problem.remedy


@pytest.mark.parametrize("text", ["[team=a, quiet, x=1=2]", '{team: a, quiet: null, x: "1=2"}'])
def test_labels_in_either_form(text: str) -> None:
    assert only(f"labels: {text}").labels == (("quiet", ""), ("team", "a"), ("x", "1=2"))


def test_labels_that_are_no_text() -> None:
    assert only("labels: {a: true, b: 1, c: 1.5}").labels == (("a", "true"), ("b", "1"), ("c", "1.5"))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("$NAME", "given"),
        ("${NAME}", "given"),
        ("${NONE}", ""),
        ("${NONE:-other}", "other"),
        ("${NONE-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY-other}", ""),
        ("${NAME:+other}", "other"),
        ("${NONE:+other}", ""),
        ("${NAME:?must be there}", "given"),
        ("$$NAME", "$NAME"),
        ("a${NAME}b$c", "agivenb"),
        ("100$", "100$"),
    ],
)
def test_variables(text: str, label: str) -> None:
    found = only(f'labels: {{x: "{text}"}}', NAME="given", EMPTY="")
    assert found.labels == (("x", label),)


def test_aliases_of_all_networks() -> None:
    found = only("networks: {a: {aliases: [www, shop]}, b: null, c: {aliases: [www]}}")
    assert found.aliases == ("shop", "www")
    assert only("networks: [a, b]").aliases == ()


def test_a_later_file_goes_over_those_before() -> None:
    first = (
        'services: {web: {ports: ["80"], labels: {a: "1", b: "1"}, container_name: x}, db: {expose: ["1"]}}'
    )
    second = (
        'services: {web: {ports: ["81"], labels: [b=2], container_name: y, networks: {n: {aliases: [w]}}}}'
    )
    found = services(first, second)
    assert list(found) == ["db", "web"]
    assert found["web"].published == (Exposed(80), Exposed(81))
    assert found["web"].labels == (("a", "1"), ("b", "2"))
    assert (found["web"].container_name, found["web"].aliases, found["web"].file) == ("y", ("w",), "2.yaml")


def test_anchors_and_merge_keys() -> None:
    text = """
x-common: &common
  labels: {team: a}
  expose: ["80"]
services:
  web: {<<: *common}
"""
    assert services(text)["web"].labels == (("team", "a"),)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[]", "services"),
        ("{}", "services"),
        ("services: []", "services"),
        ("services: {web: nginx}", "services.web"),
        ("services: {web: {extends: {service: base}}}", "services.web.extends"),
        ("{include: [other.yaml], services: {}}", "include"),
    ],
)
def test_what_cannot_be_used_is_told(text: str, field: str) -> None:
    _, (problem,) = reading(text)
    assert (problem.field, problem.file) == (field, "1.yaml")
    assert problem.message and problem.remedy


MESHED = """
services:
  web-envoy:
    labels: {mini-istiod.proxy: web}
    networks: {default: {aliases: [web, shop]}}
    ports: ["8080:80"]
  web-init: {network_mode: "service:web-envoy"}
  web: {network_mode: "service:web-envoy", labels: {version: v1}}
  ratings: {expose: ["9080"]}
  host: {network_mode: host}
  job: {network_mode: none}
"""


def running(text: str, **addresses: tuple[str, ...]) -> list[Container]:
    return containers(services(text), {name.replace("_", "-"): found for name, found in addresses.items()})


def objects(text: str, **addresses: tuple[str, ...]) -> dict[tuple[str, str], Any]:
    found = describe(running(text, **addresses), Place("default"))
    assert not [one for one in found.problems if one.level == "error"]
    return {(one["kind"], one["metadata"]["name"]): one for one in found.objects}


def test_only_who_has_a_network_of_its_own_is_looked_up() -> None:
    assert [one.name for one in services(MESHED).values() if one.has_address] == ["ratings", "web-envoy"]


def test_a_sidecar_and_its_application() -> None:
    found = objects(MESHED, web_envoy=("172.18.0.2",), ratings=("172.18.0.3",))
    pod = found["Pod", "web"]
    assert pod["metadata"]["labels"] == {"app": "web", "version": "v1", "security.istio.io/tlsMode": "istio"}
    assert pod["status"]["conditions"] == [{"type": "Ready", "status": "True"}]
    assert found["Service", "shop"]["spec"]["clusterIPs"] == ["172.18.0.2"]
    assert ("Pod", "ratings") in found and ("EndpointSlice", "ratings-9080") in found


def test_what_is_not_resolved_does_not_run() -> None:
    found = objects(MESHED)
    assert {kind for kind, _ in found} == {"Service"}


def test_several_addresses_are_several_containers() -> None:
    found = objects("services: {web: {expose: ['80']}}", web=("172.18.0.2", "172.18.0.3"))
    assert found["Service", "web"]["spec"]["clusterIPs"] == ["172.18.0.2", "172.18.0.3"]
    assert [name for kind, name in found if kind == "Pod"] == ["compose-web-ac120002", "compose-web-ac120003"]
    assert [name for kind, name in found if kind == "Service"] == ["web"]


def test_one_of_each_family_is_one_container() -> None:
    found = objects("services: {web: {expose: ['80']}}", web=("172.18.0.2", "fd00::2"))
    assert found["Pod", "web"]["status"]["podIPs"] == [{"ip": "172.18.0.2"}, {"ip": "fd00::2"}]


def test_problems_name_the_file() -> None:
    found = describe(
        running("services: {web: {labels: {mini-istiod.ports: x}}}", web=("172.18.0.2",)), Place("d")
    )
    assert [(one.file, one.name) for one in found.problems if one.level == "error"] == [("1.yaml", "web")]
