"""A change of root at the doors: what is served and who is believed, from the next connection on."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from controlplane.ca.signer import pem, self_signed
from controlplane.envoy.types import LISTENER
from controlplane.lab.client import Proof
from controlplane.model.caller import Door
from tests.support.raw import answer, raw, request
from tests.support.trust import DELTA, ID, Trusting, let_in, run, told
from tests.support.waiting import until

pytestmark = pytest.mark.whole

UNREACHED = grpc.StatusCode.UNAVAILABLE


def test_doors_follow_the_authority(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        authority = trust.served.app.trust.authority
        old = authority.signer
        new = self_signed(time.time(), 3600.0)
        only_old, only_new = pem(old.root), pem(new.root)
        text = trust.token()[0]
        early = replace(trust.certified(), roots=only_old + only_new)

        async with raw(trust.address(Door.CERTIFICATE), DELTA, proof=early) as open_since_then:
            await open_since_then.write(request(DELTA, id=ID))
            assert answer(DELTA, await open_since_then.read())

            # Both are trusted: what is served is still of the old one.
            authority.replace(old, (old.root, new.root))
            await let_in(trust, Door.TOKEN, Proof(only_old, text))
            assert (await told(trust, Door.TOKEN, Proof(only_new, text), id=ID))[0] is UNREACHED

            # The new one signs: so it serves, and clients of either are believed.
            authority.replace(new, (old.root, new.root))
            await let_in(trust, Door.TOKEN, Proof(only_new, text))
            assert (await told(trust, Door.TOKEN, Proof(only_old, text), id=ID))[0] is UNREACHED
            late = replace(trust.certified(), roots=only_new)
            for proof in (early, late):
                await let_in(trust, Door.CERTIFICATE, proof)

            # The old one is gone: nobody comes in by it, and who is in stays.
            authority.replace(new, (new.root,))
            assert (await told(trust, Door.CERTIFICATE, early, id=ID))[0] is UNREACHED
            await let_in(trust, Door.CERTIFICATE, late)
            streams = trust.served.app.xds
            await until(lambda: len(streams.streams) == 1, "only the stream that was open stays")
            assert await still_served(open_since_then)

    run(tmp_path, test)


async def still_served(call: Any) -> bool:
    """Whether an open stream is answered."""
    await call.write(request(DELTA, LISTENER, id=None))
    return answer(DELTA, await call.read()).type_url == LISTENER
