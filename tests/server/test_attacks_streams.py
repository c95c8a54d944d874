"""Attacks of callers that were let in: on what is another's, and on everybody's time and memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import grpc
import pytest

from controlplane.base.allowance import Allowance
from controlplane.base.clock import SystemClock
from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, ENDPOINT, ROUTE, SECRET
from controlplane.lab.client import Proof
from controlplane.model.caller import Door
from tests.support import attacks
from tests.support.raw import answer, raw, request, say, status
from tests.support.secrets import NAMES, Asker, asking
from tests.support.shops import gateway, secret
from tests.support.stage import Stage, staged
from tests.support.trust import DELTA, ID, Trusting, admitted, let_in, pass_over, told, trusting
from tests.support.waiting import until

Code = grpc.StatusCode
EDGE = "router~10.0.0.3~edge-1.default~default.svc.cluster.local"
MOST = 64 * 1024


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage[Trusting]]:
    with staged(trusting(tmp_path_factory.mktemp("streams"), "--max-request-bytes", str(MOST))) as found:
        trust = found.subject
        files = trust.served.files
        for name, namespace in (("shop", "far"), ("other", "default"), ("mine", "default")):
            files.write(f"{name}-{namespace}.yaml", secret(trust, name, namespace))
        files.write("gateway.yaml", gateway("default", "mine"))
        files.write("far.yaml", gateway("far", "shop"))
        found.play(trust.served.quiet())
        yield found


@pytest.fixture(autouse=True)
def _all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


OTHERS = {
    "another replica's": "web-2.default",
    "another account's, by its identity": "spiffe://cluster.local/ns/default/sa/admin",
    "another namespace's default": "other/default",
    "up out of its own": "default/../other",
    "escaped up out of its own": "default%2f..%2fother",
    "a file": "file:/etc/shadow",
    "a file of its own name": "file-cert:/proc/self/environ~/etc/ssl/private/key.pem",
    "a gateway's of its namespace": "kubernetes://mine",
    "a gateway's of its namespace, with that": "kubernetes://default/mine",
    "a gateway's of another namespace": "kubernetes://far/shop",
    "the same by the other scheme": "kubernetes-gateway://far/shop",
    "up into another namespace": "kubernetes://../far/shop",
    "a NUL behind a good name": "default\0other",
    "a line of its own in the log": "x\nlevel=info msg=admitted",
    "the authority's key": "ca-key.pem",
    "capitals": "DEFAULT",
    "a long one": "k" * 20_000,
}
OF_GATEWAYS = {
    "another namespace's": "kubernetes://shop",
    "another namespace's, with that": "kubernetes://far/shop",
    "another namespace's, the other scheme": "kubernetes-gateway://far/shop",
    "up into another namespace": "kubernetes://../far/shop",
    "its own, that no Gateway names": "kubernetes://other",
    "the authorities of another namespace's": "kubernetes://far/shop-cacert",
    "a configuration map's": "configmap://far/shop-cacert",
}


async def ask_in_vain(stage: Stage[Trusting], protocol: str, name: str, id: str) -> Asker:
    """Ask for something beside one's own; returns when all of that is there."""
    trust = stage.subject
    labels = {"LABELS": {"app": "default"}}
    async with asking(trust.address(Door.TOKEN), protocol, proof=trust.proof()) as asker:
        await asker.ask(url=CLUSTER, id=id, metadata=labels)
        await asker.ask(name, *NAMES)
        await asker.until(lambda: asker.has.keys() >= set(NAMES))
    await until(lambda: not trust.served.app.xds.streams, "the stream is gone")
    return asker


@pytest.mark.attack
@pytest.mark.parametrize("protocol", ["GRPC", "DELTA_GRPC"])
@pytest.mark.parametrize("what", OTHERS)
def test_a_secret_of_somebody_else(
    stage: Stage[Trusting], what: str, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    asker = stage.play(ask_in_vain(stage, protocol, OTHERS[what], ID))
    assert asker.has.keys() == set(NAMES) and asker.removed == []
    said = attacks.told(caplog, asker.key, has="names")
    assert said["connection"].startswith("web-1.default")
    assert "\n" not in said["names"] and len(said["names"]) < 500


@pytest.mark.attack
@pytest.mark.parametrize("what", OF_GATEWAYS)
def test_a_gateways_secret_of_somebody_else(
    stage: Stage[Trusting], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    asker = stage.play(ask_in_vain(stage, DELTA, OF_GATEWAYS[what], EDGE))
    assert asker.has.keys() == set(NAMES) and asker.removed == []
    attacks.told(caplog, asker.key, has="names")


def test_a_gateway_is_given_what_is_its_own(stage: Stage[Trusting]) -> None:
    """Or it would be no wonder that it is not given the rest."""
    asker = stage.play(ask_in_vain(stage, DELTA, "kubernetes://mine", EDGE))
    assert asker.has.keys() >= {"kubernetes://mine"}


@pytest.mark.attack
def test_to_say_that_one_has_a_secret_already_tells_nothing_of_it(
    stage: Stage[Trusting], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither its version nor that it is gone."""

    async def test() -> set[str]:
        trust, told = stage.subject, set()
        async with raw(trust.address(Door.TOKEN), DELTA, proof=trust.proof()) as call:
            first = pb.discovery.DeltaDiscoveryRequest.FromString(
                request(DELTA, SECRET, id=ID, names=["kubernetes://far/shop", "default"])
            )
            first.initial_resource_versions["kubernetes://far/shop"] = "1"
            await call.write(first.SerializeToString())
            message = answer(DELTA, await call.read())
            told = {one.name for one in message.resources} | set(message.removed_resources)
        await until(lambda: not trust.served.app.xds.streams, "the stream is gone")
        return told

    assert stage.play(test()) == {"default"}
    assert "far/shop" in attacks.told(caplog, has="names")["names"]


@pytest.mark.attack
@pytest.mark.parametrize("secrets", [False, True], ids=["of everything", "of secrets"])
def test_a_stream_that_becomes_another_proxys(
    stage: Stage[Trusting], secrets: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> tuple[Code, str]:
        trust = stage.subject
        url = SECRET if secrets else CLUSTER
        async with raw(trust.address(Door.TOKEN), DELTA, proof=trust.proof(), secrets=secrets) as call:
            await call.write(request(DELTA, url, id=ID, names=["default"] if secrets else []))
            await call.read()
            await call.write(request(DELTA, SECRET, id=ID.replace("web-1", "web-2"), names=["default"]))
            return await status(call)

    code, reason = stage.play(test())
    assert code is Code.PERMISSION_DENIED and "claims to be" in reason
    said = attacks.told(caplog)
    assert (said["cause"], said["identity"]) == ("node", "spiffe://cluster.local/ns/default/sa/web")


@pytest.mark.attack
@pytest.mark.parametrize("ended", ["revoked", "expired"])
def test_a_credential_that_ends_between_the_door_and_the_first_request(
    stage: Stage[Trusting], ended: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> tuple[Code, str]:
        trust = stage.subject
        text, account = trust.token(60.0)
        callers = admitted(monkeypatch)
        async with raw(trust.address(Door.TOKEN), DELTA, proof=trust.proof(text)) as call:
            await until(lambda: callers, "its token is found good")
            if ended == "revoked":
                trust.store.revoke(account.id, account.issued)
            else:
                pass_over(monkeypatch, 61.0)
            await until(lambda: callers[0](), "it is known to have ended")
            await call.write(request(DELTA, SECRET, id=ID, names=["default"]))
            return await status(call)

    code, _ = stage.play(test())
    assert code is Code.UNAUTHENTICATED
    assert attacks.told(caplog)["cause"] == "ended"


@pytest.mark.attack
def test_a_revoked_accounts_certificate_is_not_renewed(
    stage: Stage[Trusting], caplog: pytest.LogCaptureFixture
) -> None:
    """What it has lasts for as long as it is good; it gets no other."""

    async def test() -> None:
        trust = stage.subject
        supply = trust.served.app.trust.certificates
        assert supply is not None
        proof = Proof(trust.roots, trust.token(name="quits")[0])
        async with asking(trust.address(Door.TOKEN), DELTA, proof=proof) as asker:
            await asker.ask("default", id=ID.replace("web-1", "quits-1"))
            await asker.until(lambda: "default" in asker.has)
            key = asker.key
            trust.store.revoke_account("default/quits", 2e9)
            await until(lambda: not trust.served.app.xds.streams, "its stream is ended")
            supply.reissue_all()
            await asyncio.sleep(0.3)
            assert asker.key == key
        attacks.assert_hidden(caplog, [key])
        async with raw(trust.address(Door.TOKEN), DELTA, proof=proof) as call:
            assert (await status(call))[0] is Code.UNAUTHENTICATED

    stage.play(test())
    said = attacks.told(caplog)
    assert (said["cause"], said["identity"]) == ("ended", "spiffe://cluster.local/ns/default/sa/quits")


@pytest.mark.attack
def test_a_huge_first_request(stage: Stage[Trusting], caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> tuple[Code, str]:
        trust = stage.subject
        async with raw(trust.address(Door.TOKEN), DELTA, proof=trust.proof()) as call:
            await say(call, request(DELTA, SECRET, id=ID, names=["n" * MOST]))
            found = await status(call)
        await until(lambda: attacks.line(caplog, "cause"), "it is logged")
        return found

    assert stage.play(test())[0] is Code.RESOURCE_EXHAUSTED
    said = attacks.told(caplog)
    assert (said["cause"], said["identity"]) == ("silent", "spiffe://cluster.local/ns/default/sa/web")


def test_headers_without_end(stage: Stage[Trusting]) -> None:
    """gRPC refuses them before they are anybody's."""

    async def test() -> Code:
        trust = stage.subject
        long = (("x-long", "a" * 40_000),)
        async with raw(trust.address(Door.TOKEN), DELTA, proof=trust.proof(), headers=long) as call:
            return (await status(call))[0]

    assert stage.play(test()) is Code.RESOURCE_EXHAUSTED
    assert stage.subject.served.app.xds.streams == ()


@pytest.mark.parametrize(
    "url",
    [pytest.param(SECRET, marks=pytest.mark.attack), ENDPOINT, ROUTE],
    ids=["secrets", "endpoints", "routes"],
)
def test_thousands_of_names_cost_a_line_and_little_time(
    stage: Stage[Trusting], url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        trust = stage.subject
        async with (
            raw(trust.address(Door.TOKEN), DELTA, proof=trust.proof()) as greedy,
            asking(trust.address(Door.TOKEN), DELTA, proof=trust.proof()) as other,
        ):
            for part in range(10):
                names = [f"../{part}-{number}" for number in range(2000)]
                await greedy.write(request(DELTA, url, id=ID if part == 0 else None, names=names))
            async with asyncio.timeout(5):
                await other.ask(*NAMES, id=ID.replace("web-1", "web-2"))
                await other.until(lambda: other.has.keys() == set(NAMES))
        await until(lambda: not trust.served.app.xds.streams, "the streams are gone")

    stage.play(test())
    if url == SECRET:
        said = attacks.told(caplog, has="names")
        assert said["names"].count("../") <= 10
        assert attacks.told(caplog, has="type")["message"] == "a proxy asks for too many names"


@pytest.mark.attack
def test_an_identity_that_comes_again_and_again(
    stage: Stage[Trusting], caplog: pytest.LogCaptureFixture
) -> None:
    """It takes the places of nobody else."""
    server = stage.subject.served.app.xds
    before, server._visits = server._visits, Allowance(SystemClock(), rate=0.1, burst=3)

    async def test() -> list[Code]:
        trust = stage.subject
        greedy, other = trust.proof(), trust.proof(trust.token(name="other")[0])
        says = (True, True, True, False, False)
        found = [(await told(trust, Door.TOKEN, greedy, id="nonsense", says=one))[0] for one in says]
        await let_in(trust, Door.TOKEN, other)
        return found

    try:
        codes = stage.play(test())
    finally:
        server._visits = before
    assert codes == [Code.INVALID_ARGUMENT] * 3 + [Code.RESOURCE_EXHAUSTED] * 2
    rate = [vars(one) for one in caplog.records if vars(one).get("cause") == "rate"]
    assert [one["identity"] for one in rate] == ["spiffe://cluster.local/ns/default/sa/web"] * 2
    assert all(one["peer"] and one["reason"] for one in rate)
