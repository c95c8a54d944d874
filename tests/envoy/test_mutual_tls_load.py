"""Policies and clusters change while foo calls bar: no request fails, and none goes in plaintext."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from controlplane.lab.fetch import connect
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.peers import HTTP, MUTUAL, PATIENCE, PLAINTEXT, REFUSED, SERVERS, Scene, objects, policy

pytestmark = MARKS

scene = scenes(Scene)


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test starts from the defaults."""
    yield
    found: Scene = request.getfixturevalue("scene")
    found.reset()


@contextmanager
def load(scene: Scene, answers: list[str], new_connections: bool) -> Iterator[None]:
    """Requests of foo to bar as long as this lasts; what becomes of each goes to `answers`."""
    ends = threading.Event()
    target = scene.target("foo", "bar", HTTP)

    def run() -> None:
        connection: http.client.HTTPConnection | None = None
        while not ends.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(target.host, target.port, timeout=20)
                    connection.sock = connect(target, 20)
                connection.request("GET", "/", headers={"Host": f"httpbin.bar:{HTTP}"})
                response = connection.getresponse()
                told = response.read()
                mutual = b"URI=spiffe://cluster.local/ns/foo/sa/sleep" in told
                answers.append(f"{response.status} {MUTUAL if mutual else PLAINTEXT}")
                if new_connections:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                answers.append(repr(error))
                connection = None
            time.sleep(0.005)
        if connection is not None:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ends.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("new_connections", [False, True], ids=["kept alive", "one request each"])
def test_flipping_strict_under_load(scene: Scene, new_connections: bool) -> None:
    """The chains of mutual TLS are the same before and after: not even connections of sidecars end."""
    answers: list[str] = []
    scene.call("foo", "bar")
    before = shaken(scene)
    with load(scene, answers, new_connections):
        for _ in range(4):
            scene.write("policy", policy("bar", "STRICT"))
            assert wait_until(lambda: scene.call("legacy", "bar") == REFUSED, PATIENCE)
            scene.write("policy", "")
            assert wait_until(lambda: scene.call("legacy", "bar") == PLAINTEXT, PATIENCE)
    assert set(answers) == {f"200 {MUTUAL}"}, {a: answers.count(a) for a in set(answers)}
    assert len(answers) > 50
    # One connection for each of the two callers, and no second one.
    assert shaken(scene) <= before + 2


def shaken(scene: Scene) -> int:
    """How many connections of mutual TLS there have been from foo to bar."""
    found = scene.clients["foo"].admin.stats("upstream_cx_total")
    return found[f"cluster.outbound|{HTTP}||httpbin.bar.svc.cluster.local;.upstream_cx_total"]


def test_moving_to_another_trust_domain_under_load(scene: Scene) -> None:
    """The old one is an alias: certificates for it are believed, on both sides, as long as there are any."""
    answers: list[str] = []

    def known() -> bool:
        dump = json.dumps(scene.clients["foo"].admin.config_dump())
        return "spiffe://new.example.org/ns/bar/sa/httpbin" in dump

    with load(scene, answers, new_connections=True):
        mesh = "kind: MeshConfig\ntrustDomain: new.example.org\ntrustDomainAliases: [cluster.local]\n"
        scene.write("meshconfig", mesh)
        assert wait_until(known, PATIENCE)
        done = len(answers)
        assert wait_until(lambda: len(answers) > done + 50, PATIENCE)
    assert set(answers) == {f"200 {MUTUAL}"}, {a: answers.count(a) for a in set(answers)}


def test_changing_a_mutual_cluster_under_load(scene: Scene) -> None:
    """Another account behind the service is another list of names, and so another cluster."""
    answers: list[str] = []
    name = "cluster_manager.cluster_modified"

    def changes() -> int:
        return scene.clients["foo"].admin.stats(name)[name]

    with load(scene, answers, new_connections=True):
        for number in range(4):
            known, done = changes(), len(answers)
            more = objects("bar").partition("kind: Pod")[2].replace("httpbin-bar", f"more-{number}")
            more = more.replace("serviceAccountName: httpbin", f"serviceAccountName: more-{number}")
            # It is not ready, so that nobody is sent to it.
            more = more.replace('"True"', '"False"').replace(SERVERS["bar"], f"10.244.9.{number + 1}")
            scene.write("more", f"apiVersion: v1\nkind: Pod{more}")
            assert wait_until(lambda: changes() >= known + 3 and len(answers) > done + 20, PATIENCE)  # noqa: B023
    assert set(answers) == {f"200 {MUTUAL}"}, {a: answers.count(a) for a in set(answers)}
