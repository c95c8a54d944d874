"""A CA that is plugged in, under two hundred requests a second: intermediates, and files that change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca.reload import Reload
from tests.support.cas import DAY, Made, make_ca, plug, shaped
from tests.support.envoys import MARKS, laboratory
from tests.support.mutual import calling, served_pair, undisturbed
from tests.support.waiting import until

pytestmark = MARKS


def ca(name: str, issuer: Made | None = None) -> Made:
    now = time.time()
    return make_ca(name, issuer, shaped(begin=now - 60, end=now + DAY))


async def taken_up(reload: Reload) -> None:
    """Take up the files as soon as every proxy has followed what was before."""
    deadline = time.monotonic() + 60.0
    while True:
        try:
            assert reload.reload()
            return
        except EnvironmentUnfit as error:
            assert "have not followed" in str(error)
            assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


def test_the_files_change_and_nobody_notices(tmp_path: Path) -> None:
    root = ca("root")
    middle = ca("middle", root)
    first, second = ca("east", middle), ca("west", middle)
    other_root = ca("other root")
    third = ca("east", other_root)
    folder = plug(tmp_path / "cacerts", first, (root,), (first, middle))
    # The signer, the roots, what lies between: another intermediate, then another root in its three steps.
    steps: list[tuple[Made, Sequence[Made], Sequence[Made]]] = [
        (second, (root,), (middle,)),
        (second, (root, other_root), (middle,)),
        (third, (root, other_root), ()),
        (third, (other_root,), ()),
    ]

    async def scenario() -> None:
        with laboratory(tmp_path) as lab:
            async with served_pair(lab, "DELTA_GRPC", "--root-ca-dir", str(folder)) as (served, pair):
                trust = served.app.trust
                assert trust.reload is not None
                drained = pair.drained()
                before = [await asyncio.to_thread(pair.serials, pod) for pod in pair.pods]
                with calling(lab, pair) as calls:
                    await until(lambda: len(calls.answers) > 50, "requests flow")
                    for signer, roots, chain in steps:
                        plug(folder, signer, roots, chain)
                        await taken_up(trust.reload)
                    behind = trust.reload.behind
                    await until(lambda: not behind(), "the proxies follow")
                    await asyncio.sleep(0.5)
                undisturbed(pair, calls, drained)
                for pod, old in zip(pair.pods, before, strict=True):
                    assert await asyncio.to_thread(pair.serials, pod) != old
                    serial = f"{other_root.certificate.serial_number:x}"
                    assert {one.lstrip("0") for one in await asyncio.to_thread(pair.roots, pod)} == {serial}

    asyncio.run(scenario())
