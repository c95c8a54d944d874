"""A change of HTTP policies takes effect on connections that are open, and closes none of them."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Callable

from controlplane.lab.fetch import Target, connect
from controlplane.lab.pods import Pod
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.guarded import VIP, WEB, Scene, policy

pytestmark = MARKS

FLIPS = 10

scene = scenes(Scene)


class Kept:
    """One connection that is never let go."""

    def __init__(self, pod: Pod, host: str, port: int) -> None:
        self.connection = http.client.HTTPConnection(host, port, timeout=20)
        self.socket = self.connection.sock = connect(Target(pod.netns, host, port), 5)

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(self) -> int:
        """A request's status; fails where the connection was or is to be closed."""
        self.connection.request("GET", "/", headers={"host": "web.foo"})
        response = self.connection.getresponse()
        response.read()
        assert response.getheader("connection") != "close"
        assert self.connection.sock is self.socket
        return response.status


def until(wanted: int, ask: Callable[[], int]) -> float:
    """Seconds until a request is answered so."""
    start = time.monotonic()
    while ask() != wanted:
        assert time.monotonic() - start < 60
    return time.monotonic() - start


def drains(pod: Pod) -> dict[str, int]:
    found = pod.admin.stats("drain")
    assert any("draining" in name for name in found)
    assert any(name.startswith("http.inbound") for name in found)
    return {name: count for name, count in found.items() if count}


def test_policies_change_under_open_connections(scene: Scene) -> None:
    scene.clear()
    with Kept(scene.legacy, WEB, 8080) as plain, Kept(scene.sleep, VIP, 80) as mutual:
        assert (plain.ask(), mutual.ask()) == (200, 200)
        took = flip(scene, plain, mutual)
    assert scene.web.admin.rejected() == {}
    # Chains of ports without HTTP move with their rules; requests take no notice.
    assert drains(scene.web).keys() <= {"listener_manager.total_filter_chains_draining"}
    print(f"{len(took)} changes, from the file to the effect: {statistics.median(took) * 1e3:.1f} ms median")


def flip(scene: Scene, plain: Kept, mutual: Kept) -> list[float]:
    """Close and open the workload again and again; the seconds until each change had its effect."""
    closed = policy("flip", "{}") + policy("first", '{rules: [{to: [{operation: {paths: ["/x"]}}]}]}')
    opened = policy("flip", "{rules: [{}]}")
    took = []
    for _ in range(FLIPS):
        for text, status in ((closed, 403), (opened, 200)):
            scene.write("policy", text)
            took.append(until(status, plain.ask))
            until(status, mutual.ask)
    return took


def test_an_edit_of_http_policies_leaves_the_listener_alone(scene: Scene) -> None:
    scene.clear()
    scene.write("policy", policy("edit", '{rules: [{to: [{operation: {paths: ["/0"]}}]}]}'))
    assert scene.becomes(403, scene.sleep)
    before = drains(scene.web)
    listeners = scene.web.admin.stats("listener_manager.lds.update_success")
    for number in range(1, 4):
        spec = f'{{rules: [{{to: [{{operation: {{paths: ["/{number}"]}}}}]}}]}}'
        scene.write("policy", policy("edit", spec))
        assert scene.becomes(200, scene.sleep, f"/{number}")
        assert scene.status(scene.sleep, f"/{number - 1}") == 403
    assert scene.web.admin.stats("listener_manager.lds.update_success") == listeners
    assert drains(scene.web) == before
    assert wait_until(lambda: scene.web.admin.rejected() == {}, 40)
