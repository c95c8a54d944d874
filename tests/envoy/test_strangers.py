"""Who is let in by a strict port, certificate by certificate; callers are programs without a sidecar."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.ca.keep import DirectoryKeeper
from controlplane.ca.keys import key_pem, new_key
from controlplane.ca.leaf import Names, leaf
from controlplane.ca.signer import Signer, pem, self_signed
from controlplane.lab.fetch import connect
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, laboratory
from tests.support.peers import FOUND_OUT, HTTP, PATIENCE, REFUSED, STRICT, UNNAMED, Scene

pytestmark = MARKS

SCRAPER = "spiffe://cluster.local/ns/monitoring/sa/scraper"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with laboratory(tmp_path_factory.mktemp("strangers")) as lab:
        found = Scene(lab)
        found.write("policy", STRICT)
        assert wait_until(lambda: found.call("legacy", "bar") == REFUSED, PATIENCE)
        yield found


@pytest.fixture(scope="module")
def signer(scene: Scene) -> Signer:
    """The mesh's own, which nobody but the control plane should have."""
    kept = DirectoryKeeper(scene.plane.data).load()
    assert kept is not None
    return kept.current


def certificate(folder: Path, signer: Signer, uri: str, *, expired: bool = False) -> Path:
    """A file with a key and a certificate of this signer."""
    key = new_key("ec")
    now = time.time()
    ends = now - 60 if expired else now + 3600
    made = leaf(signer, key.public_key(), Names((uri,)), now - 7200, ends)
    path = folder / "client.pem"
    path.write_bytes(key_pem(key) + pem(made))
    return path


def get(scene: Scene, port: int, pair: Path | None, alpn: tuple[str, ...] = ()) -> str:
    """The caller's name as the application hears it; "" where the connection is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if pair is not None:
        context.load_cert_chain(pair)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    target = scene.target("legacy", "bar", port)
    try:
        with connect(target, 5) as raw, context.wrap_socket(raw) as wrapped:
            connection = http.client.HTTPConnection(target.host, timeout=5)
            connection.sock = wrapped
            connection.request("GET", "/")
            response = connection.getresponse()
            assert response.status == 200
            told = json.loads(response.read())["headers"].get("x-forwarded-client-cert", "nobody")
            return str(told)
    except (OSError, http.client.HTTPException):
        return ""


@pytest.mark.parametrize("alpn", [(), ("http/1.1",), ("istio",), ("istio-http/1.1", "istio")])
def test_a_certificate_of_the_mesh_is_enough(
    scene: Scene, signer: Signer, alpn: tuple[str, ...], tmp_path: Path
) -> None:
    """A scraper of metrics, say: it need not know what sidecars say by ALPN."""
    pair = certificate(tmp_path, signer, SCRAPER)
    assert f"URI={SCRAPER}" in get(scene, HTTP, pair, alpn)
    # Where the protocol is found out, HTTP is recognized by those names alone; the rest is passed on.
    seen = "URI=" if "istio-http/1.1" in alpn else "nobody"
    assert seen in get(scene, FOUND_OUT, pair, alpn)
    assert seen in get(scene, UNNAMED, pair, alpn)


@pytest.mark.parametrize("port", [HTTP, FOUND_OUT, UNNAMED])
@pytest.mark.parametrize("alpn", [(), ("istio",), ("istio-http/1.1",)])
@pytest.mark.parametrize(
    "who", ["none", "foreign", "other domain", "longer domain", "expired", "no SPIFFE ID"]
)
def test_others_are_refused(
    scene: Scene, signer: Signer, who: str, alpn: tuple[str, ...], port: int, tmp_path: Path
) -> None:
    foreign = self_signed(time.time(), 36000.0)
    pairs = {
        "foreign": (foreign, SCRAPER),
        "other domain": (signer, "spiffe://elsewhere.org/ns/monitoring/sa/scraper"),
        "longer domain": (signer, "spiffe://cluster.local.evil.org/ns/monitoring/sa/scraper"),
        "expired": (signer, SCRAPER),
        "no SPIFFE": (signer, "https://cluster.local/ns/monitoring/sa/scraper"),
    }
    pair = certificate(tmp_path, *pairs[who], expired=who == "expired") if who in pairs else None
    assert get(scene, port, pair, alpn) == ""


def test_a_session_does_not_outlive_the_certificate_that_it_was_begun_with(
    scene: Scene, signer: Signer, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(certificate(tmp_path, signer, SCRAPER))
    target, session = scene.target("legacy", "bar", HTTP), None
    for _ in range(2):
        with (
            connect(target, 5) as raw,
            context.wrap_socket(raw, session=session, server_hostname="a") as wrapped,
        ):
            wrapped.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert wrapped.recv(65536).startswith(b"HTTP/1.1 200")
            assert not wrapped.session_reused
            session = wrapped.session


def test_a_caller_in_plaintext_cannot_say_who_it_is(scene: Scene) -> None:
    """Under PERMISSIVE it is served, and the header by which it names itself goes no further."""
    scene.write("policy", "")
    target = scene.target("legacy", "bar", HTTP)

    def told() -> str | None:
        try:
            connection = http.client.HTTPConnection(target.host, timeout=5)
            connection.sock = connect(target, 5)
            connection.request("GET", "/", headers={"X-Forwarded-Client-Cert": f"URI={SCRAPER}"})
            found = json.loads(connection.getresponse().read())["headers"]
            connection.close()
        except (OSError, http.client.HTTPException):
            return None
        return str(found.get("x-forwarded-client-cert", ""))

    assert wait_until(lambda: told() is not None, PATIENCE)
    assert told() == ""
