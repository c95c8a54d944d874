"""What a stream does not keep: a thousand reconnecting proxies each name everything they have."""

from __future__ import annotations

import gc
import weakref

from controlplane.xds.ledger import Checkpoint
from tests.unit.xds.wire import run, serving
from tests.unit.xds.world import DELTA, World


class Versions(dict[str, str]):
    """A dictionary that can be watched."""


def test_what_a_returning_proxy_had_is_not_kept_for_as_long_as_it_stays() -> None:
    async def test() -> None:
        world = World()
        world.put("cds", "a", "1")
        async with serving(world) as rig:
            codec = rig.server._shared.codec
            decode, seen = codec.decode, []

            def watched(variant, data):
                request, node = decode(variant, data)
                known = Versions(request.known)
                seen.append(weakref.ref(known))
                return request._replace(known=known), node

            codec.decode = watched
            client = rig.client(DELTA)
            await client.ask("cds", known={"a": "older", "gone": "1"})
            assert (await client.read()).bodies == {"a": "1"}
            assert [one() for one in seen] == [None]

    run(test)


def test_checkpoints_go_without_a_garbage_collector() -> None:
    async def test() -> None:
        world = World()
        world.put("eds", "a", "1")
        async with serving(world) as rig:
            client = rig.client(DELTA)
            await client.ask("eds", "a")
            await client.ack(await client.read())
            for content in "234":
                world.put("eds", "a", content)
                await client.ack(await client.read())
            await client.ask("eds", "a")
            await client.ack(await client.read())
        del rig, client
        assert [one for one in gc.get_objects() if isinstance(one, Checkpoint)] == []

    gc.collect()
    gc.disable()
    try:
        run(test)
    finally:
        gc.enable()
