"""Secrets over real gRPC and TLS: who gets which, what a renewal costs, and where keys never show."""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from controlplane.lab.fetch import Target, fetch
from controlplane.model.caller import Door
from controlplane.xds import status
from tests.support.secrets import NAMES, Asker, asking, judged, public_of, shown
from tests.support.trust import ID, SPIFFE, Trusting, run
from tests.support.waiting import until

both = pytest.mark.parametrize("protocol", ["GRPC", "DELTA_GRPC"])
DELTA = "DELTA_GRPC"
OTHER = "sidecar~10.0.0.2~web-2.default~default.svc.cluster.local"
GATEWAY = "router~10.0.0.3~edge-1.default~default.svc.cluster.local"
GATEWAY_OF_SHOP = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "edge", "namespace": "far"},
    "spec": {
        "servers": [
            {
                "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
                "hosts": ["shop.example"],
                "tls": {"mode": "SIMPLE", "credentialName": "shop"},
            }
        ]
    },
}
"""It speaks for every gateway."""


def secure(trust: Trusting) -> str:
    return trust.address(Door.TOKEN)


async def served(asker: Asker, *names: str, id: str = ID, **node: Any) -> None:
    """Ask for secrets and wait until all are there."""
    await asker.ask(*names, id=id, **node)
    await asker.until(lambda: asker.has.keys() >= set(names))


@both
@pytest.mark.parametrize("service", [False, True], ids=["ads", "sds"])
def test_an_identity_is_given_a_certificate_that_openssl_agrees_with(
    tmp_path: Path, protocol: str, service: bool
) -> None:
    async def test(trust: Trusting) -> None:
        async with asking(secure(trust), protocol, proof=trust.proof(), service=service) as asker:
            await served(asker, *NAMES)
            assert asker.roots == trust.roots
            assert judged(asker.roots, asker.chain) == ""
            assert f"URI:{SPIFFE}" in shown(asker.chain, "-ext", "subjectAltName")
            assert public_of(asker.key) == shown(asker.chain, "-pubkey")
            assert asker.removed == []
            metrics = (await asyncio.to_thread(fetch, monitor(trust), "/metrics")).body.decode()
            assert "\nmini_istiod_certificates 1.0\n" in metrics
            assert "\nmini_istiod_certificate_wait_seconds_count 1.0\n" in metrics

    run(tmp_path, test)


def test_all_streams_of_a_proxy_have_one_key_and_replicas_have_others(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        address, proof = secure(trust), trust.proof()
        async with (
            asking(address, DELTA, proof=proof) as ads,
            asking(address, "GRPC", proof=proof, service=True) as sds,
            asking(address, DELTA, proof=proof) as replica,
        ):
            await served(ads, *NAMES)
            await served(sds, "default")
            await served(replica, "default", id=OTHER)
            assert ads.key == sds.key != replica.key
            names = [shown(one.chain, "-ext", "subjectAltName") for one in (ads, replica)]
            assert names[0] == names[1]
        # Who comes back finds the same.
        async with asking(address, DELTA, proof=proof) as again:
            await served(again, "default")
            assert again.key == ads.key

    run(tmp_path, test)


@both
def test_a_renewal_sends_one_secret_and_nothing_else(tmp_path: Path, protocol: str) -> None:
    async def test(trust: Trusting) -> None:
        supply = trust.served.app.trust.certificates
        assert supply is not None
        async with asking(secure(trust), protocol, proof=trust.proof()) as asker:
            await asker.ask(url=CLUSTER, id=ID)
            await asker.ask(url=LISTENER)
            await asker.ask("outbound|80||nowhere", url=ENDPOINT)
            await asker.ask("80", url=ROUTE)
            await served(asker, *NAMES)
            await asker.until(lambda: {one[:3] for one in asker.log} >= {"cds", "lds", "eds", "rds"})
            keys, seen = [asker.key], len(asker.log)
            for _ in range(3):
                supply.reissue_all()
                await asker.until(lambda: asker.key != keys[-1])
                keys.append(asker.key)
            assert asker.log[seen:] == ["sds default"] * 3
            assert judged(asker.roots, asker.chain) == ""

    run(tmp_path, test)


def test_keys_of_rsa(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        async with asking(secure(trust), DELTA, proof=trust.proof()) as asker:
            await served(asker, *NAMES)
            assert "Public Key Algorithm: rsaEncryption" in shown(asker.chain, "-text")
            assert public_of(asker.key) == shown(asker.chain, "-pubkey")

    run(tmp_path, test, "--workload-key-type", "rsa")


def test_nobody_is_given_nothing(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        # It asks for a certificate, and is not told that there is none: there is no answer at all.
        async with asking(trust.address(Door.PLAINTEXT), DELTA) as asker:
            await asker.ask(*NAMES, id=ID)
            await asker.ask(url=CLUSTER)
            await asker.until(lambda: asker.log != [])
            assert asker.log == ["cds"] and not asker.has and asker.removed == []

    run(tmp_path, test)


def test_what_is_not_its_own_is_never_answered_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tempting = (
        *("web-2.default", "spiffe://cluster.local/ns/other/sa/web", "default/../other", "file:/etc/shadow"),
        *("kubernetes://far/shop", "kubernetes://../far/shop", "kubernetes://shop", "*"),
    )

    async def test(trust: Trusting) -> None:
        trust.served.files.write("far.yaml", secret_yaml(trust, "shop", "far"))
        trust.served.files.write("near.yaml", secret_yaml(trust, "shop", "default"))
        async with asking(secure(trust), DELTA, proof=trust.proof()) as asker:
            await asker.ask(*tempting, id=ID)
            await served(asker, "default")
            # "*" is all that is its own.
            assert asker.has.keys() == {*NAMES} and asker.removed == []
        await until(lambda: not trust.served.app.xds.streams, "the stream is gone")

    run(tmp_path, test)
    told = [record for record in caplog.records if "secrets that it is not given" in record.message]
    assert all(record.__dict__["connection"].startswith("web-1.default") for record in told)
    names = ", ".join(record.__dict__["names"] for record in told)
    assert sorted(names.split(", ")) == sorted(repr(name) for name in tempting if name != "*")


def secret_yaml(trust: Trusting, name: str, namespace: str) -> dict[str, Any]:
    """A Kubernetes Secret with a new certificate."""
    made = trust.served.app.trust.authority.issue((), dns=("shop.example",))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "kubernetes.io/tls",
        "data": {
            "tls.crt": b64encode(made.chain).decode(),
            "tls.key": b64encode(made.key).decode(),
        },
    }


@both
def test_a_gateway_is_served_its_namespaces_secrets_and_a_change_sends_that_one(
    tmp_path: Path, protocol: str
) -> None:
    async def test(trust: Trusting) -> None:
        files = trust.served.files
        files.write("shop.yaml", secret_yaml(trust, "shop", "default"))
        files.write("other.yaml", secret_yaml(trust, "other", "default"))
        files.write("far.yaml", secret_yaml(trust, "far", "other"))
        files.write("gateway.yaml", GATEWAY_OF_SHOP)
        await trust.served.quiet()
        async with asking(secure(trust), protocol, proof=trust.proof()) as asker:
            await asker.ask(url=CLUSTER, id=GATEWAY)
            await asker.ask(url=LISTENER)
            # Of another namespace, and of this one but named by no Gateway.
            await asker.ask("kubernetes://far", "kubernetes://other")
            await served(asker, "kubernetes://shop", *NAMES)
            await asker.until(lambda: {one[:3] for one in asker.log} >= {"cds", "lds"})
            pair = asker.has["kubernetes://shop"].tls_certificate
            assert "DNS:shop.example" in shown(pair.certificate_chain.inline_bytes, "-ext", "subjectAltName")
            before, seen = pair.private_key.inline_bytes, len(asker.log)
            files.write("shop.yaml", secret_yaml(trust, "shop", "default"))
            await asker.until(
                lambda: asker.has["kubernetes://shop"].tls_certificate.private_key.inline_bytes != before
            )
            assert asker.log[seen:] == ["sds kubernetes://shop"]
            assert asker.has.keys() == {"kubernetes://shop", *NAMES}

    run(tmp_path, test)


@both
def test_a_rejected_certificate_leaves_the_last_good_one_and_is_told(tmp_path: Path, protocol: str) -> None:
    async def test(trust: Trusting) -> None:
        supply = trust.served.app.trust.certificates
        assert supply is not None
        async with asking(secure(trust), protocol, proof=trust.proof()) as asker:
            await served(asker, *NAMES)
            good = asker.key
            refused = []

            def rejects(message: Any) -> str:
                if good in message.SerializeToString():
                    return ""
                refused.append(message.nonce)
                return "Failed to load certificate chain from <inline>"

            asker.rejects = rejects
            seen = len(asker.log)
            supply.reissue_all()
            await asker.until(lambda: len(asker.log) > seen)
            assert asker.log[seen:] == ["sds default"] and asker.key == good and len(refused) == 1
            stream = trust.served.app.xds.streams[0]
            await until(lambda: status.push_status([stream])["rejections"] != [], "the rejection is told")
            (rejection,) = status.push_status([stream])["rejections"]
            assert (rejection["type"], rejection["names"]) == ("sds", ["default"])
            (dump,) = status.config_dump(stream, ["sds"])["configs"]
            held = {one["name"]: one for one in dump["dynamic_active_secrets"]}
            chain = held["default"]["secret"]["tls_certificate"]["certificate_chain"]["inline_bytes"]
            assert chain == b64encode(asker.chain).decode()
            # A change of roots waits for it.
            assert supply.waiting == () and "web-1.default" in lagging(trust)
            asker.rejects = lambda message: ""
            supply.reissue_all()
            await asker.until(lambda: asker.key != good)
            await until(lambda: not lagging(trust), "it has everything")

    run(tmp_path, test)


def lagging(trust: Trusting) -> tuple[str, ...]:
    rotation = trust.served.app.trust.rotation
    assert rotation is not None
    return rotation.behind()


@pytest.mark.whole
def test_a_change_of_roots_goes_on_when_everybody_has_answered(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        rotation = trust.served.app.trust.rotation
        assert rotation is not None
        address, proof = secure(trust), trust.proof()
        async with asking(address, DELTA, proof=proof) as quick, asking(address, "GRPC", proof=proof) as slow:
            await served(quick, *NAMES)
            await served(slow, *NAMES, id=OTHER)
            await until(lambda: not lagging(trust), "both have everything")
            old, stages = quick.roots, []
            slow.patient.clear()
            rotation.start()
            await slow.until(lambda: slow.roots != old)
            await until(lambda: rotation.progress().pause_left == 0.0, "the pause is over")
            await asyncio.sleep(0.5)
            # One does not answer: nothing goes on.
            progress = rotation.progress()
            assert (progress.stage, progress.behind) == ("trust", ("web-2.default",))
            assert quick.roots.startswith(old) and quick.roots.count(b"BEGIN") == 2
            slow.patient.set()
            while rotation.progress().stage != "idle":
                verdicts = [
                    judged(one.roots, other.chain) for one in (quick, slow) for other in (quick, slow)
                ]
                stages.append((rotation.progress().stage, *verdicts))
                await asyncio.sleep(0.05)
            # All the time each believes the other.
            assert {stage for stage, *_ in stages} == {"trust", "sign", "drop"}
            assert {verdict for _, *verdicts in stages for verdict in verdicts} == {""}
            assert quick.roots.count(b"BEGIN") == 1 and quick.roots not in old
            assert "verif" in judged(old, quick.chain)

    run(tmp_path, test, "--root-rotation-pause", "1s")


def test_keys_are_in_no_dump_no_log_and_no_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    recording = tmp_path / "mesh.jsonl"
    keys: list[bytes] = []

    async def test(trust: Trusting) -> None:
        made = secret_yaml(trust, "shop", "default")
        trust.served.files.write("shop.yaml", made)
        trust.served.files.write("gateway.yaml", GATEWAY_OF_SHOP)
        async with asking(secure(trust), DELTA, proof=trust.proof()) as asker:
            await asker.ask(url=CLUSTER, id=GATEWAY)
            await served(asker, "kubernetes://shop", *NAMES)
            keys.extend((asker.key, asker.has["kubernetes://shop"].tls_certificate.private_key.inline_bytes))
            paths = (await asyncio.to_thread(fetch, monitor(trust), "/debug")).json()
            assert len(paths) > 10
            queries = ("", "?proxyID=edge-1.default", "?proxyID=edge-1.default&type=sds&name=default")
            shown_anywhere = ""
            for path in paths:
                for query in queries:
                    answer = await asyncio.to_thread(fetch, monitor(trust), path + query)
                    shown_anywhere += answer.body.decode()
            assert "[redacted]" in shown_anywhere
            assert_hidden(shown_anywhere, keys)

    run(tmp_path, test, "--record", str(recording))
    assert_hidden(caplog.text, keys)
    text = recording.read_text()
    assert "edge-1.default" in text and '"kind":"Secret"' in text
    assert_hidden(text, keys)


def monitor(trust: Trusting) -> Target:
    runner = trust.served.app.monitoring._runner
    assert runner is not None
    host, port = runner.addresses[0]
    return Target(None, host, port)


def assert_hidden(text: str, keys: list[bytes]) -> None:
    """No line of a key is in the text, nor the beginning of its base64, nor what begins any key."""
    assert keys
    assert "PRIVATE KEY" not in text
    for key in keys:
        lines = [line for line in key.decode().splitlines() if not line.startswith("-----")]
        encoded = b64encode(key).decode()
        for secret in (*lines, encoded[40:100], json.dumps(key.decode())[60:120]):
            assert secret not in text
