"""Files of different shapes, meshed: what Docker and Compose ask of them, and that nothing else changed.

Whether docker-compose takes them is asked in tests/docker/test_compose_mesh.py, of the same files.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.ctl.compose import project
from controlplane.ctl.compose.command import _extended

CASES = Path(__file__).parent / "cases"
FILES = sorted(one.name for one in CASES.iterdir() if one.is_file())

REFUSED = {
    "networks", "ports", "expose", "hostname", "domainname", "dns", "dns_search", "dns_opt", "extra_hosts",
    "links", "external_links", "mac_address", "scale", "extends",
}  # fmt: skip
"""What a service cannot have whose network is another's."""


def mesh(name: str, text: str | None = None, **flags: Any) -> tuple[str, list[str]]:
    """One of the files meshed, or a text as if it stood there."""
    key = tuple(
        sorted(
            (key, tuple(value.items()) if isinstance(value, dict) else value) for key, value in flags.items()
        )
    )
    return _mesh(name, (CASES / name).read_text() if text is None else text, key)


@cache
def _mesh(name: str, text: str, flags: tuple[tuple[str, Any], ...]) -> tuple[str, list[str]]:
    given = {key: dict(value) if key == "scale" else value for key, value in flags}
    return project.meshed(text, name, given, _extended(str(CASES / name)))


@cache
def load(text: str) -> dict[str, Any]:
    """As Compose 1.29 reads it: YAML 1.1."""
    found: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return found


def plain(service: dict[str, Any]) -> dict[str, Any]:
    """A service without what Compose does not look at."""
    return {key: value for key, value in service.items() if not key.startswith("x-")}


@pytest.mark.parametrize("name", FILES)
def test_removing_gives_back_every_byte(name: str) -> None:
    text = (CASES / name).read_text()
    out, _ = mesh(name, gateway=True)
    assert out != text
    assert project.plain(out, name) == text


@pytest.mark.parametrize("name", FILES)
def test_a_meshed_file_meshed_again_is_the_same(name: str) -> None:
    out, notes = mesh(name, gateway=True)
    assert mesh(name, out) == (out, notes)


@pytest.mark.parametrize("name", FILES)
def test_who_joins_a_network_has_nothing_that_docker_refuses(name: str) -> None:
    services = load(mesh(name, gateway=True)[0])["services"]
    joined = {
        one: found for one, found in services.items() if str(found.get("network_mode")).startswith("service:")
    }
    assert joined
    for one, found in joined.items():
        owner = services[found["network_mode"].removeprefix("service:")]
        assert "network_mode" not in owner, f"{one} joins a network that is another's"
        assert not REFUSED & plain(found).keys(), one
        assert "replicas" not in found.get("deploy", {})
        assert not any(key.startswith("net.") for key in found.get("sysctls", ()))


@pytest.mark.parametrize("name", FILES)
def test_every_sidecar_owns_a_network_and_can_be_told_apart(name: str) -> None:
    found = load(mesh(name, gateway=True)[0])
    services, volumes = found["services"], found["volumes"]
    envoys = {one: service for one, service in services.items() if "mini-istiod.proxy" in labels(service)}
    assert len(envoys) > 1
    mounts = [service["volumes"][0].partition(":")[0] for service in envoys.values()]
    assert len(set(mounts)) == len(mounts), "nobody reads another's token"
    assert set(mounts) <= set(volumes)
    # What is provisioned is what is there, each in the folder of its pod.
    job = services["mini-istiod-provision"]
    flags = [one.removeprefix("--proxy=").partition("=")[0] for one in job["command"] if "--proxy=" in one]
    assert sorted(flags) == sorted(labels(service)["mini-istiod.proxy"] for service in envoys.values())
    assert [one for one in job["volumes"] if ":/proxies/" in one] == [
        f"{mount}:/proxies/{flag}" for mount, flag in zip(_in_order(flags, envoys), flags, strict=True)
    ]


def _in_order(flags: list[str], envoys: dict[str, Any]) -> list[str]:
    by_pod = {
        labels(one)["mini-istiod.proxy"]: one["volumes"][0].partition(":")[0] for one in envoys.values()
    }
    return [by_pod[flag] for flag in flags]


@pytest.mark.parametrize("name", FILES)
def test_the_control_plane_shares_a_network_with_every_sidecar(name: str) -> None:
    services = load(mesh(name, gateway=True)[0])["services"]
    plane = set(services["mini-istiod"]["networks"])
    for one, service in services.items():
        if "mini-istiod.proxy" in labels(service):
            assert set(service["networks"]) <= plane, one


@pytest.mark.parametrize("name", FILES)
def test_services_start_after_what_they_need_and_never_in_a_circle(name: str) -> None:
    services = load(mesh(name, gateway=True)[0])["services"]
    needs = {
        one: set(service.get("depends_on") or ()) | _through(service) for one, service in services.items()
    }
    done: set[str] = set()
    while len(done) < len(needs):
        ready = {one for one, wanted in needs.items() if one not in done and wanted <= done}
        assert ready, f"a circle or a missing service among {set(needs) - done}"
        done |= ready


def _through(service: dict[str, Any]) -> set[str]:
    """Links and shared namespaces are dependencies, too."""
    links = {str(link).partition(":")[0] for link in service.get("links") or ()}
    mode = str(service.get("network_mode"))
    return links | ({mode.removeprefix("service:")} if mode.startswith("service:") else set())


@pytest.mark.parametrize("name", FILES)
def test_profiles_enable_what_a_service_needs(name: str) -> None:
    services = load(mesh(name, gateway=True)[0])["services"]
    for one, service in services.items():
        mine = service.get("profiles")
        for other in set(service.get("depends_on") or ()) | _through(service):
            theirs = services[other].get("profiles")
            assert not theirs or (mine and set(mine) <= set(theirs)), f"{one} is enabled without {other}"


@pytest.mark.parametrize("name", FILES)
def test_services_outside_of_the_mesh_are_what_they_were(name: str) -> None:
    before = load((CASES / name).read_text())["services"]
    after = load(mesh(name)[0])["services"]
    for one, service in before.items():
        if "network_mode" not in after[one] and "links" not in service:
            assert plain(after[one]) == service


@pytest.mark.parametrize("name", FILES)
def test_what_else_a_service_says_stays(name: str) -> None:
    before = load((CASES / name).read_text())["services"]
    after = load(mesh(name)[0])["services"]
    for one, service in before.items():
        if "extends" in service:
            continue
        for key in service.keys() - REFUSED - {"depends_on", "network_mode", "deploy", "sysctls", "<<"}:
            assert after[one][key] == service[key], f"{one}.{key}"


def labels(service: dict[str, Any]) -> dict[str, str]:
    found = service.get("labels") or {}
    return found if isinstance(found, dict) else dict(str(one).partition("=")[::2] for one in found)
