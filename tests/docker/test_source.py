"""The Docker source beside a real daemon: what is done to containers, and what becomes of endpoints."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from controlplane.base.parse import address
from controlplane.sources.docker import api
from controlplane.sources.docker.source import DockerSource, Pace
from tests.support.daemon import SOCKET, Line, Yard, missing
from tests.support.inbox import Inbox
from tests.support.waiting import until

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(bool(missing()), reason=f"tests with containers: {missing()}"),
]
_numbers = itertools.count(1)


class Scene:
    """A source that follows the yard's project, and what it delivered."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.inbox = Inbox()
        self.network = ""

    async def becomes(self, expected: list[tuple[str, bool, bool]], service: str = "web") -> None:
        """Wait for these endpoints: (address, ready, terminating)."""
        inbox = self.inbox
        await until(
            lambda: inbox.endpoints(service) == expected,
            lambda: f"{expected}, but {inbox.endpoints(service)} of {sorted(inbox.rows)}",
        )

    async def address(self, container: str) -> str:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        return (await self.yard.docker("inspect", "-f", form, container)).split()[0]


def following(
    test: Callable[[Scene], Awaitable[None]], line: Line | None = None, pace: Pace | None = None
) -> None:
    """The test beside a source, which asks Docker itself or over a line."""
    socket = SOCKET if line is None else line.here

    async def main() -> None:
        async with asyncio.timeout(120), Yard(f"source{os.getpid()}x{next(_numbers)}") as yard:
            scene = Scene(yard)
            scene.network = await yard.network("default")
            source = DockerSource(
                address(f"unix:{socket}"),
                project=yard.project,
                ids=itertools.count(1),
                pace=pace,
                candidates=(),
            )
            task = asyncio.create_task(source.run(scene.inbox))
            try:
                await test(scene)
                assert not task.done()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                if line is not None:
                    await line.cut()

    asyncio.run(main())


def test_a_container_from_its_start_to_its_end() -> None:
    async def test(scene: Scene) -> None:
        docker, inbox = scene.yard.docker, scene.inbox
        check = ("--health-cmd=test ! -e /sick", "--health-interval=500ms", "--health-retries=1")
        name = await scene.yard.run("web", scene.network, *check)
        where = await scene.address(name)
        await scene.becomes([(where, True, False)])
        await docker("exec", name, "touch", "/sick")
        await scene.becomes([(where, False, False)])
        await docker("exec", name, "rm", "/sick")
        await scene.becomes([(where, True, False)])
        await docker("pause", name)
        await scene.becomes([(where, False, False)])
        await docker("unpause", name)
        await scene.becomes([(where, True, False)])
        await docker("rename", name, f"{name}_renamed")
        await until(
            lambda: ("Pod", f"{name}_renamed".replace("_", "-")) in inbox.rows, lambda: str(inbox.rows)
        )
        await docker("kill", f"{name}_renamed")
        await scene.becomes([])
        await docker("start", f"{name}_renamed")
        await scene.becomes([(where, True, False)])
        await docker("rm", "-f", f"{name}_renamed")
        await until(lambda: not inbox.rows, lambda: str(inbox.rows))
        assert inbox.problems.get("docker:api", ()) == ()

    following(test)


def test_an_endpoint_leaves_when_its_container_is_told_to_stop_not_when_it_has() -> None:
    async def test(scene: Scene) -> None:
        shell = "trap 'sleep 1.5; exit' USR1; while :; do sleep 0.1; done"
        name = await scene.yard.run("web", scene.network, "--stop-signal=USR1", shell=shell)
        where = await scene.address(name)
        await scene.becomes([(where, True, False)])
        await scene.yard.docker("kill", "--signal=WINCH", name)
        await asyncio.sleep(0.3)
        assert scene.inbox.endpoints("web") == [(where, True, False)]
        stop = asyncio.create_task(scene.yard.docker("stop", name))
        await scene.becomes([(where, False, True)])
        assert not stop.done()
        await scene.becomes([])
        await stop

    following(test)


def test_a_restart_with_a_new_address() -> None:
    async def test(scene: Scene) -> None:
        name = await scene.yard.run("web", scene.network)
        before = await scene.address(name)
        await scene.becomes([(before, True, False)])
        await scene.yard.docker("stop", "-t", "1", name)
        thief = await scene.yard.run("thief", scene.network)
        assert await scene.address(thief) == before
        await scene.yard.docker("start", name)
        after = await scene.address(name)
        assert after != before
        await scene.becomes([(after, True, False)])
        await scene.becomes([(before, True, False)], "thief")

    following(test)


def test_networks_come_and_go() -> None:
    async def test(scene: Scene) -> None:
        name = await scene.yard.run("web", scene.network)
        first = await scene.address(name)
        other = await scene.yard.network("another")
        await scene.becomes([(first, True, False)])
        await scene.yard.docker("network", "connect", other, name)
        await scene.yard.docker("network", "disconnect", scene.network, name)
        second = await scene.address(name)
        assert second != first
        await scene.becomes([(second, True, False)])

    following(test)


def test_an_outage_of_docker_empties_nothing(tmp_path: Path) -> None:
    line = Line(tmp_path / "docker.sock", SOCKET)

    async def test(scene: Scene) -> None:
        name = await scene.yard.run("web", scene.network)
        gone = await scene.yard.run("gone", scene.network)
        where = await scene.address(name)
        # Not there yet: waited for.
        await until(lambda: "No such file" in scene.inbox.outage, lambda: scene.inbox.outage)
        assert scene.inbox.synced_with is None
        await line.connect()
        await scene.becomes([(where, True, False)])
        # Time alone makes it ready; Docker has no part in that.
        await scene.becomes([(await scene.address(gone), True, False)], "gone")
        await until(lambda: scene.inbox.outage == "", lambda: scene.inbox.outage)
        rows = dict(scene.inbox.rows)
        await line.cut()
        await until(lambda: "away since" in scene.inbox.outage, lambda: scene.inbox.outage)
        await scene.yard.docker("rm", "-f", gone)
        await asyncio.sleep(0.5)
        assert scene.inbox.rows == rows
        await line.connect()
        await scene.becomes([], "gone")
        assert scene.inbox.endpoints("web") == [(where, True, False)]
        assert scene.inbox.outage == ""

    following(test, line, Pace(longest_retry=0.5))


def test_a_connection_that_is_silent_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half open: every byte is swallowed, nothing is closed."""
    monkeypatch.setattr(api, "OVERTIME", 0.5)
    monkeypatch.setattr(api, "ANSWER_WITHIN", 0.5)
    line = Line(tmp_path / "docker.sock", SOCKET)

    async def test(scene: Scene) -> None:
        await line.connect()
        name = await scene.yard.run("web", scene.network)
        where = await scene.address(name)
        await scene.becomes([(where, True, False)])
        line.frozen = True
        await scene.yard.docker("kill", name)
        await until(lambda: "did not answer" in scene.inbox.outage, lambda: scene.inbox.outage)
        assert scene.inbox.endpoints("web") == [(where, True, False)]
        line.frozen = False
        await scene.becomes([])
        assert scene.inbox.outage == ""

    following(test, line, Pace(round=1.0, longest_retry=0.5))


@pytest.mark.parametrize("seed", [1, 2])
def test_after_any_commotion_it_is_as_a_fresh_source_would_have_it(seed: int) -> None:
    async def test(scene: Scene) -> None:
        draw = random.Random(seed)
        docker = scene.yard.docker
        names = [await scene.yard.run(f"s{number}", scene.network) for number in range(3)]

        async def restless(name: str) -> None:
            for _ in range(3):
                match draw.randrange(4):
                    case 0:
                        await docker("restart", "-t", "1", name)
                    case 1:
                        await docker("kill", name)
                        # Docker 20.10 mislays addresses of containers that are started while they end.
                        await docker("wait", name)
                        await docker("start", name)
                    case 2:
                        await docker("pause", name)
                        await docker("unpause", name)
                    case 3:
                        await docker("stop", "-t", "1", name)
                        await docker("start", name)

        await asyncio.gather(*map(restless, names))
        await docker("stop", "-t", "1", names[0])
        await docker("rm", "-f", names[1])
        fresh = Inbox()
        other = DockerSource(address(f"unix:{SOCKET}"), project=scene.yard.project, candidates=())
        task = asyncio.create_task(other.run(fresh))
        await until(lambda: fresh.synced_with is not None, "a fresh source is synced")
        await until(lambda: scene.inbox.rows == fresh.rows, lambda: f"{scene.inbox.rows} != {fresh.rows}")
        assert [kind for kind, _ in fresh.rows].count("Pod") == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    following(test)


@pytest.mark.parametrize("options", [(), ("--hostname=istiod",), ("--hostname=istiod", "--network=none")])
def test_a_program_in_a_container_finds_its_own(options: tuple[str, ...]) -> None:
    async def main() -> None:
        async with Yard(f"source{os.getpid()}x{next(_numbers)}") as yard:
            if not yard.image.startswith("python"):
                pytest.skip("the image has no Python")
            module = Path(api.__file__).with_name("own.py")
            code = "import runpy; print(*runpy.run_path('/own.py')['own_ids']())"
            label = f"--label=com.docker.compose.project={yard.project}"
            run = ("run", "-d", label, f"--volume={module}:/own.py:ro", *options, yard.image)
            id = await yard.docker(*run, "python3", "-c", code)
            await yard.docker("wait", id)
            found = (await yard.docker("logs", id)).split()
            assert found[0] == id

    asyncio.run(main())
