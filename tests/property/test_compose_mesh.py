"""Whatever somebody writes into a Compose file: meshed and taken out it is the same, or meshed twice.

PyYAML writes an anchor and aliases wherever one value is in several places, so that the drawn files are full
of them.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
import yaml

from controlplane.ctl.compose import project

SEEDS = range(8)
NAMES = ("web", "api", "db_1", "job-v2", "Edge.x")
JOINED = {"networks", "ports", "expose", "hostname", "scale", "extends"}


def drawn(seed: int) -> str:
    """The text of a Compose file."""
    draw = random.Random(seed)
    shared: list[Any] = [
        ["8080:80", "9000"],
        {"back": None},
        {"condition": "service_started"},
        {"A": "b", "no": "yes", "time": "22:22"},
        ["front", "back"],
        {"aliases": ["x"]},
    ]
    whole: list[dict[str, Any]] = []
    services: dict[str, Any] = {"always": {"image": "example/always"}}
    for name in draw.sample(NAMES, draw.randint(1, len(NAMES))):
        if whole and draw.random() < 0.2:
            services[name] = draw.choice(whole)
            continue
        services[name] = {"image": f"example/{name.lower()}", **_keys(draw, shared, list(services))}
        whole.append(services[name])
    file: dict[str, Any] = {"services": services}
    if draw.random() < 0.5:
        file["networks"] = {"back": None, "front": {"internal": True}}
    if draw.random() < 0.6:
        file["volumes"] = draw.choice([{}, {"data": None}, {"data": {"labels": shared[3]}}])
    items = list(file.items())
    draw.shuffle(items)
    return _text(draw, dict(items))


def _keys(draw: random.Random, shared: list[Any], before: list[str]) -> dict[str, Any]:
    every: dict[str, Any] = {
        "ports": draw.choice([shared[0], [], ["${P:-80}:80/udp"], [{"target": 80, "published": 8080}]]),
        "networks": draw.choice(
            [shared[1], shared[4], {"front": shared[5]}, {"back": {"ipv4_address": "10.0.0.9"}}]
        ),
        "expose": draw.choice([[9000], ["9000-9002"]]),
        "hostname": "a-host",
        "environment": draw.choice([shared[3], ["A=b", "C"], {"A": None}]),
        "command": draw.choice(["run it", ["run", "-c", "# no\ncomment\n"], "a\nb\n\n", "x" * 200]),
        "deploy": {"replicas": draw.randint(1, 3), "labels": shared[3]},
        "labels": draw.choice([{"app": "a"}, ["app=a"], {"mini-istiod.inject": "false"}]),
        "profiles": ["one"],
        "sysctls": {"net.core.somaxconn": 1, "kernel.msgmax": 2},
        "restart": draw.choice(["no", "always"]),
        "x-own": {"deep": shared},
    }
    if before:
        every["depends_on"] = draw.choice([before[:1], {before[0]: shared[2]}])
        every["extends"] = before[-1]
    found = draw.sample(sorted(every), draw.randint(0, 7))
    return {key: every[key] for key in found}


def _text(draw: random.Random, file: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(
        file,
        sort_keys=False,
        indent=draw.choice([2, 4, 7]),
        default_flow_style=draw.choice([False, False, None, True]),
        width=draw.choice([80, 1000]),
        explicit_start=draw.random() < 0.2,
    )
    if draw.random() < 0.3:
        text = text.replace("\n", "\r\n")
    return text if draw.random() < 0.8 else text.rstrip("\r\n")


def nothing(path: str) -> dict[str, dict[str, Any]]:
    raise AssertionError(f"nobody extends {path}")


@pytest.mark.parametrize("seed", SEEDS)
def test_there_and_back(seed: int) -> None:
    text = drawn(seed)
    out, _ = project.meshed(text, "drawn", {"gateway": bool(seed % 2), "exclude": ()}, nothing)
    assert project.plain(out, "drawn") == text
    assert project.meshed(out, "drawn", {}, nothing)[0] == out
    services = yaml.safe_load(out)["services"]
    for name, service in services.items():
        if str(service.get("network_mode")).startswith("service:"):
            assert not JOINED & service.keys(), name
            assert "replicas" not in service.get("deploy", {})
