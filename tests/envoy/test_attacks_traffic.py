"""Ways past a policy that a caller in the same network may try at a real sidecar, byte by byte.

Each is refused, and the access log of the sidecar says what was refused, why and from where.
"""

from __future__ import annotations

import contextlib
import re

import pytest

from controlplane.lab.fetch import Target, connect
from controlplane.lab.pods import Pod
from controlplane.lab.waiting import wait_until
from tests.support.bent_requests import HOSTS, PATHS, POLICY, PROTOCOLS, Attack, get
from tests.support.envoys import MARKS, scenes
from tests.support.guarded import DEV, LEGACY, UNNAMED, WEB, Scene, bearer, policy

pytestmark = MARKS

ADMIN = policy(
    "admin", '{action: DENY, rules: [{to: [{operation: {paths: ["/admin", "/admin/*"]}}]}]}'
) + policy("host", '{action: DENY, rules: [{to: [{operation: {hosts: ["secret.example*"]}}]}]}')
"""What must not be had, said as a denial, which is the harder way."""
SLEEP_ALONE = policy(
    "sleep", '{rules: [{from: [{source: {principals: ["cluster.local/ns/default/sa/sleep"]}}]}]}'
)
DECODING = "pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}\n"
SLEEP_URI = b"spiffe://cluster.local/ns/default/sa/sleep"

world = scenes(Scene)


@pytest.fixture(scope="module")
def guarded(world: Scene) -> Scene:
    """A path and a host that are denied to everybody."""
    world.write("policy", ADMIN)
    config = world.lab.directory / "mesh-config.yaml"
    config.write_text(config.read_text() + DECODING)
    assert world.becomes(403, world.legacy, "//admin")
    settled(world)
    return world


def answered(pod: Pod, data: bytes, port: int = 8080, host: str = WEB) -> int | None:
    """The status that raw bytes are answered with; None where there is no answer, or none that is HTTP."""
    try:
        with connect(Target(pod.netns, host, port), 20) as connection:
            connection.settimeout(20)
            connection.sendall(data)
            head = connection.recv(4096)
    except OSError:
        return None
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    return int(found[1]) if found else None


def lines(scene: Scene, whence: str = LEGACY) -> list[str]:
    """What the sidecar's access log says of callers at this address."""
    log = scene.web.directory / "envoy.log"
    return [line for line in log.read_text(errors="replace").splitlines() if f" from={whence} " in line]


def assert_refused(scene: Scene, attack: Attack) -> None:
    before = len(lines(scene))
    assert answered(scene.legacy, attack.data) == attack.status
    assert wait_until(lambda: len(lines(scene)) > before, 40), "nothing is in the access log"
    last = lines(scene)[before]
    assert attack.why in last and "via_upstream" not in last, last


@pytest.mark.attack
@pytest.mark.parametrize("name", PATHS)
def test_a_path_written_otherwise(guarded: Scene, name: str) -> None:
    assert_refused(guarded, PATHS[name])


@pytest.mark.attack
@pytest.mark.parametrize("name", HOSTS)
def test_a_host_written_otherwise(guarded: Scene, name: str) -> None:
    assert_refused(guarded, HOSTS[name])


@pytest.mark.attack
@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_bent(guarded: Scene, name: str) -> None:
    assert_refused(guarded, PROTOCOLS[name])


@pytest.mark.attack
def test_a_second_request_on_the_connection_of_a_good_one(guarded: Scene) -> None:
    good, bad = (b"GET %b HTTP/1.1\r\nHost: web.foo\r\n\r\n" % path for path in (b"/public", b"/admin"))
    before = len(lines(guarded))
    with connect(Target(guarded.legacy.netns, WEB, 8080), 20) as connection:
        connection.settimeout(20)
        connection.sendall(good + bad)
        found = b""
        while found.count(b"HTTP/1.1 ") < 2:
            found += connection.recv(65536)
    assert re.findall(rb"HTTP/1\.1 (\d+)", found) == [b"200", b"403"]
    assert wait_until(lambda: any(POLICY in line for line in lines(guarded)[before:]), 40)


@pytest.mark.parametrize("port", [15000, 15001, 15004, 15006, 15010, 15012, 15014, 15020])
def test_a_port_that_is_the_proxys_own(guarded: Scene, port: int) -> None:
    """Neither the administration nor a way round: whoever dials it from outside is not let through."""
    for path in (b"/config_dump", b"/quitquitquit", b"/debug/configz"):
        asked = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path
        assert answered(guarded.legacy, asked, port) in (None, 503), path
    assert guarded.web.admin.live()


@pytest.mark.parametrize("port", [15021, 15090])
def test_an_open_port_of_the_proxy_shows_nothing_else(guarded: Scene, port: int) -> None:
    for path in (b"/config_dump", b"/certs", b"/stats/../config_dump", b"//config_dump", b"/quitquitquit"):
        asked = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path
        assert answered(guarded.legacy, asked, port) == 404, path
    assert guarded.web.admin.live()


@pytest.fixture(scope="module")
def private(world: Scene) -> Scene:
    """For one identity alone."""
    world.write("policy", SLEEP_ALONE)
    assert world.becomes(403, world.legacy, "/public")
    assert world.becomes(200, world.sleep, "/public")
    settled(world)
    return world


def settled(scene: Scene, *pods: Pod) -> None:
    """The log is written now and then: what was asked until now is in it."""
    whences = {scene.legacy.spec.name: LEGACY, scene.dev.spec.name: DEV}
    for pod in pods or (scene.legacy, scene.dev):
        whence = whences[pod.spec.name]
        scene.status(pod, "/settled")
        assert wait_until(
            lambda whence=whence: any("/settled" in one for one in lines(scene, whence)[-1:]), 15
        )


CLAIMS = {
    "a certificate in a header": b"X-Forwarded-Client-Cert: By=x;Hash=y;URI=" + SLEEP_URI,
    "two of them": b"X-Forwarded-Client-Cert: URI="
    + SLEEP_URI
    + b"\r\nx-forwarded-client-cert: URI="
    + SLEEP_URI,
    "an address in a header": b"X-Forwarded-For: 10.244.0.11",
    "an address of its own machine": b"X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1",
    "that it is internal": b"X-Envoy-Internal: true\r\nX-Envoy-External-Address: 10.244.0.11",
    "another path before": b"X-Envoy-Original-Path: /public\r\nX-Original-URL: /public",
    "that it was let in": b"X-Envoy-Auth-Partial-Body: false\r\nX-Ext-Authz: allow",
}


@pytest.mark.attack
@pytest.mark.parametrize("name", CLAIMS)
def test_a_caller_that_says_who_it_is_in_plaintext(private: Scene, name: str) -> None:
    assert_refused(private, get(b"/public", more=CLAIMS[name] + b"\r\n"))


@pytest.mark.attack
@pytest.mark.parametrize("name", CLAIMS)
def test_a_caller_with_another_identity_that_says_who_it_is(private: Scene, name: str) -> None:
    """Its own proxy adds its certificate, and policies look at nothing else."""
    headers = dict(line.split(": ", 1) for line in CLAIMS[name].decode().split("\r\n"))
    before = len(lines(private, DEV))
    assert private.status(private.dev, "/public", headers=headers) == 403
    assert wait_until(lambda: len(lines(private, DEV)) > before, 40)
    last = lines(private, DEV)[before]
    assert POLICY in last and "peer=spiffe://cluster.local/ns/dev/sa/dev" in last


@pytest.mark.attack
def test_a_token_is_not_an_identity_of_the_mesh(private: Scene) -> None:
    token = bearer(sub="cluster.local/ns/default/sa/sleep")["authorization"].encode()
    before = len(lines(private))
    assert_refused(private, get(b"/public", more=b"Authorization: " + token + b"\r\n"))
    assert token.removeprefix(b"Bearer ").decode() not in "".join(lines(private)[before:])


STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: foo}
spec: {mtls: {mode: STRICT}}
"""
BEGINNINGS = {
    "HTTP": b"GET /public HTTP/1.1\r\nHost: web.foo\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "bytes": b"\0hello\n",
}


@pytest.fixture(scope="module")
def strict(world: Scene) -> Scene:
    """Mutual TLS or nothing."""
    world.write("policy", STRICT)
    assert wait_until(lambda: answered(world.legacy, BEGINNINGS["HTTP"]) is None, 40)
    assert world.becomes(200, world.sleep, "/public")
    settled(world, world.dev)
    return world


@pytest.mark.attack
@pytest.mark.parametrize("port", [8080, 9000, UNNAMED])
@pytest.mark.parametrize("name", BEGINNINGS)
def test_plaintext_to_a_strict_port(strict: Scene, name: str, port: int) -> None:
    before = len(lines(strict))
    with connect(Target(strict.legacy.netns, WEB, port), 20) as connection:
        connection.settimeout(20)
        connection.sendall(BEGINNINGS[name])
        with contextlib.suppress(ConnectionError):
            assert connection.recv(100) == b""
    assert wait_until(lambda: len(lines(strict)) > before, 40), "nothing is in the access log"
    assert " NR" in lines(strict)[before]


def test_base_leaves_slashes_to_the_application_as_istio_does(world: Scene) -> None:
    """Why there is another setting; everything else of the paths is normalized by default, too."""
    config = world.lab.directory / "mesh-config.yaml"
    config.write_text(config.read_text().replace("DECODE_AND_MERGE_SLASHES", "BASE"))
    world.write("policy", ADMIN)
    assert world.becomes(200, world.legacy, "//admin")
    assert [world.status(world.legacy, path) for path in ("/%61dmin", "/x/../admin")] == [403, 403]
