"""The compose file at the top: what it says holds together, and it is the plain project with sidecars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.model.kinds import BY_NAME

TOP = Path(__file__).parents[3]
MESHED: dict[str, Any] = yaml.safe_load((TOP / "docker-compose.yml").read_text())
PLAIN: dict[str, Any] = yaml.safe_load((TOP / "deploy/bookstore/docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = MESHED["services"]
PROXIES = {
    service["labels"]["mini-istiod.proxy"]: (name, service)
    for name, service in SERVICES.items()
    if service["image"].startswith("envoyproxy/envoy:")
}
APPS = sorted(PLAIN["services"])


def volumes(service: dict[str, Any]) -> dict[str, str]:
    """What is mounted, as target -> source."""
    parts = (volume.removesuffix(":ro").rpartition(":") for volume in service.get("volumes", ()))
    return {target: source for source, _, target in parts}


def test_neither_file_says_a_version() -> None:
    # Compose v2 warns about it, and 1.29 does without.
    assert "version" not in MESHED
    assert "version" not in PLAIN


def test_every_app_and_the_gateway_have_a_proxy() -> None:
    assert sorted(PROXIES) == sorted([*APPS, "ingressgateway"])
    assert {name for name, _ in PROXIES.values()} == {f"{app}-envoy" for app in APPS} | {"ingressgateway"}


@pytest.mark.parametrize("app", APPS)
def test_an_app_is_the_plain_one_beside_a_sidecar(app: str) -> None:
    service, plain = SERVICES[app], PLAIN["services"][app]
    changed = {"network_mode", "depends_on", "networks", "ports", "build", "security_opt"}
    assert {key: value for key, value in service.items() if key not in changed} == {
        key: value for key, value in plain.items() if key not in changed
    }
    assert service["network_mode"] == f"service:{app}-envoy"
    assert service["depends_on"] == {
        f"{app}-envoy": {"condition": "service_healthy"},
        f"{app}-init": {"condition": "service_completed_successfully"},
    }
    (alias,) = plain.get("networks", {"default": {"aliases": [app]}})["default"]["aliases"]
    assert set(SERVICES[f"{app}-envoy"]["networks"]["default"]["aliases"]) == {app, alias}


@pytest.mark.parametrize("app", APPS)
def test_the_rules_are_written_into_the_sidecars_namespace(app: str) -> None:
    init = SERVICES[f"{app}-init"]
    assert init["network_mode"] == f"service:{app}-envoy"
    assert init["depends_on"] == [f"{app}-envoy"]
    assert init["command"] == ["iptables"]


def test_a_proxy_sees_its_own_token_and_the_roots_and_nothing_else() -> None:
    for proxy, (_, service) in PROXIES.items():
        assert service["volumes"] == [
            f"{proxy}-proxy:/etc/mini-istiod:ro",
            "mesh-roots:/etc/mini-istiod-roots:ro",
        ]


def test_every_proxy_is_provided_for_under_its_own_name() -> None:
    job = SERVICES["mini-istiod-provision"]
    words = [word.removeprefix("--proxy=") for word in job["command"] if word.startswith("--proxy=")]
    assert sorted(word.partition("=")[0] for word in words) == sorted(PROXIES)
    for word in words:
        name, _, rest = word.partition("=")
        assert rest.split(",")[0] == f"default/{'reviews' if name.startswith('reviews') else name}"
        assert ("router" in rest.split(",")) == (name == "ingressgateway")
    mounts = volumes(job)
    state = mounts.pop("/var/lib/mini-istiod")
    assert state == volumes(SERVICES["mini-istiod"])["/var/lib/mini-istiod"]
    assert mounts == {f"/proxies/{proxy}": f"{proxy}-proxy" for proxy in PROXIES}


def test_the_keys_and_dockers_socket_are_for_those_who_need_them() -> None:
    holders = {
        source: sorted(name for name, service in SERVICES.items() if source in volumes(service).values())
        for source in ("mesh-state", "${DOCKER_SOCKET:-/var/run/docker.sock}")
    }
    assert holders == {
        "mesh-state": ["mini-istiod", "mini-istiod-provision"],
        "${DOCKER_SOCKET:-/var/run/docker.sock}": ["mini-istiod-docker"],
    }


def test_nothing_writes_beside_its_volumes_and_nobody_gains_a_right() -> None:
    ours = {"envoyproxy/envoy", "mini-istiod", "bookstore"}
    for service in SERVICES.values():
        if service["image"].partition(":")[0] in ours:
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
            assert "privileged" not in service


def test_every_volume_is_declared_and_used() -> None:
    named = {source for service in SERVICES.values() for source in volumes(service).values()}
    assert {source for source in named if source[0] not in "./$"} == set(MESHED["volumes"])


def test_what_is_published_is_published_on_this_machine_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert "127.0.0.1:${INGRESS_PORT:-8080}:80" in published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("file", sorted((TOP / "mesh").glob("*.yaml")), ids=lambda file: file.name)
def test_the_rules_are_read_without_a_problem(file: Path) -> None:
    documents = list(yaml.safe_load_all(file.read_text()))
    assert documents
    for raw in documents:
        parsed = BY_NAME[raw["kind"]].parse(raw)
        assert parsed.value is not None
        assert parsed.problems == ()


@pytest.mark.parametrize("project", [MESHED, PLAIN], ids=["meshed", "plain"])
def test_an_image_is_built_by_one_service_which_comes_first(project: dict[str, Any]) -> None:
    # Several would export one tag at the same time; and an older Compose pulls what nobody has built yet.
    using: dict[str, list[str]] = {}
    for name, service in project["services"].items():
        using.setdefault(service["image"], []).append(name)
    builders = [name for name, service in project["services"].items() if "build" in service]
    assert sorted(project["services"][name]["image"] for name in builders) == sorted(
        image for image in using if image in ("mini-istiod", "bookstore")
    )
    order = list(project["services"])
    waits_for = {name: set(project["services"][name].get("depends_on", ())) for name in order}
    for name in builders:
        others = set(using[project["services"][name]["image"]]) - {name}
        assert others & reached(name, waits_for) == set()
        earlier = {other for other in others if order.index(other) < order.index(name)}
        assert {other for other in earlier if name not in reached(other, waits_for)} == set()


def reached(name: str, waits_for: dict[str, set[str]]) -> set[str]:
    """All that a service waits for, at whatever distance."""
    found = set(waits_for[name])
    return found.union(*(reached(one, waits_for) for one in waits_for[name]))
