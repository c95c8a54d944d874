"""A real Envoy as a gateway that ends TLS: the certificate of each host, renewed, missing, asked for."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator

import pytest

from controlplane.lab.fetch import Target, connect, fetch
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.gateways import GATEWAY, ISSUER, Scene, secure_gateway
from tests.support.servers import Issuer

pytestmark = MARKS

scene = scenes(Scene)


@pytest.fixture(autouse=True)
def clean(scene: Scene) -> Iterator[None]:
    yield
    scene.clear()


def test_tls_ends_at_the_gateway_with_the_certificate_of_the_host(scene: Scene) -> None:
    shop, numbers = ISSUER.issue("shop.example.com"), ISSUER.issue("numbers.example.com")
    scene.write("secrets", shop.secret("shop-tls") + numbers.secret("numbers-tls"))
    scene.write(
        "https",
        secure_gateway("shop.example.com", "shop-tls")
        + secure_gateway("numbers.example.com", "numbers-tls", app="numbers"),
    )
    assert wait_until(lambda: scene.secure("shop.example.com", ISSUER) is not None, 40)
    for host, pair in (("shop.example.com", shop), ("numbers.example.com", numbers)):
        answer = scene.secure(host, ISSUER)
        assert answer == (200, host.partition(".")[0].encode(), pair.serial)
    # A name that nobody serves is turned away, and so is who knows another authority.
    assert scene.secure("other.example.com", ISSUER) is None
    with pytest.raises(ssl.SSLCertVerificationError):
        scene.secure("shop.example.com", Issuer())
    # Who asks for no name finds nobody either.
    assert scene.secure(GATEWAY, ISSUER) is None
    assert fetch(Target(scene.client.netns, GATEWAY, 15021), "/healthz/ready").status == 200


def test_a_renewed_secret_is_shown_and_drops_no_connection(scene: Scene) -> None:
    old, new = ISSUER.issue("shop.example.com"), ISSUER.issue("shop.example.com")
    scene.write("secrets", old.secret("shop-tls"))
    scene.write("https", secure_gateway("shop.example.com", "shop-tls"))
    assert wait_until(lambda: scene.secure("shop.example.com", ISSUER) is not None, 40)
    context = ssl.create_default_context(cadata=ISSUER.certificate.decode())
    raw = connect(Target(scene.client.netns, GATEWAY, 8443), 5)
    with raw, context.wrap_socket(raw, server_hostname="shop.example.com") as wrapped:
        kept = http.client.HTTPConnection("shop.example.com", timeout=20)
        kept.sock = wrapped
        kept.request("GET", "/")
        assert kept.getresponse().read() == b"shop"
        before = scene.gateway.admin.stats("listener_manager.listener_(modified|in_place_updated|added)")
        scene.write("secrets", new.secret("shop-tls"))

        def shown() -> int | None:
            answer = scene.secure("shop.example.com", ISSUER)
            return None if answer is None else answer.serial

        assert wait_until(lambda: shown() == new.serial, 40)
        # The connection that was open is open.
        kept.request("GET", "/")
        assert kept.getresponse().read() == b"shop"
    after = scene.gateway.admin.stats("listener_manager.listener_(modified|in_place_updated|added)")
    assert after == before


def test_a_missing_secret_hurts_its_own_server_only(scene: Scene) -> None:
    shop, numbers = ISSUER.issue("shop.example.com"), ISSUER.issue("numbers.example.com")
    # The Gateway is of another namespace than the proxy; the Secret must be of the proxy's.
    scene.write("secrets", shop.secret("shop-tls") + numbers.secret("numbers-tls", namespace="prod"))
    scene.write(
        "https",
        secure_gateway("shop.example.com", "shop-tls")
        + secure_gateway("numbers.example.com", "numbers-tls", app="numbers"),
    )
    assert wait_until(lambda: scene.secure("shop.example.com", ISSUER) is not None, 40)
    assert scene.secure("numbers.example.com", ISSUER) is None
    scene.write("more", numbers.secret("numbers-tls"))
    assert wait_until(lambda: scene.secure("numbers.example.com", ISSUER) is not None, 40)
    (scene.plane.config / "secrets.yaml").unlink()
    assert wait_until(lambda: scene.secure("shop.example.com", ISSUER) is None, 40)
    assert scene.secure("numbers.example.com", ISSUER) == (200, b"numbers", numbers.serial)


def test_a_gateway_may_ask_clients_for_certificates(scene: Scene) -> None:
    clients = Issuer("clients")
    shop, jason = ISSUER.issue("shop.example.com"), clients.issue("jason")
    scene.write("secrets", shop.secret("shop-tls", authorities=clients.certificate))
    text = secure_gateway("shop.example.com", "shop-tls").replace("SIMPLE", "MUTUAL")
    scene.write("https", text)
    assert wait_until(lambda: scene.secure("shop.example.com", ISSUER, pair=jason) is not None, 40)
    answer = scene.secure("shop.example.com", ISSUER, "/seen", pair=jason)
    assert answer is not None
    assert 'Subject="CN=jason"' in json.loads(answer.body)["x-forwarded-client-cert"]
    for stranger in (None, ISSUER.issue("jason")):
        assert scene.secure("shop.example.com", ISSUER, pair=stranger) is None
