"""Who may call whom, and how: foo and bar with sidecars, legacy without, under every kind of policy.

The seeds' exercise.  That a call was mutual TLS is what the server says, not what the client was told: its
proxy names the caller in a header that it takes from the certificate alone.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.peers import (
    BOTH,
    DEFAULT,
    FOUND_OUT,
    HTTP,
    MUTUAL,
    NAMESPACES,
    NOT_IN_MESH,
    ONLY_MUTUAL,
    PATIENCE,
    PLAINTEXT,
    REFUSED,
    SELECTED,
    STRICT,
    TCP,
    TLS,
    UNNAMED,
    Scene,
    expected,
    objects,
    policy,
    rule,
)

pytestmark = MARKS

scene = scenes(Scene)


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test starts from the defaults."""
    yield
    found: Scene = request.getfixturevalue("scene")
    found.reset()


POLICIES = {
    "nobody says anything": ("", DEFAULT),
    "the mesh is strict": (STRICT, expected(foo=ONLY_MUTUAL, bar=ONLY_MUTUAL, legacy=NOT_IN_MESH)),
    "the mesh is disabled": (
        policy("istio-system", "DISABLE"),
        expected(foo=NOT_IN_MESH, bar=NOT_IN_MESH, legacy=NOT_IN_MESH),
    ),
    "a namespace is strict": (
        policy("foo", "STRICT"),
        expected(foo=ONLY_MUTUAL, bar=BOTH, legacy=NOT_IN_MESH),
    ),
    "a namespace is permissive in a strict mesh": (
        STRICT + policy("foo", "PERMISSIVE"),
        expected(foo=BOTH, bar=ONLY_MUTUAL, legacy=NOT_IN_MESH),
    ),
    "a namespace is disabled in a strict mesh": (
        STRICT + policy("foo", "DISABLE"),
        expected(foo=NOT_IN_MESH, bar=ONLY_MUTUAL, legacy=NOT_IN_MESH),
    ),
    "a workload is strict": (
        policy("bar", "STRICT", SELECTED, "httpbin"),
        expected(foo=BOTH, bar=ONLY_MUTUAL, legacy=NOT_IN_MESH),
    ),
    "a workload leaves it to its namespace": (
        policy("bar", "STRICT") + policy("bar", "UNSET", SELECTED, "httpbin"),
        expected(foo=BOTH, bar=ONLY_MUTUAL, legacy=NOT_IN_MESH),
    ),
    "a workload is disabled in a strict namespace": (
        policy("foo", "STRICT") + policy("foo", "DISABLE", SELECTED, "httpbin"),
        expected(foo=NOT_IN_MESH, bar=BOTH, legacy=NOT_IN_MESH),
    ),
    "a policy for other workloads": (
        policy("bar", "STRICT", ", selector: {matchLabels: {app: other}}", "other"),
        DEFAULT,
    ),
    "a port of a strict workload is disabled": (
        policy("bar", "STRICT", f"{SELECTED}, portLevelMtls: {{{HTTP}: {{mode: DISABLE}}}}", "httpbin"),
        expected(foo=BOTH, bar=NOT_IN_MESH, legacy=NOT_IN_MESH),
    ),
    "a port of a workload is strict": (
        policy("bar", "PERMISSIVE", f"{SELECTED}, portLevelMtls: {{{HTTP}: {{mode: STRICT}}}}", "httpbin"),
        expected(foo=BOTH, bar=ONLY_MUTUAL, legacy=NOT_IN_MESH),
    ),
}


@pytest.mark.parametrize("name", POLICIES)
def test_the_matrix(scene: Scene, name: str) -> None:
    text, wanted = POLICIES[name]
    scene.write("policy", text)
    scene.becomes(wanted)


@pytest.mark.parametrize(
    ("text", "ours", "legacy"),
    [("", MUTUAL, PLAINTEXT), (STRICT, MUTUAL, REFUSED), (policy("bar", "DISABLE"), PLAINTEXT, PLAINTEXT)],
    ids=["permissive", "strict", "disabled"],
)
def test_bytes_and_ports_whose_protocol_is_found_out(scene: Scene, text: str, ours: str, legacy: str) -> None:
    scene.write("policy", text)
    assert wait_until(lambda: scene.call("legacy", "bar") == legacy, PATIENCE)
    assert wait_until(lambda: scene.bytes_call("foo", "bar") == ours, PATIENCE)
    assert scene.bytes_call("legacy", "bar") == legacy
    assert scene.bytes_call("foo", "bar", FOUND_OUT) == ours
    assert scene.bytes_call("legacy", "bar", FOUND_OUT) == legacy
    # The same port carries HTTP, which is recognized inside of TLS too: or the caller would not be named.
    assert scene.call("foo", "bar", FOUND_OUT) == ours
    assert scene.call("legacy", "bar", FOUND_OUT) == legacy


def test_an_applications_own_tls_passes_through_a_permissive_port(scene: Scene) -> None:
    hello = client_hello()
    for port in (TCP, FOUND_OUT, UNNAMED):
        assert scene.send("legacy", "bar", hello, port) == b"echo " + hello
    scene.write("policy", STRICT)
    assert wait_until(lambda: scene.call("legacy", "bar") == REFUSED, PATIENCE)
    for port in (TCP, FOUND_OUT, UNNAMED):
        # Its proxy answers in place of the application, and asks for a certificate.
        assert not scene.send("legacy", "bar", hello, port).startswith(b"echo")


def test_an_applications_own_tls_goes_through_mutual_tls(scene: Scene) -> None:
    scene.write("policy", STRICT)
    assert wait_until(lambda: scene.call("legacy", "bar") == REFUSED, PATIENCE)
    hello, before = client_hello(), scene.handshakes("bar")
    assert scene.send("foo", "bar", hello, TLS) == b"echo " + hello
    assert scene.handshakes("bar") == before + 1


def client_hello() -> bytes:
    """The first bytes of a client that speaks TLS for itself."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="own.example.com").do_handshake()
    return outgoing.read()


def test_ports_without_a_service(scene: Scene) -> None:
    assert scene.call("legacy", "bar", UNNAMED) == PLAINTEXT
    scene.write("policy", policy("bar", "STRICT"))
    assert wait_until(lambda: scene.call("legacy", "bar", UNNAMED) == REFUSED, PATIENCE)
    assert scene.send("legacy", "bar", port=UNNAMED) == b""
    ports = f"{SELECTED}, portLevelMtls: {{{UNNAMED}: {{mode: PERMISSIVE}}}}"
    scene.write("policy", policy("bar", "STRICT", ports, "httpbin"))
    assert wait_until(lambda: scene.call("legacy", "bar", UNNAMED) == PLAINTEXT, PATIENCE)
    assert scene.call("legacy", "bar") == REFUSED


NAMED = "tls: {mode: ISTIO_MUTUAL}"
ELSE = "tls: {mode: ISTIO_MUTUAL, subjectAltNames: [spiffe://cluster.local/ns/bar/sa/other]}"
BY_PORT = f"{NAMED}, portLevelSettings: [{{port: {{number: {HTTP}}}, tls: {{mode: DISABLE}}}}]"
RULES = {
    "plaintext though the server takes both": ("", "tls: {mode: DISABLE}", PLAINTEXT),
    "plaintext to a strict server": (STRICT, "tls: {mode: DISABLE}", REFUSED),
    "mutual TLS by name": (STRICT, NAMED, MUTUAL),
    "mutual TLS by name to a server without": (policy("bar", "DISABLE"), NAMED, REFUSED),
    "a server that is to be somebody else": (STRICT, ELSE, REFUSED),
    "a port of its own": ("", BY_PORT, PLAINTEXT),
    "HTTP/2 between sidecars": (STRICT, "connectionPool: {http: {h2UpgradePolicy: UPGRADE}}", MUTUAL),
}


@pytest.mark.parametrize("name", RULES)
def test_what_destination_rules_say_of_tls(scene: Scene, name: str) -> None:
    text, said, wanted = RULES[name]
    scene.write("policy", text + rule("foo", "httpbin.bar.svc.cluster.local", said))
    others = PLAINTEXT if "DISABLE" in text else MUTUAL
    # The rule is that of one namespace.

    def called() -> bool:
        return [scene.call(client, "bar") for client in ("foo", "bar")] == [wanted, others]

    assert wait_until(called, PATIENCE), (scene.call("foo", "bar"), scene.call("bar", "bar"))
    if "UPGRADE" in said:
        assert wait_until(lambda: called() and http2_connections(scene) > 0, PATIENCE)


def http2_connections(scene: Scene) -> int:
    found = scene.servers["bar"].admin.stats("downstream_cx_http2_total")
    return sum(count for name, count in found.items() if f"inbound_0.0.0.0_{HTTP}" in name)


def test_a_server_that_proves_to_be_nobody_of_the_service_is_refused(scene: Scene) -> None:
    """The pods are said to run under another account than their certificates are for."""
    text = "".join(map(objects, NAMESPACES))
    scene.write("mesh", text.replace("serviceAccountName: httpbin", "serviceAccountName: other"))
    assert wait_until(lambda: scene.call("foo", "bar") == REFUSED, PATIENCE)
    failed = scene.clients["foo"].admin.stats("ssl.fail_verify_san")
    assert any(count for name, count in failed.items() if "httpbin.bar" in name)


def test_a_headless_service_is_called_where_its_pods_are(scene: Scene) -> None:
    headless = f"""
apiVersion: v1
kind: Service
metadata: {{name: headless, namespace: bar}}
spec: {{clusterIP: None, selector: {{app: httpbin}}, ports: [{{name: tcp, port: {UNNAMED}}}]}}
"""
    scene.write("headless", headless + STRICT)
    assert wait_until(lambda: scene.bytes_call("foo", "bar", UNNAMED) == MUTUAL, PATIENCE)
