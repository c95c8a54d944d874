"""Who a caller is, at each door, by what it presents."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from cryptography import x509

from controlplane.base.clock import FakeClock
from controlplane.base.errors import Unauthenticated
from controlplane.ca.authority import Authority
from controlplane.ca.identity import Identities, Rules
from controlplane.ca.signer import self_signed
from controlplane.ca.token_store import TokenStore
from controlplane.ca.tokens import Account, Wish
from controlplane.model.caller import Caller, Door, Presented
from controlplane.model.identity import Identity

NOW = float(int(time.time()))
WEB = Identity("mesh.example", "default", "web")
REMOTE, LOCAL = "ipv4:10.0.0.9:4711", "ipv4:127.0.0.1:4711"
DOMAINS = ("mesh.example", "old.example")


class World:
    """A clock, a store and a way to ask."""

    def __init__(self, directory: Path, **rules: object) -> None:
        self.clock = FakeClock(NOW)
        self.store = TokenStore(directory)
        self.domains: tuple[str, ...] = DOMAINS
        self.identities = Identities(Rules(self.store, **rules), lambda: self.domains, self.clock)  # type: ignore[arg-type]
        signer = self_signed(NOW, 10 * 86400.0)
        self.authority = Authority(signer, (signer.root,), clock=self.clock)

    def token(self, lifetime: float = 3600.0, **wish: str) -> str:
        return self.store.issue(Wish("default", "web", lifetime)._replace(**wish), self.clock.wall())[0]

    def bearer(self, token: str, door: Door = Door.TOKEN, peer: str = REMOTE) -> Presented:
        return Presented(door, peer, (f"Bearer {token}",))

    def shown(self, *uris: str, dns: tuple[str, ...] = ()) -> Presented:
        made = self.authority.issue(uris, dns=dns)
        return Presented(Door.CERTIFICATE, REMOTE, certificate=made.chain)

    def identify(self, presented: Presented) -> Caller:
        return asyncio.run(self.identities.identify(presented))

    def refused(self, presented: Presented) -> str:
        with pytest.raises(Unauthenticated) as caught:
            self.identify(presented)
        for value in presented.authorization:
            assert value.removeprefix("Bearer ") not in str(caught.value) or len(value) < 20
        return caught.value.cause


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# -- tokens -----------------------------------------------------------------------------------------------


def test_a_token_is_an_identity_in_the_meshs_own_trust_domain(world: World) -> None:
    caller = world.identify(world.bearer(world.token(pod="web-1")))
    assert (caller.identity, caller.credential, caller.private) == (WEB, "token", True)
    assert (caller.expires, caller.pod) == (NOW + 3600, "web-1")


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER "])
def test_the_scheme_may_be_written_in_any_case(world: World, scheme: str) -> None:
    assert world.identify(Presented(Door.TOKEN, REMOTE, (scheme + world.token(),))).identity == WEB


@pytest.mark.parametrize(
    ("authorization", "cause"),
    [
        ((), "missing"),
        (("",), "malformed"),
        (("Basic d2ViOndlYg==",), "malformed"),
        (("Bearer ",), "malformed"),
        (("Bearer a.b",), "malformed"),
        (("Bearer x", "Bearer y"), "malformed"),
        (("Bearer e30.e30.AAAA",), "issuer"),
    ],
)
def test_the_token_door_demands_a_token(world: World, authorization: tuple[str, ...], cause: str) -> None:
    assert world.refused(Presented(Door.TOKEN, REMOTE, authorization)) == cause


def test_a_token_for_somebody_else_opens_nothing(world: World) -> None:
    assert world.refused(world.bearer(world.token(audience="kubernetes"))) == "audience"


def test_a_token_that_has_ended_opens_nothing(world: World) -> None:
    token = world.token(lifetime=10.0)
    asyncio.run(world.clock.advance(10.0))
    assert world.refused(world.bearer(token)) == "expired"


def test_a_revoked_token_opens_nothing_and_its_twin_does(world: World) -> None:
    token, twin = world.token(), world.token()
    caller = world.identify(world.bearer(token))
    world.store.revoke(caller.token, NOW)
    assert world.refused(world.bearer(token)) == "revoked"
    assert world.identify(world.bearer(twin)).identity == WEB


def test_of_what_is_not_good_any_more_it_is_known_whose_it_is(world: World) -> None:
    def whose(presented: Presented) -> tuple[str, str, str]:
        with pytest.raises(Unauthenticated) as caught:
            world.identify(presented)
        return caught.value.cause, caught.value.account, caught.value.token

    revoked, brief, other = world.token(), world.token(lifetime=10.0), world.token(audience="kubernetes")
    id = world.identify(world.bearer(revoked)).token
    ends = world.identify(world.bearer(brief)).token
    world.store.revoke(id, NOW)
    assert whose(world.bearer(revoked)) == ("revoked", "default/web", id)
    cause, account, token = whose(world.bearer(other))
    assert (cause, account) == ("audience", "default/web") and token not in ("", id, ends)
    asyncio.run(world.clock.advance(10.0))
    assert whose(world.bearer(brief)) == ("expired", "default/web", ends)
    # A signature that is not ours says nothing.
    head, body, signature = revoked.split(".")
    assert whose(world.bearer(f"{head}.{body}.{signature[::-1]}"))[1:] == ("", "")
    shown = world.shown(WEB.spiffe)
    world.store.revoke_account("default/web", world.clock.wall())
    assert whose(shown) == ("revoked", "default/web", "")


def test_nobody_is_let_in_while_it_is_not_known_who_is_revoked(world: World, tmp_path: Path) -> None:
    token = world.token()
    (tmp_path / "tokens" / "revoked.json").write_text("{")
    assert world.refused(world.bearer(token)) == "revocations"


# -- who may stay -----------------------------------------------------------------------------------------


def test_a_caller_may_stay_until_its_credential_ends(world: World) -> None:
    caller = world.identify(world.bearer(world.token(lifetime=60.0)))
    assert world.identities.objection(caller) == ""
    asyncio.run(world.clock.advance(60.0))
    assert world.identities.objection(caller) == "credential expired"


def test_a_caller_may_stay_until_its_token_is_revoked(world: World) -> None:
    caller = world.identify(world.bearer(world.token()))
    twin = world.identify(world.bearer(world.token()))
    world.store.revoke(caller.token, NOW)
    asyncio.run(world.clock.advance(1.0))
    assert world.identities.objection(caller) == "the token is revoked"
    assert world.identities.objection(twin) == ""


def test_a_caller_may_stay_until_its_account_loses_everything(world: World) -> None:
    by_token = world.identify(world.bearer(world.token()))
    shown = world.shown(WEB.spiffe)
    by_certificate = world.identify(shown)
    world.store.revoke_account("default/web", NOW)
    asyncio.run(world.clock.advance(1.0))
    for caller in (by_token, by_certificate):
        assert "revoked" in world.identities.objection(caller)
    assert world.refused(shown) == "revoked"


def test_what_was_issued_after_that_counts(world: World) -> None:
    world.store.revoke_account("default/web", NOW)
    asyncio.run(world.clock.advance(1.0))
    assert world.identify(world.shown(WEB.spiffe)).identity == WEB
    assert world.identify(world.bearer(world.token())).identity == WEB


def test_who_is_in_stays_while_the_list_cannot_be_read(world: World, tmp_path: Path) -> None:
    caller = world.identify(world.bearer(world.token()))
    (tmp_path / "tokens" / "revoked.json").write_text("{")
    asyncio.run(world.clock.advance(1.0))
    assert world.identities.objection(caller) == ""


def test_who_is_of_the_old_trust_domain_comes_again_as_one_of_the_new(world: World) -> None:
    shown = world.shown(WEB.spiffe)
    caller = world.identify(shown)
    world.domains = ("new.example", "mesh.example")
    assert "trust domain" in world.identities.objection(caller)
    again = world.identify(shown)
    assert again.identity == WEB._replace(trust_domain="new.example")
    assert world.identities.objection(again) == ""


def test_nobody_has_nothing_that_ends(world: World) -> None:
    assert world.identities.objection(Caller(None, None, True, "")) == ""


# -- plaintext --------------------------------------------------------------------------------------------


def test_without_a_credential_everybody_is_nobody(world: World) -> None:
    assert world.identify(Presented(Door.PLAINTEXT, LOCAL)) == Caller(None, None, True, "")
    assert world.identify(Presented(Door.PLAINTEXT, REMOTE)) == Caller(None, None, False, "")


def test_a_token_counts_on_the_loopback_and_a_bad_one_is_refused_there(world: World) -> None:
    for peer in (LOCAL, "unix:", "ipv6:%5B::1%5D:1"):
        assert world.identify(world.bearer(world.token(), Door.PLAINTEXT, peer)).identity == WEB
        assert world.refused(world.bearer("e30.e30.AAAA", Door.PLAINTEXT, peer)) == "issuer"


def test_a_token_that_others_can_overhear_does_not_count(world: World) -> None:
    caller = world.identify(world.bearer(world.token(), Door.PLAINTEXT, REMOTE))
    assert caller == Caller(None, None, False, "")


def test_only_local_callers_are_believed_and_only_if_told_so(tmp_path: Path) -> None:
    world = World(tmp_path, loopback=True)
    assert world.identify(Presented(Door.PLAINTEXT, "unix:")) == Caller(None, None, True, "loopback")
    assert world.identify(Presented(Door.PLAINTEXT, REMOTE)) == Caller(None, None, False, "")
    assert world.refused(Presented(Door.TOKEN, LOCAL)) == "missing"


# -- certificates -----------------------------------------------------------------------------------------


def test_a_certificate_is_who_it_names_until_it_ends(world: World) -> None:
    shown = world.shown(WEB.spiffe)
    caller = world.identify(shown)
    ends = x509.load_pem_x509_certificate(shown.certificate).not_valid_after_utc.timestamp()
    assert (caller.identity, caller.expires, caller.credential) == (WEB, ends, "certificate")
    asyncio.run(world.clock.advance(ends - NOW))
    assert world.identities.objection(caller) == "credential expired"
    assert world.refused(shown) == "expired"


def test_an_alias_is_another_name_for_the_meshs_trust_domain(world: World) -> None:
    old = WEB._replace(trust_domain="old.example")
    assert world.identify(world.shown(old.spiffe)).identity == WEB
    world.domains = ("mesh.example",)
    assert world.refused(world.shown(old.spiffe)) == "trust_domain"


@pytest.mark.parametrize(
    "uris",
    [
        (WEB.spiffe, "spiffe://mesh.example/ns/default/sa/db"),
        (WEB.spiffe, WEB.spiffe),
        ("spiffe://mesh.example/ns/default",),
        ("spiffe://mesh.example/ns/default/sa/web/extra",),
        ("https://mesh.example/ns/default/sa/web",),
        ("spiffe://mesh.example/ns/default/sa/web\n",),
        ("spiffe://MESH.example/ns/default/sa/web",),
        ("spiffe://mesh.example/ns/../sa/web",),
    ],
)
def test_a_certificate_names_exactly_one_identity(world: World, uris: tuple[str, ...]) -> None:
    assert world.refused(world.shown(*uris)) == "certificate"


def test_a_servers_certificate_is_no_clients(world: World) -> None:
    assert world.refused(world.shown(dns=("istiod.istio-system.svc",))) == "certificate"


def test_what_is_no_certificate_is_refused(world: World) -> None:
    assert world.refused(Presented(Door.CERTIFICATE, REMOTE)) == "missing"
    assert world.refused(Presented(Door.CERTIFICATE, REMOTE, certificate=b"nothing")) == "malformed"


def test_a_token_is_not_looked_at_where_a_certificate_counts(world: World) -> None:
    assert world.refused(Presented(Door.CERTIFICATE, REMOTE, (f"Bearer {world.token()}",))) == "missing"
    both = world.shown(WEB.spiffe)
    other = f"Bearer {world.token(namespace='other')}"
    assert world.identify(Presented(Door.CERTIFICATE, REMOTE, (other,), both.certificate)).identity == WEB


# -- who looks, but is no proxy ---------------------------------------------------------------------------


def test_a_token_for_looking_opens_no_door(world: World) -> None:
    token = world.token(audience="debug")
    assert asyncio.run(world.identities.holder(f"Bearer {token}")) == WEB
    assert world.refused(world.bearer(token)) == "audience"
    assert asyncio.run(world.identities.holder(f"Bearer {world.token()}")) == WEB


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic eA==", "Bearer e30.e30.AAAA"])
def test_who_looks_needs_a_good_token(world: World, header: str) -> None:
    with pytest.raises(Unauthenticated):
        asyncio.run(world.identities.holder(header))


def test_who_looks_may_be_revoked(world: World) -> None:
    token = world.token(audience="debug")
    world.store.revoke_account("default/web", NOW)
    with pytest.raises(Unauthenticated, match="revoked"):
        asyncio.run(world.identities.holder(f"Bearer {token}"))


# -- tokens of others -------------------------------------------------------------------------------------


class Cluster:
    """Judges as an API server does."""

    async def judge(self, token: str) -> Account:
        return Account("default", "web", NOW + 60, NOW, "their-id", "web-7")


def test_tokens_of_another_issuer_are_its_to_judge(tmp_path: Path) -> None:
    world = World(tmp_path, others=Cluster())
    caller = world.identify(world.bearer("e30.e30.AAAA"))
    assert (caller.identity, caller.pod, caller.expires) == (WEB, "web-7", NOW + 60)
    world.store.revoke_account("default/web", NOW)
    assert world.refused(world.bearer("e30.e30.AAAA")) == "revoked"


def test_a_token_that_says_it_is_ours_is_not_others_to_judge(tmp_path: Path) -> None:
    world = World(tmp_path, others=Cluster())
    header, claims, _ = world.token().split(".")
    assert world.refused(world.bearer(f"{header}.{claims}.{'A' * 86}")) == "forged"
