"""The demo in containers: docker-compose.yml on this machine's Docker, the same steps at its gateway.

What the pods' demo shows from inside is seen from outside here: visitors knock at the published port, and
an outsider is a container without a sidecar.
"""

from __future__ import annotations

import argparse
import signal
import time
from dataclasses import replace
from pathlib import Path

from controlplane.lab import cluster, pushes
from controlplane.lab.containers import Containers, in_default
from controlplane.lab.demo_pods import attentive, choose, complained, shown, signals
from controlplane.lab.hops import INGRESS, OUTSIDER
from controlplane.lab.screen import Screen
from controlplane.lab.shop import SAMPLE
from controlplane.lab.steps import Step, Visit


def run(options: argparse.Namespace, command: tuple[str, ...], file: Path) -> int:
    """The demo by `command` (`docker compose`).  Exit status: 0 passed, 1 failed, 130 interrupted."""
    screen = Screen()
    return attentive(screen, lambda: _walk(options, command, file, screen))


def adapted(step: Step) -> Step:
    """The step with its visitors where containers have them: who visits the shop does so at the gateway."""
    return replace(step, visits=tuple(map(_visit, step.visits)))


def _visit(visit: Visit) -> Visit:
    if visit.client == OUTSIDER or visit.asks != "productpage":
        return visit
    return replace(visit, client=OUTSIDER, asks=INGRESS)


def _walk(
    options: argparse.Namespace, command: tuple[str, ...], file: Path, screen: Screen
) -> tuple[str, ...]:
    steps = tuple(map(adapted, choose(options.steps)))
    started = time.monotonic()
    shop = Containers(command, file)
    problems: list[str] = []
    try:
        screen.heading("opening the bookstore (for the first time this builds images: minutes)")
        shop.up()
        screen.line(f"at http://127.0.0.1:{shop.port}/ after {time.monotonic() - started:.1f} s")
        for number, step in enumerate(steps, 1):
            screen.heading(f"{number}/{len(steps)} {step.name}: {step.tells}")
            problems += _play(shop, step, options.requests, screen)
        screen.heading(f"{len(steps)} steps in {time.monotonic() - started:.0f} s")
        if options.keep:
            _keep(shop, screen)
    finally:
        with signals(signal.SIG_IGN):  # a second Ctrl-C must not leave half of it behind
            shop.close()
    return tuple(problems)


def _play(shop: Containers, step: Step, requests: int, screen: Screen) -> list[str]:
    pushed = _push(shop, "security.yaml", SAMPLE / "security" / step.security)
    pushed += _push(shop, "reviews.yaml", SAMPLE / "steps" / step.file)
    problems = shown(step, pushed, lambda visit: shop.visit(visit, visit.requests(requests)), screen)
    return complained(step, problems, screen)


def _push(shop: Containers, name: str, file: Path) -> tuple[pushes.Push, ...]:
    return shop.watched.push(name, [in_default(found) for found in cluster.load(file)])


def _keep(shop: Containers, screen: Screen) -> None:
    screen.heading("running until Ctrl-C")
    screen.line(f"shop, at its gateway: http://127.0.0.1:{shop.port}/productpage")
    screen.line(f"watched directory: {shop.mesh}")
    screen.line(f"containers: docker ps --filter label=com.docker.compose.project={shop.project}")
    try:
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        screen.line("closing")
