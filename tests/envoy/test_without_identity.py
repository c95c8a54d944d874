"""Envoys that nobody knows: plaintext where it is taken, nothing where mutual TLS is demanded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, laboratory
from tests.support.peers import (
    HTTP,
    NAMESPACES,
    PATIENCE,
    PLAINTEXT,
    REFUSED,
    STRICT,
    TCP,
    UNNAMED,
    Scene,
    policy,
    rule,
)

pytestmark = MARKS

EVERYTHING = {f"{client} -> {server}": PLAINTEXT for client in NAMESPACES for server in NAMESPACES}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with laboratory(tmp_path_factory.mktemp("nobody")) as lab:
        yield Scene(lab, identified=False)


def test_plaintext_whatever_rules_say(scene: Scene) -> None:
    scene.becomes(EVERYTHING)
    # There is no certificate to call with: a client that waited for one would hang.
    scene.write("rule", rule("foo", "httpbin.bar.svc.cluster.local", "tls: {mode: ISTIO_MUTUAL}"))
    assert wait_until(lambda: "ISTIO_MUTUAL" in str(scene.plane.get("/debug/configz")), PATIENCE)
    scene.becomes(EVERYTHING)
    assert scene.bytes_call("foo", "bar") == PLAINTEXT
    assert not scene.clients["foo"].admin.stats("ssl.handshake")


def test_strict_is_closed(scene: Scene) -> None:
    port = f", selector: {{matchLabels: {{app: httpbin}}}}, portLevelMtls: {{{TCP}: {{mode: PERMISSIVE}}}}"
    scene.write("policy", STRICT + policy("bar", "UNSET", port, "httpbin"))
    closed = {call: REFUSED for call in EVERYTHING if not call.endswith("legacy")}
    scene.becomes(EVERYTHING | closed)
    for server in ("foo", "bar"):
        assert scene.call("legacy", server, UNNAMED) == REFUSED
    # A port that is excepted is served.
    assert scene.bytes_call("legacy", "bar") == scene.bytes_call("foo", "bar") == PLAINTEXT
    assert scene.bytes_call("legacy", "foo") == REFUSED
    assert scene.call("legacy", "bar", HTTP) == REFUSED
    assert all(pod.rejected() == {} for pod in scene.lab.pods.values() if "envoy" in pod.processes)
