"""Edit, wait, compare: clients that followed every edit against each other and against newcomers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controlplane.app.debug import problems
from controlplane.envoy.types import BY_URL, VIRTUAL_HOST
from controlplane.lab.client import Client, Protocol
from controlplane.model.problem import Problem
from tests.support.edits import NAMES, Editor
from tests.support.files import MeshFiles
from tests.support.on_demand import differences
from tests.support.plane import Served, client, serving_files
from tests.support.waiting import until

PROTOCOLS: tuple[Protocol, ...] = ("DELTA_GRPC", "GRPC")
WORKLOADS = (("web", "front"), ("api", "front"), ("web", "back"), ("ledger", "vault"))


HOSTS = (
    *(f"80/{name}{form}" for name in NAMES for form in ("", ".front", ".back.svc.cluster.local", ".back:80")),
    *("7070/web.back", "90/api.front", "9000/cart.front", "80/a.example.com", "80/b.example.com:80"),
    *("80/x.wild.example.com", "80/y.z.wild.example.com", "80/nobody.example.org", "80/10.96.0.3", "80/*"),
)
"""Virtual hosts that clients ask for on demand, sooner or later; not all of them ever exist."""


async def converge(
    directory: Path, seed: int, edits: int, burst: int = 25, *, on_demand: bool = False
) -> dict[str, int]:
    """Make random edits over the real server and compare; AssertionError names seed, client and resource.

    After every burst of edits the two variants' clients of each workload must agree; now and then one
    of them was away meanwhile.  In the end all must agree with clients of a control plane that is
    started on the files as they are then.  With `on_demand` the incremental clients ask for single virtual
    hosts, and must have what follows from the whole route configurations of the others.
    Returns how many responses each client was sent.
    """
    files = MeshFiles(directory / "config")
    editor = Editor(files, seed)
    editor.begin()
    rng = random.Random(seed)
    # Paranoid: every query twice, and feeds compared with a graph from scratch after every commit.
    flags = ("--on-demand-virtual-hosts", "--paranoid") if on_demand else ()
    async with serving_files(files, directory / "xds.sock", *flags) as served:
        await _connect(served)
        await served.quiet()
        done = 0
        while done < edits:
            size = min(rng.randrange(1, 2 * burst), edits - done)
            away = rng.choice(sorted(served.clients)) if rng.random() < 0.5 else ""
            absent = await served.disconnect(away) if away else None
            await _ask(rng, served)
            for _ in range(size):
                editor.edit()
            done += size
            editor.mend()
            if absent is not None:
                # It comes back with what it had, among edits that are being taken in.
                await served.connect(absent, away)
            with _told(seed, editor, size):
                await served.quiet()
                _agree(served.clients)
        async with serving_files(files, directory / "cold.sock", *flags) as cold:
            await _connect(cold)
            await cold.quiet()
            for name, old in served.clients.items():
                if old.on_demand:
                    await cold.clients[name].ask(*old.state[VIRTUAL_HOST])
            await cold.quiet()
            with _told(seed, editor, 0):
                _agree(cold.clients)
                # A file that is gone is believed to be gone a moment later; so are its problems.
                await until(
                    lambda: not _disputed(served, cold), lambda: f"problems: {_disputed(served, cold)}", 5
                )
                for name, old in served.clients.items():
                    found = difference(old.views(), cold.clients[name].views())
                    assert not found, f"{name}: it (left) and a newcomer (right) differ in {found}"
        return {name: len(one.log) for name, one in served.clients.items()}


def _disputed(served: Served, cold: Served) -> set[Problem]:
    return set(problems(served.app.mesh)) ^ set(problems(cold.app.mesh))


def difference(left: dict[str, dict[str, bytes]], right: dict[str, dict[str, bytes]]) -> list[str]:
    """What two clients' states differ in, a line each."""
    lines = []
    for url, spec in BY_URL.items():
        ours, theirs = left.get(url, {}), right.get(url, {})
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                has = ["left" * (name in ours), "right" * (name in theirs)]
                lines.append(f"{spec.short} {name} ({' and '.join(filter(None, has))})")
    return lines


async def _connect(served: Served) -> None:
    for number, (name, namespace) in enumerate(WORKLOADS):
        for protocol in PROTOCOLS:
            one = client(f"{name}-1", namespace, protocol, number=number + 2, app=name, version="v1", pod="a")
            one.on_demand = protocol == "DELTA_GRPC" and served.app.settings.on_demand_virtual_hosts
            await served.connect(one, f"{name}.{namespace} {protocol}")


async def _ask(rng: random.Random, served: Served) -> None:
    """Let each client whose virtual hosts come on demand ask for some more."""
    for one in served.clients.values():
        if one.on_demand:
            await one.ask(*rng.sample(HOSTS, 2))


def _agree(clients: dict[str, Client]) -> None:
    for name, namespace in WORKLOADS:
        first, second = (clients[f"{name}.{namespace} {protocol}"] for protocol in PROTOCOLS)
        delta, sotw = first.views(), second.views()
        found = differences(delta, sotw) if first.on_demand else difference(delta, sotw)
        assert not found, f"{name}.{namespace}: delta (left) and sotw (right) differ in {found}"


@contextmanager
def _told(seed: int, editor: Editor, size: int) -> Iterator[Any]:
    """Adds to a failure what is needed to see it again."""
    try:
        yield
    except AssertionError as error:
        last = "\n  ".join(editor.history[-size:] if size else ())
        raise AssertionError(
            f"{error}\nseed {seed}, after {len(editor.history)} edits; the last {size}:\n  {last}"
        ) from error
