"""`mini-istiod ca` at a control plane that runs: the change of root by one command, and what it shows."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.app.ca_routes import ca_routes
from controlplane.app.commands import main
from controlplane.base.clock import SystemClock
from controlplane.ca import rotation
from controlplane.ca.signer import pem
from tests.support.cas import make_ca, plug, shaped
from tests.support.plane import Served, serving
from tests.support.waiting import until

pytestmark = pytest.mark.whole


async def ca(served: Served, *args: str) -> int:
    """Run the command as somebody else would: in another thread."""
    (host, port), *_ = served.app.monitoring._runner.addresses  # type: ignore[union-attr]
    return await asyncio.to_thread(main, ["ca", "--monitoring", f"{host}:{port}", *args])


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "_LEAST_PAUSE", 0.05)


def run(directory: Path, test: Any, *flags: str) -> None:
    async def scenario() -> None:
        async with serving(directory, "--data-dir", str(directory / "data"), *flags) as served:
            await test(served)

    asyncio.run(scenario())


def test_one_command_changes_the_root_and_tells_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], brisk: None
) -> None:
    async def test(served: Served) -> None:
        trust = served.app.trust
        old, first = trust.authority.root, trust.serving.current
        late = ["web.default"]
        assert trust.rotation is not None
        trust.rotation.behind = lambda: tuple(late)
        command = asyncio.create_task(ca(served, "rotate", "--timeout", "60"))
        await until(lambda: trust.rotation.progress().stage == "trust", "it begins")  # type: ignore[union-attr]
        shown = ""

        def said() -> bool:
            nonlocal shown
            shown += capsys.readouterr().out
            return "behind" in shown

        await until(said, "the command tells for whom it waits")
        assert "stage      trust: both roots are trusted, the old one signs" in shown
        assert "behind     1: web.default" in shown
        late.clear()
        assert await command == 0
        out = capsys.readouterr().out
        assert out.splitlines()[-1].endswith("stage      idle: one root, which signs")
        assert trust.authority.root != old
        assert (tmp_path / "data/root-cert.pem").read_bytes() == trust.authority.root
        assert trust.serving.current != first

    run(tmp_path, test, "--root-rotation-pause", "0")


def test_what_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test(served: Served) -> None:
        signer = served.app.trust.authority.signer
        assert await ca(served, "show") == 0
        out = capsys.readouterr().out
        assert out.count(signer.root.subject.rfc4514_string()) == 2
        assert "stage      idle" in out
        assert await ca(served, "roots") == 0
        assert capsys.readouterr().out == pem(signer.root).decode()
        assert "PRIVATE" not in out

    run(tmp_path, test)


def test_what_is_refused_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test(served: Served) -> None:
        assert await ca(served, "abandon") == 2
        assert "answered 409: there is no rotation to abandon" in capsys.readouterr().err
        assert await ca(served, "reload") == 2
        assert "can be done with this authority: abandon, advance, rotate" in capsys.readouterr().err
        assert await ca(served, "rotate", "--no-wait") == 0
        assert "stage      trust" in capsys.readouterr().out
        assert await ca(served, "rotate") == 2
        assert "a rotation is under way: its stage is trust" in capsys.readouterr().err
        assert await ca(served, "abandon") == 0
        assert "stage      idle" in capsys.readouterr().out
        assert await ca(served, "status") == 0

    run(tmp_path, test)


def test_a_rotation_that_takes_long_goes_on_without_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def test(served: Served) -> None:
        assert await ca(served, "rotate", "--timeout", "0.1") == 1
        assert "the rotation goes on" in capsys.readouterr().err
        assert served.app.trust.rotation.progress().stage == "trust"  # type: ignore[union-attr]

    run(tmp_path, test)


def test_a_restart_in_the_midst_goes_on_and_says_so(
    tmp_path: Path, brisk: None, caplog: pytest.LogCaptureFixture
) -> None:
    found: list[tuple[str, bytes]] = []

    async def begin(served: Served) -> None:
        trust = served.app.trust
        assert trust.rotation is not None
        trust.rotation.behind = lambda: ("web.default",)
        trust.rotation.start()
        found.append((trust.rotation.roots.stage, b"".join(trust.authority.bundle.roots)))

    async def go_on(served: Served) -> None:
        trust = served.app.trust
        assert trust.rotation is not None
        assert (trust.rotation.roots.stage, b"".join(trust.authority.bundle.roots)) == found[0]
        await until(lambda: trust.rotation.roots.stage == "idle", "it ends")  # type: ignore[union-attr]
        assert len(trust.authority.roots) == 1
        assert trust.authority.root in found[0][1]

    def resumed() -> list[str]:
        said = "a rotation of the root was under way, and goes on"
        return [one.__dict__["stage"] for one in caplog.records if one.message == said]

    run(tmp_path, begin, "--root-rotation-pause", "0")
    assert resumed() == []
    run(tmp_path, go_on, "--root-rotation-pause", "0")
    assert resumed() == ["trust"]


def test_a_plugged_in_ca_is_taken_up_by_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = SystemClock().wall()
    shape = shaped(begin=now - 60, end=now + 1e6)
    old, new = make_ca("old", shape=shape), make_ca("new", shape=shape)
    folder = plug(tmp_path / "cacerts", old, (old,))

    async def test(served: Served) -> None:
        assert await ca(served, "rotate") == 2
        assert "what can be done with this authority: reload" in capsys.readouterr().err
        plug(folder, new, (new,))
        assert await ca(served, "reload") == 2
        assert "its root is not trusted yet" in capsys.readouterr().err
        plug(folder, old, (old, new))
        assert await ca(served, "reload") == 0
        assert (tmp_path / "data/root-cert.pem").read_bytes() == old.pem + new.pem
        plug(folder, new, (old, new))
        assert await ca(served, "reload") == 0
        assert served.app.trust.authority.signer.certificate == new.certificate
        assert not list((tmp_path / "data").glob("ca/*"))  # the operator's key is not copied

    run(tmp_path, test, "--root-ca-dir", str(folder))


def test_the_debug_path_has_no_key(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        (route,) = ca_routes(served.app.trust)
        text = json.dumps(route.handler({}))
        assert "CERTIFICATE" in text
        assert "PRIVATE" not in text

    run(tmp_path, test)
