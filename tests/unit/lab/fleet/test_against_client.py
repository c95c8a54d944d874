"""A peer of the fleet against the other synthetic client, which is written to be clear: same view and wishes.

Both are told the same random responses of a server that knows nothing; some they refuse.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.envoy.bootstrap import Node
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from controlplane.lab.client import Client
from controlplane.lab.fleet.peer import Peer
from controlplane.lab.fleet.requests import VARIANTS
from controlplane.lab.fleet.responses import Parser
from tests.unit.lab.fleet.answers import (
    DELTA,
    REQUEST,
    SOTW,
    URLS,
    cluster,
    endpoints,
    listener,
    response,
    routes,
)

NODE = Node("10.0.0.1", "web-1", "front")
NAMES = ("a", "b", "c", "d")
names = st.sets(st.sampled_from(NAMES))


@st.composite
def answers(draw: Any) -> tuple[str, dict[str, bytes], tuple[str, ...], bool]:
    """Type, resources by name, removed names, and whether they are refused."""
    url = draw(st.sampled_from(URLS))
    found = {}
    for name in sorted(draw(names)):
        salt = draw(st.integers(0, 2))
        if url == CLUSTER:
            found[name] = cluster(name, salt, eds=draw(st.sampled_from((None, "", *NAMES))))
        elif url == LISTENER:
            found[name] = listener(name, *sorted(draw(names)), salt=salt)
        elif url == ENDPOINT:
            found[name] = endpoints(name, f"10.0.0.{salt}")
        else:
            found[name] = routes(name, f"{salt}.example")
    removed = sorted(draw(names) - found.keys())
    return url, found, tuple(removed), draw(st.integers(0, 4)) == 0


class Wishes:
    """What a server makes of the requests: the names that are asked for, by type."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.names: dict[str, set[str]] = {}

    def take(self, requests: list[bytes]) -> None:
        for data in requests:
            request = REQUEST[self.protocol].FromString(data)
            if self.protocol == DELTA:
                wanted = self.names.setdefault(request.type_url, set())
                wanted |= set(request.resource_names_subscribe)
                wanted -= set(request.resource_names_unsubscribe)
            else:
                self.names[request.type_url] = set(request.resource_names)


@pytest.mark.parametrize("protocol", [DELTA, SOTW])
@given(told=st.lists(answers(), max_size=12), breaks=st.sets(st.integers(0, 12), max_size=2))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_peer_and_client_agree(protocol: Any, told: list[Any], breaks: set[int]) -> None:
    async def scene() -> None:
        variant = VARIANTS[protocol]
        parser = Parser(delta=variant.delta)
        peer = Peer(variant, variant.node(NODE))
        client = Client(NODE, protocol)
        wishes = Wishes(protocol)
        wishes.take(peer.greet())
        # This server answers what was not asked yet.
        wishes.take(peer.listeners())
        for number, (url, found, removed, refused) in enumerate(told):
            if number in breaks:
                wishes = Wishes(protocol)
                wishes.take(peer.greet())
            error = "no" if refused else None
            client.verdict = lambda url, bodies, error=error: error  # type: ignore[misc]
            version = {name: f"{hash(body)}" for name, body in found.items()}
            data = response(protocol, url, f"{number}", found, removed=removed, versions=version)
            client._take(data)
            requests = peer.take(parser.parse(data), error).requests
            wishes.take(requests)
            # Whatever else is asked, a response is answered once, with its nonce.
            asked = [REQUEST[protocol].FromString(one) for one in requests]
            answered = [one for one in asked if one.response_nonce == f"{number}"]
            assert [(one.type_url, one.HasField("error_detail")) for one in answered] == [(url, refused)]
        views = {url: {} for url in URLS} | {
            url: {name: held.resource.body for name, held in holding.resources.items()}
            for url, holding in peer.holdings.items()
        }
        assert views == {url: client.views()[url] for url in URLS}
        for url in (ENDPOINT, ROUTE):
            assert wishes.names.get(url, set()) == client._wanted.get(url, frozenset())

    asyncio.run(scene())
